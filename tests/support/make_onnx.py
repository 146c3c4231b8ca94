"""Writes a model as other exporters write them, and what onnxruntime makes of it: make_onnx.py FOLDER."""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

folder = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(3)
weights = []


def w(name, *shape, positive=False):
    data = rng.normal(size=shape).astype(np.float32) * 0.5
    weights.append(numpy_helper.from_array(np.abs(data) + 0.1 if positive else data, name))
    return name


def const(name, values, kind=np.int64):
    weights.append(numpy_helper.from_array(np.array(values, dtype=kind), name))
    return name


nodes = [
    # TensorFlow's padding at a stride of 2: nothing before, one behind.
    helper.make_node("Conv", ["x", w("w1", 6, 3, 3, 3), w("b1", 6)], ["c1"], pads=[0, 0, 1, 1], strides=[2, 2]),
    helper.make_node(
        "BatchNormalization",
        ["c1", w("s", 6), w("t", 6), w("m", 6), w("v", 6, positive=True)],
        ["n1"],
        epsilon=1e-3,
    ),
    helper.make_node("Clip", ["n1", const("low", 0, np.float32), const("high", 6, np.float32)], ["r1"]),
    helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    helper.make_node("Conv", ["p1", w("w2", 6, 1, 3, 3)], ["c2"], pads=[1, 1, 1, 1], group=6),
    helper.make_node("HardSwish", ["c2"], ["h2"]),
    helper.make_node("Add", ["h2", "p1"], ["sum"]),
    # Squeeze and excitation.
    helper.make_node("ReduceMean", ["sum"], ["g"], axes=[2, 3], keepdims=1),
    helper.make_node("Conv", ["g", w("w3", 6, 6, 1, 1)], ["e"]),
    helper.make_node("HardSigmoid", ["e"], ["gate"], alpha=1 / 6, beta=0.5),
    helper.make_node("Mul", ["sum", "gate"], ["se"]),
    helper.make_node("AveragePool", ["se"], ["a"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    helper.make_node("Resize", ["a", "", "scales"], ["up"], mode="nearest"),
    # Channels shuffled as PyTorch says it, its extents computed from the shape.
    helper.make_node("Shape", ["up"], ["shape"]),
    helper.make_node("Gather", ["shape", "zero"], ["n"]),
    helper.make_node("Unsqueeze", ["n", "first"], ["n1d"]),
    helper.make_node("Concat", ["n1d", "rest"], ["grouped"], axis=0),
    helper.make_node("Reshape", ["up", "grouped"], ["split"]),
    helper.make_node("Transpose", ["split"], ["vt"], perm=[0, 2, 1, 3, 4]),
    helper.make_node("Reshape", ["vt", "shape"], ["shuffled"]),
    helper.make_node("Slice", ["shuffled", "starts", "ends", "axes"], ["half"]),
    helper.make_node("Mul", ["half", const("by", [[[2.0]], [[0.5]], [[-1.0]]], np.float32)], ["scaled"]),
    helper.make_node("Sub", [const("one", 1.0, np.float32), "scaled"], ["turned"]),
    helper.make_node("Flatten", ["turned"], ["flat"]),
    helper.make_node("MatMul", ["flat", "w4"], ["mm"]),
    helper.make_node("Add", ["mm", w("b4", 5)], ["scores"]),
    helper.make_node("Softmax", ["scores"], ["prob"], axis=-1),
    helper.make_node("Dropout", ["prob"], ["out"]),
]
const("scales", [1, 1, 2, 2], np.float32)
const("zero", 0)
const("first", [0])
const("rest", [2, 3, 6, 6])
const("starts", [1])
const("ends", [4])
const("axes", [1])
w("w4", 3 * 6 * 6, 5)
graph = helper.make_graph(
    nodes,
    "other",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 21, 21])],
    [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 5])],
    weights,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
onnx.checker.check_model(model)
onnx.save(model, str(folder / "other.onnx"))
x = rng.normal(size=(1, 3, 21, 21)).astype(np.float32)
session = onnxruntime.InferenceSession(str(folder / "other.onnx"), providers=["CPUExecutionProvider"])
np.savez(folder / "other.npz", x=x, out=session.run(None, {"x": x})[0])
