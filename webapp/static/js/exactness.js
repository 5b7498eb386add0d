// Whether a browser decodes a file to the same pixels as edge_runtime.imaging, and whether the file is whole. Browsers
// fill what is missing without a word, ignore or apply colour profiles as they like, and read orientations that the
// runtime does not. What is doubtful is named here and left to the server.

import { isSrgb } from "./icc.js";

const ZERO_RUN = 64; // bytes; no encoder writes so many zeros in a row, a file system that lost a cluster does
const CHECKSUMS = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** Why a file cannot be decoded exactly in a browser, or null. */
export function inexactness(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (view.getUint16(0) === 0xffd8) return jpegInexactness(view, bytes);
    if (view.getUint32(0) === 0x89504e47) return pngInexactness(view, bytes);
    if (tag(view, 0) === "RIFF" && tag(view, 8) === "WEBP") return webpInexactness(view, bytes);
    if (view.getUint16(0) === 0x424d) return bmpInexactness(view);
  } catch (error) {
    if (error instanceof RangeError) return "the file is cut off";
    throw error;
  }
  return "the format is not decoded here";
}

const tag = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((offset) => view.getUint8(at + offset)));

function jpegInexactness(view, bytes) {
  const profile = [];
  const missing = new Map(); // component → for each coefficient the bits still to come, in a progressive file
  let progressive = false;
  for (let at = 2; ;) {
    if (view.getUint8(at) !== 0xff) return "there is something else between the segments";
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) at++;
    else if (marker === 0xd9) break;
    else {
      const length = view.getUint16(at + 2);
      const body = bytes.subarray(at + 4, at + 2 + length);
      if (marker === 0xe1 && starts(body, "Exif\0\0") && oddOrientation(body.subarray(6))) return "the orientation is of an odd type";
      if (marker === 0xe2 && starts(body, "ICC_PROFILE\0")) profile[body[12]] = body.subarray(14);
      if (marker === 0xc0 || marker === 0xc1 || marker === 0xc2) progressive = marker === 0xc2;
      else if ((marker & 0xf0) === 0xc0 && ![0xc4, 0xc8, 0xcc].includes(marker)) return "the coding is unusual";
      at += 2 + length;
      if (marker === 0xda) {
        if (progressive) noteScan(missing, body);
        const end = endOfScan(bytes, at);
        if (hasZeroRun(bytes, at, end)) return "image data are missing";
        at = end;
      }
    }
  }
  if ([...missing.values()].some((bits) => bits.some((count) => count > 0))) return "scans are missing";
  return profile.length && !isSrgb(concatenated(profile)) ? "the colours are not sRGB" : null;
}

/** Note what a scan of a progressive JPEG brings (ITU-T T.81, G.1.1.1). */
function noteScan(missing, body) {
  const [first, last, bits] = body.subarray(1 + 2 * body[0]);
  for (let index = 0; index < body[0]; index++) {
    const component = body[1 + 2 * index];
    if (!missing.has(component)) missing.set(component, new Array(64).fill(14));
    missing.get(component).fill(bits & 15, first, last + 1);
  }
}

/** Where the data of a scan end: at the next marker that is not a restart. Throws RangeError when there is none. */
function endOfScan(bytes, from) {
  for (let at = bytes.indexOf(0xff, from); at >= 0 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return at;
  }
  throw new RangeError("no end");
}

function hasZeroRun(bytes, from, end) {
  for (let at = bytes.indexOf(0, from); at >= 0 && at < end; at = bytes.indexOf(0, at + 1)) {
    let after = at + 1;
    while (after < end && bytes[after] === 0) after++;
    if (after - at >= ZERO_RUN) return true;
    at = after - 1;
  }
  return false;
}

function pngInexactness(view, bytes) {
  const chunks = new Map();
  for (let at = 8; ;) {
    const length = view.getUint32(at);
    const kind = tag(view, at + 4);
    if (kind === "IEND") break;
    const expected = view.getUint32(at + 8 + length);
    if (["IHDR", "PLTE", "IDAT", "tRNS"].includes(kind) && checksum(bytes.subarray(at + 4, at + 8 + length)) !== expected) return "image data are damaged";
    if (!chunks.has(kind)) chunks.set(kind, bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const header = chunks.get("IHDR");
  if (header?.[8] === 16) return "it has 16 bits a channel";
  if (chunks.has("eXIf") && orientationOf(chunks.get("eXIf")) !== 1) return "the orientation is not always applied";
  if (chunks.has("iCCP") || chunks.has("cICP") || chunks.has("acTL")) return "the colours are not sRGB, or it is an animation";
  return !chunks.has("sRGB") && hasOtherGamma(chunks) ? "the colours are not sRGB" : null;
}

/** Whether gAMA or cHRM describe other colours than sRGB's. */
function hasOtherGamma(chunks) {
  const numbers = (name) => {
    const chunk = chunks.get(name);
    return chunk ? Array.from({ length: chunk.length >> 2 }, (_, index) => new DataView(chunk.buffer, chunk.byteOffset).getUint32(4 * index) / 100_000) : [];
  };
  const near = (found, expected) => found.length === 0 || expected.every((value, index) => Math.abs(found[index] - value) < 0.005);
  return !near(numbers("gAMA"), [1 / 2.2]) || !near(numbers("cHRM"), [0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06]);
}

function checksum(bytes) {
  let sum = ~0;
  for (let at = 0; at < bytes.length; at++) sum = CHECKSUMS[(sum ^ bytes[at]) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

function webpInexactness(view, bytes) {
  let images = 0;
  for (let at = 12; at + 8 <= bytes.length;) {
    const kind = tag(view, at);
    const end = at + 8 + view.getUint32(at + 4, true);
    if (kind === "ANMF" || kind === "ANIM") return "it is an animation";
    if (kind === "VP8 " || kind === "VP8L") {
      images++;
      if (end > bytes.length) return "the file is cut off";
      if (hasZeroRun(bytes, at + 18, end)) return "image data are missing";
    }
    if (kind === "EXIF" && orientationOf(bytes.subarray(at + 8, end)) !== 1) return "the orientation is not always applied";
    if (kind === "ICCP" && !isSrgb(bytes.subarray(at + 8, end))) return "the colours are not sRGB";
    at = end + (end - at) % 2;
  }
  return images === 1 ? null : "the file is cut off";
}

/** Only uncompressed BMP of 24 bits, whole. */
function bmpInexactness(view) {
  const [start, header, width, height] = [view.getUint32(10, true), view.getUint32(14, true), view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
  if (header !== 40 || view.getUint16(28, true) !== 24 || view.getUint32(30, true) !== 0) return "the coding is unusual";
  const stride = Math.ceil((width * 3) / 4) * 4;
  return start + stride * height > view.byteLength ? "the file is cut off" : null;
}

const starts = (bytes, text) => [...text].every((character, index) => bytes[index] === character.charCodeAt(0));

function concatenated(parts) {
  const all = parts.filter(Boolean);
  const whole = new Uint8Array(all.reduce((length, part) => length + part.length, 0));
  all.reduce((at, part) => { whole.set(part, at); return at + part.length; }, 0);
  return whole;
}

const oddOrientation = (exif) => orientationOf(exif) === null;

/** The orientation in an EXIF block, 1 where there is none; null where it is not written as the standard says. */
function orientationOf(exif) {
  const tiff = starts(exif, "Exif\0\0") ? exif.subarray(6) : exif;
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const directory = view.getUint32(4, little);
    for (let entry = directory + 2, left = view.getUint16(directory, little); left > 0; left--, entry += 12) {
      if (view.getUint16(entry, little) !== 0x0112) continue;
      const value = view.getUint16(entry + 8, little);
      const isPlain = view.getUint16(entry + 2, little) === 3 && view.getUint32(entry + 4, little) === 1 && value >= 1 && value <= 8;
      return isPlain ? value : null;
    }
  } catch { /* points outside the block: then there is no orientation */ }
  return 1;
}
