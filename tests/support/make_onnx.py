"""Writes models as other exporters write them, and what onnxruntime makes of them: make_onnx.py FOLDER."""

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


def save(name, nodes, shape, outputs, batch):
    """A model of one input x, with a record of it and of the outputs, which are told with their number of axes."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape[1:]])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, [batch] + [None] * (n - 1)) for o, n in outputs.items()],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / f"{name}.onnx"))
    x = rng.normal(size=shape).astype(np.float32)
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    np.savez(folder / f"{name}.npz", x=x, **dict(zip(outputs, session.run(list(outputs), {"x": x}))))


save("other", nodes, (1, 3, 21, 21), {"out": 2}, "batch")

# Layers that take several operators to say, as PyTorch says them; numbers come from nodes, not from a list.
weights.clear()


def number(name, values, kind=np.float32):
    tensor = numpy_helper.from_array(np.array(values, dtype=kind))
    return helper.make_node("Constant", [], [name], value=tensor)


nodes = [
    helper.make_node("Conv", ["x", w("w1", 8, 3, 3, 3)], ["c"], pads=[1, 1, 1, 1]),
    # SiLU and Mish.
    helper.make_node("Sigmoid", ["c"], ["gate"]),
    helper.make_node("Mul", ["c", "gate"], ["silu"]),
    helper.make_node("Softplus", ["silu"], ["soft"]),
    helper.make_node("Tanh", ["soft"], ["bent"]),
    helper.make_node("Mul", ["silu", "bent"], ["mish"]),
    # SSD's length of channels, with a scale for each.
    number("two", 2.0),
    helper.make_node("Pow", ["mish", "two"], ["square"]),
    number("axis", [1], np.int64),
    helper.make_node("ReduceSum", ["square", "axis"], ["sum"], keepdims=1),
    helper.make_node("Sqrt", ["sum"], ["root"]),
    number("little", 1e-10),
    helper.make_node("Add", ["root", "little"], ["length"]),
    helper.make_node("Div", ["mish", "length"], ["unit"]),
    helper.make_node("Mul", [w("by", 1, 8, 1, 1), "unit"], ["scaled"]),
    # torch.nn.functional.normalize of rows.
    helper.make_node("GlobalAveragePool", ["scaled"], ["mean"]),
    helper.make_node("Flatten", ["mean"], ["row"]),
    helper.make_node("ReduceL2", ["row"], ["norm"], axes=[1], keepdims=1),
    number("least", 1e-12),
    helper.make_node("Clip", ["norm", "least"], ["bound"]),
    helper.make_node("Shape", ["row"], ["shape"]),
    helper.make_node("Expand", ["bound", "shape"], ["wide"]),
    helper.make_node("Div", ["row", "wide"], ["rows"]),
    # Moments of a batch, a mean along channels, and blobs that stretch over each other.
    helper.make_node("ReduceMean", ["scaled"], ["centre"], axes=[0, 2, 3], keepdims=1),
    helper.make_node("Sub", ["scaled", "centre"], ["centred"]),
    helper.make_node("ReduceMean", ["centred"], ["gray"], axes=[1], keepdims=0),
    helper.make_node("Unsqueeze", ["gray", "axis"], ["plane"]),
    helper.make_node("Mul", ["centred", "plane"], ["lit"]),
    helper.make_node("Add", ["lit", w("places", 1, 1, 5, 6)], ["placed"]),
    # The largest values put back to their places.
    helper.make_node("MaxPool", ["placed"], ["most", "where"], kernel_shape=[2, 2], strides=[2, 2]),
    number("plane_size", 30, np.int64),
    helper.make_node("Mod", ["where", "plane_size"], ["within"]),
    number("flat", [16, 6], np.int64),
    helper.make_node("Reshape", ["most", "flat"], ["values"]),
    helper.make_node("Reshape", ["within", "flat"], ["places_in"]),
    number("planes", [16, 30], np.int64),
    helper.make_node("ConstantOfShape", ["planes"], ["zeros"]),
    helper.make_node("ScatterElements", ["zeros", "places_in", "values"], ["sparse"], axis=1),
    number("large", [2, 8, 5, 6], np.int64),
    helper.make_node("Reshape", ["sparse", "large"], ["unpooled"]),
    # A product to which something computed is added.
    helper.make_node("Gemm", ["rows", w("w2", 8, 8), "row"], ["mixed"], alpha=0.5),
]
save("forms", nodes, (2, 3, 5, 6), {"rows": 2, "unpooled": 4, "mixed": 2}, 2)
