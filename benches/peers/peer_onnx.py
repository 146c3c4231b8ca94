"""ONNX Runtime and OpenVINO, on the ONNX form of a net."""

import importlib

import numpy as np

import worker


def onnxruntime(job, data, ort):
    options = ort.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"data": data})[0]


def openvino(job, data, openvino):
    core = openvino.Core()
    model = core.compile_model(
        job["onnx"],
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": job["threads"],
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = model.create_infer_request()
    tensor = openvino.Tensor(data, shared_memory=True)

    def run():
        request.infer({0: tensor})
        return request.get_output_tensor(0).data

    return run


def main():
    job = worker.job()
    library = importlib.import_module(job["peer"])
    loaded = worker.peak_memory()
    data = np.load(job["inputs"])["data"]
    run = {"onnxruntime": onnxruntime, "openvino": openvino}[job["peer"]](job, data, library)
    times = worker.measure(run, job["iterations"], job["warm"])
    worker.report(job, times, loaded, output=run())


main()
