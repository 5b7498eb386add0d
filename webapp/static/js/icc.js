// Whether an ICC profile is sRGB, by the same rules as edge_runtime.imaging.icc.is_srgb (ICC.1:2022, IEC 61966-2-1).

const COLUMNS = { rXYZ: [0.4361, 0.2225, 0.0139], gXYZ: [0.3851, 0.7169, 0.0971], bXYZ: [0.1431, 0.0606, 0.7141] };
const CURVES = ["rTRC", "gTRC", "bTRC"];

/** Whether matrix and curves are sRGB's within what 8 bits can show. Profiles with tables are never taken for it. */
export function isSrgb(profile) {
  const view = new DataView(profile.buffer, profile.byteOffset, profile.byteLength);
  try {
    if (text(view, 16) !== "RGB ") return false;
    const tags = readTags(view);
    if ("A2B0" in tags || ![...Object.keys(COLUMNS), ...CURVES].every((name) => name in tags)) return false;
    const columns = Object.entries(COLUMNS).every(([name, expected]) =>
      expected.every((value, index) => Math.abs(view.getInt32(tags[name] + 8 + 4 * index) / 65536 - value) <= 0.003));
    return columns && CURVES.every((name) => isSrgbCurve(readCurve(view, tags[name])));
  } catch {
    return false;
  }
}

const text = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((offset) => view.getUint8(at + offset)));

function readTags(view) {
  const count = Math.min(view.getUint32(128), 200);
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [text(view, 132 + 12 * index), view.getUint32(136 + 12 * index)]));
}

/** A curve from 0..1 to linear light; null for kinds that sRGB does not have. */
function readCurve(view, at) {
  if (text(view, at) === "para" && view.getUint16(at + 8) === 3) {
    const [gamma, a, b, c, d] = [0, 1, 2, 3, 4].map((index) => view.getInt32(at + 12 + 4 * index) / 65536);
    return (x) => (x >= d ? (a * x + b) ** gamma : c * x);
  }
  const count = view.getUint32(at + 8);
  if (text(view, at) !== "curv" || count < 2 || count > 65536) return null;
  const value = (index) => view.getUint16(at + 12 + 2 * index) / 65535;
  return (x) => {
    const place = x * (count - 1);
    const below = Math.min(Math.trunc(place), count - 2);
    return value(below) + (place - below) * (value(below + 1) - value(below));
  };
}

function isSrgbCurve(curve) {
  const encode = (light) => (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055);
  return curve !== null && Array.from({ length: 52 }, (_, index) => index / 51).every((level) => Math.abs(encode(Math.max(curve(level), 0)) - level) < 0.75 / 255);
}
