// The model on this device: starts the worker, hands it the bundle's graphs, and speaks like the server's engine.

import { classNames, device, model, root, texts } from "./boot.js";
import { PredictionError, authorization } from "./server_engine.js";

const PATIENCE = 5000; // milliseconds

let worker = null;
let loading = null;
let counter = 0;
const waiting = new Map();

/** Why this page cannot run the model itself, or null. */
export function obstacle() {
  if (!device) return texts.options.device_missing;
  if (!globalThis.isSecureContext) return texts.options.device_insecure;
  return null;
}

/** Load the model onto this device, once; later calls wait for the same load. Tells whether the browser {kept} it. */
export function load() {
  loading ??= start().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function start() {
  worker?.terminate();
  await serviceWorkerInCharge();
  worker = new Worker(device.worker);
  worker.addEventListener("message", ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  });
  worker.addEventListener("error", ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(message || "the worker failed"));
    waiting.clear();
    loading = null;
  });
  const files = Object.fromEntries(Object.entries(device.files).map(([role, file]) => [role, model.files.find((each) => each.file === file)]));
  return ask("load", {
    root,
    runtime: device.runtime,
    files,
    headers: authorization(),
    size: model.input.size,
    precision: device.precision,
    thresholds: model.thresholds,
    maxPixels: model.limits.max_pixels,
    codes: Object.keys(classNames),
  });
}

/** On the very first visit: the engine's files are only kept for later if the service worker sees them being fetched. */
async function serviceWorkerInCharge() {
  if (!navigator.serviceWorker || navigator.serviceWorker.controller) return;
  const taken = new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
  await Promise.race([taken, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
}

function ask(task, details) {
  return new Promise((resolve, reject) => {
    const id = ++counter;
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, ...details });
  });
}

/** Classify a file here; same prediction as the server's. */
export async function predict(file, { explainClass, patient } = {}) {
  await load();
  try {
    return await ask("predict", { file, name: file.name, explainClass, patient: encodePatient(patient) });
  } catch (error) {
    const decodes = error.message.includes("decoded") || error.message.includes("decode");
    throw new PredictionError(decodes ? texts.errors.device_format : error.message);
  }
}

/** Age, sex and site as the graphs take them, or null for a model that takes none. Like edge_runtime.bundle.patient. */
export function encodePatient(patient = {}) {
  const specification = model.patient_metadata;
  if (!specification) return null;
  const vector = [0, 0, ...specification.sexes.map((sex) => Number(sex === patient.sex)), ...specification.sites.map((site) => Number(site === patient.site))];
  if (patient.age) [vector[0], vector[1]] = [1, Number(patient.age) / specification.age_scale_years];
  return vector;
}
