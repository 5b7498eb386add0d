// Keeps the page and its files of one version, so that it opens without a network and at once on a slow one.
const SHELL = "dermedge-shell-{{ version }}";
const FILES = {{ files | tojson }};
const PATIENCE = 4000; // milliseconds for the page itself before the kept one is shown

addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("dermedge-shell-") && name !== SHELL) await caches.delete(name);
    await clients.claim();
  })());
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (pathname === "/") event.respondWith(freshPage(request));
  else if (pathname.startsWith("/assets/")) event.respondWith(keptFile(request));
});

async function freshPage(request) {
  const cache = await caches.open(SHELL);
  const kept = cache.match("/");
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    if (response.ok) await cache.put("/", response.clone());
    return response;
  } catch (error) {
    const page = await kept;
    if (page) return page;
    throw error;
  }
}

async function keptFile(request) {
  const cache = await caches.open(SHELL);
  const kept = await cache.match(request.url);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(request.url, response.clone());
  return response;
}
