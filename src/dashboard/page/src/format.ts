// Numbers, times and shapes as people read them.

/** About four figures that matter; "–" for what is missing or not finite. */
export function number(v: number | null | undefined): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return "–";
  const a = Math.abs(v);
  if (a === 0) return "0";
  if (a >= 1e6 || a < 1e-4) return v.toExponential(2).replace(/\.?0*e\+?/, "e");
  if (a >= 1000) return v.toFixed(0);
  const s = v.toPrecision(4);
  return s.includes(".") ? s.replace(/\.?0+$/, "") : s;
}

/** A share as per cent. */
export function percent(v: number | null | undefined, digits = 1): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return "–";
  return `${(v * 100).toFixed(digits)}\u00a0%`;
}

/** A share near the whole: no rounding makes it one that it is not. */
export function nearly(v: number | null | undefined): string {
  if (typeof v === "number" && v < 1 && v > 0.999) return `over ${percent(0.999)}`;
  return percent(v, typeof v === "number" && v > 0.99 && v < 1 ? 1 : 0);
}

export function count(v: number | null | undefined): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return "–";
  return Math.round(v)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Counts that have to fit into a cell: 1234567 is 1.2M. */
export function compact(v: number): string {
  const steps: [number, string][] = [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ];
  for (const [at, unit] of steps) {
    if (v >= at) {
      const scaled = v / (unit === "k" ? 1e3 : at);
      return `${scaled >= 100 ? scaled.toFixed(0) : scaled.toFixed(1)}${unit}`;
    }
  }
  return String(Math.round(v));
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}\u00a0s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m}\u00a0min ${String(s % 60).padStart(2, "0")}\u00a0s`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h ${String(m % 60).padStart(2, "0")} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** 16 × 3 × 5 × 5; a scalar has none. */
export function shape(extents: readonly number[] | undefined): string {
  if (!extents || extents.length === 0) return "scalar";
  return extents.join(" × ");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** 1, 2, 3 and 7 more. */
export function some(items: readonly (string | number)[], most = 8): string {
  if (items.length <= most) return items.join(", ");
  return `${items.slice(0, most).join(", ")} and ${items.length - most} more`;
}

/** The name of a class, or its number. */
export function className(names: readonly string[] | undefined, i: number): string {
  return names?.[i] || `class ${i}`;
}
