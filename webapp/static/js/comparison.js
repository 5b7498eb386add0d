// Every engine and precision of the bundle on the same image, side by side.

import { byId, classNames, milliseconds, model, percent, texts, totalMilliseconds, variantNames } from "./boot.js";
import { predict } from "./server_engine.js";

export function hideComparison() {
  byId("comparison").hidden = true;
}

export function listenForComparison(currentImage) {
  byId("compare").addEventListener("click", async () => {
    const image = currentImage();
    if (!image?.prediction) return;
    byId("comparison").hidden = false;
    byId("compare-rows").replaceChildren(row([texts.compare.working, "", "", "", ""]));
    const outcomes = [];
    for (const variant of model.variants) { // one after the other: the times would be worthless otherwise
      outcomes.push(await predict(image.file, { variant }).then((prediction) => ({ variant, prediction }), (error) => ({ variant, error })));
    }
    if (currentImage() === image) show(outcomes);
    byId("comparison").scrollIntoView({ block: "nearest" });
  });
}

function show(outcomes) {
  const reference = (outcomes.find(({ variant, prediction }) => prediction && variant.endsWith("fp32")) ?? outcomes.find(({ prediction }) => prediction))?.prediction;
  byId("compare-rows").replaceChildren(...outcomes.map(({ variant, prediction, error }) => {
    const name = variantNames[variant] ?? variant;
    if (error) return row([name, error.message, "", "", ""]);
    const difference = prediction === reference ? texts.compare.reference : largestDifference(prediction, reference).toFixed(4);
    return row([name, classNames[prediction.label], percent(prediction.probabilities[prediction.label]), difference, milliseconds(totalMilliseconds(prediction))]);
  }));
}

function largestDifference(prediction, reference) {
  return Math.max(...Object.entries(prediction.probabilities).map(([code, value]) => Math.abs(value - reference.probabilities[code])));
}

function row(cells) {
  const element = document.createElement("tr");
  cells.forEach((text, index) => {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.scope = "row";
    cell.textContent = text;
    element.append(cell);
  });
  return element;
}
