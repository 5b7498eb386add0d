// The page's state and its flow: pictures come in, an engine answers, the views show it.

import { byId, format, texts } from "./boot.js";
import { listenForComparison, hideComparison } from "./comparison.js";
import { chooseEngine, installServiceWorker, listenForEngine } from "./engine_choice.js";
import { initHistory, remember } from "./history.js";
import { listenForPictures, objection } from "./intake.js";
import { listenForReport } from "./report.js";
import { announce, hideResult, listenForOpacity, showResult } from "./result_view.js";
import { showStrip } from "./strip_view.js";

const pictures = [];
let current = null;
let counter = 0;
let working = Promise.resolve();

function newPicture(file) {
  return { id: ++counter, file, name: file.name || "picture", url: URL.createObjectURL(file), maps: {}, selected: null, answer: null, error: objection(file) };
}

function refresh() {
  document.body.classList.toggle("answered", pictures.length > 0);
  showStrip(pictures, current, { onSelect: select, onRemove: remove });
  if (current) showResult(current);
  else hideResult();
}

function select(picture) {
  if (current !== picture) hideComparison();
  current = picture;
  refresh();
}

function remove(picture) {
  pictures.splice(pictures.indexOf(picture), 1);
  URL.revokeObjectURL(picture.url);
  if (current === picture) select(pictures.at(-1) ?? null);
  else refresh();
}

function add(files) {
  const fresh = files.map(newPicture);
  if (!fresh.length) return;
  pictures.push(...fresh);
  select(fresh[0]);
  byId("result").scrollIntoView({ block: "nearest" });
  for (const picture of fresh) working = working.then(() => classify(picture)); // one after the other: the server is shared
}

async function classify(picture) {
  if (!pictures.includes(picture)) return; // removed while it waited
  if (!picture.error) {
    try {
      const { predict, settings } = await chooseEngine();
      const answer = await predict(picture.file, settings);
      receive(picture, answer);
      picture.selected = answer.label;
      await showable(picture, predict, settings);
      remember(picture);
    } catch (error) {
      picture.error = error.message;
    }
  }
  announce(picture);
  if (pictures.includes(picture)) refresh();
}

function receive(picture, answer) {
  picture.answer = answer;
  if (answer.class_activation_map) picture.maps[answer.explained_class] = answer.class_activation_map;
}

/** Browsers cannot show every format that the model takes (TIFF): then show what the model saw. */
async function showable(picture, predict, settings) {
  const image = new Image();
  image.src = picture.url;
  try {
    await image.decode();
  } catch {
    const { picture: seen } = await predict(picture.file, { ...settings, picture: true });
    if (seen) picture.url = seen;
  }
}

async function explain(code) {
  const picture = current;
  if (!picture?.answer) return;
  picture.selected = code;
  if (!picture.maps[code]) {
    try {
      const { predict, settings } = await chooseEngine();
      const answer = await predict(picture.file, { ...settings, explainClass: code });
      picture.maps[code] = answer.class_activation_map;
    } catch (error) {
      byId("announcement").textContent = format(texts.errors.unexpected, { reason: error.message });
    }
  }
  if (picture === current && picture.selected === code) refresh();
}

/** Another engine, place or patient: the shown picture is asked again, the others keep their answers. */
function askAgain() {
  if (!current || objection(current.file)) return;
  Object.assign(current, { answer: null, error: null, maps: {} });
  hideComparison();
  refresh();
  const picture = current;
  working = working.then(() => classify(picture));
}

byId("bars").addEventListener("click", (event) => {
  const code = event.target.closest(".bar")?.dataset.code;
  if (code) explain(code);
});
listenForPictures(add);
listenForOpacity();
listenForEngine(askAgain);
listenForComparison(() => current);
listenForReport(() => current);
initHistory();
installServiceWorker();
document.documentElement.dataset.ready = "true";
