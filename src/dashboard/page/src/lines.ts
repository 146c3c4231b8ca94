// The lines of a run's record, as src/journal/line.rs writes them. Every number may be null (it was not finite), every
// field may be missing (an older writer), every kind may be unknown (a newer one).

export type Num = number | null;

export interface Output {
  blob: string;
  value: Num;
  weight: number;
}

export interface Top {
  name: string;
  shape: number[];
  in_place?: boolean;
}

export interface Node {
  name: string;
  type: string;
  bottoms: string[];
  tops: Top[];
  params?: number[][];
  flops?: number;
}

export interface NetLine {
  kind: "net";
  phase: string;
  index: number;
  name: string;
  nodes: Node[];
}

export interface Head {
  scores: string;
  label: string;
  layer: string;
  classes: number;
  names?: string[];
  confusion?: number[][];
  /** The commonest mistakes: truth, answer, how often. */
  confused?: [number, number, number][];
  labels?: number;
  ignored?: number;
  accuracy: Num;
  constant?: { class: number; accuracy: Num } | null;
  recall?: Num[];
  precision?: Num[];
  iou?: Num[];
  mean_iou?: Num;
  mean_recall?: Num;
  top_k?: [number, Num][];
  alike?: { a: number; b: number; correlation: Num; equal?: Num }[];
  zeros?: Num[];
  /** Where each channel answers no or yes by itself. */
  each?: YesNo[];
}

export interface YesNo {
  accuracy: Num;
  constant?: Num;
  positives?: number;
  recall?: Num;
  precision?: Num;
  iou?: Num;
}

export interface Detections {
  blob: string;
  mean: Num;
  average_precision?: [number, Num][];
}

export interface MetricsLine {
  kind: "metrics";
  t: number;
  iteration: number;
  net: number;
  heads?: Head[];
  detections?: Detections[];
}

export interface Histogram {
  low: Num;
  high: Num;
  counts: number[];
}

export interface BlobVitals {
  name: string;
  mean: Num;
  deviation: Num;
  low: Num;
  high: Num;
  zeros: Num;
  dead?: number[];
  channels?: number;
  not_finite?: number;
  histogram?: Histogram;
}

export interface ParamVitals {
  name: string;
  shape?: number[];
  norm: Num;
  gradient?: Num;
  update?: Num;
  mean: Num;
  deviation: Num;
  not_finite?: number;
  histogram?: Histogram;
}

export interface LayerVitals {
  name: string;
  type: string;
  forward_ms?: Num;
  backward_ms?: Num;
  blobs?: BlobVitals[];
  params?: ParamVitals[];
}

export interface VitalsLine {
  kind: "vitals";
  t: number;
  iteration: number;
  layers: LayerVitals[];
}

export interface PictureLine {
  kind: "picture";
  iteration: number;
  role: string;
  blob?: string | null;
  sample?: number | null;
  key?: string | null;
  channel?: number | null;
  caption?: string | null;
  file?: string | null;
  png?: string | null;
  low?: Num;
  high?: Num;
}

export interface WorstSample {
  key: string;
  loss: Num;
  truth?: string | number | null;
  answer?: string | number | null;
  picture?: string | null;
  png?: string | null;
}

export interface WorstLine {
  kind: "worst";
  iteration: number;
  net: number;
  samples: WorstSample[];
}

export interface LogLine {
  kind: "log";
  t: number;
  level: string;
  text: string;
}

export interface FindingLine {
  kind: "finding";
  severity: string;
  code: string;
  message: string;
  place?: string | null;
  help?: string | null;
  iteration?: number | null;
}

export interface VerdictLine {
  kind: "verdict";
  ill: boolean;
  lines?: string[];
  todo?: string[];
}

export interface RunLine {
  kind: "run";
  program?: string;
  name?: string;
  solver?: string;
  started?: string;
  max_iter?: number;
  seed?: number | null;
  display?: number;
  test_interval?: number;
}

/** A line before one has looked at its kind. */
export type Raw = { kind?: unknown } & Record<string, unknown>;
