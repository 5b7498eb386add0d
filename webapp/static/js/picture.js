// A picture file as the graphs take it: the same steps, and the same pixels, as edge_runtime.preprocessing.load_image_hwc.

import { decodeReduced, readJpegHeader, reduction } from "./reduced_jpeg.js";
import { stretchToSquare } from "./resample.js";

/** uint8 of size × size × 3. Throws when the browser cannot decode the file or it has more than maxPixels. */
export async function loadImage(file, { size, maxPixels, jpegDecoder }) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const jpeg = readJpegHeader(bytes);
  if (jpeg) refuseBombs(jpeg, maxPixels);
  const factor = jpeg && jpeg.channels !== 4 ? reduction(jpeg, size) : 1;
  const { data, width, height } = factor > 1 ? await decodeReduced(bytes, jpeg, factor, jpegDecoder) : await decodeWhole(file, maxPixels, Boolean(jpeg));
  return stretchToSquare(data, width, height, size);
}

function refuseBombs({ width, height }, maxPixels) {
  if (width * height > maxPixels) throw new Error("too many pixels");
}

async function decodeWhole(file, maxPixels, opaque) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  refuseBombs(bitmap, maxPixels);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!opaque) { // what is transparent counts as white, as everywhere in this project
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
