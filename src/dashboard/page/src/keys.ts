// The keyboard, where it is not a control's own.

import { byTime, goTo, helpOpen, logScale, runs, setByTime, smoothing, tab, tabs, theme, zoom } from "./state";

export const SHORTCUTS: [string, string][] = [
  ["1 … 8", "the views, from left to right"],
  ["j, k", "next and previous view"],
  ["l", "logarithmic scale on and off"],
  ["x", "curves by iteration or by time"],
  ["s, Shift+S", "smooth curves more, less"],
  ["0", "see the whole of the curves again"],
  ["Shift+A … Z", "show and hide a run by its letter"],
  ["d", "dark, light, as the system has it"],
  ["← →", "in a curve: move the cursor; Home and End go to its ends"],
  ["+ −", "in a curve or the net: zoom in and out"],
  ["Shift+← →", "in a curve: move along"],
  ["← ↑ → ↓, Enter", "in the net: go from layer to layer, open one"],
  ["← →", "in an enlarged picture: earlier, later; ↑ ↓ other samples"],
  ["Space", "in the heat maps: play, pause"],
  ["?", "this list; Esc closes it"],
];

/** Whether a key belongs to the control that has the focus. */
function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && /^(input|textarea|select)$/i.test(target.tagName);
}

export function listen(): void {
  document.addEventListener("keydown", (e) => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || typing(e.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const all = tabs.value;
    const here = all.indexOf(tab.value);
    if (/^[1-9]$/.test(e.key)) {
      const to = all[Number(e.key) - 1];
      if (to) goTo(to);
    } else if (e.shiftKey && /^Key[A-Z]$/.test(e.code) && e.code !== "KeyS") {
      const run = runs.value.find((r) => `Key${r.letter}` === e.code);
      if (run) run.shown.value = !run.shown.value;
    } else if (e.key === "S") smoothing.value = Math.max(0, Math.round((smoothing.value - 0.1) * 10) / 10);
    else if (e.key === "s") smoothing.value = Math.min(0.9, Math.round((smoothing.value + 0.1) * 10) / 10);
    else if (e.key === "j") goTo(all[(here + 1) % all.length]!);
    else if (e.key === "k") goTo(all[(here + all.length - 1) % all.length]!);
    else if (e.key === "l") logScale.value = !logScale.value;
    else if (e.key === "x") setByTime(!byTime.value);
    else if (e.key === "0") zoom.value = null;
    else if (e.key === "d") theme.value = theme.value === "auto" ? "dark" : theme.value === "dark" ? "light" : "auto";
    else if (e.key === "?") helpOpen.value = true;
    else return;
    e.preventDefault();
  });
}
