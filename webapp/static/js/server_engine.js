// The model on the server: one request per image. Returns the API's JSON object unchanged.

import { byId, classNames, format, model, root, texts } from "./boot.js";

const PATIENCE = 60; // seconds
const VERDICTS = ["diagnosis", "not_sure", "not_a_lesion_image"];

export class PredictionError extends Error {}

/** The server was not reached: there was no response, or one that something in between sent in its place. */
export class UnreachableError extends PredictionError {}

/** Classify a file. Options: variant, explainClass, patient {age, sex, site}, withSeen (also return the image as the model saw it). */
export async function predict(file, { variant, explainClass, patient = {}, withSeen = false } = {}) {
  const form = new FormData();
  form.append("image", file, file.name || "image");
  const [engine, precision] = (variant || model.default_variant).split("-");
  const fields = { engine, precision, explain: "map", explain_class: explainClass, picture: withSeen ? "1" : "", ...patient };
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  const { status, type, body } = await post(form);
  if (status === 200 && type === "application/json" && isPrediction(body)) return body;
  if (status >= 400 && type === "application/problem+json" && typeof body?.detail === "string") throw new PredictionError(body.detail);
  throw new UnreachableError(format(texts.errors.foreign, { status }));
}

/** Send a form and return what comes back: the status, the content type, and the body if it is JSON. */
async function post(form) {
  try {
    const options = { method: "POST", body: form, headers: authorization(), redirect: "error", signal: AbortSignal.timeout(1000 * PATIENCE) };
    const response = await fetch(`${root}/api/v1/predict`, options);
    const type = (response.headers.get("Content-Type") ?? "").split(";")[0].trim();
    return { status: response.status, type, body: parsed(await response.text()) };
  } catch (error) {
    throw new UnreachableError(error.name === "TimeoutError" ? format(texts.errors.timeout, { seconds: PATIENCE }) : texts.errors.network);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Whether a JSON value has all that the page shows of a prediction. */
function isPrediction(body) {
  const numbers = (values) => values.length > 0 && values.every(Number.isFinite);
  const map = body?.class_activation_map;
  return (
    body?.label in classNames &&
    VERDICTS.includes(body.verdict) &&
    numbers(Object.keys(classNames).map((code) => body.probabilities?.[code])) &&
    numbers(Object.values(body.timing_ms ?? {})) &&
    (map === undefined || (Array.isArray(map) && map.every((row) => Array.isArray(row) && numbers(row))))
  );
}

/** The header with the API key that the reader typed, for servers that want one. */
export function authorization() {
  const key = byId("api-key")?.value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}
