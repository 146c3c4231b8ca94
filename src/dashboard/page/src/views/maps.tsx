// Heat maps on fixed samples: rows are samples, columns the input, the truth, the answer and the channels.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import type { PictureLine } from "../lines";
import type { Run } from "../run";
import { slot } from "../run";
import { follow, mapsAt, tab } from "../state";
import { number } from "../format";
import { Dialog, IterationSlider, Letter, Nothing, Select } from "../parts/controls";

const ROLES = ["input", "truth", "answer", "map"];
const blob = signal<string | null>(null);
const playing = signal(false);
/** The place of the enlarged picture. */
const enlarged = signal<PictureLine | null>(null);

export function Maps(): JSX.Element {
  const runs = follow();
  const blobs = blobsOf(runs);
  const samples = samplesOf(runs);
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (e.key !== " " || tab.value !== "maps" || (e.target as HTMLElement).closest("button, input, select, dialog"))
        return;
      e.preventDefault();
      playing.value = !playing.value;
    };
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("keydown", key);
      playing.value = false;
    };
  }, []);
  if (samples.length === 0)
    return <Nothing>No pictures yet: they are taken at each test, of blobs that are maps.</Nothing>;
  const chosen = blobs.includes(blob.value ?? "") ? blob.value! : (blobs[0] ?? "");
  const iterations = iterationsOf(runs);
  return (
    <>
      <div class="toolbar">
        <Select
          id="map-blob"
          label="Blob"
          value={chosen}
          options={blobs.map((b) => ({ value: b, label: b }))}
          onChange={(v) => (blob.value = v)}
        />
        <IterationSlider
          id="maps"
          iterations={iterations}
          at={mapsAt.value}
          onChange={(at) => (mapsAt.value = at)}
          playable={{ on: playing.value, set: (on) => (playing.value = on) }}
        />
        <Scale runs={runs} blob={chosen} />
      </div>
      <div class="columns wide">
        {runs.map((run) => (
          <MapGrid key={run.id} run={run} blob={chosen} samples={samples} at={mapsAt.value} />
        ))}
      </div>
    </>
  );
}

/** What the colours of heat maps mean: in figures where all maps of a blob have one scale. */
export function Scale({ runs, blob }: { runs: Run[]; blob: string }): JSX.Element {
  const ranges = new Set<string>();
  for (const run of runs) {
    for (const p of run.pictures)
      if (p.role === "map" && (p.blob ?? "") === blob && typeof p.low === "number")
        ranges.add(`${number(p.low)} ${number(p.high)}`);
  }
  const [low, high] = ranges.size === 1 ? [...ranges][0]!.split(" ") : ["low", "high"];
  return (
    <p class="scale">
      {low} <span aria-hidden="true" /> {high}
    </p>
  );
}

export function blobsOf(runs: Run[]): string[] {
  return [...new Set(runs.flatMap((r) => r.pictures.filter((p) => p.role === "map").map((p) => p.blob ?? "")))];
}

export function samplesOf(runs: Run[]): number[] {
  return [
    ...new Set(runs.flatMap((r) => r.pictures.filter((p) => ROLES.includes(p.role)).map((p) => p.sample ?? 0))),
  ].sort((a, b) => a - b);
}

function iterationsOf(runs: Run[]): number[] {
  const of = runs.flatMap((r) =>
    r.pictures.filter((p) => p.role === "map" || p.role === "answer").map((p) => p.iteration),
  );
  return [...new Set(of)].sort((a, b) => a - b);
}

/** One picture for each column, whatever its sample and iteration. */
function columnsOf(run: Run, blob: string): PictureLine[] {
  const found = new Map<string, PictureLine>();
  for (const p of run.pictures) {
    if (!ROLES.includes(p.role) || (p.role === "map" && (p.blob ?? "") !== blob)) continue;
    found.set(slot({ ...p, sample: 0 }), p);
  }
  return [...found.values()].sort(
    (a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || (a.channel ?? -1) - (b.channel ?? -1),
  );
}

/** What a picture shows: the class of its channel where its name is known, else as the writer called it. */
function heading(run: Run | undefined, p: PictureLine): string {
  if (p.role !== "map") return p.role;
  if (run && typeof p.channel === "number") {
    for (const head of run.heads().values()) {
      if (head.scores === p.blob && head.names?.[p.channel]) return head.names[p.channel]!;
    }
  }
  return p.caption || `channel ${p.channel ?? 0}`;
}

export function MapGrid({
  run,
  blob,
  samples,
  at,
}: {
  run: Run;
  blob: string;
  samples: number[];
  at: number | null;
}): JSX.Element {
  const columns = columnsOf(run, blob);
  const iteration = at ?? Infinity;
  return (
    <section class="card" aria-label={`Heat maps of ${run.name}`} data-testid="map-grid">
      <h2>
        <Letter of={run} /> {run.name} <small>{blob}</small>
      </h2>
      {columns.length === 0 ? (
        <Nothing>No pictures of this blob.</Nothing>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={`Pictures of ${run.name}`}>
          <table class="maps">
            <thead>
              <tr>
                <th scope="col">
                  <span class="hidden">sample</span>
                </th>
                {columns.map((c) => (
                  <th scope="col" key={slot(c)}>
                    {heading(run, c)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {samples.map((s) => (
                <tr key={s}>
                  <th scope="row">
                    {run.picture(slot({ ...columns[0]!, sample: s }), iteration)?.key?.replace(/^0+(?=\d)/, "") ?? s}
                  </th>
                  {columns.map((c) => (
                    <td key={slot(c)}>
                      <Tile run={run} place={{ ...c, sample: s }} iteration={iteration} />
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Tile({ run, place, iteration }: { run: Run; place: PictureLine; iteration: number }): JSX.Element | null {
  const p = run.picture(slot(place), iteration);
  const src = p && run.source(p.file, p.png);
  if (!p || !src) return <span class="quiet">–</span>;
  return (
    <button type="button" class="tile" onClick={() => (enlarged.value = p)} data-testid="tile">
      <img src={src} alt={describe(run, p)} title={describe(run, p)} decoding="sync" />
    </button>
  );
}

function describe(run: Run, p: PictureLine): string {
  const range = p.low !== undefined && p.low !== null ? `, ${number(p.low)} to ${number(p.high)}` : "";
  return `${heading(run, p)} of sample ${p.key ?? p.sample ?? 0} at iteration ${p.iteration}${range}`;
}

/** The enlarged picture, of all runs that have it; arrow keys walk through iterations and samples. */
export function Enlarged(): JSX.Element | null {
  const place = enlarged.value;
  if (!place) return null;
  const runs = follow().filter((r) => r.picture(slot(place), Infinity));
  const iterations = iterationsOf(runs);
  const samples = samplesOf(runs);
  const at = mapsAt.value ?? iterations[iterations.length - 1] ?? 0;
  const key = (e: KeyboardEvent) => {
    const i = iterations.findLastIndex((v) => v <= at);
    const s = samples.indexOf(place.sample ?? 0);
    if (e.key === "ArrowLeft") mapsAt.value = iterations[Math.max(0, i - 1)] ?? null;
    else if (e.key === "ArrowRight") mapsAt.value = i + 1 >= iterations.length - 1 ? null : iterations[i + 1]!;
    else if (e.key === "ArrowDown")
      enlarged.value = { ...place, sample: samples[Math.min(samples.length - 1, s + 1)]! };
    else if (e.key === "ArrowUp") enlarged.value = { ...place, sample: samples[Math.max(0, s - 1)]! };
    else return;
    e.preventDefault();
  };
  return (
    <Dialog label="Enlarged picture" class="enlarged" onClose={() => (enlarged.value = null)} onKeyDown={key}>
      <h2>
        {heading(runs[0], place)}{" "}
        <small>
          {place.role === "map" ? place.blob : ""} sample {place.sample ?? 0}
        </small>
      </h2>
      <div class="pair">
        {runs.map((run) => {
          const p = run.picture(slot(place), at)!;
          const src = run.source(p.file, p.png);
          return (
            <figure key={run.id}>
              {src && <img src={src} alt={`${run.name}: ${describe(run, p)}`} />}
              <figcaption>
                <Letter of={run} /> {run.name}, iteration {p.iteration}
                {p.low !== undefined && p.low !== null && (
                  <>
                    <br />
                    {number(p.low)} to {number(p.high)}
                  </>
                )}
              </figcaption>
            </figure>
          );
        })}
      </div>
      <IterationSlider id="enlarged" iterations={iterations} at={mapsAt.value} onChange={(v) => (mapsAt.value = v)} />
    </Dialog>
  );
}
