"""Databases that py-lmdb, plyvel and protobuf make, and what the program has to find in them.

workbench.py KIND FOLDER: `make` makes them; the other kinds check what the program printed or made.
"""

import collections
import json
import os
import sys

import cv2
import lmdb
import numpy as np
import plyvel
from databases import MESSAGE, parse, photo, planes, records

cv2.ipp.setUseIPP(False)
COUNT = 41


def drawn():
    """By key: label and pixels, channel by channel. Some pixels come twice."""
    rng = np.random.default_rng(11)
    images = {}
    for i in range(COUNT):
        pixels = rng.integers(0, 256, (3, 4, 6), dtype=np.uint8)
        if i in (7, 30):
            pixels = images["%08d_p.png" % (i - 3)][1]
        images["%08d_p.png" % i] = (i % 3, pixels)
    return images


def maps():
    """Label maps of the same keys but for their endings: classes 0, 1 and 4, and 255 for none."""
    rng = np.random.default_rng(12)
    chances = [0.6, 0.25, 0.05, 0.1]
    return {key[:-4] + ".bmp": rng.choice(np.array([0, 1, 4, 255], np.uint8), (1, 4, 6), p=chances) for key in drawn()}


def datum(label, pixels, encode=False):
    channels, height, width = pixels.shape
    if encode:
        data = cv2.imencode(".png", np.ascontiguousarray(pixels.transpose(1, 2, 0)))[1].tobytes()
        return MESSAGE("Datum")(data=data, label=label, encoded=True).SerializeToString()
    made = MESSAGE("Datum")(channels=channels, height=height, width=width, data=pixels.tobytes(), label=label)
    return made.SerializeToString()


def write(path, found):
    if path.endswith("leveldb"):
        with plyvel.DB(path, create_if_missing=True) as database:
            for key, value in found.items():
                database.put(key.encode(), value)
        return
    with lmdb.open(path, map_size=1 << 24) as env, env.begin(write=True) as txn:
        for key, value in found.items():
            txn.put(key.encode(), value)


def make(folder):
    def at(name):
        return os.path.join(folder, name)

    images = drawn()
    raw = {key: datum(label, pixels) for key, (label, pixels) in images.items()}
    write(at("images_lmdb"), raw)
    # The same pixels, some of them as files; then some that differ.
    packed = {key: datum(label, pixels, encode=i % 4 == 0) for i, (key, (label, pixels)) in enumerate(images.items())}
    write(at("packed_leveldb"), packed)
    other = dict(raw)
    del other["00000002_p.png"]
    other["9_new.png"] = raw["00000000_p.png"]
    other["00000005_p.png"] = datum(9, images["00000005_p.png"][1])
    other["00000006_p.png"] = datum(images["00000006_p.png"][0], images["00000006_p.png"][1] ^ 1)
    write(at("other_leveldb"), other)
    write(at("maps_lmdb"), {key: datum(0, pixels) for key, pixels in maps().items()})
    broken = dict(list(raw.items())[:3])
    broken["zz"] = b"\x08\x03\x22\xff"
    write(at("broken_lmdb"), broken)
    # Pictures of several sizes, for tools that change or tell them.
    rng = np.random.default_rng(13)
    os.makedirs(at("sized"))
    sizes = [(20, 30), (33, 51), (50, 30), (64, 48), (101, 75), (120, 120), (17, 90), (40, 80), (90, 19)]
    with open(at("sized.txt"), "w") as file:
        for i, (height, width) in enumerate(sizes):
            ending = ["png", "jpg", "bmp"][i % 3]
            cv2.imwrite(at(f"sized/s{i}.{ending}"), photo(rng, height, width))
            file.write(f"s{i}.{ending} {i}\n")
    with open(at("numbers.txt"), "w") as file:
        file.writelines(f"s{i} {100 + i}\n" for i in range(len(sizes)))
    with open(at("classes.txt"), "w") as file:
        file.write("n01,3,a tabby cat\nn02,7,\"dog\"\n")


def told(folder, name):
    with open(os.path.join(folder, name + ".json")) as file:
        return json.load(file)


def look(folder):
    images = drawn()
    stack = np.stack([pixels for _, pixels in images.values()]).astype(np.float64)
    labels = collections.Counter(str(label) for label, _ in images.values())
    for name, kind in [("images_lmdb", "LMDB"), ("packed_leveldb", "LevelDB")]:
        info = told(folder, f"info {name}")
        assert (info["kind"], info["records"], info["keys"]) == (kind, COUNT, "text"), info
        first = info["first"]
        assert (first["key"], first["label"], first["shape"]) == ("00000000_p.png", 0, [3, 4, 6]), first
        rows = told(folder, f"ls {name}")
        assert [(row["key"], row["label"]) for row in rows] == [(key, label) for key, (label, _) in images.items()]
        assert [row["bytes"] for row in rows] == [len(v) for _, v in records(os.path.join(folder, name))]
        stats = told(folder, f"stats {name}")
        assert stats["records"] == COUNT and stats["labels"] == labels and stats["unreadable"] == 0
        assert stats["shapes"] == [{"shape": [3, 4, 6], "records": COUNT}]
        assert np.abs(np.array(stats["mean"]) - stack.mean(axis=(0, 2, 3))).max() < 1e-9
        assert np.abs(np.array(stats["deviation"]) - stack.std(axis=(0, 2, 3))).max() < 1e-6
        assert stats["range"] == [stack.min(), stack.max()]
        mean = told(folder, f"mean {name}")
        assert mean["records"] == COUNT and mean["shape"] == [3, 4, 6] and mean["file"] is None
        assert np.abs(np.array(mean["channels"]) - stack.mean(axis=(0, 2, 3))).max() < 1e-4
    stats = told(folder, "stats images_lmdb")
    assert stats["encodings"] == {"raw": COUNT} and stats["duplicates"] == 2
    twins = [(d["first"], d["second"], d["labels_differ"]) for d in stats["first_duplicates"]]
    assert twins == [("00000004_p.png", "00000007_p.png", False), ("00000027_p.png", "00000030_p.png", False)], twins
    assert told(folder, "stats packed_leveldb")["encodings"] == {"raw": COUNT - 11, "PNG": 11}
    stats = told(folder, "stats broken_lmdb")
    assert (stats["records"], stats["unreadable"]) == (4, 1) and "'zz'" in stats["first_unreadable"][0], stats
    rows = told(folder, "ls broken_lmdb")
    assert [row["key"] for row in rows][2:] == ["00000002_p.png", "zz"], rows
    assert rows[3] == dict(key="zz", label=None, shape=None, encoding=None, bytes=4), rows
    shown = told(folder, "show")
    label, pixels = images["00000009_p.png"]
    assert (shown["label"], shown["min"], shown["max"]) == (label, pixels.min(), pixels.max())
    assert abs(shown["mean"] - pixels.mean()) < 1e-4


def compare(folder):
    same = told(folder, "diff same")
    assert same["equal"] and same["records"] == [COUNT, COUNT] and same["same_content_in_other_bytes"] == 11, same
    other = told(folder, "diff other")
    counts = [other[name] for name in ("only_first", "only_second", "differ", "equal")]
    assert counts == [1, 1, 2, False], other
    keys = [row["key"] for row in other["first"]]
    assert keys == ["00000002_p.png", "00000005_p.png", "00000006_p.png", "9_new.png"], keys
    pair = told(folder, "pair")
    assert pair["pair"] and pair["records"] == [COUNT, COUNT] and pair["shapes"] == [[3, 4, 6], [1, 4, 6]], pair
    pair = told(folder, "pair other")
    assert not pair["pair"] and pair["first_apart"]["record"] == 2, pair


def rearranged(folder):
    images, labels = drawn(), maps()
    found = records(os.path.join(folder, "new_lmdb"))
    beside = records(os.path.join(folder, "newmaps_lmdb"))
    old = [pixels.tobytes() for _, pixels in images.values()]
    names = list(labels)
    order = []
    for i, ((key, value), (key_map, value_map)) in enumerate(zip(found, beside)):
        # A pair stays one: the map of a picture has its place.
        picture, label_map = parse("Datum", value), parse("Datum", value_map)
        number = [n for n, name in enumerate(names) if labels[name].tobytes() == label_map.data]
        assert len(number) == 1 and old[number[0]] == picture.data
        assert key.decode() == f"{i:08}_p.png" and key_map.decode() == f"{i:08}_p.bmp", (key, key_map)
        order += number
    assert sorted(order) == list(range(COUNT)) and order != sorted(order)
    made = told(folder, "shuffle")
    assert [(os.path.basename(m["path"]), m["records"]) for m in made] == [("new_lmdb", COUNT), ("newmaps_lmdb", COUNT)]

    source = records(os.path.join(folder, "images_lmdb"))
    parts = [records(os.path.join(folder, name)) for name in ("a_leveldb", "b_leveldb")]
    assert [len(part) for part in parts] == [round(COUNT * 0.7), COUNT - round(COUNT * 0.7)]
    assert sorted(parts[0] + parts[1]) == source
    assert [m["records"] for m in told(folder, "split")] == [len(part) for part in parts]
    merged = records(os.path.join(folder, "merged_lmdb"))
    assert [value for _, value in merged] == [value for part in parts for _, value in part]
    assert [key[:9] for key, _ in merged] == [b"%08d_" % i for i in range(COUNT)]
    assert told(folder, "merge")[0]["records"] == COUNT

    weights = told(folder, "weights")
    stack = np.stack(list(labels.values()))
    pixels = [int((stack == c).sum()) for c in range(5)]
    assert weights["counts"] == pixels and weights["ignored"] == int((stack == 255).sum())
    around = [int(sum((m != 255).sum() for m in labels.values() if (m == c).any())) for c in range(5)]
    shares = np.array([p / a for p, a in zip(pixels, around) if p])
    want = [np.median(shares) / (p / a) if p else 1 for p, a in zip(pixels, around)]
    assert np.abs(np.array(weights["weights"]) - want).max() < 1e-5, (weights, want)


def sized(folder):
    """SSD's rule: a factor in single precision, by which OpenCV multiplies the sides."""
    with open(os.path.join(folder, "sized.txt")) as file:
        names = [line.split()[0] for line in file]
    for database, least, most in [("min_lmdb", 60, 0), ("max_lmdb", 0, 50), ("both_lmdb", 55, 77), ("half_lmdb", 0, 45)]:
        found = records(os.path.join(folder, database))
        assert [key.decode() for key, _ in found] == [f"{i:08}_{name}" for i, name in enumerate(names)]
        for i, ((_, value), name) in enumerate(zip(found, names)):
            record = parse("AnnotatedDatum", value)
            image = cv2.imread(os.path.join(folder, "sized", name))
            short, long = min(image.shape[:2]), max(image.shape[:2])
            factor = np.float32(1)
            if least and short < least:
                factor = np.float32(least) / np.float32(short)
            if most and int(factor * np.float32(long)) > most:
                factor = np.float32(most) / np.float32(long)
            if factor != 1:
                image = cv2.resize(image, (0, 0), fx=float(factor), fy=float(factor))
            want = planes(image).astype(int)
            datum = record.datum
            assert (datum.channels, datum.height, datum.width) == want.shape, (database, name, want.shape)
            assert datum.label == i and not record.annotation_group
            got = np.frombuffer(datum.data, np.uint8).reshape(want.shape)
            limit = 2 if name.endswith("jpg") else 0
            assert np.abs(got - want).max() <= limit, (database, name, factor, np.abs(got - want).max())

    sizes = [cv2.imread(os.path.join(folder, "sized", name)).shape[:2] for name in names]
    with open(os.path.join(folder, "sizes.txt")) as file:
        lines = file.read().splitlines()
    assert lines == [f"{100 + i} {h} {w}" for i, (h, w) in enumerate(sizes)], lines
    for row, name, (height, width) in zip(told(folder, "sizes"), names, sizes):
        assert row == dict(image=name, name=name.split(".")[0], height=height, width=width), row

    from google.protobuf import text_format

    with open(os.path.join(folder, "labelmap.prototxt")) as file:
        found = text_format.Parse(file.read(), MESSAGE("LabelMap")())
    items = [(i.name, i.label, i.display_name) for i in found.item]
    assert items == [(b"none_of_the_above", 0, b"background"), (b"n01", 3, b"a tabby cat"), (b"n02", 7, b'"dog"')], items


if __name__ == "__main__":
    dict(make=make, look=look, compare=compare, rearranged=rearranged, sized=sized)[sys.argv[1]](sys.argv[2])
