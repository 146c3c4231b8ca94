"""Reads what the program wrote with libraries that are not ours, and prints what they find as JSON.

check.py schema.bin KIND FILE...: text MESSAGE, binary MESSAGE, h5, npz, xml.
"""

import json
import sys

import numpy as np


def message(name, schema):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet()
    with open(schema, "rb") as file:
        files.ParseFromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()


def arrays(items):
    return {name: {"shape": list(a.shape), "sum": float(np.sum(a, dtype=np.float64))} for name, a in items}


def layers(net):
    return [
        {
            "name": layer.name,
            "type": layer.type,
            "bottom": list(layer.bottom),
            "top": list(layer.top),
            "blobs": [
                {"shape": list(b.shape.dim), "sum": float(np.sum(list(b.data or b.double_data), dtype=np.float64))}
                for b in layer.blobs
            ],
        }
        for layer in net.layer
    ]


def main():
    schema, kind, path = sys.argv[1:4]
    if kind == "text":
        from google.protobuf import text_format

        found = message("caffe." + sys.argv[4], schema)
        with open(path) as file:
            text_format.Parse(file.read(), found)
        return {"layers": layers(found)} if sys.argv[4] == "NetParameter" else {"type": found.type}
    if kind == "binary":
        found = message("caffe." + sys.argv[4], schema)
        with open(path, "rb") as file:
            found.ParseFromString(file.read())
        return {"layers": layers(found)}
    if kind == "h5":
        import h5py

        found = {}
        with h5py.File(path) as file:
            file["data"].visititems(
                lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        return arrays(found.items())
    if kind == "npz":
        return arrays(np.load(path).items())
    import xml.etree.ElementTree as tree

    root = tree.parse(path).getroot()
    return {"tag": root.tag.split("}")[-1], "texts": [t.text for t in root.iter() if t.tag.endswith("}text")]}


if __name__ == "__main__":
    print(json.dumps(main()))
