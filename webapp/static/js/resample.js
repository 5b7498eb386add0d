// Pillow's resampling (src/libImaging/Resample.c), bit for bit: a canvas scales differently, and a model must see in the
// browser exactly what it sees everywhere else.

const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

const triangle = { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) };

const cubic = {
  support: 2,
  weigh(x) {
    const a = -0.5;
    const t = Math.abs(x);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
    return 0;
  },
};

/**
 * For each output position: the first input position, how many count, and their weights from position × span on.
 * Flat arrays, because the loops over them are where the time goes.
 */
function coefficients(filter, inputSize, outputSize) {
  const scale = inputSize / outputSize;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const span = Math.ceil(support) * 2 + 1;
  const firsts = new Int32Array(outputSize);
  const counts = new Int32Array(outputSize);
  const weights = new Float64Array(outputSize * span);
  for (let position = 0; position < outputSize; position++) {
    const center = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(inputSize, Math.trunc(center + support + 0.5)) - first;
    const own = weights.subarray(position * span, position * span + count);
    let sum = 0;
    for (let x = 0; x < count; x++) sum += own[x] = filter.weigh((x + first - center + 0.5) * (1 / stretch));
    if (sum !== 0) for (let x = 0; x < count; x++) own[x] /= sum;
    firsts[position] = first;
    counts[position] = count;
  }
  return { span, firsts, counts, weights };
}

function fixedPoint({ weights, ...rest }) {
  const one = 1 << PRECISION_BITS;
  return { ...rest, weights: Int32Array.from(weights, (weight) => Math.trunc(weight * one + 0.5)) };
}

/**
 * Stretch an RGBA image (canvas order) to size × size RGB with the antialiased triangle filter.
 * Equal to Image.resize((size, size), Resampling.BILINEAR) on the same pixels.
 */
export function stretchToSquare(rgba, width, height, size) {
  const columns = fixedPoint(coefficients(triangle, width, size));
  const rows = fixedPoint(coefficients(triangle, height, size));
  if (verticalFirst(width, height, size)) return alongRows(alongColumns(rgba, width * 4, rows, size), width, size, columns, size);
  return alongColumns(alongRows(rgba, width, height, columns, size), size * 3, rows, size);
}

/** Pillow 13 takes the passes in the cheaper order; each rounds to whole numbers, so the order shows. */
export function verticalFirst(width, height, size) {
  return height > size && 2 * width < height + size;
}

/** Resample every row: RGBA in, RGB out. The triangle's weights are positive, so no sum leaves 0..255. */
function alongRows(source, width, height, { span, firsts, counts, weights }, size) {
  const target = new Uint8Array(size * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < size; x++, at += 3) {
      let red = HALF, green = HALF, blue = HALF;
      const end = x * span + counts[x];
      for (let i = x * span, from = (y * width + firsts[x]) * 4; i < end; i++, from += 4) {
        const weight = weights[i];
        red = (red + Math.imul(source[from], weight)) | 0;
        green = (green + Math.imul(source[from + 1], weight)) | 0;
        blue = (blue + Math.imul(source[from + 2], weight)) | 0;
      }
      target[at] = red >> PRECISION_BITS;
      target[at + 1] = green >> PRECISION_BITS;
      target[at + 2] = blue >> PRECISION_BITS;
    }
  }
  return target;
}

/** Resample every column of rows of `stride` bytes. */
function alongColumns(source, stride, { span, firsts, counts, weights }, size) {
  const target = new Uint8Array(stride * size);
  for (let y = 0; y < size; y++) {
    const end = y * span + counts[y];
    for (let x = 0; x < stride; x++) {
      let sum = HALF;
      for (let i = y * span, from = firsts[y] * stride + x; i < end; i++, from += stride) {
        sum = (sum + Math.imul(source[from], weights[i])) | 0;
      }
      target[y * stride + x] = sum >> PRECISION_BITS;
    }
  }
  return target;
}

/** Enlarge a map (array of rows) to size × size bicubically, as Pillow does with 32-bit floats. */
export function enlarge(map, size) {
  const columns = coefficients(cubic, map[0].length, size);
  const rows = coefficients(cubic, map.length, size);
  const wide = map.map((row) => new Float32Array(size).map((_, x) => weightedSum(columns, x, (column) => row[column])));
  return new Float32Array(size * size).map((_, at) => weightedSum(rows, Math.trunc(at / size), (row) => wide[row][at % size]));
}

function weightedSum({ span, firsts, counts, weights }, position, valueAt) {
  let sum = 0;
  for (let i = 0; i < counts[position]; i++) sum += valueAt(firsts[position] + i) * weights[position * span + i];
  return sum;
}
