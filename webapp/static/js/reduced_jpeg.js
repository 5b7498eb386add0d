// Large JPEGs decoded at reduced scale, as edge_runtime.imaging.decoding does through Pillow's draft(): the decoder skips
// detail that the resize would discard. A browser's own decoder cannot, so libjpeg-turbo does it, as WebAssembly.

const MARKER = 0xff, START = 0xd8, APPLICATION_1 = 0xe1, SCAN = 0xda;
const NOT_FRAMES = [0xc4, 0xc8, 0xcc]; // among 0xc0 to 0xcf, which begin a frame
const ORIENTATION = 0x0112;
const EXIF = 0x45786966;
const RGBA = 7; // TJPF_RGBA in turbojpeg.h

/** Size, number of channels and EXIF orientation that a JPEG announces, or null for anything else. */
export function readJpegHeader(bytes) {
  if (bytes[0] !== MARKER || bytes[1] !== START || bytes[2] !== MARKER) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let orientation = 1;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === MARKER; at += 2 + view.getUint16(at + 2)) {
    while (bytes[at + 1] === MARKER && at + 10 < bytes.length) at++; // padding
    const marker = bytes[at + 1];
    if (marker === SCAN) return null;
    if (marker === APPLICATION_1 && view.getUint32(at + 4) === EXIF) orientation = readOrientation(view, at + 10) ?? orientation;
    if ((marker & 0xf0) !== 0xc0 || NOT_FRAMES.includes(marker)) continue;
    return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), channels: bytes[at + 9], orientation };
  }
  return null;
}

/** The orientation in the first directory of a TIFF header, or null. */
function readOrientation(view, start) {
  try {
    const little = view.getUint16(start) === 0x4949;
    const directory = start + view.getUint32(start + 4, little);
    const entries = view.getUint16(directory, little);
    for (let entry = directory + 2; entry < directory + 2 + 12 * entries; entry += 12) {
      if (view.getUint16(entry, little) === ORIENTATION) return view.getUint16(entry + 8, little);
    }
  } catch { /* points outside the file: then there is no orientation */ }
  return null;
}

/** By how much a JPEG of this size is reduced: 1, 4 or 8. Like Pillow's draft() to one and a half times the size. */
export function reduction({ width, height }, size) {
  const smaller = Math.min(width, height);
  if (smaller < 8 * size) return 1;
  return smaller >= 8 * Math.trunc((size * 3) / 2) ? 8 : 4;
}

/** Decode at 1/factor of the size; upright RGBA. Takes the compiled libjpeg-turbo; throws when the file is damaged. */
export async function decodeReduced(bytes, { width, height, orientation }, factor, decoder) {
  const instance = await WebAssembly.instantiate(decoder, imports()); // a new one each time gives its memory back
  const { memory, malloc, tjInitDecompress, tjDecompress2 } = instance.exports;
  const [columns, rows] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const input = malloc(bytes.length);
  const output = malloc(columns * rows * 4);
  new Uint8Array(memory.buffer).set(bytes, input);
  if (tjDecompress2(tjInitDecompress(), input, bytes.length, output, columns, columns * 4, rows, RGBA, 0) !== 0) {
    throw new Error("the image cannot be decoded");
  }
  return upright(new Uint32Array(memory.buffer, output, columns * rows), columns, rows, orientation);
}

function imports() {
  const refuse = () => { throw new Error("the image cannot be decoded"); };
  const system = { environ_sizes_get: () => 0, environ_get: refuse, proc_exit: refuse, fd_close: refuse, fd_seek: refuse, fd_write: refuse };
  return { env: { setjmp: () => 0, longjmp: refuse }, wasi_snapshot_preview1: system };
}

/** Rotate and flip as EXIF says (orientations 1 to 8, TIFF 6.0); one integer is one pixel. */
function upright(pixels, width, height, orientation) {
  const swaps = orientation >= 5 && orientation <= 8;
  const [columns, rows] = swaps ? [height, width] : [width, height];
  const fromRight = [2, 3, 7, 8].includes(orientation), fromBottom = [3, 4, 6, 7].includes(orientation);
  const rotated = new Uint32Array(pixels.length);
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, at++) {
      const [column, row] = swaps ? [y, x] : [x, y];
      rotated[at] = pixels[(fromBottom ? height - 1 - row : row) * width + (fromRight ? width - 1 - column : column)];
    }
  }
  return { data: new Uint8Array(rotated.buffer), width: columns, height: rows };
}
