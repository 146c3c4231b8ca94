//! Programs of Caffe's by their names: a link with the name is that program.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use image::{Rgb, RgbImage};

use crate::{
    cli::{err, out, works},
    scripts::{link, write},
    support::segments,
};

/// Calls a new link of this name.
fn by(root: &Path, name: &str, words: &str) -> Output {
    let path = format!("tools/{name}");
    let _ = fs::remove_file(root.join(&path));
    link(root, &path);
    let output = Command::new(root.join(path))
        .current_dir(root)
        .args(words.split_whitespace())
        .output();
    output.unwrap()
}

/// Each program of Caffe's by its name, with what it did before it was one of `caffe`'s commands.
#[test]
fn old_names_do_old_work() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    segments::write(root, "max_iter: 4 snapshot: 4 test_interval: 4");
    write(root, "labels.txt", "none\nbright\n");
    write(root, "names.txt", "none 0 none\nbright 1 bright\n");
    write(root, "list.txt", "x.png 1\n");
    RgbImage::from_pixel(8, 6, Rgb([200, 9, 9]))
        .save(root.join("x.png"))
        .unwrap();
    for (name, words, told) in [
        ("train_net", "solver.prototxt", "Optimization Done."),
        (
            "train_net.bin",
            "solver.prototxt snap_iter_4.solverstate",
            "Resuming from snap_iter_4.solverstate",
        ),
        (
            "finetune_net",
            "solver.prototxt snap_iter_4.caffemodel",
            "Finetuning from snap_iter_4.caffemodel",
        ),
        (
            "test_net",
            "net.prototxt snap_iter_4.caffemodel 2 GPU 0",
            "Batch 1, loss = ",
        ),
        (
            "net_speed_benchmark",
            "net.prototxt 1 GPU 0",
            "Average Forward pass: ",
        ),
        (
            "caffe",
            "test -model net.prototxt -weights snap_iter_4.caffemodel -iterations 1",
            "Batch 0, loss = ",
        ),
        (
            "caffe.bin",
            "time -model=net.prototxt -iterations=1",
            "Average Forward pass: ",
        ),
        ("caffe.exe", "device_query -gpu 0", "processor"),
        (
            "caffe-d",
            "train --solver=solver.prototxt",
            "Optimization Done.",
        ),
        ("device_query", "", "processor"),
        (
            "compute_image_mean",
            "images mean.binaryproto",
            "mean_value channel [2]: ",
        ),
        (
            "extract_features.bin",
            "snap_iter_4.caffemodel net.prototxt score scores 1 lmdb",
            "Extracted features of 2 query images",
        ),
        (
            "convert_imageset-d",
            "--gray ./ list.txt grey",
            "Processed 1 files.",
        ),
        (
            "get_image_size.bin",
            "./ list.txt sizes.txt",
            "Processed 1 files.",
        ),
        ("create_label_map", "names.txt map.prototxt", ""),
        (
            "upgrade_net_proto_text.bin",
            "net.prototxt new.prototxt",
            "new.prototxt",
        ),
        (
            "upgrade_net_proto_binary",
            "snap_iter_4.caffemodel new.caffemodel",
            "new.caffemodel",
        ),
        (
            "upgrade_solver_proto_text",
            "solver.prototxt solver2.prototxt",
            "solver2.prototxt",
        ),
    ] {
        let output = by(root, name, words);
        works(&output);
        let text = out(&output) + &err(&output);
        assert!(
            text.contains(told),
            "{name} {words}: no '{told}' in\n{text}"
        );
    }
    for made in [
        "snap_iter_4.caffemodel",
        "mean.binaryproto",
        "scores/data.mdb",
        "grey/data.mdb",
        "new.prototxt",
        "new.caffemodel",
        "solver2.prototxt",
        "map.prototxt",
    ] {
        assert!(root.join(made).is_file(), "{made}");
    }
    assert_eq!(
        fs::read_to_string(root.join("sizes.txt")).unwrap(),
        "x 6 8\n"
    );
    for (name, words) in [
        ("classification.bin", "a b"),
        ("ssd_detect.bin", "net.prototxt"),
        ("convert_imageset", "./"),
        ("train_net", ""),
    ] {
        let output = by(root, name, words);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let stem = name.split('.').next().unwrap();
        assert!(
            err(&output).contains("error: ") && err(&output).contains(stem),
            "{}",
            err(&output)
        );
    }
}
