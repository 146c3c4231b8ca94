// Which curves there are: one chart a quantity, one colour a run.

import type { Run } from "../run";
import { Series } from "../series";
import { className } from "../format";

export type Kind = "main" | "faint" | "dash" | "dots";

export interface Line {
  run: Run;
  /** What it is, where a chart has several lines of a run. */
  label: string;
  kind: Kind;
  series: Series;
  smooth: boolean;
}

export interface Spec {
  id: string;
  title: string;
  note?: string;
  /** A share: drawn from 0 to 1, told in per cent. */
  share?: boolean;
  lines: Line[];
}

export interface Group {
  title: string;
  specs: Spec[];
}

const EMPTY = new Series();

/** The curve people look at first. */
export function lossSpec(runs: readonly Run[], smoothed: boolean): Spec {
  const lines: Line[] = [];
  for (const run of runs) {
    // Smoothing works on what is dense: the steps. Without it the line is the loss as the log displays it.
    const main = run.steps.length > 1 && (smoothed || run.loss.length < 2) ? run.steps : run.loss;
    lines.push({ run, label: "loss", kind: "main", series: main, smooth: true });
    if (run.steps.length > 0) lines.push({ run, label: "step", kind: "faint", series: run.steps, smooth: false });
    for (const [net, series] of run.testLoss) {
      lines.push({
        run,
        label: net === 0 ? "test loss" : `test loss, net ${net}`,
        kind: "dash",
        series,
        smooth: false,
      });
    }
  }
  return { id: "loss", title: "Loss", note: "faint: each step, dashed: test loss", lines };
}

export function groups(runs: readonly Run[], smoothed: boolean): Group[] {
  const training: Spec[] = [lossSpec(runs, smoothed)];
  training.push(single("rate", "Learning rate", runs, (r) => r.rate, false));
  for (const name of union(runs, (r) => r.outputs.keys())) {
    // The one output of a net with one loss is the loss once more.
    if (runs.every((r) => r.outputs.size <= 1)) break;
    training.push(single(`train-${name}`, `${name}, training`, runs, (r) => r.outputs.get(name), true));
  }
  const out: Group[] = [{ title: "Training", specs: training }];

  const tests = union(runs, (r) => r.tests.keys()).map((name) => {
    const spec = single(`test-${name}`, `${name}, test`, runs, (r) => r.tests.get(name), false);
    spec.share = /accuracy|precision|recall|iou/i.test(name) && spec.lines.every((l) => within(l.series));
    return spec;
  });
  if (tests.length > 0) out.push({ title: "Test outputs", specs: tests });

  for (const of of union(runs, (r) => r.heads().keys())) out.push(headGroup(runs, of));
  const detectors = union(runs, (r) => r.detectors().keys());
  if (detectors.length > 0) {
    out.push({
      title: "Detection",
      specs: detectors.map((of) => ({
        ...single(
          `ap-${of}`,
          `Mean average precision, ${after(of)}`,
          runs,
          (r) => r.figures.get(`${of}/average_precision`),
          false,
        ),
        share: true,
      })),
    });
  }
  return out;
}

function headGroup(runs: readonly Run[], of: string): Group {
  const heads = runs.map((r) => r.heads().get(of));
  const names = heads.find((h) => h?.names?.length)?.names;
  const classes = Math.max(0, ...heads.map((h) => h?.classes ?? 0));
  const figure = (what: string) => (r: Run) => r.figures.get(`${of}/${what}`);
  const accuracy = single(`accuracy-${of}`, "Accuracy", runs, figure("accuracy"), false);
  for (const run of runs) {
    const series = run.figures.get(`${of}/constant`);
    if (series) accuracy.lines.push({ run, label: "always the commonest class", kind: "dash", series, smooth: false });
  }
  accuracy.note = "dashed: what always saying the commonest class would score";
  const specs = [
    accuracy,
    single(`mean-iou-${of}`, "Mean IoU", runs, figure("mean_iou"), false),
    single(`mean-recall-${of}`, "Mean recall", runs, figure("mean_recall"), false),
  ];
  const ks = union(runs, (r) => [...r.figures.keys()].filter((k) => k.startsWith(`${of}/top_k/`)));
  for (const key of ks) {
    const k = key.split("/").pop();
    specs.push(single(`top-${k}-${of}`, `Top ${k} accuracy`, runs, (r) => r.figures.get(key), false));
  }
  for (let i = 0; i < classes; i++) {
    const name = className(names, i);
    const spec = single(`class-${i}-${of}`, `Recall and IoU, ${name}`, runs, figure(`recall/${i}`), false, "recall");
    for (const run of runs) {
      const series = run.figures.get(`${of}/iou/${i}`);
      if (series) spec.lines.push({ run, label: "IoU", kind: "dash", series, smooth: false });
    }
    spec.note = "dashed: IoU";
    specs.push(spec);
  }
  for (const spec of specs) spec.share = true;
  return { title: `Metrics of ${after(of)}`, specs: specs.filter((s) => s.lines.length > 0) };
}

function single(
  id: string,
  title: string,
  runs: readonly Run[],
  series: (r: Run) => Series | undefined,
  smooth: boolean,
  label = "",
): Spec {
  const lines: Line[] = [];
  for (const run of runs) {
    const of = series(run) ?? EMPTY;
    if (of.length > 0) lines.push({ run, label, kind: "main", series: of, smooth });
  }
  return { id, title, lines };
}

function union(runs: readonly Run[], keys: (r: Run) => Iterable<string>): string[] {
  const out = new Set<string>();
  for (const run of runs) for (const key of keys(run)) out.add(key);
  return [...out];
}

/** `0/conv_last` without the net. */
export function after(key: string): string {
  const [net, ...rest] = key.split("/");
  return net === "0" ? rest.join("/") : `${rest.join("/")} (test net ${net})`;
}

function within(series: Series): boolean {
  return series.y.every((v) => Number.isNaN(v) || (v >= 0 && v <= 1));
}
