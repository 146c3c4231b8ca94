// Points of one curve over iteration and time, and what is needed to draw hundreds of thousands of them.

/** Iterations rise; a point at an iteration that was passed before (a run taken up from a snapshot) drops what follows. */
export class Series {
  readonly x: number[] = [];
  readonly t: number[] = [];
  /** NaN where the value was not finite. */
  readonly y: number[] = [];
  private version = 0;
  private smoothed: { weight: number; version: number; y: number[] } | null = null;

  push(x: number, t: number, y: number | null | undefined): void {
    while (this.x.length > 0 && this.x[this.x.length - 1]! >= x) {
      this.x.pop();
      this.t.pop();
      this.y.pop();
    }
    this.version++;
    this.x.push(x);
    this.t.push(t);
    this.y.push(typeof y === "number" && Number.isFinite(y) ? y : NaN);
  }

  get length(): number {
    return this.x.length;
  }

  /** The values smoothed; kept until a point comes. */
  smooth(weight: number): readonly number[] {
    if (weight <= 0) return this.y;
    const kept = this.smoothed;
    if (kept && kept.weight === weight && kept.version === this.version) return kept.y;
    const y = smooth(this.y, weight);
    this.smoothed = { weight, version: this.version, y };
    return y;
  }

  last(): number {
    return this.y.length > 0 ? this.y[this.y.length - 1]! : NaN;
  }
}

/** An exponential moving average without the pull to zero at its start. `weight` 0 leaves values as they are. */
export function smooth(y: readonly number[], weight: number): number[] {
  if (weight <= 0) return y.slice();
  const out = new Array<number>(y.length);
  let sum = 0;
  let norm = 0;
  for (let i = 0; i < y.length; i++) {
    const v = y[i]!;
    if (Number.isNaN(v)) {
      out[i] = NaN;
      continue;
    }
    sum = sum * weight + v * (1 - weight);
    norm = norm * weight + (1 - weight);
    out[i] = sum / norm;
  }
  return out;
}

/** The first index whose value is not below `at`. */
export function lowerBound(xs: readonly number[], at: number): number {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (xs[mid]! < at) low = mid + 1;
    else high = mid;
  }
  return low;
}

/** The index of the point nearest to `at`; -1 where there is none. */
export function nearest(xs: readonly number[], at: number): number {
  if (xs.length === 0) return -1;
  const i = lowerBound(xs, at);
  if (i === 0) return 0;
  if (i === xs.length) return i - 1;
  return at - xs[i - 1]! <= xs[i]! - at ? i - 1 : i;
}

/**
 * What is seen of a curve between `from` and `to`: one point on either side, and, where more than two points fall on a
 * bucket, its lowest and highest. Gaps stay gaps (null).
 */
export function visible(
  xs: readonly number[],
  ys: readonly number[],
  from: number,
  to: number,
  buckets: number,
): [number[], (number | null)[]] {
  const start = Math.max(0, lowerBound(xs, from) - 1);
  const end = Math.min(xs.length, lowerBound(xs, to) + 2);
  const count = end - start;
  const outX: number[] = [];
  const outY: (number | null)[] = [];
  const put = (i: number) => {
    outX.push(xs[i]!);
    outY.push(Number.isNaN(ys[i]!) ? null : ys[i]!);
  };
  if (count <= buckets * 2) {
    for (let i = start; i < end; i++) put(i);
    return [outX, outY];
  }
  for (let b = 0; b < buckets; b++) {
    const first = start + Math.floor((count * b) / buckets);
    const stop = start + Math.floor((count * (b + 1)) / buckets);
    let low = -1;
    let high = -1;
    let gap = -1;
    for (let i = first; i < stop; i++) {
      const v = ys[i]!;
      if (Number.isNaN(v)) gap = i;
      else {
        if (low < 0 || v < ys[low]!) low = i;
        if (high < 0 || v > ys[high]!) high = i;
      }
    }
    const picked = [...new Set([low, high, gap])].filter((i) => i >= 0).sort((a, b) => a - b);
    picked.forEach(put);
  }
  return [outX, outY];
}
