// A confusion matrix as a table: rows are the truth, columns the answers.

import type { JSX } from "preact";
import type { Head } from "../lines";
import { className, compact, count, percent } from "../format";

/** More rows than can be read in one table; then those with most mistakes are shown. */
const MOST = 30;

export function Confusion({ head, shares, whose }: { head: Head; shares: boolean; whose: string }): JSX.Element {
  const matrix = head.confusion!;
  const name = (i: number) => className(head.names, i);
  const sums = matrix.map((row) => row.reduce((a, b) => a + b, 0));
  const high = matrix.reduce((most, row) => row.reduce((a, b) => Math.max(a, b), most), 0);
  let classes = matrix.map((_, i) => i);
  if (classes.length > MOST) {
    const mistakes = matrix.map((row, i) => sums[i]! - (row[i] ?? 0));
    classes = classes
      .sort((a, b) => mistakes[b]! - mistakes[a]!)
      .slice(0, MOST)
      .sort((a, b) => a - b);
  }
  const strength = (row: number, v: number) =>
    shares ? (sums[row]! > 0 ? v / sums[row]! : 0) : high > 0 ? Math.log1p(v) / Math.log1p(high) : 0;
  return (
    <>
      {classes.length < matrix.length && (
        <p class="quiet">
          {MOST} of {matrix.length} classes: those with most mistakes.
        </p>
      )}
      <div class="scroll" tabIndex={0} role="region" aria-label={`Confusion matrix of ${whose}`}>
        <table class="confusion" data-testid="confusion">
          <caption class="hidden">
            Confusion matrix of {head.scores}: rows are the truth, columns the answer
            {shares ? ", cells are shares of their row" : ""}
          </caption>
          <thead>
            <tr>
              <th scope="col" class="corner">
                truth ↓ &nbsp; answer →
              </th>
              {classes.map((c) => (
                <th scope="col" key={c} title={name(c)}>
                  {name(c)}
                </th>
              ))}
              <th scope="col" class="sum">
                all
              </th>
            </tr>
          </thead>
          <tbody>
            {classes.map((r) => (
              <tr key={r}>
                <th scope="row" title={name(r)}>
                  {name(r)}
                </th>
                {classes.map((c) => {
                  const v = matrix[r]![c] ?? 0;
                  const s = strength(r, v);
                  const share = sums[r]! > 0 ? v / sums[r]! : null;
                  return (
                    <td
                      key={c}
                      class={r === c ? "diagonal" : ""}
                      style={{ "--heat": s.toFixed(3) }}
                      title={`${name(r)} taken for ${name(c)}: ${count(v)}, ${percent(share)} of the row`}
                    >
                      {shares ? percent(share, 0) : compact(v)}
                      {shares && <small>{compact(v)}</small>}
                    </td>
                  );
                })}
                <td class="sum">{compact(sums[r]!)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
