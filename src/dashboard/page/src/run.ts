// One run: its lines sorted into what the views draw.

import { signal } from "@preact/signals";
import type {
  Detections,
  FindingLine,
  Head,
  LogLine,
  MetricsLine,
  NetLine,
  Output,
  PictureLine,
  Raw,
  RunLine,
  VerdictLine,
  VitalsLine,
  WorstLine,
} from "./lines";
import { Series, lowerBound } from "./series";

export type State = "waiting" | "running" | "ended" | "early" | "error" | "unfinished";

/** Whether the page hears from the program. */
export type Link = "none" | "open" | "lost" | "refused";

export interface Finding extends FindingLine {
  times: number;
}

const AFTERWARDS = new Set<unknown>(["finding", "verdict", "end"]);

const list = <T>(value: T[] | null | undefined): T[] => (Array.isArray(value) ? value : []);

export class Run {
  readonly letter: string;
  /** Rises with every batch of lines; views that read it are drawn anew. */
  readonly tick = signal(0);
  readonly shown = signal(true);
  readonly link = signal<Link>("none");

  head: RunLine = { kind: "run" };
  live = false;
  controls = false;
  received = 0;

  readonly steps = new Series();
  readonly loss = new Series();
  readonly rate = new Series();
  readonly outputs = new Map<string, Series>();
  readonly testLoss = new Map<number, Series>();
  readonly tests = new Map<string, Series>();
  /** Figures of heads by `net/scores/what`, filled as they come. */
  readonly figures = new Map<string, Series>();

  readonly metrics: MetricsLine[] = [];
  readonly nets: NetLine[] = [];
  readonly vitals: VitalsLine[] = [];
  readonly pictures: PictureLine[] = [];
  readonly worst: WorstLine[] = [];
  readonly log: LogLine[] = [];
  readonly findings: Finding[] = [];
  readonly snapshots: { iteration: number; file: string }[] = [];
  verdict: VerdictLine | null = null;
  end: { early: boolean; error: string | null } | null = null;

  iteration = 0;
  /** Seconds of work so far, over all the times the run was taken up. */
  elapsed = 0;
  /** Where the clock stood when the run was taken up last. */
  private offset = 0;
  private heard = performance.now();
  private readonly index = new Map<string, PictureLine[]>();
  private readonly seen = new Map<string, Finding>();

  constructor(
    readonly id: number,
    readonly name: string,
  ) {
    this.letter = String.fromCharCode(65 + (id % 26));
  }

  get state(): State {
    if (this.end) return this.end.error ? "error" : this.end.early ? "early" : "ended";
    if (!this.live) return "unfinished";
    return this.received === 0 ? "waiting" : "running";
  }

  get maxIter(): number {
    return this.head.max_iter ?? 0;
  }

  /** Seconds since the start, going on between lines while the run is live. */
  get clock(): number {
    const on = this.state === "running" && this.link.peek() === "open";
    return this.elapsed + (on ? (performance.now() - this.heard) / 1000 : 0);
  }

  /** Seconds that are left, from the pace of the last part; null where it is too early to tell. */
  get left(): number | null {
    const of = this.steps.length > this.loss.length ? this.steps : this.loss;
    const n = of.length;
    if (this.state !== "running" || n < 3 || this.maxIter <= 0) return null;
    const back = Math.max(0, n - 1 - Math.max(10, n >> 2));
    const iterations = of.x[n - 1]! - of.x[back]!;
    const seconds = of.t[n - 1]! - of.t[back]!;
    if (iterations <= 0 || seconds <= 0) return null;
    return ((this.maxIter - this.iteration) * seconds) / iterations;
  }

  /** Iterations a second over the last part. */
  get pace(): number | null {
    const of = this.steps.length > this.loss.length ? this.steps : this.loss;
    const n = of.length;
    if (n < 2) return null;
    const back = Math.max(0, n - 1 - Math.max(10, n >> 2));
    const seconds = of.t[n - 1]! - of.t[back]!;
    return seconds > 0 ? (of.x[n - 1]! - of.x[back]!) / seconds : null;
  }

  /** Takes one line. What it cannot read it skips: the page must outlive newer writers. */
  take(raw: Raw): void {
    this.received++;
    this.heard = performance.now();
    try {
      this.sort(raw);
    } catch {
      // A line of a known kind that lacks what it must have.
    }
  }

  private sort(raw: Raw): void {
    let t = this.elapsed;
    if (typeof raw.t === "number") {
      t = this.offset + raw.t;
      // What is found out when the training is over is no part of its time.
      const afterwards = AFTERWARDS.has(raw.kind) && this.steps.length + this.loss.length > 0;
      if (!afterwards) this.elapsed = Math.max(this.elapsed, t);
    }
    switch (raw.kind) {
      case "run":
        if (this.head.started !== undefined) this.offset = this.elapsed;
        this.head = raw as unknown as RunLine;
        this.end = null;
        this.verdict = null;
        break;
      case "net": {
        const net = raw as unknown as NetLine;
        if (!Array.isArray(net.nodes)) break;
        const at = this.nets.findIndex((n) => n.phase === net.phase && n.index === net.index);
        if (at < 0) this.nets.push(net);
        else this.nets[at] = net;
        break;
      }
      case "step":
        this.at(raw.iteration);
        this.steps.push(raw.iteration as number, t, raw.loss as number);
        this.pushRate(raw, t);
        break;
      case "train":
        this.at(raw.iteration);
        this.loss.push(raw.iteration as number, t, raw.loss as number);
        this.pushRate(raw, t);
        for (const [name, value] of named(raw.outputs)) get(this.outputs, name).push(raw.iteration as number, t, value);
        break;
      case "test": {
        const net = Number(raw.net ?? 0);
        let loss: number | null = null;
        for (const o of list(raw.outputs as Output[])) {
          if (o.weight && o.value !== null) loss = (loss ?? 0) + o.weight * o.value;
        }
        if (loss !== null) get(this.testLoss, net).push(raw.iteration as number, t, loss);
        for (const [name, value] of named(raw.outputs)) {
          get(this.tests, net === 0 ? name : `${name} (test net ${net})`).push(raw.iteration as number, t, value);
        }
        break;
      }
      case "metrics":
        this.takeMetrics(raw as unknown as MetricsLine, t);
        break;
      case "vitals": {
        const line = raw as unknown as VitalsLine;
        if (Array.isArray(line.layers)) rewind(this.vitals, line);
        break;
      }
      case "picture":
        this.takePicture(raw as unknown as PictureLine);
        break;
      case "worst": {
        const line = raw as unknown as WorstLine;
        if (Array.isArray(line.samples)) this.worst.push(line);
        break;
      }
      case "log":
        this.log.push({ kind: "log", t, level: String(raw.level ?? "info"), text: String(raw.text ?? "") });
        break;
      case "snapshot":
        this.snapshots.push({ iteration: Number(raw.iteration), file: String(raw.file) });
        break;
      case "finding": {
        const finding = raw as unknown as FindingLine;
        const key = JSON.stringify([finding.code, finding.place, finding.message]);
        const known = this.seen.get(key);
        if (known) known.times++;
        else {
          const fresh = { ...finding, times: 1 };
          this.seen.set(key, fresh);
          this.findings.push(fresh);
        }
        break;
      }
      case "verdict":
        this.verdict = raw as unknown as VerdictLine;
        break;
      case "end":
        if (typeof raw.iteration === "number") this.iteration = raw.iteration;
        this.end = { early: raw.early === true, error: typeof raw.error === "string" ? raw.error : null };
        break;
    }
  }

  private at(iteration: unknown): void {
    if (typeof iteration !== "number") throw new TypeError("no iteration");
    this.iteration = iteration;
  }

  /** A line without a rate says nothing about it: no gap. */
  private pushRate(raw: Raw, t: number): void {
    if (typeof raw.rate === "number") this.rate.push(raw.iteration as number, t, raw.rate);
  }

  private takeMetrics(line: MetricsLine, t: number): void {
    rewind(this.metrics, line, (m) => m.net === line.net);
    const put = (key: string, value: number | null | undefined) => {
      if (value !== undefined) get(this.figures, key).push(line.iteration, t, value);
    };
    for (const head of list(line.heads)) {
      const of = `${line.net}/${head.scores}`;
      put(`${of}/accuracy`, head.accuracy);
      put(`${of}/constant`, head.constant?.accuracy);
      put(`${of}/mean_iou`, head.mean_iou);
      put(`${of}/mean_recall`, head.mean_recall);
      list(head.recall).forEach((v, i) => put(`${of}/recall/${i}`, v));
      list(head.iou).forEach((v, i) => put(`${of}/iou/${i}`, v));
      for (const [k, v] of list(head.top_k)) if (k > 1) put(`${of}/top_k/${k}`, v);
    }
    for (const d of list(line.detections)) put(`${line.net}/${d.blob}/average_precision`, d.mean);
  }

  private takePicture(line: PictureLine): void {
    if (typeof line.iteration !== "number") return;
    this.pictures.push(line);
    const key = slot(line);
    const of = this.index.get(key);
    if (of) {
      const at = lowerBound(
        of.map((p) => p.iteration),
        line.iteration,
      );
      of.splice(at, of[at]?.iteration === line.iteration ? 1 : 0, line);
    } else this.index.set(key, [line]);
  }

  /** The picture of a place as it stood at an iteration: the last one not after it, or else the first one. */
  picture(key: string, iteration: number): PictureLine | undefined {
    const of = this.index.get(key);
    if (!of || of.length === 0) return undefined;
    let i = of.length - 1;
    while (i > 0 && of[i]!.iteration > iteration) i--;
    return of[i];
  }

  /** Where to find a picture's bytes. */
  source(file: string | null | undefined, png: string | null | undefined): string | undefined {
    if (png) return png.startsWith("data:") ? png : `data:image/png;base64,${png}`;
    if (!file) return undefined;
    return `files/${this.id}/${file.split("/").map(encodeURIComponent).join("/")}`;
  }

  /** All heads that were measured, by `net/scores`. */
  heads(): Map<string, Head> {
    const out = new Map<string, Head>();
    for (const line of this.metrics) for (const head of list(line.heads)) out.set(`${line.net}/${head.scores}`, head);
    return out;
  }

  /** What was measured of detectors, by `net/blob`. */
  detectors(): Map<string, Detections> {
    const out = new Map<string, Detections>();
    for (const line of this.metrics) for (const d of list(line.detections)) out.set(`${line.net}/${d.blob}`, d);
    return out;
  }
}

/** The place of a picture in the grid: the same for all iterations. */
export function slot(p: PictureLine): string {
  return `${p.role}|${p.blob ?? ""}|${p.sample ?? 0}|${p.channel ?? ""}`;
}

/** Appends a line; lines at the same or a later iteration belong to a part of the run that was done again. */
function rewind<T extends { iteration: number }>(lines: T[], line: T, same: (l: T) => boolean = () => true): void {
  for (let i = lines.length - 1; i >= 0 && lines[i]!.iteration >= line.iteration; i--) {
    if (same(lines[i]!)) lines.splice(i, 1);
  }
  lines.push(line);
}

/** Outputs by name; the values of a blob with several get a number. */
function named(outputs: unknown): [string, number | null][] {
  const of = list(outputs as Output[]);
  const count = new Map<string, number>();
  for (const o of of) count.set(o.blob, (count.get(o.blob) ?? 0) + 1);
  const at = new Map<string, number>();
  return of.map((o) => {
    if (count.get(o.blob) === 1) return [o.blob, o.value];
    const i = at.get(o.blob) ?? 0;
    at.set(o.blob, i + 1);
    return [`${o.blob} [${i}]`, o.value];
  });
}

function get<K>(map: Map<K, Series>, key: K): Series {
  let series = map.get(key);
  if (!series) {
    series = new Series();
    map.set(key, series);
  }
  return series;
}
