// The run's databases, record by record (a live page only).

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { batch, signal } from "@preact/signals";
import { ask } from "../source";
import { said } from "../state";
import { count, shape } from "../format";
import { Dialog, Nothing, Select, Switch } from "../parts/controls";

interface Database {
  id: number;
  name: string;
  records: number;
  pair?: number | null;
  layer?: string;
  phase?: string;
}

interface Entry {
  index: number;
  key: string;
  label?: number | null;
  shape?: number[];
}

const PAGE = 24;
const databases = signal<Database[] | null>(null);
const chosen = signal<number | null>(null);
const from = signal(0);
const entries = signal<Entry[]>([]);
const overlay = signal(true);
const opacity = signal(0.6);
const problem = signal<string | null>(null);
const big = signal<Entry | null>(null);
const marked = signal<number | null>(null);

async function listDatabases(): Promise<void> {
  try {
    const found = await ask<Database[]>("api/databases");
    batch(() => {
      databases.value = found;
      problem.value = null;
      if (!found.some((d) => d.id === chosen.value)) chosen.value = found[0]?.id ?? null;
    });
  } catch (error) {
    problem.value = (error as Error).message;
  }
}

async function turn(id: number, at: number): Promise<void> {
  try {
    const found = await ask<Entry[]>(`api/databases/${id}/records?from=${at}&count=${PAGE}`);
    if (chosen.peek() !== id || from.peek() !== at) return;
    batch(() => {
      entries.value = found;
      problem.value = null;
    });
  } catch (error) {
    problem.value = (error as Error).message;
  }
}

export function Data(): JSX.Element {
  useEffect(() => void listDatabases(), []);
  const id = chosen.value;
  const at = from.value;
  useEffect(() => {
    if (id !== null) void turn(id, at);
  }, [id, at]);
  const all = databases.value;
  if (problem.value && !all) return <Nothing>{problem.value}</Nothing>;
  if (!all) return <Nothing>Asking for the databases …</Nothing>;
  const db = all.find((d) => d.id === id);
  if (!db) return <Nothing>This run reads no database.</Nothing>;
  const last = Math.max(0, Math.floor((db.records - 1) / PAGE) * PAGE);
  const paired = db.pair !== null && db.pair !== undefined;
  return (
    <>
      <div class="toolbar">
        <Select
          id="database"
          label="Database"
          value={db.id}
          options={all.map((d) => ({ value: d.id, label: `${d.name}${d.phase ? `, ${d.phase}` : ""}` }))}
          onChange={(v) =>
            batch(() => {
              chosen.value = v;
              from.value = 0;
              marked.value = null;
              entries.value = [];
            })
          }
        />
        <nav class="pager" aria-label="Pages of records">
          <button type="button" aria-label="First page" disabled={at === 0} onClick={() => (from.value = 0)}>
            «
          </button>
          <button
            type="button"
            aria-label="Previous page"
            data-testid="data-previous"
            disabled={at === 0}
            onClick={() => (from.value = Math.max(0, at - PAGE))}
          >
            ‹
          </button>
          <span data-testid="data-range">
            {count(Math.min(at, db.records))} to {count(Math.min(at + PAGE, db.records) - 1)} of {count(db.records)}
          </span>
          <button
            type="button"
            aria-label="Next page"
            data-testid="data-next"
            disabled={at >= last}
            onClick={() => (from.value = Math.min(last, at + PAGE))}
          >
            ›
          </button>
          <button type="button" aria-label="Last page" disabled={at >= last} onClick={() => (from.value = last)}>
            »
          </button>
        </nav>
        <Jump db={db} />
        {paired && (
          <Switch id="overlay" label="labels laid over" on={overlay.value} onChange={(on) => (overlay.value = on)} />
        )}
        {paired && overlay.value && (
          <label class="field">
            <span>Opacity</span>
            <input
              type="range"
              data-testid="opacity"
              min={0}
              max={1}
              step={0.05}
              value={opacity.value}
              onInput={(e) => (opacity.value = Number(e.currentTarget.value))}
            />
          </label>
        )}
      </div>
      {problem.value && <p class="problem">{problem.value}</p>}
      <ul class="records" data-testid="records">
        {entries.value.map((e) => (
          <li key={e.index} class={marked.value === e.index ? "marked" : ""}>
            <button
              type="button"
              class="tile"
              onClick={() => (big.value = e)}
              aria-label={`Record ${e.index}, key ${e.key}`}
            >
              <Picture db={db} entry={e} />
            </button>
            <p>
              <code title={e.key}>{e.key}</code>
            </p>
            <p class="quiet">
              {e.label !== null && e.label !== undefined && <b>label {e.label}</b>} {e.shape && e.shape.join("×")}
            </p>
          </li>
        ))}
      </ul>
      {big.value && (
        <Dialog
          label={`Record ${big.value.index}`}
          class="enlarged"
          onClose={() => (big.value = null)}
          onKeyDown={(e) => {
            const by = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
            const next = by && entries.value.find((x) => x.index === big.value!.index + by);
            if (next) big.value = next;
          }}
        >
          <h2>
            <code>{big.value.key}</code> <small>record {big.value.index}</small>
          </h2>
          <div class="pair">
            <figure>
              <Picture db={db} entry={big.value} plain />
              <figcaption>
                {big.value.shape && shape(big.value.shape)}
                {big.value.label !== null && big.value.label !== undefined && `, label ${big.value.label}`}
              </figcaption>
            </figure>
            {paired && (
              <figure>
                <Picture db={db} entry={big.value} />
                <figcaption>labels laid over</figcaption>
              </figure>
            )}
          </div>
        </Dialog>
      )}
    </>
  );
}

function Picture({ db, entry, plain }: { db: Database; entry: Entry; plain?: boolean }): JSX.Element {
  const url = `api/databases/${db.id}/records/${entry.index}.png`;
  const over = !plain && overlay.value && db.pair !== null && db.pair !== undefined;
  return (
    <span class="stack">
      <img src={url} alt={`Record ${entry.index}`} />
      {over && <img class="over" src={`${url}?overlay=${db.pair}`} alt="" style={{ opacity: String(opacity.value) }} />}
    </span>
  );
}

function Jump({ db }: { db: Database }): JSX.Element {
  const jump = async (text: string) => {
    const wanted = text.trim();
    if (wanted === "") return;
    let index = -1;
    if (/^#?\d+$/.test(wanted) && (wanted.startsWith("#") || !/^0\d/.test(wanted))) {
      index = Math.min(db.records - 1, Number(wanted.replace("#", "")));
    }
    try {
      if (index < 0) index = await find(db, wanted);
    } catch (error) {
      problem.value = (error as Error).message;
      return;
    }
    batch(() => {
      from.value = Math.floor(index / PAGE) * PAGE;
      marked.value = index;
    });
  };
  return (
    <form
      class="field"
      onSubmit={(e) => {
        e.preventDefault();
        void jump(new FormData(e.currentTarget).get("to") as string);
      }}
    >
      <label>
        <span>Go to</span>{" "}
        <input name="to" type="text" data-testid="jump" placeholder="number or key" autocomplete="off" />
      </label>
      <button type="submit">go</button>
    </form>
  );
}

/** The record of a key, or the first one after it: keys are sorted. */
async function find(db: Database, key: string): Promise<number> {
  let low = 0;
  let high = db.records;
  let met: string | undefined;
  while (low < high) {
    const mid = (low + high) >> 1;
    const [entry] = await ask<Entry[]>(`api/databases/${db.id}/records?from=${mid}&count=1`);
    if (!entry) break;
    if (entry.key < key) low = mid + 1;
    else {
      high = mid;
      met = entry.key;
    }
  }
  if (met === undefined || !met.startsWith(key)) said.value = `No key ${key}: this is where it would be.`;
  return Math.min(low, db.records - 1);
}
