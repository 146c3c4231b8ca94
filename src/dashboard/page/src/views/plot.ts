// One chart on a canvas: uPlot with our colours, letters at the ends of lines, one cursor and one zoom for all charts.

import uPlot from "uplot";
import { cssColor, cursor, dark, RUN_COLORS, zoom } from "../state";
import { nearest, visible } from "../series";
import { duration, number, percent } from "../format";
import type { Line, Spec } from "./specs";

export interface Look {
  log: boolean;
  byTime: boolean;
  smoothing: number;
}

/** x of a line's points on the chosen scale. */
export function xs(line: Line, time: boolean): readonly number[] {
  return time ? line.series.t : line.series.x;
}

export function extent(spec: Spec, time: boolean): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const line of spec.lines) {
    const of = xs(line, time);
    if (of.length === 0) continue;
    low = Math.min(low, of[0]!);
    high = Math.max(high, of[of.length - 1]!);
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** The lines of a chart as one table over a common x, no more points than can be seen. */
export function table(spec: Spec, look: Look, width: number): uPlot.AlignedData {
  const [low, high] = range(spec, look.byTime);
  const tables = spec.lines.map((line) => {
    const y = line.series.smooth(line.smooth ? look.smoothing : 0);
    const [x, v] = visible(xs(line, look.byTime), y, low, high, Math.max(50, Math.floor(width / 2)));
    if (look.log) for (let i = 0; i < v.length; i++) if (v[i] !== null && v[i]! <= 0) v[i] = null;
    return [x, v] as uPlot.AlignedData;
  });
  return tables.length === 0 ? [[]] : uPlot.join(tables);
}

/** A line's value nearest to the cursor, or its last one. */
export function reading(line: Line, look: Look, at: number | null): number {
  const of = xs(line, look.byTime);
  if (of.length === 0) return NaN;
  const i = at === null ? of.length - 1 : nearest(of, at);
  return line.series.smooth(line.smooth ? look.smoothing : 0)[i] ?? NaN;
}

function range(spec: Spec, time: boolean): [number, number] {
  const [low, high] = extent(spec, time);
  const z = zoom.peek();
  return z ? [z.from, z.to] : [low, high];
}

export function create(host: HTMLElement, spec: Spec, look: Look, size: { width: number; height: number }): uPlot {
  const grid = cssColor("--grid");
  const text = cssColor("--muted");
  const font = "11px system-ui, sans-serif";
  const colors = Array.from({ length: RUN_COLORS }, (_, i) => cssColor(`--run-${i}`));
  const value = (v: number) =>
    spec.share ? percent(v, Math.abs(v * 100 - Math.round(v * 100)) > 1e-9 ? 1 : 0) : number(v);
  const axis: uPlot.Axis = {
    stroke: text,
    font,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1, size: 4 },
  };
  const options: uPlot.Options = {
    ...size,
    padding: [10, 24, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: false, range: () => range(spec, look.byTime) },
      y: look.log
        ? { distr: 3 }
        : {
            range: (_u, low, high) => {
              if (low === null || high === null || !Number.isFinite(low)) return [0, 1];
              if (spec.share) {
                const room = Math.max(0.02, (high - low) * 0.08);
                return [Math.max(Math.min(0, low), low - room), Math.min(Math.max(1, high), high + room)];
              }
              const pad = high > low ? (high - low) * 0.06 : Math.abs(high) * 0.1 || 1;
              // From zero, where that wastes little: heights then mean something.
              return [low >= 0 && low < high * 0.6 ? 0 : low - pad, high + pad];
            },
          },
    },
    axes: [
      {
        ...axis,
        size: 26,
        gap: 4,
        values: (_u, ticks) => ticks.map((v) => (look.byTime ? duration(v) : String(v))),
        space: look.byTime ? 80 : 50,
        incrs: look.byTime
          ? undefined
          : [
              1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1e3, 2e3, 2500, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6,
              5e6,
            ],
      },
      { ...axis, size: 54, gap: 4, space: 28, values: (_u, ticks) => ticks.map((v) => (v === null ? "" : value(v))) },
    ],
    cursor: {
      y: false,
      points: { size: 6 },
      sync: { key: "cortado", scales: ["x", null], setSeries: false },
      drag: { x: true, y: false, setScale: false },
      focus: { prox: -1 },
      // The nearest point of each line: lines of other runs have theirs elsewhere.
      dataIdx: (u, series, at, x) => {
        const of = u.data[series] as (number | null | undefined)[];
        if (series === 0 || of[at] != null) return at;
        let left = at;
        let right = at;
        while (left >= 0 && of[left] == null) left--;
        while (right < of.length && of[right] == null) right++;
        if (left < 0) return right < of.length ? right : at;
        if (right >= of.length) return left;
        return x - u.data[0][left]! <= u.data[0][right]! - x ? left : right;
      },
      bind: {
        dblclick: () => () => {
          zoom.value = null;
          return null;
        },
      },
    },
    series: [
      {},
      ...spec.lines.map((line): uPlot.Series => {
        const stroke = colors[line.run.id % RUN_COLORS]!;
        const few = line.series.length <= 30;
        return {
          stroke: line.kind === "faint" ? alpha(stroke, dark.peek() ? 0.5 : 0.35) : stroke,
          width: line.kind === "main" ? 1.8 : line.kind === "dash" ? 1.4 : 1,
          dash: line.kind === "dash" ? [5, 4] : undefined,
          points: { show: few && line.kind !== "faint", size: line.kind === "dash" ? 4 : 5, fill: stroke },
          spanGaps: false,
        };
      }),
    ],
    hooks: {
      setCursor: [
        (u) => {
          if (u.root.dataset.hover !== "1" && document.activeElement !== host) return;
          const left = u.cursor.left ?? -1;
          cursor.value = left < 0 ? null : u.posToVal(left, "x");
        },
      ],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width > 4) zoom.value = { from: u.posToVal(left, "x"), to: u.posToVal(left + width, "x") };
          if (width > 0) u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      draw: [(u) => letters(u, spec, colors)],
    },
  };
  const plot = new uPlot(options, table(spec, look, size.width), host);
  plot.over.addEventListener("pointerenter", () => (plot.root.dataset.hover = "1"));
  plot.over.addEventListener("pointerleave", () => {
    delete plot.root.dataset.hover;
    cursor.value = null;
  });
  // A finger draws the cursor along; up and down still scrolls.
  plot.over.addEventListener("pointermove", (e) => {
    if (e.pointerType === "touch") plot.setCursor({ left: e.offsetX, top: e.offsetY });
  });
  return plot;
}

/** Each run's letter at the end of its main line, moved apart where they would lie on each other. */
function letters(u: uPlot, spec: Spec, colors: string[]): void {
  if (new Set(spec.lines.map((l) => l.run)).size < 2) return;
  const ratio = devicePixelRatio;
  const placed: { letter: string; color: string; top: number }[] = [];
  const ctx = u.ctx;
  ctx.save();
  ctx.font = `bold ${11 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  spec.lines.forEach((line, i) => {
    if (line.kind !== "main") return;
    const y = u.data[i + 1] as (number | null | undefined)[];
    let at = y.length - 1;
    const high = u.scales.x!.max!;
    while (at >= 0 && (y[at] == null || u.data[0][at]! > high)) at--;
    if (at < 0) return;
    placed.push({
      letter: line.run.letter,
      color: colors[line.run.id % RUN_COLORS]!,
      top: u.valToPos(y[at]!, "y", true),
    });
  });
  placed.sort((a, b) => a.top - b.top);
  const left = u.bbox.left + u.bbox.width + 9 * ratio;
  const gap = 12 * ratio;
  // Apart from the top down, then up again from the foot of the chart.
  let low = -Infinity;
  for (const p of placed) low = p.top = Math.max(p.top, low + gap);
  let high = u.bbox.top + u.bbox.height + gap * 1.5;
  for (const p of placed.reverse()) high = p.top = Math.min(p.top, high - gap);
  for (const p of placed) {
    ctx.fillStyle = p.color;
    ctx.fillText(p.letter, left, p.top);
  }
  ctx.restore();
}

function alpha(color: string, a: number): string {
  const hex = /^#([0-9a-f]{6})$/i.exec(color);
  if (!hex) return color;
  const n = parseInt(hex[1]!, 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${a})`;
}

/** Keys in a chart that has the focus; true where one was ours. */
export function onKey(u: uPlot, e: KeyboardEvent): boolean {
  const data = u.data[0];
  if (data.length === 0) return false;
  const { min, max } = u.scales.x as { min: number; max: number };
  const span = max - min;
  const middle = cursor.peek() ?? (min + max) / 2;
  const put = (x: number) => {
    u.setCursor({ left: u.valToPos(Math.min(max, Math.max(min, x)), "x"), top: u.over.clientHeight / 2 });
  };
  const step = (by: number) => {
    const at = cursor.peek() === null ? data.length - 1 : nearest(data as number[], cursor.peek()!);
    put(data[Math.min(data.length - 1, Math.max(0, at + by))]!);
  };
  const scale = (by: number) => {
    const width = span * by;
    const from = middle - (middle - min) * by;
    zoom.value = { from, to: from + width };
  };
  switch (e.key) {
    case "ArrowLeft":
    case "ArrowRight": {
      const by = e.key === "ArrowLeft" ? -1 : 1;
      if (e.shiftKey) zoom.value = { from: min + by * span * 0.2, to: max + by * span * 0.2 };
      else step(by);
      return true;
    }
    case "Home":
      put(min);
      return true;
    case "End":
      put(max);
      return true;
    case "+":
    case "=":
      scale(0.6);
      return true;
    case "-":
      scale(1 / 0.6);
      return true;
    case "0":
    case "Escape":
      zoom.value = null;
      return true;
  }
  return false;
}
