"""Makes a database, a net and its weights without the program, and holds the features that it extracts against NumPy's.

features.py KIND FOLDER: `make`, or a kind of target: lmdb, leveldb, npz.
"""

import os
import sys

import lmdb
import numpy as np
from databases import MESSAGE, parse, records

RECORDS, BATCH, BATCHES = 10, 4, 260
NET = """
layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: TRAIN } data_param { source: 'none' batch_size: 1 } }
layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: TEST } transform_param { scale: 0.0078125 mean_value: 100 }
  data_param { source: 'images' batch_size: %d backend: LMDB } }
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
layer { name: 'fc' type: 'InnerProduct' bottom: 'conv' top: 'fc' inner_product_param { num_output: 5 } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'fc' bottom: 'label' top: 'loss' }
""" % BATCH
SHAPES = dict(conv=[(2, 3, 3, 3), (2,)], fc=[(5, 2 * 3 * 4), (5,)])


def drawn():
    """Images of 3 x 5 x 6 bytes, and the weights of each layer."""
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (RECORDS, 3, 5, 6), dtype=np.uint8)
    return images, {name: [rng.normal(size=s).astype(np.float32) for s in shapes] for name, shapes in SHAPES.items()}


def make(folder):
    images, weights = drawn()
    with lmdb.open(os.path.join(folder, "images"), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for i, image in enumerate(images):
            datum = MESSAGE("Datum")(channels=3, height=5, width=6, label=i % 5, data=image.tobytes())
            txn.put(b"%08d_x.png" % i, datum.SerializeToString())
    net = MESSAGE("NetParameter")(name=b"made elsewhere")
    for name, blobs in weights.items():
        layer = net.layer.add(name=name.encode())
        for blob in blobs:
            layer.blobs.add(data=blob.ravel().tolist()).shape.dim.extend(blob.shape)
    with open(os.path.join(folder, "net.caffemodel"), "wb") as file:
        file.write(net.SerializeToString())
    with open(os.path.join(folder, "net.prototxt"), "w") as file:
        file.write(NET)


def wanted():
    """What each blob holds for the samples of all batches: the records again and again."""
    images, weights = drawn()
    data = (images.astype(np.float64) - 100) / 128
    kernel, bias = weights["conv"]
    windows = np.lib.stride_tricks.sliding_window_view(data, (3, 3), axis=(2, 3))
    conv = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel) + bias[:, None, None], 0)
    matrix, bias = weights["fc"]
    fc = conv.reshape(RECORDS, -1) @ matrix.T + bias
    order = np.arange(BATCH * BATCHES) % RECORDS
    return dict(conv=conv[order], fc=fc[order], label=order % 5)


def check(folder, kind):
    for blob, want in wanted().items():
        path = os.path.join(folder, f"{kind} of {blob}")
        if kind == "npz":
            with np.load(path) as file:
                assert file.files == [blob]
                got = file[blob]
            assert got.shape == want.shape and got.dtype == np.float32, (got.shape, got.dtype)
        else:
            found = records(path)
            assert [key for key, _ in found] == [b"%010d" % i for i in range(len(want))]
            datums = [parse("Datum", value) for _, value in found]
            # The legacy shape: axes that are not there have the length 1.
            sides = (want.shape[1:] + (1, 1, 1))[:3]
            for datum in datums:
                assert (datum.channels, datum.height, datum.width) == sides
                assert not (datum.HasField("data") or datum.HasField("label") or datum.encoded)
            got = np.array([datum.float_data for datum in datums]).reshape(want.shape)
        assert np.abs(got - want).max() < 1e-4, (blob, np.abs(got - want).max())


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        check(sys.argv[2], sys.argv[1])
