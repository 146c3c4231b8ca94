"""A prototxt with its weights as an ONNX model, operator by operator."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

import graph


def convolution(layer):
    p = layer.msg.convolution_param
    kernel, stride, pad, dilation = graph.conv_sizes(p)
    return "Conv", dict(
        kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
        dilations=[dilation] * 2, group=p.group,
    )


def pooling(layer):
    p = layer.msg.pooling_param
    kernel, stride, pad = graph.pool_sizes(p, layer.bottoms[0])
    sizes = dict(kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
    if p.pool == p.MAX:
        return "MaxPool", dict(sizes, ceil_mode=1)
    # A window over the edge counts only what is inside, as Caffe does without padding.
    assert pad == 0
    return "AveragePool", dict(sizes, ceil_mode=1, count_include_pad=0)


def lrn(layer):
    p = layer.msg.lrn_param
    assert p.norm_region == p.ACROSS_CHANNELS
    return "LRN", dict(size=p.local_size, alpha=p.alpha, beta=p.beta, bias=p.k)


SIMPLE = {
    "Convolution": convolution,
    "Pooling": pooling,
    "LRN": lrn,
    "ReLU": lambda _: ("Relu", {}),
    "Dropout": lambda _: ("Identity", {}),
    "Concat": lambda _: ("Concat", dict(axis=1)),
    "Eltwise": lambda _: ("Add", {}),
    "Softmax": lambda _: ("Softmax", dict(axis=1)),
    "Flatten": lambda _: ("Flatten", dict(axis=1)),
}


class Export:
    """Collects nodes and constants; a blob that is written twice gets a new name each time."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants, self.current = weights, [], [], {}

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, kind, inputs, output, **fields):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **fields))
        return output

    def add(self, layer):
        inputs = [self.current[b] for b in layer.msg.bottom]
        blobs, name = self.weights.get(layer.name, []), layer.name
        if layer.kind == "InnerProduct":
            flat = self.node("Flatten", inputs, name + ":flat", axis=1)
            params = [self.constant(f"{name}:{i}", b) for i, b in enumerate(blobs)]
            out = self.node("Gemm", [flat, *params], name, transB=1)
        elif layer.kind == "BatchNorm":
            mean, var, factor = blobs
            ones = np.ones_like(mean)
            params = [
                self.constant(f"{name}:{i}", b)
                for i, b in enumerate((ones, 0 * ones, mean / factor, var / factor))
            ]
            eps = layer.msg.batch_norm_param.eps
            out = self.node("BatchNormalization", inputs + params, name, epsilon=eps)
        elif layer.kind == "Scale":
            gamma, beta = (b.reshape(1, -1, 1, 1) for b in blobs)
            scaled = self.node("Mul", [*inputs, self.constant(name + ":0", gamma)], name + ":mul")
            out = self.node("Add", [scaled, self.constant(name + ":1", beta)], name)
        else:
            kind, fields = SIMPLE[layer.kind](layer)
            params = [self.constant(f"{name}:{i}", b) for i, b in enumerate(blobs)]
            out = self.node(kind, inputs + params, name, **fields)
        self.current[layer.msg.top[0]] = out


def write(prototxt, weights, path):
    """Writes the model."""
    layers = graph.read(prototxt)
    export, inputs = Export(graph.weights(weights)), []
    for layer in layers:
        if layer.kind == "Input":
            top = layer.msg.top[0]
            export.current[top] = top
            inputs.append(helper.make_tensor_value_info(top, TensorProto.FLOAT, layer.tops[0]))
        else:
            export.add(layer)
    last = export.current[layers[-1].msg.top[0]]
    output = helper.make_tensor_value_info(last, TensorProto.FLOAT, layers[-1].tops[0])
    body = helper.make_graph(export.nodes, "net", inputs, [output], export.constants)
    opset = [helper.make_opsetid("", 13)]
    save(helper.make_model(body, opset_imports=opset, ir_version=8), path)
