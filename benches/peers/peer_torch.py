"""PyTorch: a prototxt as torch operations, and training steps of it."""

import numpy as np
import torch
import torch.nn.functional as F

import graph
import worker


class Net(torch.nn.Module):
    """Runs the layers of a prototxt, in order."""

    def __init__(self, layers, weights):
        super().__init__()
        self.steps = []
        self.weights = torch.nn.ParameterList()
        self.rates = []
        for layer in layers:
            if layer.kind == "Input":
                continue
            blobs = [torch.from_numpy(np.array(b)) for b in weights.get(layer.name, [])]
            trained = layer.kind in ("Convolution", "InnerProduct")
            params = [torch.nn.Parameter(b, requires_grad=trained) for b in blobs]
            self.weights.extend(params)
            if trained:
                self.rates += list(zip(params, layer.msg.param))
            self.steps.append((layer, STEPS[layer.kind](layer, params)))

    def forward(self, inputs):
        """The last top, or the weighted sum of the losses where there are some."""
        blobs, loss, last = dict(inputs), None, None
        for layer, step in self.steps:
            bottoms = [blobs[b] for b in layer.msg.bottom]
            last = blobs[layer.msg.top[0]] = step(*bottoms)
            if layer.kind == "SoftmaxWithLoss":
                loss = last if loss is None else loss + last
        return last if loss is None else loss


def in_place(layer):
    return layer.msg.bottom[0] == layer.msg.top[0]


def convolution(layer, params):
    p = layer.msg.convolution_param
    _, stride, pad, dilation = graph.conv_sizes(p)
    weight, bias = params[0], params[1] if p.bias_term else None
    return lambda x: F.conv2d(x, weight, bias, stride, pad, dilation, p.group)


def inner_product(layer, params):
    bias = params[1] if len(params) > 1 else None
    return lambda x: F.linear(x.flatten(1), params[0], bias)


def pooling(layer, params):
    p = layer.msg.pooling_param
    kernel, stride, pad = graph.pool_sizes(p, layer.bottoms[0])
    if p.pool == p.MAX:
        return lambda x: F.max_pool2d(x, kernel, stride, pad, ceil_mode=True)
    return lambda x: F.avg_pool2d(x, kernel, stride, pad, ceil_mode=True)


def lrn(layer, params):
    p = layer.msg.lrn_param
    size, alpha, beta = p.local_size, p.alpha, p.beta
    if p.norm_region == p.ACROSS_CHANNELS:
        return lambda x: F.local_response_norm(x, size, alpha, beta, p.k)
    return lambda x: x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** -beta


def batch_norm(layer, params):
    mean, var, factor = params
    mean, var = (mean / factor).detach(), (var / factor).detach()
    eps = layer.msg.batch_norm_param.eps
    return lambda x: F.batch_norm(x, mean, var, eps=eps)


def scale(layer, params):
    gamma, beta = (p.view(1, -1, 1, 1) for p in params)
    return lambda x: x * gamma + beta


def softmax_loss(layer, params):
    weight = layer.msg.loss_weight[0]

    def step(x, label):
        # Labels of a grid come as N×1×H×W.
        return weight * F.cross_entropy(x, label.squeeze(1) if label.dim() > 1 else label)

    return step


STEPS = {
    "Convolution": convolution,
    "InnerProduct": inner_product,
    "Pooling": pooling,
    "LRN": lrn,
    "BatchNorm": batch_norm,
    "Scale": scale,
    "SoftmaxWithLoss": softmax_loss,
    "ReLU": lambda layer, _: lambda x: F.relu(x, inplace=in_place(layer)),
    "Dropout": lambda layer, _: lambda x: F.dropout(x, layer.msg.dropout_param.dropout_ratio),
    "Eltwise": lambda layer, _: lambda *xs: torch.add(*xs),
    "Concat": lambda layer, _: lambda *xs: torch.cat(xs, 1),
    "Softmax": lambda layer, _: lambda x: F.softmax(x, 1),
    "Flatten": lambda layer, _: lambda x: x.flatten(1),
}


def main():
    job, loaded = worker.job(), worker.peak_memory()
    torch.set_num_threads(job["threads"])
    torch.manual_seed(1)
    net = Net(graph.read(job["net"]), graph.weights(job["weights"]))
    inputs = {k: torch.from_numpy(v) for k, v in np.load(job["inputs"]).items()}
    if "label" in inputs:
        inputs["label"] = inputs["label"].long()
    if job["variant"] == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        inputs["data"] = inputs["data"].to(memory_format=torch.channels_last)
    times, losses = train(job, net, inputs)
    worker.report(job, times, loaded, losses=losses)


def train(job, net, inputs):
    """Steps of SGD as the solver file says; their times and first losses."""
    solver = graph.solver(job["solver"])
    rate, decay = solver.base_lr, solver.weight_decay
    groups = [
        {"params": [p], "lr": rate * m.lr_mult, "weight_decay": decay * m.decay_mult}
        for p, m in net.rates
    ]
    sgd = torch.optim.SGD(groups, lr=rate, momentum=solver.momentum, fused=True)
    losses = []

    def step():
        sgd.zero_grad()
        loss = net(inputs)
        loss.backward()
        sgd.step()
        losses.append(loss.detach())

    times = worker.measure(step, job["iterations"], job["warm"])
    return times, [loss.item() for loss in losses[:10]]


main()
