"""Reads with Python's own csv, xml and Pillow what `parse_log` and `plot` wrote of a log of Caffe's."""

import csv
import re
import sys
from datetime import datetime
from xml.etree import ElementTree

from PIL import Image

log, train, test, svg, png = sys.argv[1:]


def when(line):
    day, time = line[1:].split()[:2]
    return datetime.strptime(f"{day[-4:]} {time}", "%m%d %H:%M:%S.%f")


lines = [line for line in open(log) if re.match(r"[IWEF](\d{4}){1,2} ", line)]
start = next(when(line) for line in lines if "] Solving" in line)


def rows(kind):
    """What the log says: (iteration, seconds, rate told last, {output: value}) for each row."""
    found, iteration, rate = [], None, float("nan")
    for line in lines:
        if match := re.search(r"Iteration (\d+)", line):
            iteration = float(match[1])
        if match := re.search(r"lr = (\S+)", line):
            rate = float(match[1])
        if match := re.search(kind + r" net output #\d+: (\S+) = (\S+)", line):
            if not found or found[-1][0] != iteration:
                found.append((iteration, (when(line) - start).total_seconds(), rate, {}))
            found[-1][3][match[1]] = float(match[2])
    first, second = found[:2]
    return [(first[0], first[1], second[2], first[3])] + found[1:]


for path, kind in [(train, "Train"), (test, "Test")]:
    text = open(path, newline="").read()
    assert text.count("\r\n") == text.count("\n") > 1, path
    wanted = rows(kind)
    read = list(csv.DictReader(open(path, newline="")))
    assert len(read) == len(wanted), (path, len(read), len(wanted))
    assert list(read[0])[:3] == ["NumIters", "Seconds", "LearningRate"], read[0]
    for row, (iteration, seconds, rate, outputs) in zip(read, wanted):
        values = [iteration, seconds, rate, *outputs.values()]
        assert list(row)[3:] == list(outputs), (row, outputs)
        # As Python prints them, to the last digit.
        assert list(row.values()) == [repr(v) for v in values], (row, values)
    print(kind, len(read), "rows")

root = ElementTree.parse(svg).getroot()
space = "{http://www.w3.org/2000/svg}"
titles = [title.text for title in root.iter(space + "title")]
for curve in ["training loss", "test loss", "test accuracy", "rate"]:
    assert curve in titles, (curve, titles)
paths = [p for p in root.iter(space + "path") if (p.get("class") or "").startswith("line")]
assert len(paths) >= 8, len(paths)

image = Image.open(png).convert("RGB")
assert image.size == (1920, 2400), image.size
colors = dict((color, count) for count, color in image.getcolors(1 << 24))
for color in [(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)]:
    assert colors.get(color, 0) > 1000, (color, colors.get(color))
print("plots", len(paths), "lines")
