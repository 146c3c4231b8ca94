// The samples with the largest loss.

import type { JSX } from "preact";
import type { Run } from "../run";
import type { WorstSample } from "../lines";
import { follow, worstAt } from "../state";
import { number } from "../format";
import { IterationSlider, Letter, Nothing } from "../parts/controls";

export function Worst(): JSX.Element {
  const runs = follow();
  const iterations = [...new Set(runs.flatMap((r) => r.worst.map((w) => w.iteration)))].sort((a, b) => a - b);
  if (iterations.length === 0) return <Nothing>No worst samples yet: they are found at each test.</Nothing>;
  return (
    <>
      <div class="toolbar">
        <IterationSlider
          id="worst"
          iterations={iterations}
          at={worstAt.value}
          onChange={(at) => (worstAt.value = at)}
        />
      </div>
      <div class="columns">
        {runs.map((run) => {
          const line = run.worst.findLast((w) => worstAt.value === null || w.iteration <= worstAt.value);
          if (!line) return null;
          const high = Math.max(...line.samples.map((s) => s.loss ?? 0), 0);
          return (
            <section key={run.id} class="card" aria-label={`Worst samples of ${run.name}`} data-testid="worst-run">
              <h2>
                <Letter of={run} /> {run.name} <small>iteration {line.iteration}</small>
              </h2>
              <ol class="worst">
                {line.samples.map((s, i) => (
                  <li key={`${s.key}${i}`}>
                    <Face run={run} of={s} iteration={line.iteration} />
                    <div>
                      <p>
                        <code>{s.key}</code>
                      </p>
                      <Judged run={run} of={s} />
                      <p class="loss">
                        loss <b>{number(s.loss)}</b>
                        <span class="bar" aria-hidden="true">
                          <span style={{ width: `${high > 0 ? ((s.loss ?? 0) / high) * 100 : 0}%` }} />
                        </span>
                      </p>
                    </div>
                  </li>
                ))}
              </ol>
            </section>
          );
        })}
      </div>
    </>
  );
}

/** What it is and what the net says; of a map how much is right, and the commonest mistake. */
function Judged({ run, of }: { run: Run; of: WorstSample }): JSX.Element {
  const names = [...run.heads().values()].find((h) => h.names?.length)?.names;
  const named = (v: string) => (/^\d+$/.test(v) ? (names?.[Number(v)] ?? v) : v);
  const truth = filled(of.truth) ? String(of.truth) : "";
  const answer = filled(of.answer) ? String(of.answer) : "";
  if (truth.includes("%")) {
    const mistake = /^(\d+) for (\d+) in (.*)$/.exec(answer);
    const words = mistake ? `${named(mistake[2]!)} taken for ${named(mistake[1]!)} in ${mistake[3]}` : answer;
    return (
      <p class="verdicts">
        <b>{truth}</b>
        {words && <span>{words}</span>}
      </p>
    );
  }
  return (
    <p class="verdicts">
      {truth && (
        <span>
          truth <b>{named(truth)}</b>
        </span>
      )}
      {answer && (
        <span>
          answer <b class={truth === answer ? "" : "alarm"}>{named(answer)}</b>
        </span>
      )}
    </p>
  );
}

const filled = (v: string | number | null | undefined) => v !== null && v !== undefined && v !== "";

function Face({ run, of, iteration }: { run: Run; of: WorstSample; iteration: number }): JSX.Element {
  // A report has no files: it carries the picture here or as a line of its own.
  const line = of.png
    ? undefined
    : run.pictures.find((p) => p.role === "worst" && p.iteration === iteration && p.key === of.key);
  const src = run.source(of.picture ?? line?.file, of.png ?? line?.png);
  if (!src) return <span class="no-picture">no picture</span>;
  return <img src={src} alt={`Sample ${of.key}`} />;
}
