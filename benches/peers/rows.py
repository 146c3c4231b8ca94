"""The rows of the comparison: what is run, against whom, and what is to be reached."""

import dataclasses

TORCH = ("torch", "torch channels_last")
RUNTIMES = ("openvino", "onnxruntime", "opencv")


@dataclasses.dataclass(frozen=True)
class Row:
    """One net at one batch size. cortado's time is to be at most `goal` × the best of `against`."""

    key: str
    mode: str
    net: str
    title: str
    batch: int
    iterations: int
    goal: float
    against: tuple

    @property
    def peers(self):
        return TORCH if self.mode == "train" else RUNTIMES


def train(net, title, batch, iterations, goal):
    return Row(net, "train", net, title, batch, iterations, goal, TORCH)


def infer(net, title, batch, iterations, goal=1.0, against=RUNTIMES):
    return Row(f"{net}-{batch}", "infer", net, title, batch, iterations, goal, against)


ROWS = (
    train("facial", "facial regions, 3×96×96", 10, 40, 0.8),
    train("lenet", "LeNet", 64, 100, 0.8),
    train("cifar10", "CIFAR-10 full", 100, 40, 0.8),
    train("alexnet", "AlexNet", 16, 8, 1.0),
    train("googlenet", "GoogLeNet", 16, 6, 1.0),
    infer("resnet50_half", "ResNet-50, half width", 1, 60, against=("openvino",)),
    infer("resnet50", "ResNet-50", 1, 30),
    infer("resnet50", "ResNet-50", 16, 4),
    infer("mobilenet", "MobileNet v1", 1, 80),
    infer("mobilenet", "MobileNet v1", 16, 10),
    infer("vgg16", "VGG-16", 1, 10),
    infer("vgg16", "VGG-16", 16, 3),
    infer("googlenet", "GoogLeNet", 1, 40),
    infer("googlenet", "GoogLeNet", 16, 5),
    infer("res10", "res10 SSD, its convolutions", 1, 60, 0.6, ("opencv",)),
)


def choose(words):
    """The rows that the words name: a row's key, a net for all its rows, or `train` and `infer`."""
    if not words:
        return list(ROWS)
    names = {name for row in ROWS for name in (row.key, row.net, row.mode)}
    unknown = [word for word in words if word not in names]
    if unknown:
        raise SystemExit(f"no such row: {', '.join(unknown)}; --list shows them")
    return [row for row in ROWS if {row.key, row.net, row.mode} & set(words)]
