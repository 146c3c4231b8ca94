"""The nets of the comparison, as prototxt text made by code.

Every function takes a `Text`, adds layers to it and returns the name of the last blob.
"""


class Text:
    """Collects layers in Caffe's text format."""

    def __init__(self, name, shape, train, dropout=True):
        self.train = train
        self.dropout = dropout
        self.out = [f'name: "{name}"']
        self.input("data", shape)

    def input(self, name, shape):
        dims = " ".join(f"dim: {d}" for d in shape)
        self.out.append(
            f'layer {{ name: "{name}" type: "Input" top: "{name}" '
            f"input_param {{ shape {{ {dims} }} }} }}"
        )

    def layer(self, kind, name, bottoms, top=None, param="", rates=0):
        """Adds a layer; `rates` is how many of its parameters are trained: weights, then biases."""
        bottoms = [bottoms] if isinstance(bottoms, str) else bottoms
        top = top or name
        words = [f'name: "{name}" type: "{kind}"']
        words += [f'bottom: "{b}"' for b in bottoms]
        words.append(f'top: "{top}"')
        words += ["param { lr_mult: 1 decay_mult: 1 }", "param { lr_mult: 2 decay_mult: 0 }"][:rates]
        self.out.append("layer { " + " ".join(words) + (" " + param if param else "") + " }")
        return top

    def conv(self, name, bottom, outputs, kernel, stride=1, pad=0, group=1, bias=True, dilation=1):
        fields = [f"num_output: {outputs} kernel_size: {kernel}"]
        for word, value, default in (
            ("stride", stride, 1), ("pad", pad, 0), ("group", group, 1), ("dilation", dilation, 1),
        ):
            if value != default:
                fields.append(f"{word}: {value}")
        if not bias:
            fields.append("bias_term: false")
        param = "convolution_param { " + " ".join(fields) + " }"
        return self.layer("Convolution", name, bottom, param=param, rates=1 + bias)

    def relu(self, blob, name=None):
        return self.layer("ReLU", name or blob + "_relu", blob, blob)

    def conv_relu(self, *args, **options):
        return self.relu(self.conv(*args, **options))

    def pool(self, name, bottom, method, kernel, stride=1, pad=0):
        size = f"kernel_size: {kernel} stride: {stride}" + (f" pad: {pad}" if pad else "")
        return self.layer("Pooling", name, bottom, param=f"pooling_param {{ pool: {method} {size} }}")

    def average(self, name, bottom):
        param = "pooling_param { pool: AVE global_pooling: true }"
        return self.layer("Pooling", name, bottom, param=param)

    def dense(self, name, bottom, outputs):
        param = f"inner_product_param {{ num_output: {outputs} }}"
        return self.layer("InnerProduct", name, bottom, param=param, rates=2)

    def lrn(self, name, bottom, size, alpha, beta, within=False):
        region = " norm_region: WITHIN_CHANNEL" if within else ""
        param = f"lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta}{region} }}"
        return self.layer("LRN", name, bottom, param=param)

    def drop(self, blob, ratio):
        if not self.dropout:
            return blob
        param = f"dropout_param {{ dropout_ratio: {ratio} }}"
        return self.layer("Dropout", blob + "_drop", blob, blob, param)

    def norm(self, name, bottom, top=None):
        """BatchNorm by its recorded statistics, and Scale with a bias."""
        param = "batch_norm_param { use_global_stats: true }"
        top = self.layer("BatchNorm", name + "_norm", bottom, top or bottom, param)
        return self.layer("Scale", name + "_scale", top, top, "scale_param { bias_term: true }")

    def add(self, name, bottoms):
        return self.layer("Eltwise", name, bottoms)

    def concat(self, name, bottoms):
        return self.layer("Concat", name, bottoms)

    def loss(self, name, scores, weight=1):
        self.layer("SoftmaxWithLoss", name, [scores, "label"], param=f"loss_weight: {weight}")

    def finish(self, scores, label):
        """Ends with a loss and its labels in training, else with probabilities."""
        if self.train:
            self.loss("loss", scores)
            text = self.out
            self.out = text[:2]
            self.input("label", label)
            self.out += text[2:]
        else:
            self.layer("Softmax", "prob", scores)
        return "\n".join(self.out) + "\n"


def facial(t):
    """Five regions of a face, scored in every cell of a 24×24 grid."""
    x = t.pool("pool1", t.conv("conv1", "data", 32, 5, pad=2), "MAX", 3, 2)
    x = t.conv_relu("conv2", t.relu(x), 64, 5, pad=2)
    return t.conv_relu("regions", t.pool("pool2", x, "AVE", 3, 2), 5, 5, pad=2)


def lenet(t):
    x = t.pool("pool1", t.conv("conv1", "data", 20, 5), "MAX", 2, 2)
    x = t.pool("pool2", t.conv("conv2", x, 50, 5), "MAX", 2, 2)
    return t.dense("ip2", t.relu(t.dense("ip1", x, 500)), 10)


def cifar10(t):
    x = t.relu(t.pool("pool1", t.conv("conv1", "data", 32, 5, pad=2), "MAX", 3, 2))
    x = t.lrn("norm1", x, 3, 5e-5, 0.75, within=True)
    x = t.pool("pool2", t.conv_relu("conv2", x, 32, 5, pad=2), "AVE", 3, 2)
    x = t.lrn("norm2", x, 3, 5e-5, 0.75, within=True)
    x = t.pool("pool3", t.conv_relu("conv3", x, 64, 5, pad=2), "AVE", 3, 2)
    return t.dense("ip1", x, 10)


def alexnet(t):
    x = t.lrn("norm1", t.conv_relu("conv1", "data", 96, 11, stride=4), 5, 1e-4, 0.75)
    x = t.pool("pool1", x, "MAX", 3, 2)
    x = t.lrn("norm2", t.conv_relu("conv2", x, 256, 5, pad=2, group=2), 5, 1e-4, 0.75)
    x = t.pool("pool2", x, "MAX", 3, 2)
    x = t.conv_relu("conv3", x, 384, 3, pad=1)
    x = t.conv_relu("conv4", x, 384, 3, pad=1, group=2)
    x = t.conv_relu("conv5", x, 256, 3, pad=1, group=2)
    x = t.pool("pool5", x, "MAX", 3, 2)
    for name in ("fc6", "fc7"):
        x = t.drop(t.relu(t.dense(name, x, 4096)), 0.5)
    return t.dense("fc8", x, 1000)


# Outputs of 1×1; 3×3 behind its 1×1; 5×5 behind its 1×1; 1×1 behind the pooling.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def inception(t, name, x, sizes):
    one, reduce3, three, reduce5, five, pooled = sizes
    a = t.conv_relu(name + "_1x1", x, one, 1)
    b = t.conv_relu(name + "_3x3", t.conv_relu(name + "_to_3x3", x, reduce3, 1), three, 3, pad=1)
    c = t.conv_relu(name + "_5x5", t.conv_relu(name + "_to_5x5", x, reduce5, 1), five, 5, pad=2)
    d = t.conv_relu(name + "_pooled", t.pool(name + "_pool", x, "MAX", 3, 1, 1), pooled, 1)
    return t.concat(name, [a, b, c, d])


def googlenet(t):
    x = t.pool("pool1", t.conv_relu("conv1", "data", 64, 7, 2, 3), "MAX", 3, 2)
    x = t.conv_relu("conv2_to_3x3", t.lrn("norm1", x, 5, 1e-4, 0.75), 64, 1)
    x = t.lrn("norm2", t.conv_relu("conv2", x, 192, 3, pad=1), 5, 1e-4, 0.75)
    x = t.pool("pool2", x, "MAX", 3, 2)
    for name, sizes in INCEPTIONS.items():
        x = inception(t, name, x, sizes)
        if name in ("3b", "4e"):
            x = t.pool("pool_" + name, x, "MAX", 3, 2)
        if t.train and name in ("4a", "4d"):
            aux = t.pool(f"aux_{name}_pool", x, "AVE", 5, 3)
            aux = t.conv_relu(f"aux_{name}_conv", aux, 128, 1)
            aux = t.drop(t.relu(t.dense(f"aux_{name}_fc", aux, 1024)), 0.7)
            t.loss(f"aux_{name}_loss", t.dense(f"aux_{name}_scores", aux, 1000), 0.3)
    return t.dense("scores", t.drop(t.pool("pool5", x, "AVE", 7), 0.4), 1000)


def resnet50(t, width=64):
    """The first of the residual nets: strides in the 1×1 convolutions."""

    def conv(name, x, *size, **options):
        return t.norm(name, t.conv(name, x, *size, bias=False, **options))

    x = t.relu(conv("conv1", "data", width, 7, 2, 3))
    x = t.pool("pool1", x, "MAX", 3, 2)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        wide = width << stage
        for block in range(blocks):
            name = f"res{stage + 2}_{block + 1}"
            stride = 2 if stage > 0 and block == 0 else 1
            side = x if block else conv(name + "_side", x, 4 * wide, 1, stride)
            y = t.relu(conv(name + "_a", x, wide, 1, stride))
            y = t.relu(conv(name + "_b", y, wide, 3, 1, 1))
            x = t.relu(t.add(name, [side, conv(name + "_c", y, 4 * wide, 1)]))
    return t.dense("scores", t.average("pool5", x), 1000)


def resnet50_half(t):
    return resnet50(t, 32)


def mobilenet(t):
    def conv(name, x, *size, **options):
        return t.relu(t.norm(name, t.conv(name, x, *size, bias=False, **options)))

    x = conv("conv1", "data", 32, 3, 2, 1)
    channels = 32
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    plan += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for i, (outputs, stride) in enumerate(plan, 2):
        x = conv(f"conv{i}_each", x, channels, 3, stride, 1, group=channels)
        x = conv(f"conv{i}", x, outputs, 1)
        channels = outputs
    x = t.conv("scores", t.average("pool", x), 1000, 1)
    return t.layer("Flatten", "flat", x)


def vgg16(t):
    x = "data"
    for stage, (outputs, convs) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(convs):
            x = t.conv_relu(f"conv{stage}_{i + 1}", x, outputs, 3, pad=1)
        x = t.pool(f"pool{stage}", x, "MAX", 2, 2)
    for name in ("fc6", "fc7"):
        x = t.drop(t.relu(t.dense(name, x, 4096)), 0.5)
    return t.dense("fc8", x, 1000)


def res10(t):
    """The convolutions of the face detector, to the last of its extra layers."""

    def block(name, raw, active, middle, outputs, stride, dilation=1):
        y = t.conv(name + "_a", active, middle, 3, stride, 1, bias=False)
        y = t.relu(t.norm(name + "_a", y))
        y = t.conv(name + "_b", y, outputs, 3, 1, dilation, bias=False, dilation=dilation)
        side = raw
        if outputs != middle or stride > 1:
            side = t.conv(name + "_side", active, outputs, 1, stride, bias=False)
        return t.add(name, [y, side])

    x = t.conv("conv1", t.norm("data", "data", "data_norm"), 32, 7, 2, 3)
    x = t.pool("pool1", t.relu(t.norm("conv1", x)), "MAX", 3, 2)
    x = block("res64", x, x, 32, 32, 1)
    for name, middle, outputs, stride, dilation in (
        ("res128", 128, 128, 2, 1), ("res256", 256, 256, 2, 1), ("res512", 128, 256, 1, 2),
    ):
        x = block(name, x, t.relu(t.norm(name, x, name + "_in")), middle, outputs, stride, dilation)
    x = t.relu(t.norm("last", x))
    for name, middle, outputs, stride in (
        ("conv6", 128, 256, 2), ("conv7", 64, 128, 2), ("conv8", 64, 128, 1), ("conv9", 64, 128, 1),
    ):
        x = t.conv_relu(name + "_1", x, middle, 1)
        x = t.conv_relu(name + "_2", x, outputs, 3, stride, 1)
    return x


# Function, image (channels, height, width), classes, grid of labels.
NETS = {
    "facial": (facial, (3, 96, 96), 5, (1, 24, 24)),
    "lenet": (lenet, (1, 28, 28), 10, ()),
    "cifar10": (cifar10, (3, 32, 32), 10, ()),
    "alexnet": (alexnet, (3, 227, 227), 1000, ()),
    "googlenet": (googlenet, (3, 224, 224), 1000, ()),
    "resnet50": (resnet50, (3, 224, 224), 1000, ()),
    "resnet50_half": (resnet50_half, (3, 224, 224), 1000, ()),
    "mobilenet": (mobilenet, (3, 224, 224), 1000, ()),
    "vgg16": (vgg16, (3, 224, 224), 1000, ()),
    "res10": (res10, (3, 300, 300), 0, ()),
}


def prototxt(name, batch, train, dropout=True):
    """The text of a net for a batch; without `dropout` it has no Dropout layers."""
    build, image, classes, grid = NETS[name]
    text = Text(name, (batch, *image), train, dropout)
    last = build(text)
    return text.finish(last, (batch, *grid)) if classes else "\n".join(text.out) + "\n"


def solver(name, net):
    """The text of a solver: SGD with momentum and weight decay.

    The rate is low enough that a step does not throw the net about, which would blow rounding up.
    """
    rate = 0.001 if NETS[name][2] <= 10 else 0.0001
    return (
        f'net: "{net}"\nbase_lr: {rate}\nlr_policy: "fixed"\nmomentum: 0.9\n'
        "weight_decay: 0.0005\nmax_iter: 1000000\nrandom_seed: 1\n"
        "snapshot_after_train: false\n"
    )
