// The model in the browser, off the page's thread: the bundle's own TFLite graphs through LiteRT.js.
// The same steps as edge_runtime.classifier: decode, resize, features, head, softmax in double precision, explain.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { loadImage } from "./image_pixels.js";

let graphs = null;
let setup = null;

/** Fetch a graph once, keep it if the browser lets us, and return it only if it has the manifest's checksum. */
async function verifiedFile(cache, { url, sha256 }, headers) {
  const stored = await cache?.match(url).catch(() => undefined);
  const storedData = await stored?.arrayBuffer();
  if (storedData && (await checksum(storedData)) === sha256) return { data: new Uint8Array(storedData), kept: true };
  const data = (await fetched(url, sha256, { headers })) ?? (await fetched(url, sha256, { headers, cache: "reload" }));
  if (!data) throw new Error(`${url}: the network sent something else than the model`);
  const kept = cache ? await cache.put(url, new Response(data)).then(() => true, () => false) : false;
  return { data: new Uint8Array(data), kept };
}

/** What an address returns, or null if it does not have the checksum. */
async function fetched(url, sha256, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  const data = await response.arrayBuffer();
  return (await checksum(data)) === sha256 ? data : null;
}

async function checksum(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The browser's cache for models, or null where there is none: private windows, storage switched off. */
async function openCache(root) {
  try {
    return await caches.open(`dermedge-models${root}`);
  } catch {
    return null;
  }
}

/** Forget graphs of other models, so that the browser's storage does not fill up. */
async function forgetOthers(cache, files) {
  const wanted = new Set(files.map(({ url }) => new URL(url, location.href).href));
  for (const request of (await cache?.keys().catch(() => [])) ?? []) {
    if (!wanted.has(request.url)) await cache.delete(request).catch(() => false);
  }
}

async function load({ root, runtime, files, headers, ...rest }) {
  const roles = ["features", "head", "explain"];
  const cache = await openCache(root);
  const loaded = await Promise.all(roles.map((role) => verifiedFile(cache, files[role], headers)));
  globalThis.Module = { print: console.debug, printErr: console.debug }; // the runtime logs progress, not errors
  await loadLiteRt(runtime);
  graphs = {};
  for (const [index, role] of roles.entries()) graphs[role] = await loadAndCompile(loaded[index].data, { accelerator: "wasm" });
  const jpegDecoder = await WebAssembly.compileStreaming(fetch(`${runtime}jpeg-turbo.wasm`));
  setup = { ...rest, jpegDecoder };
  await forgetOthers(cache, roles.map((role) => files[role]));
  const size = setup.size;
  await run(graphs.features, { image_nhwc: new Tensor(new Uint8Array(size * size * 3), [1, size, size, 3]) }); // warm up
  return { kept: loaded.every(({ kept }) => kept) };
}

async function run(graph, inputs) {
  const outputs = await graph.run(inputs);
  const plain = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    plain[name] = { data: tensor.toTypedArray().slice(), shape: shapeOf(tensor) };
    tensor.delete();
  }
  for (const tensor of Object.values(inputs)) tensor.delete();
  return plain;
}

const shapeOf = (tensor) => Array.from(tensor.type.layout.dimensions);

function softmax(logits) {
  const peak = Math.max(...logits);
  const exponentials = Array.from(logits, (logit) => Math.exp(logit - peak));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

function verdictOf(confidence, outlierScore) {
  const { not_sure_below: notSureBelow, not_lesion_above: notLesionAbove } = setup.thresholds;
  if (notLesionAbove != null && outlierScore != null && !(outlierScore <= notLesionAbove)) return "not_a_lesion_image";
  return notSureBelow != null && confidence < notSureBelow ? "not_sure" : "diagnosis";
}

/** The API's prediction, and where it was made. */
async function predict({ file, name, explainClass, patient }) {
  const started = performance.now();
  const image = await loadImage(file, setup);
  const decoded = performance.now();
  const { size, codes } = setup;
  const { feature_map: features } = await run(graphs.features, { image_nhwc: new Tensor(new Uint8Array(image.buffer), [1, size, size, 3]) });
  const featured = performance.now();
  const shared = () => ({
    feature_map: new Tensor(features.data, features.shape),
    ...(patient ? { metadata: new Tensor(Float32Array.from(patient), [1, patient.length]) } : {}),
  });
  const { logits, outlier_score: outlier } = await run(graphs.head, shared());
  if (!logits.data.every(Number.isFinite)) throw new Error("the engine returned logits that are not finite");
  const probabilities = softmax(logits.data);
  const best = probabilities.indexOf(Math.max(...probabilities));
  const classified = performance.now();
  const explained = explainClass ?? codes[best];
  const weights = Float32Array.from(codes, (code) => Number(code === explained));
  const { class_activation_map: map } = await run(graphs.explain, { ...shared(), class_weights: new Tensor(weights, [1, codes.length]) });
  const finished = performance.now();
  const columns = map.shape.at(-1);
  return {
    image: name,
    label: codes[best],
    probabilities: Object.fromEntries(codes.map((code, index) => [code, probabilities[index]])),
    verdict: verdictOf(probabilities[best], outlier?.data[0]),
    engine: "tflite",
    precision: setup.precision,
    timing_ms: { decode: decoded - started, features: featured - decoded, head: classified - featured, explain: finished - classified },
    warnings: [],
    explained_class: explained,
    class_activation_map: Array.from({ length: map.data.length / columns }, (_, row) => Array.from(map.data.slice(row * columns, (row + 1) * columns))),
    on_device: true,
  };
}

let queue = Promise.resolve(); // one image at a time: there is one runtime
addEventListener("message", ({ data: { id, task, ...details } }) => {
  queue = queue.then(async () => {
    try {
      postMessage({ id, result: await (task === "load" ? load(details) : predict(details)) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
});
