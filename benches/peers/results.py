"""From measurements to tables: ratios, goals, agreement, and the whole of RESULTS.md."""

import datetime

NAMES = {
    "cortado": "cortado",
    "torch": "PyTorch",
    "torch channels_last": "PyTorch channels_last",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "opencv": "OpenCV DNN",
}


class Result:
    """What was measured of a row: for every program the figures of its rounds."""

    def __init__(self, row):
        self.row = row
        self.rounds = {}
        # Peer, largest difference, bound.
        self.checks = []

    def add(self, peer, figures):
        if figures is not None:
            self.rounds.setdefault(peer, []).append(figures)

    def best(self, peer):
        """The quickest pass of all rounds, in milliseconds; None where the program failed."""
        return min((f["min_ms"] for f in self.rounds.get(peer, [])), default=None)

    def median(self, peer):
        """The median of the quietest round."""
        return min((f["median_ms"] for f in self.rounds.get(peer, [])), default=None)

    def memory(self, peer, which="memory"):
        found = [f[which] for f in self.rounds.get(peer, []) if f[which]]
        return min(found, default=None)

    def ratio(self, figure, peers):
        """cortado's figure over the least of the peers', and whose that is."""
        own = figure("cortado")
        others = [(figure(p), p) for p in peers if figure(p) is not None]
        if own is None or not others:
            return None, None
        least, peer = min(others)
        return own / least, peer

    def flops(self):
        """cortado's GFLOP of a pass, and the processor's peak in GFLOP/s as it measured it."""
        figures = self.rounds.get("cortado", [])
        peak = max((f["peak_gflops"] for f in figures), default=None)
        return (figures[0]["gflop"], peak) if figures else (None, None)


def status(ratio, goal):
    if ratio is None:
        return "not measured"
    if ratio <= goal:
        return "met"
    return f"missed: {ratio / goal:.2f} × the goal"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + rows
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def cell(result, peer):
    best, median = result.best(peer), result.median(peer)
    return "failed" if best is None else f"{best:.1f} ({median:.1f})"


def times(results):
    """One table for rows with the same peers."""
    peers = results[0].row.peers
    head = ["net", "batch", "cortado", "of peak", *(NAMES[p] for p in peers)]
    head += ["ratio", "goal", "status"]
    rows = []
    for r in results:
        ratio, peer = r.ratio(r.best, r.row.against)
        gflop, peak = r.flops()
        share = f"{100 * gflop / peak / r.best('cortado') * 1e3:.0f} %" if gflop else ""
        against = r.row.against
        rival = NAMES[against[0]] if len(against) == 1 else "the best"
        rows.append(
            [r.row.title, str(r.row.batch), cell(r, "cortado"), share]
            + [cell(r, p) for p in peers]
            + [f"{ratio:.2f} × {NAMES[peer]}" if ratio else "", f"≤ {r.row.goal} × {rival}"]
            + [status(ratio, r.row.goal)]
        )
    return table(head, rows)


def memory(results):
    def megabytes(r, peer):
        value, loaded = r.memory(peer), r.memory(peer, "loaded")
        if value is None:
            return ""
        return f"{value / 1e6:.0f}" + (f" ({(value - loaded) / 1e6:.0f})" if loaded else "")

    peers = results[0].row.peers
    head = ["net", "batch", "cortado", *(NAMES[p] for p in peers), "ratio", "goal", "status"]
    rows = []
    for r in results:
        ratio, peer = r.ratio(r.memory, peers)
        rows.append(
            [r.row.title, str(r.row.batch), megabytes(r, "cortado")]
            + [megabytes(r, p) for p in peers]
            + [f"{ratio:.2f} × {NAMES[peer]}" if ratio else "", "≤ 1.0 × the best"]
            + [status(ratio, 1.0)]
        )
    return table(head, rows)


def agreement(results):
    rows = []
    for r in results:
        what = "loss of 3 steps" if r.row.mode == "train" else "output"
        for peer, difference, bound in r.checks:
            rows.append(
                [r.row.title, str(r.row.batch), what, NAMES[peer], f"{difference:.1e}"]
                + [f"{bound:.0e}", "yes" if difference <= bound else "NO"]
            )
    head = ["net", "batch", "compared", "with", "largest relative difference", "bound", "agrees"]
    return table(head, rows)


def agrees(results):
    return all(d <= bound for r in results for _, d, bound in r.checks)


def tables(results):
    """The tables alone."""
    parts = []
    for mode, title in (("train", "Training: one step"), ("infer", "Inference")):
        some = [r for r in results if r.row.mode == mode]
        if some:
            parts += [f"## {title}, ms\n", times(some)]
            parts += [f"## {title.split(':')[0]}: peak memory, MB\n", memory(some)]
    return "\n".join(parts + ["## Agreement\n", agreement(results)])


def document(results, about, rounds, threads):
    """The text of RESULTS.md."""
    peak = max((r.flops()[1] or 0 for r in results), default=0)
    lines = [f"- {key}: {value}" for key, value in about.items()]
    missed = []
    for r in results:
        for what, figure, peers, goal in (
            ("time", r.best, r.row.against, r.row.goal),
            ("memory", r.memory, r.row.peers, 1.0),
        ):
            ratio, peer = r.ratio(figure, peers)
            if ratio is None or ratio > goal:
                much = f"{ratio:.2f} × {NAMES[peer]}, " if ratio else ""
                title = f"{r.row.title}, batch {r.row.batch}"
                missed.append(f"- {title}, {what}: {much}{status(ratio, goal)}")
    return f"""# cortado beside its peers

Written by `benches/peers/run.py` on {datetime.date.today()}; `benches/peers/README.md` says how to read it.

{chr(10).join(lines)}
- peak, measured: {peak:.0f} GFLOP/s with {threads} threads
- {threads} threads for every program, {rounds} rounds, the programs in turn

Times are of the quickest pass of all rounds, in brackets the median of the quietest round. The ratio is of
the quickest passes. Memory is the most that the whole process held, libraries included; in brackets without
what a peer's libraries took before there was a net. Caffe itself is not on PyPI and not measured here.

{tables(results)}
## Goals not met

{chr(10).join(missed) or "None."}
"""
