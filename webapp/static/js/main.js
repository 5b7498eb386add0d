// The page's state and its flow: images come in, an engine classifies them, the views show it.

import { byId, format, texts } from "./boot.js";
import { listenForComparison, hideComparison } from "./comparison.js";
import { chooseEngine, installServiceWorker, listenForEngine } from "./engine_choice.js";
import { initHistory, remember } from "./history.js";
import { listenForImages, objection } from "./intake.js";
import { listenForReport } from "./report.js";
import { announce, hideResult, listenForOpacity, showResult } from "./result_view.js";
import { showStrip } from "./strip_view.js";

const images = [];
let current = null;
let counter = 0;
let working = Promise.resolve();

function newImage(file, error) {
  return { id: ++counter, file, name: file.name || "image", url: URL.createObjectURL(file), maps: {}, selected: null, prediction: null, error };
}

function refresh() {
  document.body.classList.toggle("has-images", images.length > 0);
  showStrip(images, current, { onSelect: select, onRemove: remove });
  if (current) showResult(current);
  else hideResult();
}

function select(image) {
  if (current !== image) hideComparison();
  current = image;
  refresh();
}

function remove(image) {
  images.splice(images.indexOf(image), 1);
  URL.revokeObjectURL(image.url);
  if (current === image) select(images.at(-1) ?? null);
  else refresh();
}

/** Show files and classify them; with an error, show only that. */
function add(files, error = null) {
  const fresh = files.map((file) => newImage(file, error ?? objection(file)));
  if (!fresh.length) return;
  images.push(...fresh);
  select(fresh[0]);
  byId("result").scrollIntoView({ block: "nearest" });
  for (const image of fresh) enqueue(image);
}

/** Classify an image after those before it: the server is shared. Whatever happens to one, the next gets its turn. */
function enqueue(image) {
  working = working.then(() => classify(image)).catch((error) => {
    Object.assign(image, { prediction: null, error: format(texts.errors.unexpected, { reason: error.message }) });
    refresh();
  });
}

async function classify(image) {
  if (!images.includes(image)) return; // removed while it waited
  if (!image.error) {
    try {
      const { predict, settings } = await chooseEngine();
      const prediction = await predict(image.file, settings);
      receive(image, prediction);
      image.selected = prediction.label;
      await showable(image, predict, settings);
      remember(image);
    } catch (error) {
      image.error = error.message;
    }
  }
  announce(image);
  if (images.includes(image)) refresh();
}

function receive(image, prediction) {
  image.prediction = prediction;
  if (prediction.class_activation_map) image.maps[prediction.explained_class] = prediction.class_activation_map;
}

/** Browsers cannot show every format that the model takes (TIFF): then show what the model saw. */
async function showable(image, predict, settings) {
  const decoded = new Image();
  decoded.src = image.url;
  try {
    await decoded.decode();
  } catch {
    const { picture: seen } = await predict(image.file, { ...settings, withSeen: true });
    if (seen) image.url = seen;
  }
}

async function explain(code) {
  const image = current;
  if (!image?.prediction) return;
  image.selected = code;
  if (!image.maps[code]) {
    try {
      const { predict, settings } = await chooseEngine();
      const prediction = await predict(image.file, { ...settings, explainClass: code });
      image.maps[code] = prediction.class_activation_map;
    } catch (error) {
      byId("announcement").textContent = format(texts.errors.unexpected, { reason: error.message });
    }
  }
  if (image === current && image.selected === code) refresh();
}

/** Another engine, place or patient: the image on show is classified again, the others keep their predictions. */
function askAgain() {
  if (!current || objection(current.file)) return;
  Object.assign(current, { prediction: null, error: null, maps: {} });
  hideComparison();
  refresh();
  enqueue(current);
}

byId("bars").addEventListener("click", (event) => {
  const code = event.target.closest(".bar")?.dataset.code;
  if (code) explain(code);
});
listenForImages(add);
listenForOpacity();
listenForEngine(askAgain);
listenForComparison(() => current);
listenForReport(() => current);
initHistory();
installServiceWorker();
document.documentElement.dataset.ready = "true";
