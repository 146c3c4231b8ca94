// What a layer's vital signs say, in words. The bounds are those the field works with: a ReLU cuts about half of its
// values, an update changes weights by about a thousandth of their norm.

import type { LayerVitals } from "./lines";
import { number, percent, plural, some } from "./format";

export type Level = "good" | "note" | "warning" | "bad" | "unknown";

export interface Sign {
  level: Level;
  text: string;
}

export interface Health {
  level: Level;
  signs: Sign[];
}

const ORDER: Level[] = ["unknown", "good", "note", "warning", "bad"];

export const LEVELS: Record<Level, { mark: string; word: string }> = {
  unknown: { mark: "·", word: "not measured" },
  good: { mark: "✓", word: "healthy" },
  note: { mark: "i", word: "worth knowing" },
  warning: { mark: "!", word: "look here" },
  bad: { mark: "✕", word: "ill" },
};

/** Update over weight, where both are known. */
export function ratio(update: number | null | undefined, norm: number | null | undefined): number | null {
  return typeof update === "number" && typeof norm === "number" && norm > 0 ? update / norm : null;
}

/** Layers whose tops are zeros by their nature: labels, decisions, data. */
const SPARSE = /Data$|^(Input|ArgMax|Accuracy|Threshold|DetectionOutput|Silence|Dropout)$/;

export function health(layer: LayerVitals | undefined): Health {
  if (!layer) return { level: "unknown", signs: [] };
  const signs: Sign[] = [];
  for (const blob of layer.blobs ?? []) {
    if ((blob.not_finite ?? 0) > 0) {
      signs.push({ level: "bad", text: `${blob.name}: ${plural(blob.not_finite!, "value")} not finite` });
    }
    if (SPARSE.test(layer.type)) continue;
    const dead = blob.dead ?? [];
    const channels = blob.channels ?? 0;
    if (dead.length > 0 && channels > 0) {
      const level = dead.length >= channels / 2 ? "bad" : dead.length >= channels / 10 ? "warning" : "note";
      signs.push({
        level,
        text: `${blob.name}: ${dead.length} of ${plural(channels, "channel")} ${dead.length === 1 ? "is" : "are"} 0 everywhere (${some(dead, 6)})`,
      });
    }
    if (blob.zeros !== null && blob.zeros >= 0.9 && channels > 0) {
      const level = blob.zeros >= 0.98 ? "bad" : "warning";
      signs.push({ level, text: `${blob.name}: ${percent(blob.zeros)} of its values are exactly 0` });
    }
  }
  for (const param of layer.params ?? []) {
    if ((param.not_finite ?? 0) > 0) {
      signs.push({ level: "bad", text: `${param.name}: ${plural(param.not_finite!, "value")} not finite` });
    }
    const r = ratio(param.update, param.norm);
    if (r !== null && (param.shape?.length ?? 0) > 1) {
      if (r > 0.05) {
        signs.push({
          level: "warning",
          text: `${param.name}: one update changes it by ${percent(r)}; about 0.1 % is usual`,
        });
      } else if (r > 0 && r < 1e-6) {
        signs.push({ level: "warning", text: `${param.name}: hardly moves (update over weight ${number(r)})` });
      } else if (r === 0 && param.gradient === 0) {
        signs.push({ level: "warning", text: `${param.name}: no gradient reaches it` });
      }
    }
  }
  let level: Level = "good";
  for (const s of signs) if (ORDER.indexOf(s.level) > ORDER.indexOf(level)) level = s.level;
  return { level, signs };
}
