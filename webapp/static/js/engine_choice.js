// Where the model runs and with which settings: what the options say, and what the network allows.

import { byId, format, root, texts } from "./boot.js";
import * as onDevice from "./device_engine.js";
import * as server from "./server_engine.js";

const KEY = "dermedge.where";
let deviceReady = false;
let serverReachable = navigator.onLine;

const radio = (where) => document.querySelector(`input[name="where"][value="${where}"]`);
const say = (text) => { byId("device-status").textContent = text; };

/** The engine for the next image: {predict, settings}. The server's falls back to this device when it is out of reach. */
export async function chooseEngine() {
  const here = { predict: onDevice.predict, settings: settings() };
  if (radio("device").checked) {
    await prepare();
    return here;
  }
  if (!serverReachable && deviceReady) return here;
  return { predict: withFallback, settings: settings() };
}

async function withFallback(file, options) {
  try {
    return await server.predict(file, options);
  } catch (error) {
    if (!(error instanceof server.UnreachableError) || !deviceReady) throw error;
    say(texts.options.device_offline);
    return onDevice.predict(file, options);
  }
}

function settings() {
  const patient = Object.fromEntries(["age", "sex", "site"].map((field) => [field, byId(field)?.value ?? ""]));
  return { variant: byId("variant").value, patient };
}

/** Load the model into this device and say how that goes. */
async function prepare() {
  if (deviceReady) return;
  say(texts.options.device_loading);
  try {
    const { kept } = await onDevice.load();
    deviceReady = true;
    say(kept ? texts.options.device_ready : texts.options.device_ready_visit);
  } catch (error) {
    say(format(texts.options.device_failed, { reason: error.message }));
    throw error;
  }
}

/** While nothing else is to do, unless the reader saves data: then the page also predictions when the network goes away. */
function prepareWhenIdle() {
  if (navigator.connection?.saveData) return;
  const begin = () => prepare().catch(() => { radio("server").checked = true; showPrivacy(); });
  if (globalThis.requestIdleCallback) requestIdleCallback(begin, { timeout: 5000 });
  else setTimeout(begin, 2000);
}

function showPrivacy() {
  byId("privacy").textContent = radio("device").checked ? texts.privacy.device : texts.privacy.server;
  byId("variant").disabled = radio("device").checked;
}

function remember(where) {
  try { localStorage.setItem(KEY, where); } catch { /* then it is not remembered */ }
}

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

export function listenForEngine(onChange) {
  for (const id of ["variant", "age", "sex", "site"]) byId(id)?.addEventListener("change", onChange);
  const reason = onDevice.obstacle();
  if (reason) {
    say(reason);
    return;
  }
  radio("device").disabled = false;
  if (remembered() === "device") radio("device").checked = true;
  for (const where of ["server", "device"]) {
    radio(where).addEventListener("change", () => {
      remember(where);
      showPrivacy();
      onChange();
    });
  }
  addEventListener("online", () => {
    serverReachable = true;
    if (!deviceReady) prepareWhenIdle();
  });
  addEventListener("offline", () => {
    serverReachable = false;
    if (deviceReady) say(texts.options.device_offline);
  });
  showPrivacy();
  prepareWhenIdle();
}

/** Keep the page itself for the time without a network. */
export function installServiceWorker() {
  navigator.serviceWorker?.register(`${root}/service-worker.js`).catch(() => { /* the page works without it */ });
}
