// What the server put into the page: the loaded model, every text, and how heat is coloured.

const boot = JSON.parse(document.getElementById("boot").textContent);

export const model = boot.model;
export const texts = boot.texts;
export const heat = boot.heat;
export const device = boot.device; // where the parts for running on this device are, or null
export const variantNames = boot.variant_names;
export const apiKeyRequired = boot.api_key_required;

export const classNames = Object.fromEntries(model.classes.map(({ code, name }) => [code, name]));
export const malignant = new Set(model.classes.filter((each) => each.malignant).map(({ code }) => code));

/** Fill the places in a text: format("Sample: {name}", {name: "x"}) → "Sample: x". */
export function format(template, values) {
  return template.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

/** A probability as people read it. Never 0 % or 100 %: the model is never that sure. */
export function percent(probability) {
  if (probability < 0.005) return "< 1 %";
  if (probability > 0.995) return "> 99 %";
  return `${Math.round(probability * 100)} %`;
}

/** Milliseconds with as many digits as mean something. */
export function milliseconds(value) {
  return value >= 10 ? Math.round(value).toString() : value.toFixed(1);
}

/** The headline for an answer: the diagnosis in words, or why there is none. */
export function headline(answer) {
  if (answer.verdict === "not_sure") return texts.result.not_sure;
  if (answer.verdict === "not_a_lesion_image") return texts.result.not_a_lesion_image;
  return classNames[answer.label];
}

/** All of an answer's stages together, in milliseconds. */
export function totalMilliseconds(answer) {
  return Object.values(answer.timing_ms).reduce((sum, stage) => sum + stage, 0);
}

/** Shorthand for document.getElementById. */
export const byId = (id) => document.getElementById(id);
