// Keeps the page and its files of one version, so that it opens without a network and at once on a slow one.
// Networks answer in place of servers (sign-in pages, gateways): only responses with the server's own mark are kept.
const ROOT = {{ root | tojson }}; // the prefix under which the server is served, often none
const VERSION = {{ version | tojson }};
const CACHES = `dermedge-shell-${ROOT && `${ROOT}-`}`;
const SHELL = CACHES + VERSION;
const FILES = {{ files | tojson }};
const PAGE = `${ROOT}/`;
const PATIENCE = 4000; // milliseconds for the page itself before the kept one is shown

const isOurs = (response) => response.headers.get("{{ mark }}") !== null;
const isKeepable = (response) => response.ok && !response.redirected && response.headers.get("{{ mark }}") === VERSION;

addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(SHELL);
    await Promise.all(FILES.map(async (file) => {
      const response = await fetch(file, { cache: "no-cache" });
      if (!isKeepable(response)) throw new Error(`${file}: not from the server`);
      await cache.put(file, response);
    }));
    await skipWaiting();
  })());
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      const ofThisRoot = name.startsWith(CACHES) && /^[0-9a-f]{12}$/.test(name.slice(CACHES.length));
      if (ofThisRoot && name !== SHELL) await caches.delete(name);
    }
    await clients.claim();
  })());
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (pathname === PAGE) event.respondWith(freshPage(request));
  else if (pathname.startsWith(`${ROOT}/assets/`)) event.respondWith(keptFile(request));
});

/** The server's page; the kept one when the server does not respond, or something else does in its place. */
async function freshPage(request) {
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    // Redirects and requests to sign in are the browser's to handle: behind them may be the way to the server.
    const signIn = response.type === "opaqueredirect" || [401, 407, 511].includes(response.status);
    if (isKeepable(response)) await keep(PAGE, response);
    return isOurs(response) || signIn ? response : (await kept(PAGE)) ?? response;
  } catch (error) {
    const page = await kept(PAGE);
    if (page) return page;
    throw error;
  }
}

async function keptFile(request) {
  const file = await kept(request.url);
  if (file) return file;
  const response = await fetch(request);
  if (!isOurs(response)) return Response.error();
  if (isKeepable(response)) await keep(request.url, response);
  return response;
}

/** What is kept for an address, if anything is. Storage may be switched off. */
async function kept(address) {
  try {
    return await (await caches.open(SHELL)).match(address);
  } catch {
    return undefined;
  }
}

/** Keep a copy if the browser lets us: storage may be full, and the response is good without being kept. */
async function keep(address, response) {
  try {
    await (await caches.open(SHELL)).put(address, response.clone());
  } catch { /* then the next visit needs the network again */ }
}
