// Every engine and precision of the bundle on the same picture, side by side.

import { byId, classNames, milliseconds, model, percent, texts, totalMilliseconds, variantNames } from "./boot.js";
import { predict } from "./server_engine.js";

export function hideComparison() {
  byId("comparison").hidden = true;
}

export function listenForComparison(currentPicture) {
  byId("compare").addEventListener("click", async () => {
    const picture = currentPicture();
    if (!picture?.answer) return;
    byId("comparison").hidden = false;
    byId("compare-rows").replaceChildren(row([texts.compare.working, "", "", "", ""]));
    const outcomes = [];
    for (const variant of model.variants) { // one after the other: the times would be worthless otherwise
      outcomes.push(await predict(picture.file, { variant }).then((answer) => ({ variant, answer }), (error) => ({ variant, error })));
    }
    if (currentPicture() === picture) show(outcomes);
    byId("comparison").scrollIntoView({ block: "nearest" });
  });
}

function show(outcomes) {
  const reference = (outcomes.find(({ variant, answer }) => answer && variant.endsWith("fp32")) ?? outcomes.find(({ answer }) => answer))?.answer;
  byId("compare-rows").replaceChildren(...outcomes.map(({ variant, answer, error }) => {
    const name = variantNames[variant] ?? variant;
    if (error) return row([name, error.message, "", "", ""]);
    const difference = answer === reference ? texts.compare.reference : largestDifference(answer, reference).toFixed(4);
    return row([name, classNames[answer.label], percent(answer.probabilities[answer.label]), difference, milliseconds(totalMilliseconds(answer))]);
  }));
}

function largestDifference(answer, reference) {
  return Math.max(...Object.entries(answer.probabilities).map(([code, value]) => Math.abs(value - reference.probabilities[code])));
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
