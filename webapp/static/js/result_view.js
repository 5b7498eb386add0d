// The answer for one picture: headline, bars, picture beside heat map, engine and time.

import { byId, classNames, format, headline, malignant, milliseconds, percent, texts, totalMilliseconds, variantNames } from "./boot.js";
import { drawHeat, hasEvidence } from "./heat.js";

/** Show a picture's state; the same call again after every change. */
export function showResult(picture) {
  const { answer, error } = picture;
  byId("result").hidden = false;
  byId("result").classList.toggle("busy", !answer && !error);
  byId("file-name").textContent = picture.name;
  byId("failure").hidden = !error;
  byId("failure").textContent = error ?? "";
  byId("headline").textContent = answer ? headline(answer) : error ? texts.result.failed : format(texts.result.working, { name: picture.name });
  const diagnosis = answer?.verdict === "diagnosis";
  const considered = Boolean(answer) && answer.verdict !== "not_a_lesion_image";
  document.querySelector(".facts").hidden = !diagnosis;
  byId("bars-block").hidden = Boolean(error) || (Boolean(answer) && !considered);
  byId("confidence").textContent = diagnosis ? percent(answer.probabilities[answer.label]) : "";
  showGroup(diagnosis ? answer.label : null);
  byId("meaning").textContent = meaning(answer);
  showBars(answer, picture.selected);
  showEvidence(picture, considered);
  showEngine(answer);
}

function meaning(answer) {
  if (!answer) return "";
  return answer.verdict === "diagnosis" ? texts.classes[answer.label] : texts.result[`${answer.verdict}_text`];
}

function showGroup(code) {
  const group = byId("group");
  const isMalignant = malignant.has(code);
  group.textContent = code ? `${isMalignant ? "▲ " : ""}${isMalignant ? texts.result.malignant : texts.result.benign}` : "";
  group.classList.toggle("malignant", isMalignant);
}

function showBars(answer, selected) {
  for (const bar of byId("bars").querySelectorAll(".bar")) {
    const { code } = bar.dataset;
    const probability = answer?.probabilities[code] ?? 0;
    bar.disabled = !answer;
    bar.classList.toggle("top", code === answer?.label);
    bar.classList.toggle("malignant", malignant.has(code));
    bar.setAttribute("aria-pressed", String(Boolean(answer) && code === selected));
    bar.querySelector(".value").textContent = answer ? percent(probability) : "–";
    bar.querySelector(".fill").style.width = `${(probability * 100).toFixed(1)}%`;
  }
}

function showEvidence(picture, considered) {
  for (const id of ["picture", "picture-under"]) if (byId(id).getAttribute("src") !== picture.url) byId(id).src = picture.url;
  const map = considered ? picture.maps[picture.selected] : null;
  const canvas = byId("heat");
  canvas.closest("figure").hidden = Boolean(picture.answer || picture.error) && !considered;
  drawHeat(canvas, map);
  canvas.dataset.code = map ? picture.selected : "";
  const name = classNames[picture.selected] ?? "";
  canvas.setAttribute("aria-label", format(texts.result.map_alt, { name }));
  byId("map-caption").textContent = name ? format(texts.result.map, { name }) : "";
  byId("map-note").textContent = map && !hasEvidence(map) ? texts.result.map_none : texts.result.map_note;
}

function showEngine(answer) {
  byId("engine").textContent = answer ? engineLine(answer) : "";
  byId("stages").textContent = answer ? format(texts.result.stages, stageTexts(answer.timing_ms)) : "";
}

function stageTexts(timing) {
  const stages = { decode: 0, features: 0, head: 0, explain: 0, ...timing };
  return Object.fromEntries(Object.entries(stages).map(([stage, value]) => [stage, milliseconds(value)]));
}

/** Which engine answered, where, and how fast. */
export function engineLine(answer) {
  const variant = `${answer.engine}-${answer.precision}`;
  const where = answer.on_device ? texts.result.where_device : texts.result.where_server;
  return format(texts.result.engine, { variant: variantNames[variant] ?? variant, where, total: milliseconds(totalMilliseconds(answer)) });
}

/** Tell screen readers, once per answer. */
export function announce(picture) {
  const { name, answer, error } = picture;
  if (error) {
    byId("announcement").textContent = format(texts.result.announce_error, { name, error });
    return;
  }
  const confidence = answer.verdict === "diagnosis" ? percent(answer.probabilities[answer.label]) : "";
  const values = { name, diagnosis: headline(answer), confidence, total: milliseconds(totalMilliseconds(answer)) };
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
