// An image file as the graphs take it: the same steps, and the same pixels, as edge_runtime.imaging.preprocessing.load_image_hwc.

import { inexactness } from "./exactness.js";
import { decodeReduced, readJpegHeader, reduction } from "./reduced_jpeg.js";
import { stretchToSquare } from "./resample.js";

/**
 * uint8 of size × size × 3. Throws when the file has more than maxPixels, cannot be decoded here, is damaged, or could
 * only be decoded to other pixels than everywhere else: CMYK, half-transparent pixels, and what inexactness() names.
 */
export async function loadImage(file, { size, maxPixels, jpegDecoder }) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const jpeg = readJpegHeader(bytes);
  if (jpeg) refuseBombs(jpeg, maxPixels);
  const reason = jpeg?.channels === 4 ? "its colours are CMYK" : inexactness(bytes);
  if (reason) throw inexact(reason);
  const factor = jpeg ? reduction(jpeg, size) : 1;
  if (jpeg && factor === 1) await decodeReduced(bytes, jpeg, 8, jpegDecoder); // throws where a browser would fill in
  const { data, width, height } = factor > 1 ? await decodeReduced(bytes, jpeg, factor, jpegDecoder) : await decodeWhole(file, maxPixels);
  if (!jpeg) whitenTransparent(data);
  return stretchToSquare(data, width, height, size);
}

function refuseBombs({ width, height }, maxPixels) {
  if (width * height > maxPixels) throw new Error("too many pixels");
}

const inexact = (reason) => new Error(`the image cannot be decoded exactly: ${reason}`);

async function decodeWhole(file, maxPixels) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  refuseBombs(bitmap, maxPixels);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** What is transparent counts as white. A canvas keeps colours premultiplied, so of half-transparent ones it forgets. */
function whitenTransparent(rgba) {
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);
  if (pixels.every((pixel) => pixel >>> 24 === 0)) throw inexact("all of it is transparent");
  for (let at = 0; at < pixels.length; at++) {
    const alpha = pixels[at] >>> 24;
    if (alpha === 0) pixels[at] = 0xffffffff;
    else if (alpha !== 255) throw inexact("parts of it are half-transparent");
  }
}
