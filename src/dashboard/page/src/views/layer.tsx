// One layer: its blobs and parameters, with histograms and how they went over the iterations.

import type { JSX } from "preact";
import type { BlobVitals, Histogram, Node, ParamVitals } from "../lines";
import type { Run } from "../run";
import { compact, count, number, percent, shape, some } from "../format";
import { health, LEVELS, ratio } from "../health";
import { selected, vitalKey, vitalsAt, vitalsOf } from "./vitals";

export function LayerPanel({ run, node, at }: { run: Run; node: Node; at: number | null }): JSX.Element {
  const vitals = vitalsOf(vitalsAt(run, at), node);
  const h = health(vitals);
  const history = run.vitals.map((line) => ({
    iteration: line.iteration,
    layer: vitalsOf(new Map(line.layers.filter((l) => l.name === node.name).map((l) => [vitalKey(l), l])), node),
  }));
  return (
    <>
      <button type="button" class="link back" onClick={() => (selected.value = null)}>
        ← all layers
      </button>
      <h2 data-testid="layer-name">
        {node.name} <small>{node.type}</small>
      </h2>
      <dl class="pairs">
        {(node.bottoms ?? []).length > 0 && (
          <>
            <dt>takes</dt>
            <dd>{node.bottoms.join(", ")}</dd>
          </>
        )}
        {(node.tops ?? []).map((t) => (
          <>
            <dt>gives</dt>
            <dd>
              {t.name}, {shape(t.shape)}
              {t.in_place && " (in place)"}
            </dd>
          </>
        ))}
        {(node.flops ?? 0) > 0 && (
          <>
            <dt>work</dt>
            <dd>{compact(node.flops!)} operations a pass</dd>
          </>
        )}
        {vitals && (vitals.forward_ms ?? null) !== null && (
          <>
            <dt>time</dt>
            <dd>
              {number(vitals.forward_ms)} ms forward
              {(vitals.backward_ms ?? null) !== null && `, ${number(vitals.backward_ms)} ms backward`}
            </dd>
          </>
        )}
      </dl>
      <p class={`health ${h.level}`}>
        <b class={`mark ${h.level}`}>{LEVELS[h.level].mark}</b> {LEVELS[h.level].word}
      </p>
      {h.signs.length > 0 && (
        <ul class="signs">
          {h.signs.map((s) => (
            <li key={s.text} class={s.level}>
              {s.text}
            </li>
          ))}
        </ul>
      )}
      {!vitals && <p class="quiet">Its values were not looked at yet.</p>}
      {(vitals?.blobs ?? []).map((b) => (
        <Blob
          key={b.name}
          of={b}
          past={history.map((p) => ({ iteration: p.iteration, of: p.layer?.blobs?.find((x) => x.name === b.name) }))}
        />
      ))}
      {(vitals?.params ?? []).map((p) => (
        <Param
          key={p.name}
          of={p}
          past={history.map((v) => ({ iteration: v.iteration, of: v.layer?.params?.find((x) => x.name === p.name) }))}
        />
      ))}
    </>
  );
}

type Past<T> = { iteration: number; of: T | undefined }[];

function Blob({ of, past }: { of: BlobVitals; past: Past<BlobVitals> }): JSX.Element {
  const dead = of.dead ?? [];
  return (
    <section class="vital">
      <h3>{of.name}</h3>
      <dl class="pairs">
        <dt>mean</dt>
        <dd>
          {number(of.mean)} ± {number(of.deviation)}
        </dd>
        <dt>range</dt>
        <dd>
          {number(of.low)} to {number(of.high)}
        </dd>
        <dt>zeros</dt>
        <dd>{percent(of.zeros)}</dd>
        {dead.length > 0 && (
          <>
            <dt>dead</dt>
            <dd>
              {dead.length} of {of.channels} channels: {some(dead, 12)}
            </dd>
          </>
        )}
        {(of.not_finite ?? 0) > 0 && (
          <>
            <dt>not finite</dt>
            <dd>{count(of.not_finite)}</dd>
          </>
        )}
      </dl>
      <Bars of={of.histogram} name={of.name} />
      <Spark
        label="mean ± deviation"
        points={past.map((p) => [p.iteration, p.of?.mean ?? null, p.of?.deviation ?? null])}
      />
    </section>
  );
}

function Param({ of, past }: { of: ParamVitals; past: Past<ParamVitals> }): JSX.Element {
  const r = ratio(of.update, of.norm);
  return (
    <section class="vital">
      <h3>
        {of.name} {of.shape && <small>{shape(of.shape)}</small>}
      </h3>
      <dl class="pairs">
        <dt>mean</dt>
        <dd>
          {number(of.mean)} ± {number(of.deviation)}
        </dd>
        <dt>norm</dt>
        <dd>{number(of.norm)}</dd>
        <dt>gradient</dt>
        <dd>{number(of.gradient)}</dd>
        <dt>update</dt>
        <dd>
          {number(of.update)}
          {r !== null && ` (${number(r)} of the norm)`}
        </dd>
      </dl>
      <Bars of={of.histogram} name={of.name} />
      <Spark label="norm" points={past.map((p) => [p.iteration, p.of?.norm ?? null, null])} />
      <Spark label="update / norm" points={past.map((p) => [p.iteration, ratio(p.of?.update, p.of?.norm), null])} />
    </section>
  );
}

function Bars({ of, name }: { of: Histogram | undefined; name: string }): JSX.Element | null {
  if (!of || of.counts.length === 0) return null;
  const high = Math.max(...of.counts, 1);
  const width = 300 / of.counts.length;
  return (
    <figure class="bars">
      <svg
        viewBox="0 0 300 56"
        role="img"
        aria-label={`Histogram of ${name} from ${number(of.low)} to ${number(of.high)}`}
        preserveAspectRatio="none"
      >
        {of.counts.map((c, i) => {
          // Square roots: one tall bar of zeros must not hide the rest.
          const h = Math.sqrt(c / high) * 54;
          return <rect key={i} x={i * width + 0.5} y={56 - h} width={width - 1} height={h} />;
        })}
      </svg>
      <figcaption>
        <span>{number(of.low)}</span>
        <span>heights as √count</span>
        <span>{number(of.high)}</span>
      </figcaption>
    </figure>
  );
}

/** A line over the iterations, with a band where there is a deviation. */
function Spark({
  label,
  points,
}: {
  label: string;
  points: [number, number | null, number | null][];
}): JSX.Element | null {
  const known = points.filter((p): p is [number, number, number | null] => p[1] !== null && Number.isFinite(p[1]));
  if (known.length < 2) return null;
  const x0 = known[0]![0];
  const x1 = known[known.length - 1]![0];
  let low = Infinity;
  let high = -Infinity;
  for (const [, v, d] of known) {
    low = Math.min(low, v - (d ?? 0));
    high = Math.max(high, v + (d ?? 0));
  }
  if (high === low) {
    high += Math.abs(high) * 0.1 || 1;
    low -= Math.abs(low) * 0.1 || 1;
  }
  const x = (v: number) => (((v - x0) / (x1 - x0 || 1)) * 298 + 1).toFixed(1);
  const y = (v: number) => (39 - ((v - low) / (high - low)) * 38).toFixed(1);
  const line = known.map(([i, v], n) => `${n ? "L" : "M"}${x(i)} ${y(v)}`).join("");
  const up = known.map(([i, v, d], n) => `${n ? "L" : "M"}${x(i)} ${y(v + (d ?? 0))}`).join("");
  const down = known
    .slice()
    .reverse()
    .map(([i, v, d]) => `L${x(i)} ${y(v - (d ?? 0))}`)
    .join("");
  return (
    <figure class="spark">
      <svg
        viewBox="0 0 300 40"
        role="img"
        aria-label={`${label}: from ${number(known[0]![1])} to ${number(known[known.length - 1]![1])}`}
        preserveAspectRatio="none"
      >
        {known.some((p) => p[2] !== null) && <path class="band" d={`${up}${down}Z`} />}
        <path class="line" d={line} />
      </svg>
      <figcaption>
        <span>{label}</span>
        <span>
          iteration {x0} to {x1}
        </span>
        <span>
          {number(low)} … {number(high)}
        </span>
      </figcaption>
    </figure>
  );
}
