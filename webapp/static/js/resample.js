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

/** For each output position: the first input position, and the weights from there on. */
function coefficients(filter, inputSize, outputSize) {
  const scale = inputSize / outputSize;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const perStretch = 1 / stretch;
  return Array.from({ length: outputSize }, (_, position) => {
    const center = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(inputSize, Math.trunc(center + support + 0.5));
    const weights = new Float64Array(last - first);
    let sum = 0;
    for (let x = 0; x < weights.length; x++) sum += weights[x] = filter.weigh((x + first - center + 0.5) * perStretch);
    if (sum !== 0) for (let x = 0; x < weights.length; x++) weights[x] /= sum;
    return { first, weights };
  });
}

function fixedPoint({ first, weights }) {
  const one = 1 << PRECISION_BITS;
  return { first, weights: Int32Array.from(weights, (w) => Math.trunc(w < 0 ? w * one - 0.5 : w * one + 0.5)) };
}

const clip = (sum) => Math.min(255, Math.max(0, sum >> PRECISION_BITS));

/**
 * Stretch an RGBA picture (canvas order) to size × size RGB with the antialiased triangle filter.
 * Equal to Image.resize((size, size), Resampling.BILINEAR) on the same pixels.
 */
export function stretchToSquare(rgba, width, height, size) {
  const columns = coefficients(triangle, width, size).map(fixedPoint);
  const rows = coefficients(triangle, height, size).map(fixedPoint);
  if (verticalFirst(width, height, size)) return alongRows(alongColumns(rgba, width, rows, 4), width, size, columns, 4);
  return alongColumns(alongRows(rgba, width, height, columns, 4), size, rows, 3);
}

/** Pillow 13 takes the passes in the cheaper order; each rounds to whole numbers, so the order shows. */
export function verticalFirst(width, height, size) {
  return height > size && 2 * width < height + size;
}

/** Resample every row: pixels of `channels` bytes in, RGB out. */
function alongRows(source, width, height, columns, channels) {
  const target = new Uint8ClampedArray(columns.length * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    const row = y * width * channels;
    for (const { first, weights } of columns) {
      let red = HALF, green = HALF, blue = HALF;
      for (let i = 0, from = row + first * channels; i < weights.length; i++, from += channels) {
        const weight = weights[i];
        red += source[from] * weight;
        green += source[from + 1] * weight;
        blue += source[from + 2] * weight;
      }
      target[at++] = clip(red);
      target[at++] = clip(green);
      target[at++] = clip(blue);
    }
  }
  return target;
}

/** Resample every column; keeps the number of channels. */
function alongColumns(source, width, rows, channels) {
  const stride = width * channels;
  const target = new Uint8ClampedArray(stride * rows.length);
  rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < stride; x++) {
      let sum = HALF;
      for (let i = 0, from = first * stride + x; i < weights.length; i++, from += stride) sum += source[from] * weights[i];
      target[y * stride + x] = clip(sum);
    }
  });
  return target;
}

/** Enlarge a map (array of rows) to size × size bicubically, as Pillow does with 32-bit floats. */
export function enlarge(map, size) {
  const rowCount = map.length, columnCount = map[0].length;
  const columns = coefficients(cubic, columnCount, size);
  const rows = coefficients(cubic, rowCount, size);
  const wide = map.map((row) => Float32Array.from(columns, ({ first, weights }) =>
    weights.reduce((sum, weight, i) => sum + row[first + i] * weight, 0)));
  const enlarged = new Float32Array(size * size);
  for (let y = 0; y < size; y++) {
    const { first, weights } = rows[y];
    for (let x = 0; x < size; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += wide[first + i][x] * weights[i];
      enlarged[y * size + x] = sum;
    }
  }
  return enlarged;
}
