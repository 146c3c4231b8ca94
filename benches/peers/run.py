#!/usr/bin/env python3
"""cortado beside PyTorch, ONNX Runtime, OpenVINO and OpenCV: one command, see README.md."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import environment
import results
import rows

LOSS_BOUND = 1e-3
OUTPUT_BOUND = 1e-3

SCRIPTS = {
    "cortado": "peer_cortado.py",
    "torch": "peer_torch.py",
    "torch channels_last": "peer_torch.py",
    "openvino": "peer_onnx.py",
    "onnxruntime": "peer_onnx.py",
    "opencv": "peer_opencv.py",
}

DIFFERENCE = """
import sys, numpy as np
a, b = (np.load(p).ravel().astype(np.float64) for p in sys.argv[1:])
same = a.shape == b.shape and np.isfinite(a).all() and np.isfinite(b).all()
print(abs(a - b).max() / max(abs(a).max(), 1e-30) if same else float("inf"))
"""


class Bench:
    """Runs the programs, each in a process of its own."""

    def __init__(self, options, python, cortado, work):
        self.options, self.python, self.cortado, self.work = options, python, cortado, work
        threads = str(options.threads)
        self.env = dict(
            os.environ, PYTHONPATH=str(work), OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads
        )

    def call(self, *args):
        return subprocess.run(
            [str(a) for a in (self.python, *args)], env=self.env, capture_output=True, text=True
        )

    def prepare(self, row):
        """Makes the row's files, and returns their folder."""
        folder = self.work / row.key
        done = self.call(environment.HERE / "prepare.py", row.mode, folder, row.net, row.batch)
        if done.returncode:
            raise SystemExit(done.stderr)
        return folder

    def once(self, row, peer, folder, check=False):
        """The figures of one process; None where it failed."""
        kind = "_check" if check else ""
        name = f"train{kind}.prototxt" if row.mode == "train" else "deploy.prototxt"
        few = max(row.iterations // 4, 3) if self.options.quick else row.iterations
        job = {
            "peer": peer,
            "variant": peer.partition(" ")[2],
            "mode": row.mode,
            "net": str(folder / name),
            "solver": str(folder / f"solver{kind}.prototxt"),
            "onnx": str(folder / "net.onnx"),
            "weights": str(folder / "weights.caffemodel"),
            "inputs": str(folder / "inputs.npz"),
            "output": str(folder / f"{peer}.npy"),
            "cortado": str(self.cortado),
            "threads": self.options.threads,
            "iterations": 3 if check else few,
            "warm": 0 if check else 3,
        }
        done = self.call(environment.HERE / SCRIPTS[peer], json.dumps(job))
        if done.returncode:
            print(f"{row.key}: {peer} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
            return None
        return json.loads(done.stdout.strip().splitlines()[-1])

    def row(self, row):
        """All rounds of a row, and its checks."""
        folder = self.prepare(row)
        result = results.Result(row)
        programs = ["cortado", *row.peers]
        for turn in range(self.options.rounds):
            # Nobody always comes first.
            shift = turn % len(programs)
            for peer in programs[shift:] + programs[:shift]:
                result.add(peer, self.once(row, peer, folder))
        if row.mode == "train":
            self.compare_losses(result, folder)
        else:
            self.compare_outputs(result, folder)
        if not self.options.keep:
            for file in folder.iterdir():
                file.unlink()
        return result

    def compare_losses(self, result, folder):
        """The losses of the first steps, without Dropout: its random numbers are everyone's own."""
        own = self.once(result.row, "cortado", folder, check=True)
        for peer in result.row.peers:
            other = self.once(result.row, peer, folder, check=True)
            if own and other:
                pairs = list(zip(own["losses"], other["losses"]))[:3]
                worst = max(abs(a - b) / abs(b) for a, b in pairs)
                result.checks.append((peer, worst, LOSS_BOUND))

    def compare_outputs(self, result, folder):
        for peer in result.row.peers:
            if peer not in result.rounds or "cortado" not in result.rounds:
                continue
            done = self.call("-c", DIFFERENCE, folder / f"{peer}.npy", folder / "cortado.npy")
            worst = float(done.stdout) if done.returncode == 0 else float("inf")
            result.checks.append((peer, worst, OUTPUT_BOUND))


def parse():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", environment.ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    parser.add_argument("--only", default="", metavar="ROWS", help="rows, nets, train or infer")
    parser.add_argument("--quick", action="store_true", help="a quarter of the iterations, 1 round")
    parser.add_argument("--rounds", type=int, help="rounds of every row (default 3)")
    parser.add_argument("--threads", type=int, default=cores, help="threads for every program")
    parser.add_argument("--cortado", type=pathlib.Path, help="this program, instead of building it")
    parser.add_argument("--venv", type=pathlib.Path, default=target / "peers-venv")
    parser.add_argument("--work", type=pathlib.Path, default=target / "peers", help="files go here")
    parser.add_argument("--keep", action="store_true", help="leave nets, weights and outputs there")
    parser.add_argument(
        "--results", type=pathlib.Path,
        help="write this file (default benches/RESULTS.md after a whole run, else nothing)",
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    if not (options.results or options.only or options.quick):
        options.results = environment.ROOT / "benches" / "RESULTS.md"
    return options


def main():
    options = parse()
    chosen = rows.choose([word for word in options.only.split(",") if word])
    if options.list:
        for row in chosen:
            print(f"{row.key:16} {row.mode:6} batch {row.batch:3}  {row.title}")
        return
    python = environment.install(options.venv)
    cortado = (options.cortado or environment.build()).resolve()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    environment.messages(python, work)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    bench = Bench(options, python, cortado, work)
    done = []
    for number, row in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {row.key}", file=sys.stderr, flush=True)
        done.append(bench.row(row))
        print(results.times(done[-1:]), flush=True)
    print(results.tables(done))
    if options.results:
        about = environment.machine()
        about["load before the start"] = load
        found = environment.versions(python)
        given = "(a program given, beside a checkout of) " if options.cortado else ""
        about["versions"] = ", ".join(
            [f"cortado {given}{environment.commit()}"] + [f"{n} {v}" for n, v in found.items()]
        )
        text = results.document(done, about, options.rounds, options.threads)
        options.results.write_text(text)
        print(f"written: {options.results}", file=sys.stderr)
    if not results.agrees(done):
        sys.exit("the outputs do not agree")


if __name__ == "__main__":
    main()
