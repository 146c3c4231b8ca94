// The graph: drag and wheel move it, arrow keys go from layer to layer.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { LayerVitals, NetLine } from "../lines";
import type { Run } from "../run";
import { percent, shape } from "../format";
import { health, LEVELS } from "../health";
import { HEIGHT, links, plan, WIDTH } from "./layout";
import type { Placed } from "./layout";
import { nodeKey, selected, vitalsOf } from "./vitals";

interface View {
  x: number;
  y: number;
  scale: number;
}

export function GraphView({ net, vitals }: { run: Run; net: NetLine; vitals: Map<string, LayerVitals> }): JSX.Element {
  const drawn = plan(net);
  const svg = useRef<SVGSVGElement>(null);
  const [view, setView] = useState<View>({ x: 0, y: 0, scale: 1 });
  const [focus, setFocus] = useState(0);
  const drag = useRef<{ x: number; y: number; view: View; moved: boolean } | null>(null);
  const total = [...vitals.values()].reduce((sum, v) => sum + (v.forward_ms ?? 0) + (v.backward_ms ?? 0), 0);

  const fit = () => {
    const box = svg.current?.getBoundingClientRect();
    if (!box || box.width === 0) return;
    // A deep net is shown from its top rather than too small to read.
    const scale = Math.min(1, box.width / drawn.width, Math.max(0.6, box.height / drawn.height));
    setView({
      scale,
      x: (box.width - drawn.width * scale) / 2,
      y: Math.max(0, (box.height - drawn.height * scale) / 2),
    });
  };
  useEffect(fit, [drawn]);

  const zoom = (by: number, cx?: number, cy?: number) => {
    const box = svg.current!.getBoundingClientRect();
    const [px, py] = [cx ?? box.width / 2, cy ?? box.height / 2];
    setView((v) => {
      const scale = Math.min(2.5, Math.max(0.1, v.scale * by));
      const k = scale / v.scale;
      return { scale, x: px - (px - v.x) * k, y: py - (py - v.y) * k };
    });
  };
  const wheel = useRef((_: WheelEvent) => {});
  wheel.current = (e) => {
    const box = svg.current!.getBoundingClientRect();
    e.preventDefault();
    if (e.ctrlKey || e.metaKey) zoom(Math.exp(-e.deltaY * 0.01), e.clientX - box.left, e.clientY - box.top);
    else setView((v) => ({ ...v, x: v.x - e.deltaX, y: v.y - e.deltaY }));
  };
  useEffect(() => {
    const element = svg.current;
    if (!element) return;
    // Once the whole net is in sight, the wheel scrolls the page.
    const on = (e: WheelEvent) => {
      const box = element.getBoundingClientRect();
      const v = viewNow.current;
      const fits = drawn.width * v.scale <= box.width + 1 && drawn.height * v.scale <= box.height + 1;
      if (!fits || e.ctrlKey || e.metaKey) wheel.current(e);
    };
    element.addEventListener("wheel", on, { passive: false });
    return () => element.removeEventListener("wheel", on);
  }, [drawn]);
  const viewNow = useRef(view);
  viewNow.current = view;

  const show = (p: Placed) => {
    const box = svg.current!.getBoundingClientRect();
    setView((v) => {
      const left = (p.x - WIDTH / 2) * v.scale + v.x;
      const top = (p.y - HEIGHT / 2) * v.scale + v.y;
      const dx = left < 8 ? 8 - left : Math.min(0, box.width - 8 - (left + WIDTH * v.scale));
      const dy = top < 8 ? 8 - top : Math.min(0, box.height - 8 - (top + HEIGHT * v.scale));
      return { ...v, x: v.x + dx, y: v.y + dy };
    });
  };
  const go = (index: number) => {
    const p = drawn.nodes[index];
    if (!p) return;
    setFocus(index);
    show(p);
    svg.current?.querySelector<SVGGElement>(`[data-index="${index}"]`)?.focus({ preventScroll: true });
  };
  const onKey = (e: KeyboardEvent) => {
    const next = step(net, drawn.nodes, focus, e.key);
    if (next !== null) go(next);
    else if (e.key === "+" || e.key === "=") zoom(1.25);
    else if (e.key === "-") zoom(0.8);
    else if (e.key === "0") fit();
    else if (e.key === "Enter" || e.key === " ") selected.value = nodeKey(drawn.nodes[focus]!.node);
    else if (e.key === "Escape") selected.value = null;
    else return;
    e.preventDefault();
  };
  const current = Math.min(focus, drawn.nodes.length - 1);
  const on = new Set(drawn.nodes.filter((p) => nodeKey(p.node) === selected.value).map((p) => p.index));

  return (
    <div class="card graph">
      <svg
        ref={svg}
        role="group"
        aria-label={`Net of ${drawn.nodes.length} layers. Arrow keys go from layer to layer, Enter opens one.`}
        data-testid="graph"
        onKeyDown={onKey}
        onPointerDown={(e) => {
          drag.current = { x: e.clientX, y: e.clientY, view, moved: false };
        }}
        onPointerMove={(e) => {
          const d = drag.current;
          if (!d) return;
          const [dx, dy] = [e.clientX - d.x, e.clientY - d.y];
          if (!d.moved && Math.hypot(dx, dy) < 5) return;
          if (!d.moved) svg.current!.setPointerCapture(e.pointerId);
          d.moved = true;
          setView({ ...d.view, x: d.view.x + dx, y: d.view.y + dy });
        }}
        onPointerUp={() => setTimeout(() => (drag.current = null))}
        onPointerCancel={() => (drag.current = null)}
      >
        <defs>
          <marker
            id="arrow"
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerUnits="userSpaceOnUse"
            markerWidth="9"
            markerHeight="9"
            orient="auto"
          >
            <path d="M0 0L8 4L0 8z" />
          </marker>
        </defs>
        <g transform={`translate(${view.x} ${view.y}) scale(${view.scale})`}>
          {drawn.edges.map((e, i) => (
            <path
              key={i}
              class={`edge ${on.has(e.from) || on.has(e.to) ? "on" : ""}`}
              d={e.path}
              marker-end="url(#arrow)"
            >
              <title>{e.blob}</title>
            </path>
          ))}
          {drawn.nodes.map((p) => (
            <LayerNode
              key={p.index}
              placed={p}
              vitals={vitalsOf(vitals, p.node)}
              total={total}
              on={on.has(p.index)}
              tab={p.index === current}
              onFocus={() => setFocus(p.index)}
              onChoose={() => {
                if (!drag.current?.moved) selected.value = on.has(p.index) ? null : nodeKey(p.node);
              }}
            />
          ))}
        </g>
      </svg>
      <div class="graph-buttons">
        <button type="button" class="icon" aria-label="Zoom in" onClick={() => zoom(1.25)}>
          +
        </button>
        <button type="button" class="icon" aria-label="Zoom out" onClick={() => zoom(0.8)}>
          −
        </button>
        <button type="button" onClick={fit}>
          fit
        </button>
      </div>
    </div>
  );
}

function LayerNode(props: {
  placed: Placed;
  vitals: LayerVitals | undefined;
  total: number;
  on: boolean;
  tab: boolean;
  onFocus: () => void;
  onChoose: () => void;
}): JSX.Element {
  const { placed, vitals, total } = props;
  const { node } = placed;
  const h = health(vitals);
  const time = (vitals?.forward_ms ?? 0) + (vitals?.backward_ms ?? 0);
  const share = total > 0 ? time / total : null;
  const shapes = (node.tops ?? []).map((t) => shape(t.shape));
  const out = shapes.length > 1 && shapes[0] === shapes[1] ? `${shapes[0]} (${shapes.length} tops)` : shapes.join(", ");
  const shown = share !== null && share >= 0.005 ? percent(share, 0) : "";
  // What is written on it comes first and in the same order, so that one can ask for it by what one sees.
  const words = [
    [node.name, node.type, out, shown && `${shown} of the time`].filter(Boolean).join(" "),
    LEVELS[h.level].word,
    ...h.signs.map((s) => s.text),
  ];
  return (
    <g
      class={`node ${h.level} ${props.on ? "on" : ""} ${(node.params ?? []).length > 0 ? "weighty" : ""}`}
      transform={`translate(${placed.x - WIDTH / 2} ${placed.y - HEIGHT / 2})`}
      tabIndex={props.tab ? 0 : -1}
      role="button"
      aria-pressed={props.on}
      aria-label={words.join("; ")}
      data-testid="node"
      data-index={placed.index}
      data-layer={node.name}
      onFocus={props.onFocus}
      onClick={props.onChoose}
    >
      <title>{words.join("\n")}</title>
      <rect width={WIDTH} height={HEIGHT} rx={7} />
      <rect class="stripe" x={0} y={0} width={5} height={HEIGHT} rx={2} />
      <text class="name" x={14} y={19}>
        {cut(node.name, 19)}
      </text>
      <text class="type" x={14} y={33}>
        {cut(node.type, 24)}
      </text>
      <text class="shape" x={14} y={46}>
        {cut(out, 26)}
      </text>
      {shown && (
        <>
          <text class="share" x={WIDTH - 8} y={46} text-anchor="end">
            {shown}
          </text>
          <rect class="time" x={6} y={HEIGHT - 3} width={(WIDTH - 12) * share!} height={3} />
        </>
      )}
      <text class="mark" aria-hidden="true" x={WIDTH - 12} y={18} text-anchor="middle">
        {LEVELS[h.level].mark}
      </text>
    </g>
  );
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Where an arrow key leads: up and down along the edges, left and right to the neighbours at one height. */
function step(net: NetLine, nodes: Placed[], from: number, key: string): number | null {
  const here = nodes[from];
  if (!here) return null;
  if (key === "Home") return 0;
  if (key === "End") return nodes.length - 1;
  const all = links(net.nodes);
  if (key === "ArrowDown") return all.find((l) => l.from === from)?.to ?? Math.min(nodes.length - 1, from + 1);
  if (key === "ArrowUp") return all.find((l) => l.to === from)?.from ?? Math.max(0, from - 1);
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const sign = key === "ArrowLeft" ? -1 : 1;
    const beside = nodes
      .filter((p) => Math.abs(p.y - here.y) < HEIGHT && (p.x - here.x) * sign > 1)
      .sort((a, b) => Math.abs(a.x - here.x) - Math.abs(b.x - here.x));
    return beside[0]?.index ?? from;
  }
  return null;
}
