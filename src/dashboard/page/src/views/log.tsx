// The log, with a filter.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { follow } from "../state";
import { duration } from "../format";
import { Choice, Letter, Nothing, Select } from "../parts/controls";

const MOST = 1000;
const level = signal<"info" | "warning" | "error">("info");
const search = signal("");
const extra = signal(0);
const only = signal(-1);
const RANK: Record<string, number> = { info: 0, warning: 1, error: 2 };

export function Log(): JSX.Element {
  const all = follow();
  const runs = all.filter((r) => only.value === r.id || !all.some((a) => a.id === only.value));
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const wanted = search.value.trim().toLowerCase();
  const lines = runs.flatMap((run) =>
    run.log
      .filter(
        (l) => (RANK[l.level] ?? 0) >= RANK[level.value]! && (wanted === "" || l.text.toLowerCase().includes(wanted)),
      )
      .map((line) => ({ run, line })),
  );
  const start = Math.max(0, lines.length - MOST - extra.value);
  const seen = lines.slice(start);
  useEffect(() => {
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  });
  return (
    <>
      <div class="toolbar">
        <Select
          id="log-run"
          label="Run"
          value={runs.length === 1 ? runs[0]!.id : -1}
          options={[
            ...(all.length > 1 ? [{ value: -1, label: "all" }] : []),
            ...all.map((r) => ({ value: r.id, label: `${r.letter}  ${r.name}` })),
          ]}
          onChange={(v) => (only.value = v)}
        />
        <Choice
          name="level"
          label="Which lines"
          value={level.value}
          options={[
            { value: "info", label: "all" },
            { value: "warning", label: "warnings and errors" },
            { value: "error", label: "errors" },
          ]}
          onChange={(v) => (level.value = v)}
        />
        <label class="field">
          <span>Find</span>
          <input
            type="search"
            data-testid="log-search"
            value={search.value}
            onInput={(e) => (search.value = e.currentTarget.value)}
          />
        </label>
        <output class="quiet" data-testid="log-count">
          {lines.length} {lines.length === 1 ? "line" : "lines"}
        </output>
      </div>
      {lines.length === 0 ? (
        <Nothing>No line of the log is like this.</Nothing>
      ) : (
        <div
          class="card log"
          ref={box}
          tabIndex={0}
          role="log"
          aria-live="off"
          aria-label="Log"
          onScroll={(e) => {
            const b = e.currentTarget;
            atEnd.current = b.scrollHeight - b.scrollTop - b.clientHeight < 30;
          }}
        >
          {start > 0 && (
            <button type="button" onClick={() => (extra.value += 5000)}>
              show earlier lines ({start})
            </button>
          )}
          {seen.map(({ run, line }, i) => (
            <p key={start + i} class={line.level}>
              {runs.length > 1 && <Letter of={run} />}
              <time>{duration(line.t)}</time>
              {line.level !== "info" && <b class="level">{line.level}</b>}
              <span>{line.text}</span>
            </p>
          ))}
        </div>
      )}
    </>
  );
}
