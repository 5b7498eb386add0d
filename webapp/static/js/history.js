// Past predictions, in this browser's own storage and nowhere else.

import { byId, headline, percent, texts } from "./boot.js";

const KEY = "dermedge.history";
const LIMIT = 30;
const THUMB = 112;

function read() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(entries) ? entries : [];
  } catch {
    return []; // no storage, or somebody else's data: then there is no history
  }
}

function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch { /* full or switched off: a history is a convenience */ }
}

/** Keep a classified image as a small thumbnail with its headline. */
export async function remember({ url, name, prediction }) {
  const entry = {
    time: new Date().toISOString(),
    name,
    headline: headline(prediction),
    confidence: prediction.verdict === "diagnosis" ? percent(prediction.probabilities[prediction.label]) : "",
    thumb: await thumbnail(url).catch(() => ""),
  };
  write([entry, ...read()].slice(0, LIMIT));
  show();
}

async function thumbnail(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const scale = THUMB / Math.max(image.naturalWidth, image.naturalHeight);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}

function show() {
  const entries = read();
  byId("history-empty").hidden = entries.length > 0;
  byId("history-clear").hidden = entries.length === 0;
  byId("history-list").replaceChildren(...entries.map(item));
}

function item(entry) {
  const element = document.createElement("li");
  const image = Object.assign(document.createElement("img"), { alt: "" });
  if (String(entry.thumb).startsWith("data:image/jpeg")) image.src = entry.thumb;
  const words = document.createElement("div");
  const what = Object.assign(document.createElement("span"), { textContent: `${entry.headline} ${entry.confidence}`.trim() });
  const when = Object.assign(document.createElement("span"), { className: "hint", textContent: `${entry.name} · ${new Date(entry.time).toLocaleString()}` });
  words.append(what, when);
  element.append(image, words);
  return element;
}

export function initHistory() {
  byId("history-clear").addEventListener("click", () => {
    try { localStorage.removeItem(KEY); } catch { /* nothing was kept then */ }
    show();
    byId("announcement").textContent = texts.history.cleared;
    byId("history").querySelector("summary").focus();
  });
  show();
}
