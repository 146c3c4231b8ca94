"""A prototxt as a list of layers with shapes and parameters: what the converters start from."""

import dataclasses

import numpy as np
from google.protobuf import text_format

import caffe_pb2


@dataclasses.dataclass
class Layer:
    """A layer, its message, the shapes of its bottoms and tops, and those of its parameters."""

    msg: object
    bottoms: list
    tops: list
    params: list

    @property
    def kind(self):
        return self.msg.type

    @property
    def name(self):
        return self.msg.name


def first(values, default):
    """Caffe's repeated size fields: one value for both axes; these nets have no other."""
    return values[0] if len(values) else default


def conv_sizes(param):
    """Kernel, stride, pad, dilation."""
    return (
        param.kernel_size[0], first(param.stride, 1), first(param.pad, 0), first(param.dilation, 1),
    )


def pool_sizes(param, shape):
    """Kernel, stride, pad; the whole image for global pooling."""
    if param.global_pooling:
        assert shape[2] == shape[3]
        return shape[2], 1, 0
    return param.kernel_size, param.stride, param.pad


def pool_output(size, kernel, stride, pad):
    """Rounded up; the last window has to start inside."""
    out = -(-(size + 2 * pad - kernel) // stride) + 1
    if pad and (out - 1) * stride >= size + pad:
        out -= 1
    return out


def infer(msg, shapes):
    """The shapes of a layer's top and of its parameters."""
    kind, x = msg.type, shapes[0] if shapes else None
    if kind == "Input":
        return list(msg.input_param.shape[0].dim), []
    if kind == "Convolution":
        p = msg.convolution_param
        kernel, stride, pad, dilation = conv_sizes(p)
        reach = dilation * (kernel - 1) + 1
        side = [(d + 2 * pad - reach) // stride + 1 for d in x[2:]]
        params = [[p.num_output, x[1] // p.group, kernel, kernel]]
        return [x[0], p.num_output, *side], params + [[p.num_output]] * p.bias_term
    if kind == "InnerProduct":
        p = msg.inner_product_param
        params = [[p.num_output, int(np.prod(x[1:]))]]
        return [x[0], p.num_output], params + [[p.num_output]] * p.bias_term
    if kind == "Pooling":
        sizes = pool_sizes(msg.pooling_param, x)
        return [*x[:2], *(pool_output(d, *sizes) for d in x[2:])], []
    if kind == "BatchNorm":
        return x, [[x[1]], [x[1]], [1]]
    if kind == "Scale":
        return x, [[x[1]]] * (1 + msg.scale_param.bias_term)
    if kind == "Concat":
        return [x[0], sum(s[1] for s in shapes), *x[2:]], []
    if kind == "Flatten":
        return [x[0], int(np.prod(x[1:]))], []
    if kind == "SoftmaxWithLoss":
        return [], []
    if kind in ("ReLU", "LRN", "Dropout", "Eltwise", "Softmax"):
        return x, []
    raise ValueError(f"layer {msg.name}: {kind} is not converted")


def read(path):
    """The layers of a prototxt, in order."""
    with open(path) as file:
        net = text_format.Parse(file.read(), caffe_pb2.NetParameter())
    shapes, layers = {}, []
    for msg in net.layer:
        bottoms = [shapes[b] for b in msg.bottom]
        top, params = infer(msg, bottoms)
        shapes[msg.top[0]] = top
        layers.append(Layer(msg, bottoms, [top], params))
    return layers


def solver(path):
    """A solver file's message."""
    with open(path) as file:
        return text_format.Parse(file.read(), caffe_pb2.SolverParameter())


def weights(path):
    """The arrays beside a .caffemodel, by layer name."""
    arrays = np.load(path.replace(".caffemodel", ".npz"))
    found = {}
    for key in arrays.files:
        found.setdefault(key.rsplit("/", 1)[0], []).append(arrays[key])
    return found
