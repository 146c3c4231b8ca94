"""Random weights as a .caffemodel, and random inputs as an .npz; the same for the same seed."""

import numpy as np

import caffe_pb2
import graph


def blobs(layer, rng, last):
    """Parameters that keep the size of the numbers about the same from layer to layer."""
    if layer.kind in ("Convolution", "InnerProduct"):
        shape = layer.params[0]
        fan = int(np.prod(shape[1:]))
        std = (2.0 / fan) ** 0.5 * (0.3 if last else 1.0)
        made = [rng.standard_normal(shape, np.float32) * np.float32(std)]
        made += [rng.uniform(-0.05, 0.05, s) for s in layer.params[1:]]
    elif layer.kind == "BatchNorm":
        n = layer.params[0][0]
        # A scale factor other than 1 divides the statistics, as in nets that Caffe trained.
        factor = 2.0
        made = [
            rng.uniform(-0.1, 0.1, n) * factor, rng.uniform(0.5, 1.5, n) * factor,
            np.array([factor]),
        ]
    elif layer.kind == "Scale":
        n = layer.params[0][0]
        # The branches of residual nets add up: each adds little.
        size = 0.3 if layer.name.endswith("_c_scale") else 1.0
        made = [size * rng.uniform(0.5, 1.2, n), rng.uniform(-0.1, 0.1, n)]
    else:
        made = []
    return [np.asarray(m, np.float32) for m in made]


def write(prototxt, path, seed=1):
    """Writes weights for a net, and the same arrays beside them as an .npz."""
    layers = graph.read(prototxt)
    rng = np.random.default_rng(seed)
    scores = {
        layer.msg.bottom[0] for layer in layers if layer.kind in ("Softmax", "SoftmaxWithLoss")
    }
    net = caffe_pb2.NetParameter(name="random")
    arrays = {}
    for layer in layers:
        made = blobs(layer, rng, layer.msg.top[0] in scores)
        if not made:
            continue
        out = net.layer.add(name=layer.name, type=layer.kind)
        for values, shape in zip(made, layer.params):
            assert list(values.shape) == shape, layer.name
            blob = out.blobs.add()
            blob.shape.dim.extend(shape)
            blob.MergeFromString(packed(caffe_pb2.BlobProto.DESCRIPTOR, "data", values))
            arrays[f"{layer.name}/{len(out.blobs) - 1}"] = values
    with open(path, "wb") as file:
        file.write(net.SerializeToString())
    np.savez(path.replace(".caffemodel", ".npz"), **arrays)


def packed(descriptor, name, values):
    """The bytes of a packed field of floats: quicker than adding them one by one."""
    size, number = 4 * values.size, descriptor.fields_by_name[name].number
    head = bytearray([number << 3 | 2])
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes(head) + bytes([size]) + values.astype("<f4").tobytes()


def write_inputs(prototxt, path, classes, seed=2):
    """Writes what goes into a net's Input layers: an image, and labels where it wants them."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for layer in graph.read(prototxt):
        if layer.kind != "Input":
            continue
        shape = layer.tops[0]
        if layer.name == "label":
            arrays["label"] = rng.integers(0, classes, shape).astype(np.float32)
        else:
            arrays[layer.name] = rng.standard_normal(shape, np.float32)
    np.savez(path, **arrays)
