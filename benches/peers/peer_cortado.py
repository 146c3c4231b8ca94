"""cortado, by its own clock: `cortado time`, of a solver's steps or of a net made for forward."""

import json
import subprocess
import sys

import numpy as np


def main():
    job = json.loads(sys.argv[1])
    command = [job["cortado"], "time", f"--threads={job['threads']}", "--json=-", "--seed=1"]
    command += [f"--weights={job['weights']}", f"--input={job['inputs']}"]
    command += [f"--iterations={job['iterations'] + job['warm']}"]
    if job["mode"] == "train":
        command += [f"--solver={job['solver']}"]
    else:
        output = job["output"].replace(".npy", ".npz")
        command += [f"--model={job['net']}", "--forward_only", f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    figures = json.loads(done.stdout)
    if job["mode"] != "train":
        arrays = np.load(output)
        np.save(job["output"], arrays[arrays.files[-1]])
    line = {
        "min_ms": figures["total_ms"]["min"],
        "median_ms": figures["total_ms"]["median"],
        "memory": figures["peak_rss_bytes"],
        "loaded": None,
        "losses": figures["losses"],
        "peak_gflops": figures["peak_gflops"],
        "gflop": figures["gflop"],
    }
    print(json.dumps(line))


main()
