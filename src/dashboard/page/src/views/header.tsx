// The head of the page: runs with their state and progress, what can be asked of them, the views.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Run, State } from "../run";
import { goTo, helpOpen, live, runs, said, tab, TAB_NAMES, tabs, theme, title, trouble } from "../state";
import { duration } from "../format";
import { Letter } from "../parts/controls";
import { Controls } from "./controls";
import { condition } from "./verdict";

const STATES: Record<State, { mark: string; word: string }> = {
  waiting: { mark: "◌", word: "waiting" },
  running: { mark: "●", word: "running" },
  ended: { mark: "✓", word: "ended" },
  early: { mark: "■", word: "stopped early" },
  error: { mark: "✕", word: "error" },
  unfinished: { mark: "◌", word: "not finished" },
};

export function Header(): JSX.Element {
  const all = runs.value;
  const controlled = all.filter((r) => r.tick.value >= 0 && r.live && r.controls && !r.end);
  return (
    <header class="top">
      <div class="brand">
        <h1>
          <b>cortado</b> {title.value && <span>{title.value}</span>}
          {live.value && <span class="live">live</span>}
        </h1>
        <div class="right">
          <ThemeButton />
          <button
            type="button"
            class="icon"
            aria-label="Keyboard and help"
            data-testid="help"
            onClick={() => (helpOpen.value = true)}
          >
            ?
          </button>
        </div>
      </div>
      {trouble.value && (
        <p class="problem" role="alert" data-testid="trouble">
          {trouble.value}
        </p>
      )}
      <ul class="runs" aria-label="Runs">
        {all.map((run) => (
          <RunChip key={run.id} run={run} alone={all.length === 1} />
        ))}
      </ul>
      {controlled.map((run) => (
        <Controls key={run.id} run={run} named={controlled.length > 1} />
      ))}
      <Tabs />
      <p class="said" role="status" data-testid="said">
        {said.value}
      </p>
    </header>
  );
}

function RunChip({ run, alone }: { run: Run; alone: boolean }): JSX.Element {
  run.tick.value;
  const link = run.link.value;
  const [, beat] = useState(0);
  const state = run.state;
  useEffect(() => {
    if (state !== "running") return;
    const timer = setInterval(() => beat((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [state]);
  const of = run.maxIter;
  const part = of > 0 ? Math.min(1, run.iteration / of) : state === "ended" ? 1 : 0;
  const lost = link === "lost" && state === "running";
  const how = condition(run);
  const left = lost ? null : run.left;
  return (
    <li
      class={`run run-${run.id % 6} ${run.shown.value ? "" : "off"}`}
      data-testid="run"
      data-state={state}
      data-link={link}
    >
      <div class="run-name">
        {alone ? (
          <strong>{run.name}</strong>
        ) : (
          <label title={`show or hide (Shift+${run.letter})`}>
            <input
              type="checkbox"
              checked={run.shown.value}
              onChange={(e) => (run.shown.value = e.currentTarget.checked)}
            />
            <Letter of={run} />
            <strong>{run.name}</strong>
          </label>
        )}
        <span class={`state ${lost ? "lost" : state}`} data-testid="state">
          <span aria-hidden="true">{lost ? "◌" : STATES[state].mark}</span>{" "}
          {lost ? "connection lost, trying again" : STATES[state].word}
        </span>
        {how && (
          <span class={`badge ${how.level}`}>
            <b aria-hidden="true">{how.mark}</b> {how.word}
          </span>
        )}
      </div>
      <div
        class="progress"
        role="progressbar"
        aria-label={`Progress of ${run.name}`}
        aria-valuemin={0}
        aria-valuemax={of || 100}
        aria-valuenow={of ? run.iteration : Math.round(part * 100)}
      >
        <span style={{ width: `${part * 100}%` }} />
      </div>
      <p class="times">
        <span data-testid="iteration">
          iteration {run.iteration}
          {of > 0 && ` of ${of}`}
        </span>
        {run.elapsed > 0 && <span>{duration(run.clock)}</span>}
        {left !== null && <span>about {duration(left)} left</span>}
      </p>
    </li>
  );
}

function ThemeButton(): JSX.Element {
  const next = { auto: "dark", dark: "light", light: "auto" } as const;
  const names = { auto: "as the system", dark: "dark", light: "light" };
  const marks = { auto: "◐", dark: "●", light: "○" };
  return (
    <button
      type="button"
      class="theme"
      data-testid="theme"
      aria-label={`Colours: ${names[theme.value]}. Change to ${names[next[theme.value]]}.`}
      onClick={() => (theme.value = next[theme.value])}
    >
      <span aria-hidden="true">{marks[theme.value]}</span> <span class="word">{names[theme.value]}</span>
    </button>
  );
}

function Tabs(): JSX.Element {
  const all = tabs.value;
  const now = tab.value;
  useEffect(
    () => document.getElementById(`tab-${now}`)?.scrollIntoView({ block: "nearest", inline: "nearest" }),
    [now],
  );
  const move = (e: KeyboardEvent) => {
    const here = all.indexOf(tab.value);
    const to =
      e.key === "ArrowRight"
        ? (here + 1) % all.length
        : e.key === "ArrowLeft"
          ? (here + all.length - 1) % all.length
          : e.key === "Home"
            ? 0
            : e.key === "End"
              ? all.length - 1
              : -1;
    if (to < 0) return;
    e.preventDefault();
    goTo(all[to]!);
    document.getElementById(`tab-${all[to]}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Views" onKeyDown={move}>
      {all.map((t) => (
        <button
          key={t}
          type="button"
          role="tab"
          id={`tab-${t}`}
          data-testid={`tab-${t}`}
          aria-selected={tab.value === t}
          aria-controls="view"
          tabIndex={tab.value === t ? 0 : -1}
          onClick={() => goTo(t)}
        >
          {TAB_NAMES[t]}
        </button>
      ))}
    </div>
  );
}
