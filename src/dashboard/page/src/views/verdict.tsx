// What is wrong with a run, and what to type.

import type { JSX } from "preact";
import type { Finding, Run } from "../run";
import { plural } from "../format";
import { Letter, Words } from "../parts/controls";
import { warnings } from "./classes";

const SEVERITY: Record<string, { rank: number; mark: string; level: string }> = {
  error: { rank: 0, mark: "✕", level: "bad" },
  warning: { rank: 1, mark: "!", level: "warning" },
  note: { rank: 2, mark: "i", level: "note" },
};
const UNKNOWN = { rank: 3, mark: "·", level: "unknown" };

/** Whether a run is ill, well, or nobody said; with the word for it. */
export function condition(run: Run): { level: string; mark: string; word: string } | null {
  if (run.verdict)
    return run.verdict.ill ? { level: "bad", mark: "✕", word: "ill" } : { level: "good", mark: "✓", word: "well" };
  if (run.findings.some((f) => f.severity === "error")) return { level: "bad", mark: "✕", word: "errors found" };
  if (run.findings.some((f) => f.severity === "warning")) return { level: "warning", mark: "!", word: "warnings" };
  return null;
}

export function Verdict({ run }: { run: Run }): JSX.Element {
  const how = condition(run);
  const verdict = run.verdict;
  const findings = run.findings.slice().sort((a, b) => of(a).rank - of(b).rank);
  const suspicions = verdict ? [] : [...run.heads().values()].flatMap(warnings);
  return (
    <section class={`card verdict ${how?.level ?? ""}`} aria-label={`Verdict on ${run.name}`} data-testid="verdict">
      <h2>
        <Letter of={run} /> {run.name}
        {how && (
          <span class={`badge ${how.level}`} data-testid="condition">
            <b aria-hidden="true">{how.mark}</b> {how.word}
          </span>
        )}
      </h2>
      {run.end?.error && (
        <p class="problem">
          <Words text={run.end.error} />
        </p>
      )}
      {verdict && verdict.lines && verdict.lines.length > 0 && (
        <ul class={verdict.ill ? "warnings" : "praise"}>
          {verdict.lines.map((l) => (
            <li key={l}>
              <Words text={l} />
            </li>
          ))}
        </ul>
      )}
      {suspicions.length > 0 && (
        <ul class="warnings">
          {suspicions.map((l) => (
            <li key={l}>{l}</li>
          ))}
        </ul>
      )}
      {!verdict && suspicions.length === 0 && findings.length === 0 && !run.end?.error && (
        <p class="quiet">
          {run.state === "running" || run.state === "waiting"
            ? "Nothing suspicious so far."
            : "Nothing was found wrong."}
        </p>
      )}
      {verdict?.todo && verdict.todo.length > 0 && (
        <>
          <h3>What to do</h3>
          <ol class="todo">
            {verdict.todo.map((t) => (
              <li key={t}>
                <Words text={t} />
              </li>
            ))}
          </ol>
        </>
      )}
      {findings.length > 0 && (
        <details open={!verdict && findings.length <= 4} data-testid="findings">
          <summary>{counts(findings)}</summary>
          <ul class="findings">
            {findings.map((f, i) => (
              <li key={i} class={of(f).level}>
                <b class={`mark ${of(f).level}`} title={f.severity}>
                  {of(f).mark}
                  <span class="hidden"> {f.severity}</span>
                </b>
                <div>
                  <p>
                    <Words text={f.message} />
                    {f.times > 1 && <span class="quiet"> ({f.times} times)</span>}
                  </p>
                  {f.help && (
                    <p class="help">
                      <Words text={f.help} />
                    </p>
                  )}
                  <p class="quiet">
                    <code>{f.code}</code>
                    {f.place && <> {f.place}</>}
                    {typeof f.iteration === "number" && <> iteration {f.iteration}</>}
                  </p>
                </div>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

const of = (f: Finding) => SEVERITY[f.severity] ?? UNKNOWN;

function counts(findings: Finding[]): string {
  const parts = Object.keys(SEVERITY).flatMap((s) => {
    const n = findings.filter((f) => f.severity === s).length;
    return n > 0 ? [plural(n, s)] : [];
  });
  return `Findings: ${parts.join(", ") || findings.length}`;
}
