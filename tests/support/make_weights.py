"""Writes files of weights as libraries that are not ours write them: make_weights.py schema.bin FOLDER.

The same two layers as a.npz (numpy, compressed, one array in Fortran's order), b.caffemodel.h5 (h5py, in Caffe's layout, one
dataset chunked and compressed), c.caffemodel (protobuf, new blobs) and old.caffemodel (protobuf, a net of the first version
of layers, its blobs with four extents and one of doubles).
"""

import pathlib
import sys

import h5py
import numpy as np
from check import message

schema, folder = sys.argv[1], pathlib.Path(sys.argv[2])
rng = np.random.default_rng(7)
weights = {
    "conv/1": [rng.normal(size=(4, 3, 3, 2)).astype(np.float32), rng.normal(size=4).astype(np.float32)],
    "ip": [rng.normal(size=(5, 24)).astype(np.float32)],
}

arrays = {f"{layer}/{i}": a for layer, blobs in weights.items() for i, a in enumerate(blobs)}
arrays["ip/0"] = np.asfortranarray(arrays["ip/0"])
np.savez_compressed(folder / "a.npz", **arrays)

with h5py.File(folder / "b.caffemodel.h5", "w") as file:
    for layer, blobs in weights.items():
        # A name with a slash is a group in a group, as in Caffe.
        group = file.require_group("data").require_group(layer)
        for i, a in enumerate(blobs):
            packed = {"chunks": (2, 24), "compression": "gzip"} if layer == "ip" else {}
            group.create_dataset(str(i), data=a, **packed)

net = message("caffe.NetParameter", schema)
net.name = "made elsewhere"
for layer, blobs in weights.items():
    to = net.layer.add(name=layer, type="Convolution" if "conv" in layer else "InnerProduct")
    for a in blobs:
        blob = to.blobs.add()
        blob.shape.dim.extend(a.shape)
        blob.data.extend(a.ravel().tolist())
(folder / "c.caffemodel").write_bytes(net.SerializeToString())

old = message("caffe.NetParameter", schema)
old.name = "old"
old.input.append("data")
old.input_dim.extend([1, 3, 3, 2])
kinds = {"conv/1": 4, "ip": 14}
for layer, blobs in weights.items():
    to = old.layers.add(name=layer, type=kinds[layer], bottom=["data"], top=[layer])
    to.blobs_lr.extend([1, 2][: len(blobs)])
    if layer == "ip":
        to.inner_product_param.num_output = 5
        to.inner_product_param.bias_term = False
    else:
        to.convolution_param.num_output = 4
        to.convolution_param.kernel_h, to.convolution_param.kernel_w = 3, 2
    for a in blobs:
        blob = to.blobs.add()
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - a.ndim) + a.shape
        numbers = blob.double_data if a.ndim == 1 else blob.data
        numbers.extend(a.ravel().tolist())
(folder / "old.caffemodel").write_bytes(old.SerializeToString())
