// Which layer is looked at, and where its vital signs are.

import { signal } from "@preact/signals";
import type { LayerVitals, NetLine } from "../lines";
import type { Run } from "../run";

interface Named {
  name: string;
  tops?: { name: string }[];
}

/** Two layers may share a name (Caffe allows it): the first top tells them apart. */
const key = (name: string, top: string | undefined) => `${name}\n${top ?? ""}`;

export const nodeKey = (node: Named) => key(node.name, node.tops?.[0]?.name);
export const vitalKey = (layer: LayerVitals) => key(layer.name, layer.blobs?.[0]?.name);
export const netKey = (net: NetLine) => `${net.phase}/${net.index}`;

export const selected = signal<string | null>(null);

/** The vital signs as they were taken last at or before an iteration; null is the last time. */
export function vitalsAt(run: Run, iteration: number | null): Map<string, LayerVitals> {
  let line = run.vitals[run.vitals.length - 1];
  if (iteration !== null) line = run.vitals.findLast((v) => v.iteration <= iteration) ?? run.vitals[0];
  return new Map((line?.layers ?? []).map((l) => [vitalKey(l), l]));
}

export function vitalsOf(vitals: Map<string, LayerVitals>, node: Named): LayerVitals | undefined {
  const found = vitals.get(nodeKey(node));
  if (found) return found;
  for (const v of vitals.values()) if (v.name === node.name) return v;
  return undefined;
}
