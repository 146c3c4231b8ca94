"""Holds databases that the program made against OpenCV, NumPy, the LMDB and LevelDB of others, and protobuf itself.

databases.py KIND FOLDER: `make` draws what the tests convert; the other kinds check what came of it, and fail where it is
not what Caffe's tools make. Messages are described here by the field numbers of Caffe's own caffe.proto.
"""

import os
import struct
import sys

import cv2
import numpy as np

# Intel's library rounds otherwise than OpenCV's own code.
cv2.ipp.setUseIPP(False)


def messages():
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    types = dict(i=5, b=8, s=12, f=2)
    schema = {
        "Datum": dict(channels=("i", 1), height=("i", 2), width=("i", 3), data=("s", 4), label=("i", 5),
                      float_data=("f*", 6), encoded=("b", 7)),
        "BlobShape": dict(dim=("i*", 1)),
        "BlobProto": dict(num=("i", 1), channels=("i", 2), height=("i", 3), width=("i", 4), data=("f*", 5),
                          shape=("BlobShape", 7)),
        "LayerParameter": dict(name=("s", 1), type=("s", 2), blobs=("BlobProto*", 7)),
        "NetParameter": dict(name=("s", 1), layer=("LayerParameter*", 100)),
        "LabelMapItem": dict(name=("s", 1), label=("i", 2), display_name=("s", 3)),
        "LabelMap": dict(item=("LabelMapItem*", 1)),
        "NormalizedBBox": dict(xmin=("f", 1), ymin=("f", 2), xmax=("f", 3), ymax=("f", 4), difficult=("b", 6)),
        "Annotation": dict(instance_id=("i", 1), bbox=("NormalizedBBox", 2)),
        "AnnotationGroup": dict(group_label=("i", 1), annotation=("Annotation*", 2)),
        "AnnotatedDatum": dict(datum=("Datum", 1), type=("i", 2), annotation_group=("AnnotationGroup*", 3)),
    }
    file = descriptor_pb2.FileDescriptorProto(name="c.proto", package="c", syntax="proto2")
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, (kind, number) in fields.items():
            many = kind.endswith("*")
            kind = kind.rstrip("*")
            field = message.field.add(name=field, number=number, label=3 if many else 1)
            if kind in types:
                field.type = types[kind]
                # Written packed or not, it is read.
                if many and name == "BlobProto":
                    field.options.packed = True
            else:
                field.type, field.type_name = 11, ".c." + kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName("c." + name))


MESSAGE = messages()


def parse(name, data):
    message = MESSAGE(name)()
    message.ParseFromString(data)
    return message


def records(path):
    """Keys and values, by a library that is not ours."""
    if os.path.exists(os.path.join(path, "CURRENT")):
        import plyvel

        database = plyvel.DB(path)
        found = list(database)
        database.close()
        return found
    import lmdb

    with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as txn:
        return list(txn.cursor())


def photo(rng, height, width, channels=3):
    """Soft shapes with a little noise: what JPEG is for."""
    small = rng.integers(0, 256, (max(height // 8, 2), max(width // 8, 2), channels), dtype=np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def make(folder):
    rng = np.random.default_rng(3)
    images = os.path.join(folder, "images")
    os.makedirs(os.path.join(images, "sub dir"))
    samplings = [0x111111, 0x211111, 0x221111, 0x121111, 0x411111]
    lines = []
    for i in range(30):
        height, width = int(rng.integers(9, 90)), int(rng.integers(9, 90))
        image = photo(rng, height, width, 1 if i % 7 == 5 else 3)
        if i % 3 == 0:
            name, options = f"sub dir/{i}.png", []
        elif i % 3 == 1:
            options = [cv2.IMWRITE_JPEG_QUALITY, 50 + i, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, samplings[i % 5]]
            options += [cv2.IMWRITE_JPEG_PROGRESSIVE, i % 2, cv2.IMWRITE_JPEG_RST_INTERVAL, i % 4]
            name = f"{i}.jpg"
        else:
            name, options = f"{i}.bmp", []
        assert cv2.imwrite(os.path.join(images, name), image, options)
        lines.append(f"{name} {i % 4}\n")
    lines.insert(4, "missing.png 2\n")
    with open(os.path.join(folder, "list.txt"), "w") as file:
        file.writelines(lines)
    # MNIST and CIFAR-10, small.
    pixels = rng.integers(0, 256, (5, 3, 4), dtype=np.uint8)
    with open(os.path.join(folder, "images-idx3"), "wb") as file:
        file.write(struct.pack(">IIII", 2051, 5, 3, 4) + pixels.tobytes())
    with open(os.path.join(folder, "labels-idx1"), "wb") as file:
        file.write(struct.pack(">II", 2049, 5) + bytes([3, 1, 4, 1, 5]))
    for n, name in enumerate([f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]):
        rows = rng.integers(0, 256, (3, 3073), dtype=np.uint8)
        rows[:, 0] = n
        rows.tofile(os.path.join(folder, name))
    # Boxes.
    with open(os.path.join(folder, "map.txt"), "w") as file:
        file.write("cat 1 Cat\ndog 2 Dog\n")
    with open(os.path.join(images, "0.xml"), "w") as file:
        height, width = cv2.imread(os.path.join(images, "sub dir/0.png")).shape[:2]
        file.write(f"<annotation><size><width>{width}</width><height>{height}</height></size>")
        for name, box in [("dog", (1, 2, 5, 6)), ("cat", (0, 0, 9, 9)), ("dog", (2, 2, 4, 8))]:
            corners = "".join(f"<{c}>{v}</{c}>" for c, v in zip(("xmin", "ymin", "xmax", "ymax"), box))
            file.write(f"<object><name>{name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>")
        file.write("</annotation>")
    with open(os.path.join(folder, "boxes.txt"), "w") as file:
        file.write("1b.png 0.xml\n")
    with open(os.path.join(images, "sub dir/0.png"), "rb") as file, open(os.path.join(images, "1b.png"), "wb") as copy:
        copy.write(file.read())
    # Label maps: with a palette and in gray.
    from PIL import Image

    os.makedirs(os.path.join(folder, "maps"))
    for i in range(2):
        labels = rng.integers(0, 5, (24, 20), dtype=np.uint8)
        labels[:4] = 255
        image = Image.fromarray(labels, "P" if i == 0 else "L")
        if i == 0:
            image.putpalette(list(rng.integers(0, 256, 768)))
        image.save(os.path.join(folder, "maps", f"{i}.png"))


def listed(folder):
    with open(os.path.join(folder, "list.txt")) as file:
        return [line.rstrip("\n").rsplit(" ", 1) for line in file]


def expected(folder, name, gray, size):
    flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    image = cv2.imread(os.path.join(folder, "images", name), flag)
    if image is not None and size:
        image = cv2.resize(image, (size[1], size[0]))
    return image


def planes(image):
    return (image if image.ndim == 3 else image[:, :, None]).transpose(2, 0, 1)


def check(folder, database, gray=False, size=None, kind=None, shuffled=False):
    found = records(os.path.join(folder, database))
    wanted = [(f"{i:08}_{name}", name, int(label)) for i, (name, label) in enumerate(listed(folder))
              if name != "missing.png"]
    assert len(found) == len(wanted), (len(found), len(wanted))
    if shuffled:
        names = {name: label for _, name, label in wanted}
        order = [key.decode().split("_", 1) for key, _ in found]
        assert sorted(name for _, name in order) == sorted(names)
        assert [name for _, name in order] != [name for _, name, _ in wanted]
        wanted = [(f"{n}_{name}", name, names[name]) for n, name in order]
    worst = dict(png=0, bmp=0, jpg=0)
    for (key, value), (text, name, label) in zip(found, wanted):
        assert key.decode() == text, (key, text)
        datum = parse("Datum", value)
        assert datum.label == label
        image = expected(folder, name, gray, size)
        ending = name.rsplit(".", 1)[1]
        if kind is None:
            got = np.frombuffer(datum.data, np.uint8).reshape(datum.channels, datum.height, datum.width)
            assert datum.HasField("encoded") and not datum.encoded
        else:
            assert datum.encoded and not datum.HasField("channels")
            if kind == "listed" or (kind == ending and not size):
                with open(os.path.join(folder, "images", name), "rb") as file:
                    assert datum.data == file.read(), name
            got = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
            assert kind == "listed" or datum.data[1:4] == b"PNG" or kind == "jpg"
            got = planes(got)
        want = planes(image)
        assert got.shape == want.shape, (name, got.shape, want.shape)
        worst[ending] = max(worst[ending], int(np.abs(got.astype(int) - want).max()))
    limit = 2
    assert worst["png"] == 0 and worst["bmp"] == 0 and worst["jpg"] <= limit, worst
    print(worst)


def jpg(folder):
    """Pictures packed anew lose something: not more than by OpenCV's own packing."""
    names = sorted(name for name, _ in listed(folder) if name != "missing.png")
    found = records(os.path.join(folder, "jpg_leveldb"))
    keys = [key.decode().split("_", 1) for key, _ in found]
    assert sorted(name for _, name in keys) == names
    assert [number for number, _ in keys] == sorted(number for number, _ in keys)
    labels = dict(listed(folder))
    for (_, name), (_, value) in zip(keys, found):
        datum = parse("Datum", value)
        assert datum.encoded and datum.data[:2] == b"\xff\xd8" and datum.label == int(labels[name])
        want = expected(folder, name, True, (40, 50))
        ours, theirs = [np.abs(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).astype(int) - want).mean()
                        for data in (datum.data, cv2.imencode(".jpg", want)[1].tobytes())]
        assert ours < theirs + 0.5, (name, ours, theirs)


def mean(folder):
    found = [parse("Datum", value) for _, value in records(os.path.join(folder, "resized_leveldb"))]
    images = [np.frombuffer(d.data, np.uint8).reshape(d.channels, d.height, d.width) for d in found]
    want = np.mean(np.stack(images).astype(np.float64), axis=0)
    with open(os.path.join(folder, "mean.binaryproto"), "rb") as file:
        blob = parse("BlobProto", file.read())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1,) + want.shape
    assert np.abs(np.array(blob.data).reshape(want.shape) - want).max() < 1e-4


def bytes_(folder):
    for database in ["mnist_lmdb", "mnist_leveldb"]:
        found = records(os.path.join(folder, database))
        pixels = np.fromfile(os.path.join(folder, "images-idx3"), np.uint8)[16:].reshape(5, 12)
        assert [key for key, _ in found] == [b"%08d" % i for i in range(5)]
        for (_, value), label, row in zip(found, [3, 1, 4, 1, 5], pixels):
            datum = parse("Datum", value)
            assert (datum.channels, datum.height, datum.width, datum.label) == (1, 3, 4, label)
            assert datum.data == row.tobytes()
    for part, files in [("train", [f"data_batch_{i}.bin" for i in range(1, 6)]), ("test", ["test_batch.bin"])]:
        rows = np.concatenate([np.fromfile(os.path.join(folder, f), np.uint8).reshape(3, 3073) for f in files])
        found = records(os.path.join(folder, f"cifar10_{part}_leveldb"))
        assert [key for key, _ in found] == [b"%05d" % i for i in range(len(rows))]
        for (_, value), row in zip(found, rows):
            datum = parse("Datum", value)
            assert (datum.channels, datum.height, datum.width, datum.label) == (3, 32, 32, row[0])
            assert datum.data == row[1:].tobytes()


def boxes(folder):
    [(key, value)] = records(os.path.join(folder, "boxes_lmdb"))
    assert key == b"00000000_1b.png"
    record = parse("AnnotatedDatum", value)
    image = expected(folder, "1b.png", False, None)
    height, width = image.shape[:2]
    datum = record.datum
    assert datum.encoded and datum.label == -1 and (datum.height, datum.width) == (height, width)
    assert (cv2.imdecode(np.frombuffer(datum.data, np.uint8), 1) == image).all()
    groups = [(g.group_label, [a.instance_id for a in g.annotation]) for g in record.annotation_group]
    assert groups == [(2, [0, 1]), (1, [0])], groups
    box = record.annotation_group[0].annotation[1].bbox
    want = np.array([2 / width, 2 / height, 4 / width, 8 / height])
    assert np.abs(np.array([box.xmin, box.ymin, box.xmax, box.ymax]) - want).max() < 1e-6
    assert box.HasField("difficult") and not box.difficult


def labels(folder):
    """A net that crops 20 x 20 of 24 x 20 and pools twice by 2: places at 4 i + 1.5, so at the pixel 4 i + 2, and 2 below."""
    from PIL import Image

    found = records(os.path.join(folder, "labels_lmdb"))
    assert [key for key, _ in found] == [b"00000000_0.png", b"00000001_1.png"]
    for i, (_, value) in enumerate(found):
        datum = parse("Datum", value)
        image = np.array(Image.open(os.path.join(folder, "maps", f"{i}.png")))
        want = image[4:24:4, 2:20:4]
        assert (datum.channels, datum.height, datum.width) == (1, 5, 5)
        assert (np.frombuffer(datum.data, np.uint8).reshape(5, 5) == want).all()


def order(folder):
    """A LevelDB of keys in any order, which others may go on writing."""
    import plyvel

    path = os.path.join(folder, "merged_leveldb")
    database = plyvel.DB(path)
    before = len(list(database))
    assert database.get(b"00000001_1.jpg") is not None
    database.put(b"zzz", b"\x08\x01\x10\x01\x18\x01\x22\x01\x07")
    database.compact_range()
    assert len(list(database)) == before + 1
    database.close()


def pictures(folder):
    """`db export` and `db show` of what `lmdb` holds."""
    with open(os.path.join(folder, "exported", "list.txt")) as file:
        found = [line.rsplit(" ", 1) for line in file.read().splitlines()]
    wanted = [(name, label) for name, label in listed(folder) if name != "missing.png"]
    assert [label for _, label in found] == [label for _, label in wanted]
    for (file, _), (name, _) in zip(found, wanted):
        got = cv2.imread(os.path.join(folder, "exported", file))
        assert np.abs(got.astype(int) - expected(folder, name, False, None)).max() <= 2, file
    got = cv2.imread(os.path.join(folder, "shown.png"))
    assert (got == expected(folder, "2.bmp", False, None)).all()


CHECKS = dict(
    make=make,
    lmdb=lambda f: check(f, "lmdb"),
    resized=lambda f: check(f, "resized_leveldb", gray=False, size=(24, 31)),
    gray=lambda f: check(f, "gray_lmdb", gray=True),
    encoded=lambda f: check(f, "encoded_lmdb", kind="listed"),
    png=lambda f: check(f, "png_lmdb", size=(20, 20), kind="png"),
    shuffled=lambda f: check(f, "shuffled_leveldb", shuffled=True),
    jpg=jpg,
    mean=mean,
    bytes=bytes_,
    boxes=boxes,
    labels=labels,
    order=order,
    pictures=pictures,
)

if __name__ == "__main__":
    CHECKS[sys.argv[1]](sys.argv[2])
