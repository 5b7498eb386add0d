// A one-page report, drawn on a canvas in the browser: as a PNG, or as a PDF that holds that page.

import { byId, classNames, format, groupText, headline, malignant, meanings, model, percent, texts } from "./boot.js";
import { heatPixels, hasEvidence } from "./heat.js";
import { imagePdf } from "./pdf.js";
import { engineLine } from "./result_view.js";

const WIDTH = 1240, HEIGHT = 1754, MARGIN = 96; // A4 at 150 dots per inch
const FONT = 'system-ui, "Liberation Sans", sans-serif';

export function listenForReport(currentImage) {
  const save = (makeBlob, suffix) => async () => {
    const image = currentImage();
    if (!image?.prediction) return;
    const canvas = await drawReport(image);
    download(await makeBlob(canvas), `${image.name.replace(/\.\w+$/, "")}-report.${suffix}`);
  };
  byId("save-png").addEventListener("click", save((canvas) => blobOf(canvas, "image/png"), "png"));
  byId("save-pdf").addEventListener("click", save(async (canvas) => {
    const jpeg = await blobOf(canvas, "image/jpeg", 0.92);
    return imagePdf(new Uint8Array(await jpeg.arrayBuffer()), WIDTH, HEIGHT);
  }, "pdf"));
}

const blobOf = (canvas, type, quality) => new Promise((resolve) => canvas.toBlob(resolve, type, quality));

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function drawReport(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, WIDTH, HEIGHT);
  pen.textBaseline = "top";
  let y = MARGIN;
  const write = (text, size, { weight = 400, colour = "#17211f", gap = 0.5 } = {}) => {
    pen.font = `${weight} ${size}px ${FONT}`;
    pen.fillStyle = colour;
    for (const line of wrap(pen, text, WIDTH - 2 * MARGIN)) {
      pen.fillText(line, MARGIN, y);
      y += size * 1.35;
    }
    y += size * gap;
  };
  write(texts.report.title, 26, { colour: "#53625e" });
  if (model.demo) write(texts.demo, 26, { weight: 600, colour: "#6b4a00" });
  const { prediction } = image;
  const confidence = prediction.verdict === "diagnosis" ? ` · ${percent(prediction.probabilities[prediction.label])}` : "";
  write(headline(prediction) + confidence, 54, { weight: 650, gap: 0.2 });
  if (prediction.verdict === "diagnosis") {
    write(groupText(prediction.label), 26, { gap: 0.4 });
    write(meanings[prediction.label], 26, { colour: "#53625e", gap: 1 });
  } else {
    write(texts.result[`${prediction.verdict}_text`], 26, { colour: "#53625e", gap: 1 });
  }
  y = await drawImages(pen, image, y);
  if (prediction.verdict !== "not_a_lesion_image") y = drawBars(pen, prediction, y);
  write(`${texts.report.file}: ${image.name}`, 22, { colour: "#53625e", gap: 0.15 });
  write(`${texts.report.engine}: ${engineLine(prediction)}`, 22, { colour: "#53625e", gap: 0.15 });
  write(`${texts.report.model}: ${model.name} · ${model.architecture} · ${model.provenance.created}`, 22, { colour: "#53625e", gap: 0.15 });
  write(`${texts.report.made}: ${new Date().toLocaleString()}`, 22, { colour: "#53625e" });
  y = HEIGHT - MARGIN - 30;
  write(texts.report.footer, 24, { weight: 600 });
  return canvas;
}

async function drawImages(pen, image, top) {
  const element = new Image();
  element.src = image.url;
  await element.decode();
  const gap = 32;
  const width = (WIDTH - 2 * MARGIN - gap) / 2;
  const height = Math.min(width, (width * element.naturalHeight) / element.naturalWidth);
  const map = image.maps[image.selected];
  pen.drawImage(element, MARGIN, top, width, height);
  pen.font = `400 22px ${FONT}`;
  pen.fillStyle = "#53625e";
  pen.fillText(texts.result.image, MARGIN, top + height + 12);
  if (map && image.prediction.verdict !== "not_a_lesion_image") {
    const left = MARGIN + width + gap;
    pen.drawImage(element, left, top, width, height);
    if (hasEvidence(map)) {
      const layer = new OffscreenCanvas(224, 224);
      layer.getContext("2d").putImageData(new ImageData(heatPixels(map, 224), 224), 0, 0);
      pen.globalAlpha = byId("opacity").value / 100;
      pen.drawImage(layer, left, top, width, height);
      pen.globalAlpha = 1;
    }
    pen.fillText(format(texts.result.map, { name: classNames[image.selected] }), left, top + height + 12, width);
  }
  return top + height + 72;
}

function drawBars(pen, prediction, top) {
  let y = top;
  for (const { code, name } of model.classes) {
    const probability = prediction.probabilities[code];
    pen.font = `${code === prediction.label ? 600 : 400} 24px ${FONT}`;
    pen.fillStyle = "#17211f";
    pen.fillText(`${name} (${code})${malignant.has(code) ? " ▲" : ""}`, MARGIN, y);
    const value = percent(probability);
    pen.fillText(value, WIDTH - MARGIN - pen.measureText(value).width, y);
    pen.fillStyle = "#ecf0ee";
    pen.fillRect(MARGIN, y + 34, WIDTH - 2 * MARGIN, 10);
    pen.fillStyle = malignant.has(code) ? "#c2602f" : "#3f7f79";
    pen.fillRect(MARGIN, y + 34, (WIDTH - 2 * MARGIN) * probability, 10);
    y += 62;
  }
  return y + 20;
}

function wrap(pen, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (lines.at(-1) && pen.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}
