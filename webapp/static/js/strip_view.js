// The row of images when there are several: each a button that shows its prediction, and one that removes it.

import { byId, format, headline, percent, texts } from "./boot.js";

export function showStrip(images, current, { onSelect, onRemove }) {
  const strip = byId("strip");
  strip.hidden = images.length < 2;
  const focused = document.activeElement?.dataset?.image;
  strip.querySelector("ul").replaceChildren(...images.map((image) => entry(image, image === current, onSelect, onRemove)));
  if (focused) strip.querySelector(`[data-image="${focused}"]`)?.focus();
}

function entry(image, isCurrent, onSelect, onRemove) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "thumb";
  button.dataset.image = image.id;
  if (isCurrent) button.setAttribute("aria-current", "true");
  const thumbnail = Object.assign(document.createElement("img"), { src: image.url, alt: "" });
  button.append(thumbnail, line(image.name, "second"), line(summary(image)));
  button.addEventListener("click", () => onSelect(image));
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "remove";
  remove.textContent = "×";
  remove.setAttribute("aria-label", format(texts.result.remove, { name: image.name }));
  remove.addEventListener("click", () => onRemove(image));
  item.append(button, remove);
  return item;
}

function line(text, className = "") {
  return Object.assign(document.createElement("span"), { textContent: text, className });
}

function summary({ prediction, error }) {
  if (error) return texts.result.failed;
  if (!prediction) return "…";
  const confidence = prediction.verdict === "diagnosis" ? ` ${percent(prediction.probabilities[prediction.label])}` : "";
  return headline(prediction) + confidence;
}
