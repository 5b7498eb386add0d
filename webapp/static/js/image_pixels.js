// An image file as the graphs take it: the same steps, and the same pixels, as edge_runtime.imaging.preprocessing.load_image_hwc.

import { decodeReduced, readJpegHeader, reduction } from "./reduced_jpeg.js";
import { stretchToSquare } from "./resample.js";

/**
 * uint8 of size × size × 3. Throws when the file has more than maxPixels, cannot be decoded here, or could only be
 * decoded to other pixels than everywhere else: CMYK, 16-bit grey, and half-transparent pixels.
 */
export async function loadImage(file, { size, maxPixels, jpegDecoder }) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const jpeg = readJpegHeader(bytes);
  if (jpeg) refuseBombs(jpeg, maxPixels);
  if (jpeg?.channels === 4 || isDeepGrey(bytes)) throw new Error("the image cannot be decoded exactly");
  const factor = jpeg ? reduction(jpeg, size) : 1;
  const { data, width, height } = factor > 1 ? await decodeReduced(bytes, jpeg, factor, jpegDecoder) : await decodeWhole(file, maxPixels);
  if (!jpeg) whitenTransparent(data);
  return stretchToSquare(data, width, height, size);
}

function refuseBombs({ width, height }, maxPixels) {
  if (width * height > maxPixels) throw new Error("too many pixels");
}

/** A PNG (its header is the first chunk) of 16-bit grey values: the runtime rounds them, a browser cuts them off. */
function isDeepGrey(bytes) {
  return bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[24] === 16 && bytes[25] === 0;
}

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
  for (let at = 0; at < pixels.length; at++) {
    const alpha = pixels[at] >>> 24;
    if (alpha === 0) pixels[at] = 0xffffffff;
    else if (alpha !== 255) throw new Error("the image cannot be decoded exactly");
  }
}
