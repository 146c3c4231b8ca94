// A net as a graph of layers, and one layer's vital signs.

import type { JSX } from "preact";
import { signal } from "@preact/signals";
import type { LayerVitals, NetLine } from "../lines";
import type { Run } from "../run";
import { follow } from "../state";
import { compact, number, percent, plural } from "../format";
import { health, LEVELS, ratio } from "../health";
import { IterationSlider, Letter, Nothing, Select } from "../parts/controls";
import { GraphView } from "./graph";
import { LayerPanel } from "./layer";
import { netKey, nodeKey, selected, vitalsAt, vitalsOf } from "./vitals";

const runId = signal<number | null>(null);
const which = signal<string | null>(null);
const at = signal<number | null>(null);
export function Net(): JSX.Element {
  const runs = follow().filter((r) => r.nets.length > 0);
  const run = runs.find((r) => r.id === runId.value) ?? runs[0];
  if (!run) return <Nothing>The net is not known yet.</Nothing>;
  const net =
    run.nets.find((n) => netKey(n) === which.value) ?? run.nets.find((n) => n.phase === "TRAIN") ?? run.nets[0]!;
  const iterations = run.vitals.map((v) => v.iteration);
  const vitals = vitalsAt(run, at.value);
  const node = net.nodes.find((n) => nodeKey(n) === selected.value);
  return (
    <>
      <div class="toolbar">
        <Select
          id="net-run"
          label="Run"
          value={run.id}
          options={runs.map((r) => ({ value: r.id, label: `${r.letter}  ${r.name}` }))}
          onChange={(v) => (runId.value = v)}
        />
        <Select
          id="net-phase"
          label="Net"
          value={netKey(net)}
          options={run.nets.map((n) => ({
            value: netKey(n),
            label:
              n.phase === "TRAIN"
                ? "training"
                : run.nets.filter((m) => m.phase !== "TRAIN").length > 1
                  ? `test ${n.index}`
                  : "test",
          }))}
          onChange={(v) => (which.value = v)}
        />
        <IterationSlider id="net" iterations={iterations} at={at.value} onChange={(v) => (at.value = v)} />
        <ul class="legend" aria-label="Marks of health">
          {(["good", "note", "warning", "bad", "unknown"] as const).map((l) => (
            <li key={l}>
              <b class={`mark ${l}`}>{LEVELS[l].mark}</b> {LEVELS[l].word}
            </li>
          ))}
        </ul>
      </div>
      <div class="net">
        <GraphView run={run} net={net} vitals={vitals} />
        <aside class="card details" aria-label={node ? `Layer ${node.name}` : "Layers"} data-testid="net-details">
          {node ? <LayerPanel run={run} node={node} at={at.value} /> : <Layers run={run} net={net} vitals={vitals} />}
        </aside>
      </div>
    </>
  );
}

/** All layers in a table: what the graph shows, in figures. */
function Layers({ run, net, vitals }: { run: Run; net: NetLine; vitals: Map<string, LayerVitals> }): JSX.Element {
  const total = [...vitals.values()].reduce((sum, v) => sum + (v.forward_ms ?? 0) + (v.backward_ms ?? 0), 0);
  const weights = net.nodes.reduce(
    (sum, n) => sum + (n.params ?? []).reduce((s, p) => s + p.reduce((a, b) => a * b, 1), 0),
    0,
  );
  return (
    <>
      <h2>
        <Letter of={run} /> {net.name || run.name}
      </h2>
      <p class="quiet">
        {plural(net.nodes.length, "layer")}, {compact(weights)} weights
        {total > 0 && `, ${number(total)} ms forward and backward`}. Choose a layer for its figures.
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Layers">
        <table class="layers">
          <thead>
            <tr>
              <th scope="col">layer</th>
              <th scope="col">time</th>
              <th scope="col">zeros</th>
              <th scope="col">update / weight</th>
            </tr>
          </thead>
          <tbody>
            {net.nodes.map((n, i) => {
              const v = vitalsOf(vitals, n);
              const h = health(v);
              const first = v?.params?.[0];
              const time = (v?.forward_ms ?? 0) + (v?.backward_ms ?? 0);
              return (
                <tr key={i}>
                  <th scope="row">
                    <b class={`mark ${h.level}`} title={LEVELS[h.level].word}>
                      {LEVELS[h.level].mark}
                    </b>
                    <button type="button" class="link" onClick={() => (selected.value = nodeKey(n))}>
                      {n.name}
                    </button>{" "}
                    <small>{n.type}</small>
                  </th>
                  <td>{total > 0 ? percent(time / total, 0) : "–"}</td>
                  <td>{percent(v?.blobs?.[0]?.zeros, 0)}</td>
                  <td>{number(ratio(first?.update, first?.norm))}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </>
  );
}
