//! Shell scripts as Caffe's examples have them, with the build's tools replaced by links to this program: made databases,
//! a mean, training, a test, and a picture that is told for what it is. Nothing in the scripts knows of this program.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

use image::{Rgb, RgbImage};

use crate::cli::{err, out, program};

/// Caffe's build, as its scripts look for it.
const BUILD: &[&str] = &[
    "tools/caffe",
    "tools/compute_image_mean",
    "tools/convert_imageset",
    "tools/extract_features.bin",
    "examples/mnist/convert_mnist_data.bin",
    "examples/cifar10/convert_cifar_data.bin",
    "examples/cpp_classification/classification.bin",
];

/// A folder laid out as Caffe's own, with links for its tools.
fn caffe() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for tool in BUILD {
        link(root.path(), &format!("build/{tool}"));
    }
    root
}

/// A link to the program, as `name` in this folder.
pub(crate) fn link(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(program().get_program(), path).unwrap();
}

pub(crate) fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    if name.ends_with(".sh") {
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// Runs a line of the shell in the folder.
fn sh(root: &Path, line: &str) -> Output {
    let output = Command::new("sh")
        .current_dir(root)
        .args(["-c", line])
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{line}:\n{}{}",
        out(&output),
        err(&output)
    );
    output
}

/// The same small numbers every time.
struct Noise(u32);

impl Noise {
    fn below(&mut self, n: u32) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((self.0 >> 16) % n) as u8
    }
}

/// A plane of `side` x `side` with a bright block in a place of its own for each of ten classes.
fn plane(side: usize, class: usize, noise: &mut Noise) -> Vec<u8> {
    let cell = side / 4;
    let inside = |y: usize, x: usize| y / cell == class / 4 && x / cell == class % 4;
    (0..side * side)
        .map(|at| noise.below(30) + if inside(at / side, at % side) { 200 } else { 0 })
        .collect()
}

/// The last value of this output of the test net in a log.
fn last(log: &str, name: &str) -> f32 {
    let start = format!(": {name} = ");
    let line = log
        .lines()
        .rev()
        .find(|l| l.contains("Test net output") && l.contains(&start));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{log}"));
    let value = line.split(&start).nth(1).unwrap().split_whitespace().next();
    value.unwrap().parse().unwrap()
}

/// What cpp_classification prints about a file, which is to be this.
fn classified(text: &str, file: &str, label: &str, lines: usize) {
    let told: Vec<&str> = text.lines().collect();
    assert_eq!(
        told[0],
        format!("---------- Prediction for {file} ----------")
    );
    assert_eq!(told.len(), 1 + lines, "{text}");
    let mut before = f32::INFINITY;
    for line in &told[1..] {
        let (score, rest) = line.split_once(" - \"").unwrap();
        assert!(
            score.split_once('.').unwrap().1.len() == 4 && rest.ends_with('"'),
            "{line}"
        );
        let score: f32 = score.parse().unwrap();
        assert!(score <= before, "{text}");
        before = score;
    }
    assert!(told[1].ends_with(&format!(" - \"{label}\"")), "{text}");
}

const NUMBERS: &str = "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";

/// MNIST's files, of few and simple digits.
fn digits(root: &Path) {
    let mut noise = Noise(1);
    for (part, count) in [("train", 300usize), ("t10k", 100)] {
        let side = 28u32.to_be_bytes();
        let number = u32::try_from(count).unwrap().to_be_bytes();
        let mut images = [[0, 0, 8, 3], number, side, side].concat();
        let mut labels = [[0, 0, 8, 1], number].concat();
        for i in 0..count {
            let class = (i * 7 + i / 10) % 10;
            images.extend(plane(28, class, &mut noise));
            labels.push(class as u8);
        }
        write(
            root,
            &format!("data/digits/{part}-images-idx3-ubyte"),
            images,
        );
        write(
            root,
            &format!("data/digits/{part}-labels-idx1-ubyte"),
            labels,
        );
    }
    let seven = image::GrayImage::from_raw(28, 28, plane(28, 7, &mut noise)).unwrap();
    seven.save(root.join("data/digits/drawn.png")).unwrap();
    write(root, "data/digits/words.txt", NUMBERS);
}

/// A small LeNet behind these layers of data.
const LENET: &str = r#"
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 6 kernel_size: 5 stride: 1 weight_filler { type: "xavier" } bias_filler { type: "constant" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 24 weight_filler { type: "xavier" } bias_filler { type: "constant" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } bias_filler { type: "constant" } } }
"#;

const SCORES: &str = r#"
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"#;

/// Layers that read a database for each phase.
fn data(train: &str, test: &str, batch: usize, transform: &str) -> String {
    [("TRAIN", train), ("TEST", test)]
        .map(|(phase, source)| {
            format!(
                "layer {{ name: \"data\" type: \"Data\" top: \"data\" top: \"label\" include {{ phase: {phase} }}
  transform_param {{ {transform} }} data_param {{ source: \"{source}\" batch_size: {batch} backend: LMDB }} }}\n"
            )
        })
        .concat()
}

#[test]
fn digits_from_idx_files() {
    let caffe = caffe();
    let root = caffe.path();
    digits(root);
    let transform = "scale: 0.00390625 mean_file: \"examples/digits/mean.binaryproto\"";
    let from = data(
        "examples/digits/train_lmdb",
        "examples/digits/test_lmdb",
        20,
        transform,
    );
    write(
        root,
        "examples/digits/train_test.prototxt",
        format!("name: \"LeNet\"\n{from}{LENET}{SCORES}"),
    );
    let prob = r#"layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }"#;
    // The picture comes from 0 to 255.
    let scaled = LENET.replacen("bottom: \"data\"", "bottom: \"scaled\"", 1);
    write(
        root,
        "examples/digits/deploy.prototxt",
        format!(
            r#"name: "LeNet"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape: {{ dim: 64 dim: 1 dim: 28 dim: 28 }} }} }}
layer {{ name: "scaled" type: "Power" bottom: "data" top: "scaled" power_param {{ scale: 0.00390625 }} }}
{scaled}{prob}"#
        ),
    );
    write(
        root,
        "examples/digits/solver.prototxt",
        r#"# The train/test net, and how it is solved
net: "examples/digits/train_test.prototxt"
test_iter: 5
test_interval: 40
base_lr: 0.02
momentum: 0.9
weight_decay: 0.0005
lr_policy: "inv"
gamma: 0.0001
power: 0.75
display: 20
max_iter: 80
snapshot: 40
snapshot_prefix: "examples/digits/lenet"
random_seed: 5
solver_mode: GPU
"#,
    );
    write(
        root,
        "examples/digits/create.sh",
        r#"#!/usr/bin/env sh
# The digits as databases of the kind that BACKEND names.
set -e

HERE=examples/digits
RAW=data/digits
BIN=build/examples/mnist

BACKEND="lmdb"

echo "Making ${BACKEND}s..."

rm -rf $HERE/train_${BACKEND}
rm -rf $HERE/test_${BACKEND}

$BIN/convert_mnist_data.bin $RAW/train-images-idx3-ubyte \
  $RAW/train-labels-idx1-ubyte $HERE/train_${BACKEND} --backend=${BACKEND}
$BIN/convert_mnist_data.bin $RAW/t10k-images-idx3-ubyte \
  $RAW/t10k-labels-idx1-ubyte $HERE/test_${BACKEND} --backend=${BACKEND}

build/tools/compute_image_mean -backend=$BACKEND \
  $HERE/train_$BACKEND $HERE/mean.binaryproto

echo "Ready."
"#,
    );
    write(
        root,
        "examples/digits/train.sh",
        "#!/usr/bin/env sh\nset -e\n\n./build/tools/caffe train --solver=examples/digits/solver.prototxt $@\n",
    );
    for _ in 0..2 {
        // The second time over what the first made.
        let made = sh(root, "sh examples/digits/create.sh");
        assert_eq!(out(&made), "Making lmdbs...\nReady.\n");
        assert!(
            err(&made).contains("] A total of 300 items."),
            "{}",
            err(&made)
        );
        assert!(
            err(&made).contains("] mean_value channel [0]: "),
            "{}",
            err(&made)
        );
    }
    let told = sh(
        root,
        "GLOG_logtostderr=1 sh examples/digits/train.sh -gpu 0 2>&1 | tee digits.log | grep -c 'Iteration .*, loss = '",
    );
    assert!(
        out(&told).trim().parse::<u32>().unwrap() >= 4,
        "{}",
        out(&told)
    );
    let log = fs::read_to_string(root.join("digits.log")).unwrap();
    assert!(log.contains("] Optimization Done."), "{log}");
    assert!(last(&log, "accuracy") > 0.9, "{log}");
    for file in [
        "lenet_iter_40.solverstate",
        "lenet_iter_80.caffemodel",
        "lenet_iter_80.solverstate",
    ] {
        assert!(root.join("examples/digits").join(file).is_file(), "{file}");
    }
    // From the middle, to the same end.
    let weights = || fs::read(root.join("examples/digits/lenet_iter_80.caffemodel")).unwrap();
    let first = weights();
    let line =
        "sh examples/digits/train.sh --snapshot=examples/digits/lenet_iter_40.solverstate 2>&1";
    assert!(
        out(&sh(root, line)).contains("Resuming from examples/digits/lenet_iter_40.solverstate")
    );
    assert_eq!(weights().len(), first.len());
    let tested = sh(
        root,
        "./build/tools/caffe test -model examples/digits/train_test.prototxt \
         -weights examples/digits/lenet_iter_80.caffemodel -iterations 5 -gpu 0 2>&1 | grep -E 'caffe.cpp.* accuracy = '",
    );
    let accuracy = out(&tested);
    let accuracy: f32 = accuracy.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(accuracy > 0.9, "{}", out(&tested));
    let timed = sh(
        root,
        "./build/tools/caffe time --model=examples/digits/train_test.prototxt --iterations=2 2>&1",
    );
    assert!(
        out(&timed).contains("Average Forward pass: "),
        "{}",
        out(&timed)
    );
    let told = sh(
        root,
        "./build/examples/cpp_classification/classification.bin \
           examples/digits/deploy.prototxt \
           examples/digits/lenet_iter_80.caffemodel \
           examples/digits/mean.binaryproto \
           data/digits/words.txt \
           data/digits/drawn.png",
    );
    classified(&out(&told), "data/digits/drawn.png", "seven", 5);
}

#[test]
fn small_colour_pictures_in_two_steps() {
    let caffe = caffe();
    let root = caffe.path();
    let mut noise = Noise(2);
    let pixels = |class: usize, noise: &mut Noise| {
        // The block is in one of the colours.
        (0..3)
            .flat_map(|c| match c == class % 3 {
                true => plane(32, class, noise),
                false => (0..1024).map(|_| noise.below(60)).collect(),
            })
            .collect::<Vec<u8>>()
    };
    let files = (1..=5)
        .map(|n| format!("data_batch_{n}"))
        .chain(["test_batch".to_owned()]);
    for file in files {
        let records = (0..40).flat_map(|i| {
            let class = (i * 3) % 10;
            [vec![class as u8], pixels(class, &mut noise)].concat()
        });
        write(
            root,
            &format!("data/small/{file}.bin"),
            records.collect::<Vec<u8>>(),
        );
    }
    let planes = pixels(4, &mut noise);
    let four = RgbImage::from_fn(32, 32, |x, y| {
        Rgb([0, 1, 2].map(|c| planes[c * 1024 + (y * 32 + x) as usize]))
    });
    four.save(root.join("data/small/found.bmp")).unwrap();
    write(root, "data/small/names.txt", NUMBERS);
    let transform = "mean_file: \"examples/small/mean.binaryproto\"";
    let from = data(
        "examples/small/cifar10_train_lmdb",
        "examples/small/cifar10_test_lmdb",
        20,
        transform,
    );
    write(
        root,
        "examples/small/quick.prototxt",
        format!("name: \"quick\"\n{from}{LENET}{SCORES}"),
    );
    let prob = r#"layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }"#;
    write(
        root,
        "examples/small/deploy.prototxt",
        format!(
            "name: \"quick\"\ninput: \"data\"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 32\ninput_dim: 32\n{LENET}{prob}"
        ),
    );
    for (name, rate, end, more) in [
        ("", "0.0005", 60, ""),
        ("_lr1", "0.00005", 70, "snapshot_format: HDF5\n"),
    ] {
        write(
            root,
            &format!("examples/small/solver{name}.prototxt"),
            format!(
                "net: \"examples/small/quick.prototxt\"\ntest_iter: 2\ntest_interval: 30\nbase_lr: {rate}\nmomentum: 0.9\n\
                 weight_decay: 0.004\nlr_policy: \"fixed\"\ndisplay: 20\nmax_iter: {end}\nsnapshot: {end}\n{more}\
                 snapshot_prefix: \"examples/small/quick\"\nrandom_seed: 2\nsolver_mode: GPU\n"
            ),
        );
    }
    write(
        root,
        "examples/small/create.sh",
        r#"#!/usr/bin/env sh
# Databases of the binary batches, and their mean.
set -e

HERE=examples/small
RAW=data/small
KIND=lmdb

echo "Making $KIND..."

rm -rf $HERE/cifar10_train_$KIND $HERE/cifar10_test_$KIND

./build/examples/cifar10/convert_cifar_data.bin $RAW $HERE $KIND

echo "The mean image..."

./build/tools/compute_image_mean -backend=$KIND \
  $HERE/cifar10_train_$KIND $HERE/mean.binaryproto

echo "Ready."
"#,
    );
    write(
        root,
        "examples/small/train.sh",
        r#"#!/usr/bin/env sh
set -e

TOOLS=./build/tools

$TOOLS/caffe train \
  --solver=examples/small/solver.prototxt $@

# slower from there
$TOOLS/caffe train \
  --solver=examples/small/solver_lr1.prototxt \
  --snapshot=examples/small/quick_iter_60.solverstate $@
"#,
    );
    let made = sh(root, "sh examples/small/create.sh");
    assert_eq!(out(&made), "Making lmdb...\nThe mean image...\nReady.\n");
    let log = out(&sh(root, "sh examples/small/train.sh 2>&1 | tee small.log"));
    assert_eq!(
        log.matches("caffe.cpp:250] Optimization Done.").count(),
        2,
        "{log}"
    );
    assert!(last(&log, "accuracy") > 0.9, "{log}");
    assert!(
        root.join("examples/small/quick_iter_70.solverstate.h5")
            .is_file()
    );
    let told = sh(
        root,
        "build/examples/cpp_classification/classification.bin examples/small/deploy.prototxt \
         examples/small/quick_iter_70.caffemodel.h5 examples/small/mean.binaryproto data/small/names.txt data/small/found.bmp",
    );
    classified(&out(&told), "data/small/found.bmp", "four", 5);
}

/// Red and blue pictures in two folders, PNG and JPEG, of several sizes, with their lists.
fn pictures(root: &Path) {
    let mut noise = Noise(3);
    for (part, count) in [("train", 40), ("val", 10)] {
        let mut list = String::new();
        for i in 0..count {
            let class = i % 2;
            let ending = if i % 3 == 0 { "png" } else { "JPEG" };
            let name = format!("n{class:02}/n{class:02}_{i}.{ending}");
            let path = root.join("data/pictures").join(part).join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let picture = RgbImage::from_fn(40 + i % 5, 36 + i % 7, |_, _| {
                let (strong, weak) = (160 + noise.below(90), noise.below(90));
                Rgb(if class == 0 {
                    [strong, 20, weak]
                } else {
                    [weak, 20, strong]
                })
            });
            picture.save(path).unwrap();
            list += &format!("{name} {class}\n");
        }
        write(root, &format!("data/pictures/{part}.txt"), list);
    }
    write(
        root,
        "data/pictures/synset_words.txt",
        "n00 red, a colour\nn01 blue\n",
    );
}

/// Layers as CaffeNet's, few of each.
const COLOURS: &str = r#"
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 weight_filler { type: "gaussian" std: 0.05 } bias_filler { type: "constant" value: 0 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
  convolution_param { num_output: 4 pad: 1 kernel_size: 3 group: 2 weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "fc7" type: "InnerProduct" bottom: "conv2" top: "fc7"
  inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.05 } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "drop7" type: "Dropout" bottom: "fc7" top: "fc7" dropout_param { dropout_ratio: 0.2 } }
layer { name: "fc8" type: "InnerProduct" bottom: "fc7" top: "fc8"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 0.05 } bias_filler { type: "constant" value: 0 } } }
"#;

#[test]
fn a_folder_of_pictures() {
    let caffe = caffe();
    let root = caffe.path();
    pictures(root);
    fs::create_dir_all(root.join("examples/pictures")).unwrap();
    let transform = "mirror: true crop_size: 27 mean_file: \"data/pictures/mean.binaryproto\"";
    let from = data(
        "examples/pictures/train_lmdb",
        "examples/pictures/val_lmdb",
        10,
        transform,
    );
    let scores = SCORES.replace("ip2", "fc8");
    write(
        root,
        "models/colours/train_val.prototxt",
        format!("name: \"Colours\"\n{from}{COLOURS}{scores}"),
    );
    write(
        root,
        "models/colours/deploy.prototxt",
        format!(
            "name: \"Colours\"\nlayer {{ name: \"data\" type: \"Input\" top: \"data\" input_param {{ shape: {{ dim: 10 dim: 3 dim: 27 dim: 27 }} }} }}
{COLOURS}layer {{ name: \"prob\" type: \"Softmax\" bottom: \"fc8\" top: \"prob\" }}\n"
        ),
    );
    write(
        root,
        "models/colours/solver.prototxt",
        "net: \"models/colours/train_val.prototxt\"\ntest_iter: 1\ntest_interval: 30\nbase_lr: 0.001\nlr_policy: \"step\"\ngamma: 0.1\n\
         stepsize: 100\ndisplay: 10\nmax_iter: 60\nmomentum: 0.9\nweight_decay: 0.0005\nsnapshot: 30\n\
         snapshot_prefix: \"models/colours/colours_train\"\nrandom_seed: 1\nsolver_mode: GPU\n",
    );
    write(
        root,
        "examples/pictures/create.sh",
        r#"#!/usr/bin/env sh
# Databases of the pictures that the two lists name
set -e

HERE=examples/pictures
LISTS=data/pictures
TOOLS=build/tools

TRAIN_ROOT=data/pictures/train/
VAL_ROOT=data/pictures/val/

# false where they have one size already
RESIZE=true
if $RESIZE; then
  HEIGHT=32
  WIDTH=32
else
  HEIGHT=0
  WIDTH=0
fi

if [ ! -d "$TRAIN_ROOT" ]; then
  echo "There is no folder $TRAIN_ROOT"
  exit 1
fi

echo "For training..."

GLOG_logtostderr=1 $TOOLS/convert_imageset \
    --resize_height=$HEIGHT \
    --resize_width=$WIDTH \
    --shuffle \
    $TRAIN_ROOT \
    $LISTS/train.txt \
    $HERE/train_lmdb

echo "For testing..."

GLOG_logtostderr=1 $TOOLS/convert_imageset \
    --resize_height=$HEIGHT \
    --resize_width=$WIDTH \
    --shuffle \
    $VAL_ROOT \
    $LISTS/val.txt \
    $HERE/val_lmdb

echo "Ready."
"#,
    );
    write(
        root,
        "examples/pictures/make_mean.sh",
        "#!/usr/bin/env sh\n\nHERE=examples/pictures\nLISTS=data/pictures\nTOOLS=build/tools\n\n\
         $TOOLS/compute_image_mean $HERE/train_lmdb \\\n  $LISTS/mean.binaryproto\n\necho \"Ready.\"\n",
    );
    write(
        root,
        "examples/pictures/train.sh",
        "#!/usr/bin/env sh\nset -e\n\n./build/tools/caffe train \\\n    --solver=models/colours/solver.prototxt $@\n",
    );
    write(
        root,
        "examples/pictures/resume.sh",
        "#!/usr/bin/env sh\nset -e\n\n./build/tools/caffe train \\\n    --solver=models/colours/solver.prototxt \\\n    \
         --snapshot=models/colours/colours_train_iter_30.solverstate \\\n    $@\n",
    );
    let made = sh(root, "./examples/pictures/create.sh 2>&1");
    assert!(
        out(&made).contains("convert_imageset.cpp:147] Processed 40 files."),
        "{}",
        out(&made)
    );
    assert!(out(&made).ends_with("Ready.\n"));
    sh(root, "sh examples/pictures/make_mean.sh");
    let log = out(&sh(root, "sh examples/pictures/train.sh -gpu all 2>&1"));
    assert!(last(&log, "accuracy") > 0.9, "{log}");
    let log = out(&sh(root, "sh examples/pictures/resume.sh 2>&1"));
    assert!(last(&log, "accuracy") > 0.9, "{log}");
    // Finer from the weights.
    let line = "build/tools/caffe train -solver models/colours/solver.prototxt \
                -weights models/colours/colours_train_iter_60.caffemodel 2>&1";
    assert!(
        out(&sh(root, line))
            .contains("Finetuning from models/colours/colours_train_iter_60.caffemodel")
    );
    // Features of a list, as the example of extract_features has it.
    let files = sh(
        root,
        "mkdir examples/_temp && find `pwd`/data/pictures/val -type f -exec echo {} \\; > examples/_temp/temp.txt && \
         sed \"s/$/ 0/\" examples/_temp/temp.txt > examples/_temp/file_list.txt && wc -l < examples/_temp/file_list.txt",
    );
    assert_eq!(out(&files).trim(), "10");
    let listed = r#"layer { name: "data" type: "ImageData" top: "data" top: "label"
  transform_param { mirror: false crop_size: 27 mean_file: "data/pictures/mean.binaryproto" }
  image_data_param { source: "examples/_temp/file_list.txt" batch_size: 5 new_height: 32 new_width: 32 } }"#;
    write(
        root,
        "examples/_temp/val.prototxt",
        format!("name: \"Colours\"\n{listed}\n{COLOURS}{scores}"),
    );
    let line = "./build/tools/extract_features.bin models/colours/colours_train_iter_60.caffemodel \
                examples/_temp/val.prototxt fc7 examples/_temp/features 2 leveldb 2>&1";
    let told = out(&sh(root, line));
    assert!(
        told.contains("Extracted features of 10 query images for feature blob fc7"),
        "{told}"
    );
    assert!(root.join("examples/_temp/features/CURRENT").is_file());
    sh(root, "rm -r examples/_temp");
    for (file, label) in [
        ("n00/n00_2.JPEG", "n00 red, a colour"),
        ("n01/n01_9.png", "n01 blue"),
    ] {
        let file = format!("data/pictures/val/{file}");
        let line = format!(
            "./build/examples/cpp_classification/classification.bin models/colours/deploy.prototxt \
             models/colours/colours_train_iter_60.caffemodel data/pictures/mean.binaryproto data/pictures/synset_words.txt {file}"
        );
        classified(&out(&sh(root, &line)), &file, label, 2);
    }
}
