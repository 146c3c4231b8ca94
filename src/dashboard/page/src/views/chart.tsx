// A chart with its title and what the lines read at the cursor.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { byTime, cursor, dark, follow, logScale, smoothing, zoom } from "../state";
import { duration, number, percent } from "../format";
import { Letter } from "../parts/controls";
import { create, onKey, reading, table } from "./plot";
import type { Look } from "./plot";
import type { Line, Spec } from "./specs";

export function Chart({ spec, height = 200 }: { spec: Spec; height?: number }): JSX.Element {
  const ticks = follow()
    .map((r) => r.tick.peek())
    .join();
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const look: Look = { log: logScale.value, byTime: byTime.value, smoothing: smoothing.value };
  const built = spec.lines
    .map((l) => `${l.run.id}${l.label}${l.kind}${l.series.length <= 30}${l.series === l.run.steps}`)
    .join("|");
  const draw = useRef(() => {});
  draw.current = () => {
    const p = plot.current;
    if (p && host.current) p.setData(table(spec, look, p.width), true);
  };

  useEffect(() => {
    const element = host.current;
    if (!element || spec.lines.length === 0) return;
    const size = () => ({ width: Math.max(120, element.clientWidth), height });
    const p = create(element, spec, look, size());
    plot.current = p;
    const observer = new ResizeObserver(() => {
      if (Math.abs(p.width - element.clientWidth) < 1) return;
      p.setSize(size());
      draw.current();
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      p.destroy();
      plot.current = null;
    };
  }, [built, dark.value, look.log, look.byTime, height, spec.id]);

  const z = zoom.value;
  useEffect(() => draw.current(), [ticks, look.smoothing, z?.from, z?.to]);

  return (
    <section class="chart card" data-testid="chart" data-chart={spec.id}>
      <header>
        <h3>{spec.title}</h3>
        {spec.note && <small>{spec.note}</small>}
        <At byTime={look.byTime} />
      </header>
      <Readings spec={spec} look={look} />
      <div
        ref={host}
        class="plot"
        tabIndex={0}
        role="group"
        aria-roledescription="chart"
        aria-label={useMemo(() => summary(spec), [ticks, built])}
        onKeyDown={(e) => {
          if (plot.current && !e.ctrlKey && !e.metaKey && !e.altKey && onKey(plot.current, e)) e.preventDefault();
        }}
        onBlur={() => (cursor.value = null)}
      />
    </section>
  );
}

/** Where the values are read. */
function At({ byTime }: { byTime: boolean }): JSX.Element {
  const at = cursor.value;
  return (
    <span class="at" data-testid="at">
      {at === null ? "last" : byTime ? `at ${duration(at)}` : `at ${Math.round(at)}`}
    </span>
  );
}

/** Lines of one run in a row: the main value, the others after it. */
function Readings({ spec, look }: { spec: Spec; look: Look }): JSX.Element {
  const at = cursor.value;
  const tell = (v: number) => (spec.share ? percent(v) : number(v));
  const byRun = new Map<number, Line[]>();
  for (const line of spec.lines) {
    byRun.set(line.run.id, [...(byRun.get(line.run.id) ?? []), line]);
  }
  return (
    <div class={`readings ${spec.lines.length > byRun.size ? "rows" : ""}`} data-testid="readings">
      {[...byRun.values()].map((lines) => (
        <span class="reading" key={lines[0]!.run.id}>
          <Letter of={lines[0]!.run} />
          {lines.map((line) => (
            <span key={line.label + line.kind} class={line.kind}>
              {lines.length > 1 && <i>{line.label} </i>}
              {tell(reading(line, look, at))}
            </span>
          ))}
        </span>
      ))}
    </div>
  );
}

/** The chart in words, for those who do not see it. */
function summary(spec: Spec): string {
  const parts = spec.lines
    .filter((l) => l.kind !== "faint")
    .map((l) => {
      let low = Infinity;
      let high = -Infinity;
      for (const v of l.series.y) {
        if (v < low) low = v;
        if (v > high) high = v;
      }
      const tell = (v: number) => (spec.share ? percent(v) : number(v));
      const name = l.label ? `${l.run.name}, ${l.label}` : l.run.name;
      return `${name}: last ${tell(l.series.last())} at iteration ${l.series.x[l.series.length - 1] ?? 0}, between ${tell(low)} and ${tell(high)}`;
    });
  return `${spec.title}. ${parts.join("; ")}. Arrow keys move the cursor, plus and minus zoom, 0 resets.`;
}
