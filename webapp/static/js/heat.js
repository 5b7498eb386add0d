// A class-activation map as colours, drawn like edge_runtime.imaging.overlay.render_heat does.

import { enlarge } from "./resample.js";
import { heat } from "./boot.js";

/** Draw the map on a canvas: transparent where there is no evidence, warm where it is strongest. */
export function drawHeat(canvas, map) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!hasEvidence(map)) return;
  context.putImageData(new ImageData(heatPixels(map, canvas.width), canvas.width), 0, 0);
}

/** Whether there is anything to draw. */
export function hasEvidence(map) {
  return Boolean(map) && map.some((row) => row.some((value) => value > 0));
}

/** RGBA of size × size for a map with some evidence. */
export function heatPixels(map, size) {
  const peak = Math.max(...map.map((row) => Math.max(...row)));
  const scaled = map.map((row) => row.map((value) => Math.fround(Math.fround(value) / Math.fround(peak))));
  const enlarged = enlarge(scaled, size);
  const pixels = new Uint8ClampedArray(size * size * 4);
  const last = heat.stops.length - 1;
  for (let i = 0; i < enlarged.length; i++) {
    const strength = Math.min(1, Math.max(0, enlarged[i]));
    const stop = Math.min(last - 1, Math.floor(strength * last));
    const between = strength * last - stop;
    for (let channel = 0; channel < 3; channel++) {
      const low = heat.stops[stop][channel], high = heat.stops[stop + 1][channel];
      pixels[i * 4 + channel] = low + (high - low) * between;
    }
    pixels[i * 4 + 3] = 255 * Math.min(1, strength * 1.5);
  }
  return pixels;
}
