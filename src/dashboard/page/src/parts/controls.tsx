// Small controls that several views use.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { calm, runs } from "../state";

interface Option<T> {
  value: T;
  label: string;
  title?: string;
}

/** A choice of one among a few, as radio buttons that look like one bar. */
export function Choice<T extends string | number>(props: {
  name: string;
  label: string;
  value: T;
  options: Option<T>[];
  onChange: (v: T) => void;
}): JSX.Element {
  return (
    <fieldset class="choice" data-testid={`choice-${props.name}`}>
      <legend class="hidden">{props.label}</legend>
      {props.options.map((o) => (
        <label key={o.value} title={o.title} class={o.value === props.value ? "on" : ""}>
          <input
            type="radio"
            name={props.name}
            checked={o.value === props.value}
            onChange={() => props.onChange(o.value)}
          />
          <span>{o.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Switch(props: {
  id: string;
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
}): JSX.Element {
  return (
    <label class="switch">
      <input
        type="checkbox"
        role="switch"
        data-testid={props.id}
        checked={props.on}
        onChange={(e) => props.onChange(e.currentTarget.checked)}
      />
      <span>{props.label}</span>
    </label>
  );
}

export function Select<T extends string | number>(props: {
  id: string;
  label: string;
  value: T;
  options: Option<T>[];
  onChange: (v: T) => void;
}): JSX.Element | null {
  if (props.options.length < 2) return null;
  return (
    <label class="field">
      <span>{props.label}</span>
      <select
        data-testid={props.id}
        value={String(props.value)}
        onChange={(e) => {
          const found = props.options.find((o) => String(o.value) === e.currentTarget.value);
          if (found) props.onChange(found.value);
        }}
      >
        {props.options.map((o) => (
          <option key={o.value} value={String(o.value)}>
            {o.label}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A slider over the iterations at which something was recorded; null stands for the last, and follows it. */
export function IterationSlider(props: {
  id: string;
  iterations: number[];
  at: number | null;
  onChange: (at: number | null) => void;
  playable?: { on: boolean; set: (on: boolean) => void };
}): JSX.Element | null {
  const { iterations, at, onChange, playable } = props;
  const step = useRef(() => {});
  const last = iterations.length - 1;
  const index =
    at === null
      ? last
      : Math.max(
          0,
          iterations.findLastIndex((i) => i <= at),
        );
  const set = (i: number) => onChange(i >= last ? null : iterations[i]!);
  step.current = () => {
    if (index >= last) playable?.set(false);
    else set(index + 1);
  };
  const playing = playable?.on ?? false;
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => step.current(), calm.matches ? 1500 : 600);
    return () => clearInterval(timer);
  }, [playing]);
  if (iterations.length === 0) return null;
  const play = () => {
    if (!playable) return;
    if (!playing && index >= last) set(0);
    playable.set(!playing);
  };
  return (
    <div class="iterations">
      {playable && iterations.length > 1 && (
        <button
          type="button"
          class="icon"
          data-testid={`${props.id}-play`}
          onClick={play}
          aria-label={playing ? "Pause" : "Play through the iterations"}
        >
          {playing ? "❚❚" : "▶"}
        </button>
      )}
      <label>
        <span class="hidden">Iteration</span>
        <input
          type="range"
          data-testid={`${props.id}-slider`}
          min={0}
          max={Math.max(0, last)}
          step={1}
          value={index}
          disabled={last < 1}
          aria-valuetext={`iteration ${iterations[index]}`}
          onInput={(e) => {
            playable?.set(false);
            set(Number(e.currentTarget.value));
          }}
        />
      </label>
      <output data-testid={`${props.id}-iteration`}>
        iteration {iterations[index]}
        {index === last ? " (last)" : ""}
      </output>
    </div>
  );
}

/** A run's letter in its colour; one run alone needs none. */
export function Letter({ of }: { of: { id: number; letter: string } }): JSX.Element | null {
  if (runs.value.length < 2) return null;
  return (
    <b class={`letter run-${of.id % 6}`} aria-hidden="true">
      {of.letter}
    </b>
  );
}

export function Nothing({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="nothing">{children}</p>;
}

/** Text with `code` in backticks. */
export function Words({ text }: { text: string }): JSX.Element {
  return <>{text.split("`").map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}

/** A dialog of the browser's own: it keeps the focus inside and gives it back. */
export function Dialog(props: {
  label: string;
  class?: string;
  onClose: () => void;
  onKeyDown?: (e: KeyboardEvent) => void;
  children: ComponentChildren;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
  }, []);
  return (
    <dialog
      ref={ref}
      class={props.class}
      aria-label={props.label}
      onClose={props.onClose}
      onKeyDown={props.onKeyDown}
      onClick={(e) => {
        if (e.target === ref.current) ref.current?.close();
      }}
    >
      <div class="dialog-body">
        <button type="button" class="icon close" aria-label="Close" onClick={() => ref.current?.close()}>
          ✕
        </button>
        {props.children}
      </div>
    </dialog>
  );
}
