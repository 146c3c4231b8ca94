// All curves, by group.

import type { JSX } from "preact";
import { signal } from "@preact/signals";
import { byTime, follow, logScale, setByTime, smoothing, zoom } from "../state";
import { number, duration } from "../format";
import { Choice, Nothing, Switch } from "../parts/controls";
import { Chart } from "./chart";
import { groups } from "./specs";

/** A net of a thousand classes has as many charts; they are drawn when asked for. */
const FIRST = 24;
const all = signal<Set<string>>(new Set());
const filter = signal("");

export function Curves(): JSX.Element {
  const runs = follow();
  const wanted = filter.value.trim().toLowerCase();
  const found = groups(runs, smoothing.value > 0)
    .map((g) => ({ ...g, specs: g.specs.filter((s) => s.lines.length > 0 && s.title.toLowerCase().includes(wanted)) }))
    .filter((g) => g.specs.length > 0);
  return (
    <>
      <div class="toolbar">
        <CurveControls />
        <label class="field">
          <span>Find</span>
          <input
            type="search"
            placeholder="recall, loss, …"
            value={filter.value}
            onInput={(e) => (filter.value = e.currentTarget.value)}
          />
        </label>
      </div>
      {found.length === 0 && <Nothing>{wanted ? "No curve has this in its name." : "No figures yet."}</Nothing>}
      {found.map((g) => {
        const open = all.value.has(g.title);
        const specs = open ? g.specs : g.specs.slice(0, FIRST);
        return (
          <section key={g.title} aria-label={g.title}>
            <h2>{g.title}</h2>
            <div class="charts">
              {specs.map((s) => (
                <Chart key={s.id} spec={s} />
              ))}
            </div>
            {specs.length < g.specs.length && (
              <button type="button" onClick={() => (all.value = new Set([...all.value, g.title]))}>
                Show {g.specs.length - specs.length} more
              </button>
            )}
          </section>
        );
      })}
    </>
  );
}

export function CurveControls(): JSX.Element {
  const z = zoom.value;
  const tell = (v: number) => (byTime.value ? duration(v) : number(Math.round(v)));
  return (
    <>
      <Choice
        name="x"
        label="Over iterations or time"
        value={byTime.value ? "time" : "iteration"}
        options={[
          { value: "iteration", label: "iterations" },
          { value: "time", label: "time" },
        ]}
        onChange={(v) => setByTime(v === "time")}
      />
      <Switch id="log-scale" label="log scale" on={logScale.value} onChange={(on) => (logScale.value = on)} />
      <label class="field">
        <span>Smoothing</span>
        <input
          type="range"
          data-testid="smoothing"
          min={0}
          max={0.99}
          step={0.01}
          value={smoothing.value}
          onInput={(e) => (smoothing.value = Number(e.currentTarget.value))}
        />
        <output class="fixed">{smoothing.value.toFixed(2)}</output>
      </label>
      {z && (
        <button type="button" data-testid="zoom-reset" onClick={() => (zoom.value = null)}>
          {tell(Math.max(0, z.from))} to {tell(z.to)} ✕<span class="hidden"> see all again</span>
        </button>
      )}
    </>
  );
}
