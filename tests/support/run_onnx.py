"""Runs models with onnxruntime and compares what comes out: run_onnx.py FOLDER value|largest.

Tolerances are 1e-4 and 1e-4 of each value, or of the largest value of an output: in whole nets with random weights sums
of large values cancel.

For each NAME.onnx in the folder, NAME.npz holds in/<input> and out/<output>. Prints one line a model: its name, ok or
OUT, and what is apart.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(3)
for model in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    trouble = []
    try:
        onnx.checker.check_model(str(model), full_check=True)
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        record = np.load(model.with_suffix(".npz"))
        wanted = {i.name for i in session.get_inputs()}
        feed = {k[3:]: record[k] for k in record.files if k.startswith("in/") and k[3:] in wanted}
        for output, got in zip(session.get_outputs(), session.run(None, feed)):
            want = record["out/" + output.name.removesuffix("_out")]
            atol = 1e-4
            if sys.argv[2] == "largest":
                atol *= np.abs(want[np.isfinite(want)]).max(initial=1)
            if got.shape != want.shape:
                trouble.append(f"{output.name} has shape {got.shape}, not {want.shape}")
            elif not np.allclose(got, want, rtol=1e-4, atol=atol, equal_nan=True):
                trouble.append(f"{output.name} is {np.abs(got - want).max()} apart")
    except Exception as error:  # noqa: BLE001: the test wants to hear of all of them
        trouble.append(" ".join(str(error).split()))
    print(model.stem, "OUT " + "; ".join(trouble) if trouble else "ok")
