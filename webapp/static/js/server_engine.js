// The model on the server: one request per image. Returns the API's JSON object unchanged.

import { byId, model, texts } from "./boot.js";

export class PredictionError extends Error {}

/** Classify a file. Options: variant, explainClass, patient {age, sex, site}, withSeen (also return the image as the model saw it). */
export async function predict(file, { variant, explainClass, patient = {}, withSeen = false } = {}) {
  const form = new FormData();
  form.append("image", file, file.name || "image");
  const [engine, precision] = (variant || model.default_variant).split("-");
  const fields = { engine, precision, explain: "map", explain_class: explainClass, picture: withSeen ? "1" : "", ...patient };
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  let response;
  try {
    response = await fetch("/api/v1/predict", { method: "POST", body: form, headers: authorization() });
  } catch {
    throw new PredictionError(texts.errors.network);
  }
  const body = await response.json().catch(() => ({ detail: `HTTP ${response.status}` }));
  if (!response.ok) throw new PredictionError(body.detail);
  return body;
}

/** The header with the API key that the reader typed, for servers that want one. */
export function authorization() {
  const key = byId("api-key")?.value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}
