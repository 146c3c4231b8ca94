// What the reader has chosen, and the runs on the page.

import { batch, computed, effect, signal } from "@preact/signals";
import type { Run } from "./run";

export const TABS = ["overview", "curves", "classes", "net", "maps", "worst", "data", "log"] as const;
export type Tab = (typeof TABS)[number];

export const TAB_NAMES: Record<Tab, string> = {
  overview: "Overview",
  curves: "Curves",
  classes: "Classes",
  net: "Net",
  maps: "Heat maps",
  worst: "Worst samples",
  data: "Data",
  log: "Log",
};

export const live = signal(false);
export const title = signal("");
export const runs = signal<Run[]>([]);
/** What is wrong with the page as a whole: no program, no token. */
export const trouble = signal<string | null>(null);

export const shownRuns = computed(() => runs.value.filter((r) => r.shown.value));

/** Reads every run's tick: the caller is drawn anew when lines come. */
export function follow(): Run[] {
  const of = shownRuns.value;
  for (const run of of) run.tick.value;
  return of;
}

// ---- the tab, kept in the address
function tabOf(hash: string): Tab {
  const name = hash.replace(/^#/, "") as Tab;
  return TABS.includes(name) ? name : "overview";
}
export const tab = signal<Tab>(tabOf(location.hash));
window.addEventListener("hashchange", () => (tab.value = tabOf(location.hash)));
export function goTo(name: Tab): void {
  tab.value = name;
  try {
    history.replaceState(null, "", `#${name}`);
  } catch {
    // Some viewers of local files allow no history.
  }
}
export const tabs = computed<Tab[]>(() => TABS.filter((t) => t !== "data" || live.value));

// ---- curves
export const smoothing = signal(stored("smoothing", 0, (v) => (typeof v === "number" && v >= 0 && v < 1 ? v : 0)));
export const logScale = signal(false);
export const byTime = signal(false);
/** The part that is looked at, in iterations or seconds; null is all of it. */
export const zoom = signal<{ from: number; to: number } | null>(null);
/** Where the cursor stands, on the same scale. */
export const cursor = signal<number | null>(null);

export function setByTime(on: boolean): void {
  batch(() => {
    byTime.value = on;
    zoom.value = null;
    cursor.value = null;
  });
}

// ---- iterations of pictures and matrices; null is the last
export const mapsAt = signal<number | null>(null);
export const classesAt = signal<number | null>(null);
export const worstAt = signal<number | null>(null);
export const rowShares = signal(true);

// ---- what is said when something was done, read out by screen readers
export const said = signal("");
effect(() => {
  if (said.value === "") return;
  const timer = setTimeout(() => (said.value = ""), 15000);
  return () => clearTimeout(timer);
});
export const helpOpen = signal(false);

// ---- dark and light
export type Theme = "auto" | "light" | "dark";
export const theme = signal<Theme>(
  stored("theme", "auto" as Theme, (v) => (v === "light" || v === "dark" ? v : "auto")),
);
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(prefersDark.matches);
prefersDark.addEventListener("change", (e) => (systemDark.value = e.matches));
export const dark = computed(() => theme.value === "dark" || (theme.value === "auto" && systemDark.value));
effect(() => {
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
});
effect(() => store("theme", theme.value));
effect(() => store("smoothing", smoothing.value));

/** Whether things may move by themselves. */
export const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

function stored<T>(key: string, otherwise: T, check: (v: unknown) => T): T {
  try {
    const text = localStorage.getItem(`cortado.${key}`);
    return text === null ? otherwise : check(JSON.parse(text));
  } catch {
    return otherwise;
  }
}

function store(key: string, value: unknown): void {
  try {
    localStorage.setItem(`cortado.${key}`, JSON.stringify(value));
  } catch {
    // Storage may be off; the choice then lasts as long as the page.
  }
}

/** Colours of runs, as CSS variables; letters tell the runs apart too. */
export const RUN_COLORS = 6;
export function runColor(run: Run): string {
  return `var(--run-${run.id % RUN_COLORS})`;
}

/** A CSS variable's value, for what is drawn on a canvas. */
export function cssColor(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
