"""Writes the files of one row: nets, solvers, weights, inputs, and the ONNX form for inference."""

import os
import sys

import nets
import weights


def write_text(path, text):
    with open(path, "w") as file:
        file.write(text)


def train(folder, name, batch):
    """A net with Dropout to be timed, and one without to be compared."""
    for kind, dropout in (("", True), ("_check", False)):
        net = os.path.join(folder, f"train{kind}.prototxt")
        write_text(net, nets.prototxt(name, batch, True, dropout))
        write_text(os.path.join(folder, f"solver{kind}.prototxt"), nets.solver(name, net))
    return net


def infer(folder, name, batch):
    net = os.path.join(folder, "deploy.prototxt")
    write_text(net, nets.prototxt(name, batch, False))
    return net


def main():
    mode, folder, name, batch = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    net = (train if mode == "train" else infer)(folder, name, int(batch))
    model = os.path.join(folder, "weights.caffemodel")
    weights.write(net, model)
    classes = nets.NETS[name][2]
    weights.write_inputs(net, os.path.join(folder, "inputs.npz"), classes)
    if mode == "infer":
        import export_onnx

        export_onnx.write(net, model, os.path.join(folder, "net.onnx"))


main()
