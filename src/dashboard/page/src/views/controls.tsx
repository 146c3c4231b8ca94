// What can be asked of a run while it trains: a snapshot, another rate, to stop.

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Run } from "../run";
import { control } from "../source";
import { said } from "../state";
import { number } from "../format";
import { Dialog } from "../parts/controls";

export function Controls({ run, named }: { run: Run; named: boolean }): JSX.Element {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  run.tick.value;
  const rate = run.rate.last();
  const off = busy || run.link.value === "lost";
  const send = async (body: { action: string; value?: number }, done: string) => {
    setBusy(true);
    const problem = await control(run, body);
    setBusy(false);
    said.value = problem ? `${named ? `${run.name}: ` : ""}${problem}` : `${named ? `${run.name}: ` : ""}${done}`;
    return problem === null;
  };
  const change = async (e: Event) => {
    e.preventDefault();
    const value = Number(input.current?.value.replace(",", "."));
    if (!input.current?.value || !Number.isFinite(value) || value < 0) {
      said.value = "A rate is a number that is not negative, such as 0.001.";
      input.current?.focus();
      return;
    }
    if (await send({ action: "rate", value }, `The rate is to be ${value} from the next iteration on.`))
      input.current!.value = "";
  };
  return (
    <div class="controls" role="group" aria-label={`Controls of ${run.name}`} data-testid="controls">
      {named && <b>{run.name}</b>}
      <button
        type="button"
        data-testid="snapshot"
        disabled={off}
        onClick={() =>
          void send({ action: "snapshot" }, "A snapshot is asked for; it is written after this iteration.")
        }
      >
        Snapshot
      </button>
      <form onSubmit={(e) => void change(e)}>
        <label>
          Rate{" "}
          <input
            ref={input}
            data-testid="rate"
            type="text"
            inputMode="decimal"
            placeholder={Number.isFinite(rate) ? number(rate) : ""}
            autocomplete="off"
          />
        </label>
        <button type="submit" data-testid="rate-apply" disabled={off}>
          Apply
        </button>
      </form>
      <button type="button" class="danger" data-testid="stop" disabled={off} onClick={() => setAsking(true)}>
        Stop
      </button>
      {run.snapshots.length > 0 && (
        <span class="quiet" data-testid="last-snapshot">
          last snapshot: {run.snapshots[run.snapshots.length - 1]!.file.split("/").pop()}
        </span>
      )}
      {asking && (
        <Dialog label="Stop the training?" class="confirm" onClose={() => setAsking(false)}>
          <h2>Stop {run.name}?</h2>
          <p>It ends after this iteration, and writes a snapshot as the solver says. It can be taken up from there.</p>
          <p class="buttons">
            <button type="button" onClick={() => setAsking(false)}>
              Train on
            </button>
            <button
              type="button"
              class="danger"
              data-testid="stop-confirm"
              onClick={() => {
                setAsking(false);
                void send({ action: "stop" }, "The run is asked to stop.");
              }}
            >
              Stop it
            </button>
          </p>
        </Dialog>
      )}
    </div>
  );
}
