// The prediction for one image: headline, bars, image beside heat map, engine and time.

import { byId, classNames, format, groupText, headline, malignant, meanings, milliseconds, percent, texts, totalMilliseconds, variantNames } from "./boot.js";
import { drawHeat, hasEvidence } from "./heat.js";

/** Show an image's state; the same call again after every change. */
export function showResult(image) {
  const { prediction, error } = image;
  byId("result").hidden = false;
  byId("result").classList.toggle("busy", !prediction && !error);
  byId("file-name").textContent = image.name;
  byId("failure").hidden = !error;
  byId("failure").textContent = error ?? "";
  byId("headline").textContent = prediction ? headline(prediction) : error ? texts.result.failed : format(texts.result.working, { name: image.name });
  const diagnosis = prediction?.verdict === "diagnosis";
  const considered = Boolean(prediction) && prediction.verdict !== "not_a_lesion_image";
  document.querySelector(".facts").hidden = !diagnosis;
  byId("bars-block").hidden = Boolean(error) || (Boolean(prediction) && !considered);
  byId("confidence").textContent = diagnosis ? percent(prediction.probabilities[prediction.label]) : "";
  showGroup(diagnosis ? prediction.label : null);
  byId("meaning").textContent = meaning(prediction);
  showBars(prediction, image.selected);
  showEvidence(image, considered);
  showEngine(prediction);
}

function meaning(prediction) {
  if (!prediction) return "";
  return prediction.verdict === "diagnosis" ? meanings[prediction.label] : texts.result[`${prediction.verdict}_text`];
}

function showGroup(code) {
  const group = byId("group");
  group.textContent = code ? groupText(code) : "";
  group.hidden = !group.textContent;
  group.classList.toggle("malignant", malignant.has(code));
}

function showBars(prediction, selected) {
  for (const bar of byId("bars").querySelectorAll(".bar")) {
    const { code } = bar.dataset;
    const probability = prediction?.probabilities[code] ?? 0;
    bar.disabled = !prediction;
    bar.classList.toggle("top", code === prediction?.label);
    bar.classList.toggle("malignant", malignant.has(code));
    bar.setAttribute("aria-pressed", String(Boolean(prediction) && code === selected));
    bar.querySelector(".value").textContent = prediction ? percent(probability) : "–";
    bar.querySelector(".fill").style.width = `${(probability * 100).toFixed(1)}%`;
  }
}

function showEvidence(image, considered) {
  for (const id of ["image", "image-under"]) if (byId(id).getAttribute("src") !== image.url) byId(id).src = image.url;
  const map = considered ? image.maps[image.selected] : null;
  const canvas = byId("heat");
  canvas.closest("figure").hidden = Boolean(image.prediction || image.error) && !considered;
  drawHeat(canvas, map);
  canvas.dataset.code = map ? image.selected : "";
  const name = classNames[image.selected] ?? "";
  canvas.setAttribute("aria-label", format(texts.result.map_alt, { name }));
  byId("map-caption").textContent = name ? format(texts.result.map, { name }) : "";
  byId("map-note").textContent = map && !hasEvidence(map) ? texts.result.map_none : texts.result.map_note;
}

function showEngine(prediction) {
  byId("engine").textContent = prediction ? engineLine(prediction) : "";
  byId("stages").textContent = prediction ? format(texts.result.stages, stageTexts(prediction.timing_ms)) : "";
}

function stageTexts(timing) {
  const stages = { decode: 0, features: 0, head: 0, explain: 0, ...timing };
  return Object.fromEntries(Object.entries(stages).map(([stage, value]) => [stage, milliseconds(value)]));
}

/** Which engine was used, where, and how fast. */
export function engineLine(prediction) {
  const variant = `${prediction.engine}-${prediction.precision}`;
  const where = prediction.on_device ? texts.result.where_device : texts.result.where_server;
  return format(texts.result.engine, { variant: variantNames[variant] ?? variant, where, total: milliseconds(totalMilliseconds(prediction)) });
}

/** Tell screen readers, once per prediction. */
export function announce(image) {
  const { name, prediction, error } = image;
  if (error) {
    byId("announcement").textContent = format(texts.result.announce_error, { name, error });
    return;
  }
  const confidence = prediction.verdict === "diagnosis" ? percent(prediction.probabilities[prediction.label]) : "";
  const values = { name, diagnosis: headline(prediction), confidence, total: milliseconds(totalMilliseconds(prediction)) };
  byId("announcement").textContent = format(texts.result.announce, values).replace(", .", ".");
}

export function hideResult() {
  byId("result").hidden = true;
}

export function listenForOpacity() {
  const apply = () => { byId("heat").style.opacity = byId("opacity").value / 100; };
  byId("opacity").addEventListener("input", apply);
  apply();
}
