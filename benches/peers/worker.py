"""What every peer's process does: read its job, run it many times, print one line of JSON."""

import json
import statistics
import sys
import time

import numpy as np


def peak_memory():
    """The most memory this process has held, in bytes; None where the system does not tell."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def job():
    """The job, as the driver wrote it on the command line."""
    return json.loads(sys.argv[1])


def measure(run, iterations, warm):
    """Milliseconds of so many calls, after some that do not count."""
    for _ in range(warm):
        run()
    times = []
    for _ in range(iterations):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def report(job, times, loaded, output=None, losses=None):
    """Saves the output and prints the line; `loaded` is the memory held before the net was read."""
    if output is not None:
        np.save(job["output"], np.asarray(output, np.float32))
    line = {
        "min_ms": min(times),
        "median_ms": statistics.median(times),
        "memory": peak_memory(),
        "loaded": loaded,
        "losses": losses,
    }
    print(json.dumps(line))
