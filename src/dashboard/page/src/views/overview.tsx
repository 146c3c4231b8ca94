// The first page: verdicts, figures side by side, the loss, and the last heat maps.

import type { JSX } from "preact";
import type { Run } from "../run";
import { follow, goTo, smoothing } from "../state";
import { duration, number, percent } from "../format";
import { Letter, Nothing } from "../parts/controls";
import { headAt } from "./classes";
import { Chart } from "./chart";
import { CurveControls } from "./curves";
import { blobsOf, MapGrid, samplesOf, Scale } from "./maps";
import { after, lossSpec } from "./specs";
import { Verdict } from "./verdict";

const SAMPLES = 2;

export function Overview(): JSX.Element {
  const runs = follow();
  if (runs.length === 0) return <Nothing>No run is shown: choose one above.</Nothing>;
  const samples = samplesOf(runs).slice(0, SAMPLES);
  const blob = blobsOf(runs)[0] ?? "";
  const loss = lossSpec(runs, smoothing.value > 0);
  return (
    <>
      <div class="columns">
        {runs.map((run) => (
          <Verdict key={run.id} run={run} />
        ))}
      </div>
      <div class="overview">
        <div>
          <div class="toolbar">
            <CurveControls />
          </div>
          {loss.lines.some((l) => l.series.length > 0) ? (
            <Chart spec={loss} height={280} />
          ) : (
            <Nothing>No loss yet.</Nothing>
          )}
        </div>
        <Figures runs={runs} />
      </div>
      {samples.length > 0 && (
        <>
          <div class="toolbar">
            <h2>What the net sees</h2>
            <Scale runs={runs} blob={blob} />
            <button type="button" onClick={() => goTo("maps")}>
              all samples, over time
            </button>
          </div>
          <div class="columns wide">
            {runs.map((run) => (
              <MapGrid key={run.id} run={run} blob={blob} samples={samples} at={null} />
            ))}
          </div>
        </>
      )}
    </>
  );
}

interface Row {
  name: string;
  /** Which end is better, where one is. */
  best?: "low" | "high";
  values: (number | null)[];
  tell: (v: number | null) => string;
}

function Figures({ runs }: { runs: Run[] }): JSX.Element {
  const rows = rowsOf(runs);
  return (
    <section class="card" aria-label="Figures" data-testid="figures">
      <h2>Last figures</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Last figures of each run">
        <table class="figures-table">
          <thead>
            <tr>
              <th scope="col">
                <span class="hidden">figure</span>
              </th>
              {runs.map((r) => (
                <th scope="col" key={r.id} title={r.name}>
                  <Letter of={r} />
                  <span class={runs.length > 1 ? "hidden" : ""}> {r.name}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => {
              const best = bestOf(row);
              return (
                <tr key={row.name}>
                  <th scope="row">{row.name}</th>
                  {row.values.map((v, i) => (
                    <td key={i} class={v !== null && v === best ? "best" : ""}>
                      {row.tell(v)}
                      {v !== null && v === best && <span class="hidden"> (best)</span>}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function bestOf(row: Row): number | null {
  const known = row.values.filter((v): v is number => v !== null);
  if (!row.best || known.length < 2 || known.every((v) => v === known[0])) return null;
  return row.best === "low" ? Math.min(...known) : Math.max(...known);
}

function rowsOf(runs: Run[]): Row[] {
  const rows: Row[] = [];
  const put = (
    name: string,
    get: (r: Run) => number | null | undefined,
    tell: (v: number | null) => string,
    best?: "low" | "high",
  ) => {
    const values = runs.map((r) => {
      const v = get(r);
      return typeof v === "number" && Number.isFinite(v) ? v : null;
    });
    if (values.some((v) => v !== null)) rows.push({ name, values, tell, ...(best ? { best } : {}) });
  };
  put(
    "iteration",
    (r) => r.iteration,
    (v) => (v === null ? "–" : String(v)),
  );
  put("loss", (r) => (r.loss.length > 0 ? r.loss.last() : r.steps.last()), number, "low");
  put("test loss", (r) => r.testLoss.get(0)?.last(), number, "low");
  const heads = [...new Set(runs.flatMap((r) => [...r.heads().keys()]))];
  for (const of of heads) {
    const suffix = heads.length > 1 ? `, ${after(of)}` : "";
    const head = (r: Run) => headAt(r, of, null)?.head;
    put(`accuracy${suffix}`, (r) => head(r)?.accuracy, share, "high");
    put(`always the commonest${suffix}`, (r) => head(r)?.constant?.accuracy, share);
    put(`mean IoU${suffix}`, (r) => head(r)?.mean_iou, share, "high");
    put(`mean recall${suffix}`, (r) => head(r)?.mean_recall, share, "high");
  }
  if (heads.length === 0) {
    const names = [...new Set(runs.flatMap((r) => [...r.tests.keys()]))];
    for (const name of names.slice(0, 4)) put(`${name}, test`, (r) => r.tests.get(name)?.last(), number);
  }
  for (const of of [...new Set(runs.flatMap((r) => [...r.detectors().keys()]))]) {
    put("mean average precision", (r) => r.detectors().get(of)?.mean, share, "high");
  }
  put("time", (r) => r.elapsed || null, duration);
  put("iterations a second", (r) => r.pace, number);
  return rows;
}

const share = (v: number | null) => percent(v);
