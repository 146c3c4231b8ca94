// Confusion matrices, figures by class, and what is suspicious about scores, for each run side by side.

import type { JSX } from "preact";
import { signal } from "@preact/signals";
import type { Head } from "../lines";
import type { Run } from "../run";
import { classesAt, follow, rowShares } from "../state";
import { className, count, nearly, number, percent, plural } from "../format";
import { Choice, IterationSlider, Letter, Nothing, Select, Switch } from "../parts/controls";
import { Confusion } from "./confusion";
import { after } from "./specs";

const chosen = signal<string | null>(null);
const playing = signal(false);

export function Classes(): JSX.Element {
  const runs = follow();
  const heads = [...new Set(runs.flatMap((r) => [...r.heads().keys()]))];
  const detectors = [...new Set(runs.flatMap((r) => [...r.detectors().keys()]))];
  if (heads.length === 0 && detectors.length === 0) {
    return <Nothing>No scores were held against labels yet: that happens at each test.</Nothing>;
  }
  const of = heads.includes(chosen.value ?? "") ? chosen.value! : (heads[0] ?? "");
  const iterations = [
    ...new Set(runs.flatMap((r) => r.metrics.filter((m) => headOf(m.heads, of, m.net)).map((m) => m.iteration))),
  ].sort((a, b) => a - b);
  return (
    <>
      {heads.length > 0 && (
        <div class="toolbar">
          <Select
            id="head"
            label="Scores"
            value={of}
            options={heads.map((h) => ({ value: h, label: after(h) }))}
            onChange={(v) => (chosen.value = v)}
          />
          <Choice
            name="cells"
            label="What cells show"
            value={rowShares.value ? "shares" : "counts"}
            options={[
              { value: "shares", label: "shares of a row" },
              { value: "counts", label: "counts" },
            ]}
            onChange={(v) => (rowShares.value = v === "shares")}
          />
          <IterationSlider
            id="classes"
            iterations={iterations}
            at={classesAt.value}
            onChange={(at) => (classesAt.value = at)}
            playable={{ on: playing.value, set: (on) => (playing.value = on) }}
          />
        </div>
      )}
      <div class="columns">
        {runs.map((run) => {
          const found = headAt(run, of, classesAt.value);
          if (!found) return null;
          return (
            <section key={run.id} class="card" aria-label={`Classes of ${run.name}`} data-testid="classes-run">
              <h2>
                <Letter of={run} /> {run.name}
                <small>iteration {found.iteration}</small>
              </h2>
              <HeadView head={found.head} whose={run.name} />
            </section>
          );
        })}
      </div>
      {detectors.map((of) => (
        <Detector key={of} of={of} runs={runs} />
      ))}
    </>
  );
}

function headOf(heads: Head[] | undefined, of: string, net: number): Head | undefined {
  return heads?.find((h) => `${net}/${h.scores}` === of);
}

/** A head as it was measured last at or before an iteration. */
export function headAt(run: Run, of: string, at: number | null): { head: Head; iteration: number } | undefined {
  for (let i = run.metrics.length - 1; i >= 0; i--) {
    const m = run.metrics[i]!;
    if (at !== null && m.iteration > at) continue;
    const head = headOf(m.heads, of, m.net);
    if (head) return { head, iteration: m.iteration };
  }
  return undefined;
}

function HeadView({ head, whose }: { head: Head; whose: string }): JSX.Element {
  return (
    <>
      <Warnings head={head} />
      <p class="figures">
        <span>
          accuracy <b>{percent(head.accuracy)}</b>
        </span>
        <span>
          mean IoU <b>{percent(head.mean_iou)}</b>
        </span>
        <span>
          mean recall <b>{percent(head.mean_recall)}</b>
        </span>
        {(head.top_k ?? [])
          .filter(([k]) => k > 1)
          .map(([k, v]) => (
            <span key={k}>
              top {k} <b>{percent(v)}</b>
            </span>
          ))}
        {(head.ignored ?? 0) > 0 && <span>{count(head.ignored)} ignored</span>}
      </p>
      {head.confusion && head.confusion.length > 0 && <Confusion head={head} shares={rowShares.value} whose={whose} />}
      {(head.confused ?? []).length > 0 && (head.classes > 8 || !head.confusion?.length) && <Confused head={head} />}
      {(head.recall ?? []).length > 0 && <PerClass head={head} whose={whose} />}
      {(head.each ?? []).length > 0 && <PerChannel head={head} whose={whose} />}
    </>
  );
}

/** The commonest mistakes, in words: what a large matrix hides. */
function Confused({ head }: { head: Head }): JSX.Element {
  return (
    <details>
      <summary>Commonest mistakes</summary>
      <ol class="confused">
        {head.confused!.map(([truth, answer, n]) => (
          <li key={`${truth} ${answer}`}>
            <b>{className(head.names, truth)}</b> taken for <b>{className(head.names, answer)}</b>, {plural(n, "time")}
          </li>
        ))}
      </ol>
    </details>
  );
}

/** Channels that each answer a question of their own. */
function PerChannel({ head, whose }: { head: Head; whose: string }): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`Figures by channel, ${whose}`}>
      <table class="per-class" data-testid="per-channel">
        <thead>
          <tr>
            <th scope="col">channel</th>
            <th scope="col">yes</th>
            <th scope="col">accuracy</th>
            <th scope="col">always the same</th>
            <th scope="col">recall</th>
            <th scope="col">precision</th>
            <th scope="col">IoU</th>
          </tr>
        </thead>
        <tbody>
          {head.each!.map((c, i) => (
            <tr key={i}>
              <th scope="row">{i}</th>
              <td>{count(c.positives)}</td>
              <Share v={c.accuracy} />
              <td>{percent(c.constant)}</td>
              <Share v={c.recall} />
              <Share v={c.precision} />
              <Share v={c.iou} />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What is wrong with the scores, in words. */
export function warnings(head: Head): string[] {
  const name = (i: number) => className(head.names, i);
  const out: string[] = [];
  const constant = head.constant;
  if (constant && head.accuracy !== null && constant.accuracy !== null && head.accuracy <= constant.accuracy + 0.005) {
    out.push(
      `Accuracy ${percent(head.accuracy)} is no better than always saying “${name(constant.class)}”, which scores ${percent(constant.accuracy)}.`,
    );
  }
  const never = (head.recall ?? []).flatMap((r, i) => (r === 0 ? [name(i)] : []));
  if (never.length > 0) out.push(`Never found: ${list(never)}.`);
  const alike = (head.alike ?? []).filter((p) => p.correlation !== null);
  if (alike.length > 0) {
    const strongest = alike.reduce((a, b) => ((a.correlation ?? 0) >= (b.correlation ?? 0) ? a : b));
    const members = [...new Set(alike.flatMap((p) => [p.a, p.b]))].sort((a, b) => a - b);
    const equal = Math.max(...alike.map((p) => p.equal ?? 0));
    const how =
      equal > 0.5
        ? `they are equal in ${nearly(equal)} of places`
        : `they correlate up to ${number(strongest.correlation)}`;
    // Names say more than numbers, where the channels are classes that have some.
    const which = head.names?.length ? ` (${list(members.map(name))})` : "";
    out.push(
      `Channels ${list(members.map(String))}${which} of ${head.scores} are alike: ${how}, so they tell nothing apart.`,
    );
  }
  const cut = (head.zeros ?? []).flatMap((z, i) => (z !== null && z > 0.5 ? [`${name(i)} ${nearly(z)}`] : []));
  if (cut.length > 0) {
    out.push(
      `Scores that are exactly 0: ${list(cut)}. A ReLU after the last weights does that: it cuts every negative score and its gradient.`,
    );
  }
  return out;
}

function list(items: string[]): string {
  if (items.length > 10) return `${items.slice(0, 10).join(", ")} and ${items.length - 10} more`;
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items[items.length - 1]}`;
}

function Warnings({ head }: { head: Head }): JSX.Element | null {
  const found = warnings(head);
  if (found.length === 0) return null;
  return (
    <ul class="warnings" data-testid="class-warnings">
      {found.map((w) => (
        <li key={w}>{w}</li>
      ))}
    </ul>
  );
}

const showAll = signal(false);

function PerClass({ head, whose }: { head: Head; whose: string }): JSX.Element {
  const rows = Array.from({ length: head.classes }, (_, i) => i);
  const pixels = head.confusion?.map((r) => r.reduce((a, b) => a + b, 0));
  const total = pixels?.reduce((a, b) => a + b, 0) ?? 0;
  const zeros = (head.zeros ?? []).some((z) => (z ?? 0) > 0);
  const most = showAll.value ? rows.length : 40;
  const sorted =
    rows.length > most ? rows.sort((a, b) => (head.recall?.[a] ?? 2) - (head.recall?.[b] ?? 2)).slice(0, most) : rows;
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label={`Figures by class, ${whose}`}>
        <table class="per-class" data-testid="per-class">
          <thead>
            <tr>
              <th scope="col">class</th>
              {pixels && <th scope="col">share</th>}
              <th scope="col">recall</th>
              <th scope="col">precision</th>
              <th scope="col">IoU</th>
              {zeros && <th scope="col">zeros</th>}
            </tr>
          </thead>
          <tbody>
            {sorted.map((i) => (
              <tr key={i}>
                <th scope="row">{className(head.names, i)}</th>
                {pixels && <td>{percent(total > 0 ? pixels[i]! / total : null)}</td>}
                <Share v={head.recall?.[i]} />
                <Share v={head.precision?.[i]} />
                <Share v={head.iou?.[i]} />
                {zeros && <td class={(head.zeros?.[i] ?? 0) > 0.5 ? "alarm" : ""}>{percent(head.zeros?.[i])}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {head.classes > 40 && (
        <Switch
          id="all-classes"
          label={`all ${head.classes} classes (else the 40 found worst)`}
          on={showAll.value}
          onChange={(on) => (showAll.value = on)}
        />
      )}
    </>
  );
}

function Share({ v }: { v: number | null | undefined }): JSX.Element {
  const known = typeof v === "number" && Number.isFinite(v);
  return (
    <td class="share" style={{ "--share": known ? `${v * 100}%` : "0%" }}>
      <span>{percent(v)}</span>
    </td>
  );
}

function Detector({ of, runs }: { of: string; runs: Run[] }): JSX.Element {
  return (
    <section class="card">
      <h2>Average precision, {after(of)}</h2>
      <div class="columns">
        {runs.map((run) => {
          const found = run.detectors().get(of);
          if (!found) return null;
          return (
            <div key={run.id}>
              <h3>
                <Letter of={run} /> {run.name}: mean {percent(found.mean)}
              </h3>
              <table class="per-class">
                <thead>
                  <tr>
                    <th scope="col">class</th>
                    <th scope="col">average precision</th>
                  </tr>
                </thead>
                <tbody>
                  {(found.average_precision ?? []).map(([c, v]) => (
                    <tr key={c}>
                      <th scope="row">class {c}</th>
                      <Share v={v} />
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          );
        })}
      </div>
    </section>
  );
}
