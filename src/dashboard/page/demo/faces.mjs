// Made-up faces of 48 by 48 with a map of four regions, and pictures of both.

import { png } from "./png.mjs";

export const SIZE = 48;
export const NAMES = ["ground", "left eye", "right eye", "nose", "mouth"];
const PALETTE = [
  [28, 30, 34],
  [86, 156, 230],
  [240, 150, 60],
  [90, 200, 140],
  [222, 90, 130],
];

/** A stream of numbers from 0 to 1, the same for the same seed. */
export function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function face(seed) {
  const r = random(seed * 7919 + 1);
  const cx = 24 + (r() - 0.5) * 6;
  const cy = 24 + (r() - 0.5) * 5;
  const wide = 14 + r() * 3;
  const light = 0.5 + r() * 0.5;
  const tone = [0.93, 0.73 + r() * 0.06, 0.56 + r() * 0.1].map((c) => c * light);
  const ground = [0.2 + r() * 0.35, 0.3 + r() * 0.3, 0.35 + r() * 0.35];
  const eye = 6 + r() * 1.5;
  const parts = [
    { x: cx - eye, y: cy - 4, rx: 3.2, ry: 2.1, label: 1, color: [0.12, 0.12, 0.2] },
    { x: cx + eye, y: cy - 4, rx: 3.2, ry: 2.1, label: 2, color: [0.12, 0.12, 0.2] },
    { x: cx, y: cy + 3, rx: 2.2, ry: 3.6, label: 3, color: tone.map((c) => c * 0.78) },
    { x: cx, y: cy + 11, rx: 5.2, ry: 2.2, label: 4, color: [0.65, 0.2, 0.22] },
  ];
  const rgb = Buffer.alloc(SIZE * SIZE * 3);
  const labels = new Uint8Array(SIZE * SIZE);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      const inside = ((x - cx) / wide) ** 2 + ((y - cy) / (wide * 1.3)) ** 2 < 1;
      let color = (inside ? tone : ground).map((c) => c * (0.9 + 0.16 * (1 - y / SIZE)));
      for (const p of parts) {
        if (((x - p.x) / p.rx) ** 2 + ((y - p.y) / p.ry) ** 2 < 1) {
          color = p.color;
          labels[y * SIZE + x] = p.label;
        }
      }
      const i = (y * SIZE + x) * 3;
      const noise = (r() - 0.5) * 0.06;
      color.forEach((c, k) => (rgb[i + k] = Math.max(0, Math.min(255, (c + noise) * 255))));
    }
  }
  return { rgb, labels };
}

export const picture = (rgb) => png(SIZE, SIZE, rgb);

export function labelPicture(labels) {
  const rgb = Buffer.alloc(labels.length * 3);
  labels.forEach((l, i) => rgb.set(PALETTE[l], i * 3));
  return png(SIZE, SIZE, rgb);
}

/** A face with its labels laid over. */
export function overlaid({ rgb, labels }) {
  const out = Buffer.from(rgb);
  labels.forEach((l, i) => {
    if (l > 0) for (let k = 0; k < 3; k++) out[i * 3 + k] = (PALETTE[l][k] * 3 + rgb[i * 3 + k]) / 4;
  });
  return png(SIZE, SIZE, out);
}

/** Blue for low, red for high. */
export function heat(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  const rgb = Buffer.alloc(values.length * 3);
  const stops = [
    [38, 56, 140],
    [69, 117, 180],
    [140, 190, 220],
    [255, 250, 190],
    [253, 174, 97],
    [235, 80, 50],
    [170, 10, 30],
  ];
  values.forEach((v, i) => {
    const t = high > low ? ((v - low) / (high - low)) * 6 : 0;
    const k = Math.min(5, Math.floor(t));
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = stops[k][c] + (stops[k + 1][c] - stops[k][c]) * (t - k);
  });
  return { png: png(SIZE, SIZE, rgb), low, high };
}
