// The model on the server: one request per picture. What comes back is the API's answer as it is.

import { byId, model, texts } from "./boot.js";

export class AnswerError extends Error {}

/** Classify a file. Options: variant, explainClass, patient {age, sex, site}, picture (ask for what the model saw). */
export async function predict(file, { variant, explainClass, patient = {}, picture = false } = {}) {
  const form = new FormData();
  form.append("image", file, file.name || "picture");
  const [engine, precision] = (variant || model.default_variant).split("-");
  const fields = { engine, precision, explain: "map", explain_class: explainClass, picture: picture ? "1" : "", ...patient };
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  let response;
  try {
    response = await fetch("/api/v1/predict", { method: "POST", body: form, headers: authorization() });
  } catch {
    throw new AnswerError(texts.errors.network);
  }
  const body = await response.json().catch(() => ({ detail: `HTTP ${response.status}` }));
  if (!response.ok) throw new AnswerError(body.detail);
  return body;
}

/** The header with the API key that the reader typed, for servers that want one. */
export function authorization() {
  const key = byId("api-key")?.value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}
