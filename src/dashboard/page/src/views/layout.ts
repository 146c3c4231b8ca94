// A net's layers placed on a plane. In-place layers rewrite a blob: an edge goes to whoever wrote it last.

import { Graph, layout } from "@dagrejs/dagre";
import type { NetLine, Node } from "../lines";

export const WIDTH = 196;
export const HEIGHT = 54;

export interface Placed {
  node: Node;
  index: number;
  x: number;
  y: number;
}

export interface Edge {
  from: number;
  to: number;
  blob: string;
  path: string;
}

export interface Plan {
  nodes: Placed[];
  edges: Edge[];
  width: number;
  height: number;
}

const plans = new WeakMap<NetLine, Plan>();

export function plan(net: NetLine): Plan {
  let found = plans.get(net);
  if (!found) {
    found = place(net);
    plans.set(net, found);
  }
  return found;
}

/** Who feeds whom, by the places of layers in the net. */
export function links(nodes: readonly Node[]): { from: number; to: number; blob: string }[] {
  const writer = new Map<string, number>();
  const out: { from: number; to: number; blob: string }[] = [];
  nodes.forEach((node, i) => {
    for (const bottom of node.bottoms ?? []) {
      const from = writer.get(bottom);
      if (from !== undefined) out.push({ from, to: i, blob: bottom });
    }
    for (const top of node.tops ?? []) writer.set(top.name, i);
  });
  return out;
}

function place(net: NetLine): Plan {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 26, ranksep: 26, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  net.nodes.forEach((_, i) => graph.setNode(String(i), { width: WIDTH, height: HEIGHT }));
  links(net.nodes).forEach((l, i) => graph.setEdge(String(l.from), String(l.to), { blob: l.blob }, `${l.blob}${i}`));
  layout(graph);
  const at = (i: number) => graph.node(String(i)) as { x: number; y: number };
  const edges = graph.edges().map((e): Edge => {
    const label = graph.edge(e) as { blob: string; points: { x: number; y: number }[] };
    return { from: Number(e.v), to: Number(e.w), blob: label.blob, path: curve(label.points) };
  });
  const size = graph.graph() as { width?: number; height?: number };
  return {
    nodes: net.nodes.map((node, index) => ({ node, index, ...pick(at(index)) })),
    edges,
    width: size.width ?? WIDTH,
    height: size.height ?? HEIGHT,
  };
}

const pick = ({ x, y }: { x: number; y: number }) => ({ x, y });

/** A smooth path through the points of an edge. */
function curve(points: { x: number; y: number }[]): string {
  if (points.length === 0) return "";
  const p = (i: number) => points[i]!;
  const r = (v: number) => Math.round(v * 10) / 10;
  let d = `M${r(p(0).x)} ${r(p(0).y)}`;
  for (let i = 1; i < points.length - 1; i++) {
    const [mx, my] = [(p(i).x + p(i + 1).x) / 2, (p(i).y + p(i + 1).y) / 2];
    d += `Q${r(p(i).x)} ${r(p(i).y)} ${r(mx)} ${r(my)}`;
  }
  const last = p(points.length - 1);
  return `${d}L${r(last.x)} ${r(last.y)}`;
}
