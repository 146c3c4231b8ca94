"""Holds what the program says of images against OpenCV, its own runner of Caffe's nets, and Pillow.

recognize.py KIND FOLDER: `make` draws images of all kinds; the other kinds check what came of them, and fail where it is
not what OpenCV makes of the same files.
"""

import json
import os
import sys

import cv2
import numpy as np
from PIL import Image

# Intel's library rounds otherwise than OpenCV's own code.
cv2.ipp.setUseIPP(False)

KINDS = ["a.png", "b.bmp", "c.ppm", "d.pgm", "e.tif", "f.webp", "g.gif", "h.pbm", "i.tiff", "j.jpg", "k.webp"]


def make():
    random = np.random.default_rng(7)
    y, x = np.mgrid[0:20, 0:27]
    picture = np.stack([x * 9, y * 12, (x * y) % 250], 2).astype(np.uint8)
    picture[4:9, 5:11] = random.integers(0, 256, (5, 6, 3))
    os.mkdir("kinds")
    colors, gray = Image.fromarray(picture), Image.fromarray(picture[:, :, 1])
    for name in KINDS:
        path = "kinds/" + name
        if name == "d.pgm":
            gray.save(path)
        elif name == "h.pbm":
            gray.point(lambda v: 255 * (v > 99)).convert("1").save(path)
        elif name == "g.gif":
            colors.quantize(60).save(path)
        elif name == "f.webp":
            colors.save(path, lossless=True)
        elif name == "i.tiff":
            colors.save(path, compression="tiff_lzw")
        elif name == "k.webp":
            colors.save(path, quality=90)
        else:
            colors.save(path)
    with open("list.txt", "w") as file:
        file.writelines(f"{name} {i}\n" for i, name in enumerate(KINDS))


def records(path):
    """Pixels of a database's records: fields 1 to 3 of a Datum are its size, 4 its bytes."""
    import lmdb

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value

        found = {}
        while at < len(data):
            key = varint()
            value = varint()
            if key & 7 == 2:
                found[key >> 3] = data[at:at + value]
                at += value
            else:
                found[key >> 3] = value
        return found

    with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as txn:
        for key, value in txn.cursor():
            datum = fields(bytes(value))
            pixels = np.frombuffer(datum[4], np.uint8).reshape(datum[1], datum[2], datum[3])
            yield key.decode().split("_", 1)[1], pixels


def kinds():
    for path, flag in [("colors", cv2.IMREAD_COLOR), ("grays", cv2.IMREAD_GRAYSCALE)]:
        seen = dict(records(path))
        assert sorted(seen) == KINDS, sorted(seen)
        for name, pixels in seen.items():
            want = cv2.imread("kinds/" + name, flag | cv2.IMREAD_IGNORE_ORIENTATION)
            want = np.atleast_3d(want).transpose(2, 0, 1)
            assert want.shape == pixels.shape, (path, name, want.shape, pixels.shape)
            far = np.abs(want.astype(int) - pixels).max()
            # Colour is enlarged in another way by each decoder of a lossy WebP.
            assert far <= (6 if name == "k.webp" else 0), (path, name, far)


def blob(name, mean, scale, size):
    return cv2.dnn.blobFromImage(cv2.imread(name), scale, size, mean)


def scores(net, weights, data, output=None):
    net = cv2.dnn.readNetFromCaffe(net, weights)
    net.setInput(data)
    return net.forward(output) if output else net.forward()


def classes():
    for row in json.load(open("classes.json")):
        want = scores("deploy.prototxt", "net.caffemodel", blob(row["file"], (10, 20, 30), 0.01, (8, 8))).ravel()
        assert len(row["classes"]) == 2
        for told in row["classes"]:
            assert abs(told["score"] - want[told["class"]]) < 1e-4, (row, want)
        assert row["classes"][0]["class"] == want.argmax()


def maps():
    rows = json.load(open("maps.json"))
    assert len(rows) == 2, rows
    palettes = []
    for row in rows:
        data = scores("map.prototxt", "net.caffemodel", blob(row["file"], (0, 0, 0), 0.01, (8, 8)))[0]
        picture = Image.open(row["labels"])
        assert picture.mode == "P", picture.mode
        source = Image.open(row["file"])
        assert picture.size == source.size
        want = cv2.resize(data.argmax(0).astype(np.uint8), picture.size, interpolation=cv2.INTER_NEAREST)
        labels = np.asarray(picture)
        assert (labels == want).all(), (labels, want)
        for told in row["classes"]:
            assert abs(told["share"] - (data.argmax(0) == told["class"]).mean()) < 1e-9
        palettes.append(picture.getpalette())
        colors = np.asarray(picture.convert("RGB"), int)
        overlay = np.asarray(Image.open(row["labels"].replace("_labels", "_overlay")).convert("RGB"), int)
        source = np.asarray(source.convert("RGB"), int)
        # Between the brightness of the picture and the colour of its class.
        dark, light = source.min(2, keepdims=True), source.max(2, keepdims=True)
        low, high = np.minimum(dark, colors) - 1, np.maximum(light, colors) + 1
        assert ((low <= overlay) & (overlay <= high)).all()
        for channel in range(2):
            heat = Image.open(row["labels"].replace("_labels", f"_channel_{channel}"))
            assert heat.size == picture.size and heat.mode == "RGB"
    assert palettes[0] == palettes[1]
    colors = list(zip(*[iter(palettes[0])] * 3))
    assert len(colors) == 256 and len(set(colors[:21])) == 21, colors[:21]


def faces():
    with np.load("astronaut.npz") as record:
        want = record["out/detection_out"].reshape(-1, 7)
    [row] = json.load(open("faces.json"))
    image = cv2.imread(row["file"])
    height, width = image.shape[:2]
    found = scores("deploy.prototxt", "res10.caffemodel", blob(row["file"], (104, 177, 123), 1, (300, 300)))
    found = found.reshape(-1, 7)
    found = found[found[:, 2] >= 0.1]
    found = found[np.argsort(-found[:, 2], kind="stable")]
    assert len(row["found"]) == len(found) > 0, (len(row["found"]), len(found))
    assert abs(want[0, 2] - found[0, 2]) < 1e-3
    for told, box in zip(row["found"], found):
        corners = box[3:] * [width, height, width, height]
        assert abs(told["score"] - box[2]) < 1e-3, (told, box)
        assert np.abs(np.array(told["box"]) - corners).max() < 0.5, (told, corners)
    # The best box is drawn.
    drawn = cv2.imread("drawn/astronaut_found.png").astype(int)
    changed = np.abs(drawn - image).max(2) > 0
    left, top, right, bottom = (int(round(v)) for v in row["found"][0]["box"])
    assert changed[top:bottom, left].all() and changed[top:bottom, right].all() and changed[bottom, left:right].all()
    inside = changed[top + 20:bottom - 2, left + 2:right - 2]
    assert inside.mean() < 0.2, inside.mean()


def astronaut():
    with np.load("astronaut.npz") as record:
        data = record["in/data"][0].transpose(1, 2, 0) + (104, 177, 123)
    cv2.imwrite("astronaut.png", np.clip(np.round(data), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    globals()[sys.argv[1]]()
