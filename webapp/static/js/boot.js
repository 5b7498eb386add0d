// What the server put into the page: the loaded model, every text, and the heat map's colours.

const boot = JSON.parse(document.getElementById("boot").textContent);

export const root = boot.root; // the prefix that a proxy shows this server under, often none
export const model = boot.model;
export const formats = boot.formats; // {names, suffixes} of the image formats that the server decodes
export const texts = boot.texts;
export const heat = boot.heat;
export const device = boot.device; // where the files for running on this device are, or null
export const variantNames = boot.variant_names;
export const apiKeyRequired = boot.api_key_required;

export const classNames = Object.fromEntries(model.classes.map(({ code, name }) => [code, name]));
export const meanings = Object.fromEntries(model.classes.map(({ code, meaning }) => [code, meaning]));
const groups = Object.fromEntries(model.classes.map(({ code, group }) => [code, group]));
export const malignant = new Set(model.classes.filter((each) => each.malignant).map(({ code }) => code));

/** Fill the places in a text: format("Sample: {name}", {name: "x"}) → "Sample: x". */
export function format(template, values) {
  return template.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

/** A probability for display. Never 0 % or 100 %: no model is that certain. */
export function percent(probability) {
  if (probability < 0.005) return "< 1 %";
  if (probability > 0.995) return "> 99 %";
  return `${Math.round(probability * 100)} %`;
}

/** The group of a class in words, empty for a class that is neither malignant nor benign. */
export function groupText(code) {
  if (malignant.has(code)) return `▲ ${texts.result.malignant}`;
  return groups[code] === "benign" ? texts.result.benign : "";
}

/** Milliseconds with a sensible number of digits. */
export function milliseconds(value) {
  return value >= 10 ? Math.round(value).toString() : value.toFixed(1);
}

/** The headline for a prediction: the diagnosis in words, or why there is none. */
export function headline(prediction) {
  if (prediction.verdict === "not_sure") return texts.result.not_sure;
  if (prediction.verdict === "not_a_lesion_image") return texts.result.not_a_lesion_image;
  return classNames[prediction.label];
}

/** Sum of a prediction's stages, in milliseconds. */
export function totalMilliseconds(prediction) {
  return Object.values(prediction.timing_ms).reduce((sum, stage) => sum + stage, 0);
}

/** Shorthand for document.getElementById. */
export const byId = (id) => document.getElementById(id);
