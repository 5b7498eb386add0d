// The row of pictures when there are several: each a button that shows its answer, and one that removes it.

import { byId, format, headline, percent, texts } from "./boot.js";

export function showStrip(pictures, current, { onSelect, onRemove }) {
  const strip = byId("strip");
  strip.hidden = pictures.length < 2;
  const focused = document.activeElement?.dataset?.picture;
  strip.querySelector("ul").replaceChildren(...pictures.map((picture) => entry(picture, picture === current, onSelect, onRemove)));
  if (focused) strip.querySelector(`[data-picture="${focused}"]`)?.focus();
}

function entry(picture, isCurrent, onSelect, onRemove) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "thumb";
  button.dataset.picture = picture.id;
  if (isCurrent) button.setAttribute("aria-current", "true");
  const image = Object.assign(document.createElement("img"), { src: picture.url, alt: "" });
  button.append(image, line(picture.name, "second"), line(summary(picture)));
  button.addEventListener("click", () => onSelect(picture));
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "remove";
  remove.textContent = "×";
  remove.setAttribute("aria-label", format(texts.result.remove, { name: picture.name }));
  remove.addEventListener("click", () => onRemove(picture));
  item.append(button, remove);
  return item;
}

function line(text, className = "") {
  return Object.assign(document.createElement("span"), { textContent: text, className });
}

function summary({ answer, error }) {
  if (error) return texts.result.failed;
  if (!answer) return "…";
  const confidence = answer.verdict === "diagnosis" ? ` ${percent(answer.probabilities[answer.label])}` : "";
  return headline(answer) + confidence;
}
