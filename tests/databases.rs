//! Caffe's tools for databases, and `db`: the program on real files, held against what is not ours where that is there.

use std::{fs, path::Path, process::Command};

use crate::{
    cli::{call, err, fails, out, program, works},
    support::{fixtures, python_or_skip, script},
};
use serde_json::Value;

/// Keys of a database, in order.
fn keys(dir: &Path, database: &str) -> Vec<String> {
    let rows = json(dir, &format!("db ls {database}"));
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["key"].as_str().unwrap().to_owned())
        .collect()
}

fn json(dir: &Path, words: &str) -> Value {
    let output = call(dir, &format!("{words} --json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", err(&output)))
}

/// A folder with a list of the fixtures' images, and how to call for it.
fn folder() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let list = "rgb8.png 1\nmissing.png 2\nbaseline.jpg 0\ngray8.png 1\n";
    fs::write(dir.path().join("list.txt"), list).unwrap();
    let root = fixtures().join("feed/images");
    (dir, format!("{}/ list.txt", root.display()))
}

const KEYS: [&str; 3] = [
    "00000000_rgb8.png",
    "00000002_baseline.jpg",
    "00000003_gray8.png",
];

#[test]
fn a_list_becomes_a_database_of_either_kind() {
    let (dir, from) = folder();
    for (backend, kind) in [("lmdb", "LMDB"), ("leveldb", "LevelDB")] {
        let line = format!(
            "convert_imageset -resize_height=16 --resize_width 12 -backend={backend} {from} {backend}"
        );
        let output = call(dir.path(), &line);
        works(&output);
        let log = err(&output);
        for words in [
            "A total of 4 images.",
            "missing.png",
            "list.txt:2",
            "Processed 3 files.",
        ] {
            assert!(log.contains(words), "'{words}' is not in\n{log}");
        }
        let info = json(dir.path(), &format!("db info {backend}"));
        assert_eq!(info["kind"], kind);
        assert_eq!(info["records"], 3);
        assert_eq!(info["first"]["shape"], serde_json::json!([3, 16, 12]));
        assert_eq!(keys(dir.path(), backend), KEYS);
    }
    // Both kinds hold the same.
    let output = call(dir.path(), "db diff lmdb leveldb");
    works(&output);
    assert!(
        out(&output).contains("they hold the same"),
        "{}",
        out(&output)
    );
    let output = call(dir.path(), "compute_image_mean lmdb mean.binaryproto");
    works(&output);
    let log = err(&output);
    assert!(log.contains("Number of channels: 3"), "{log}");
    assert!(
        log.contains("compute_image_mean.cpp:119] mean_value channel [2]: "),
        "{log}"
    );
    assert!(dir.path().join("mean.binaryproto").exists());
    fails(
        &call(dir.path(), &format!("convert_imageset {from} lmdb")),
        &["not empty"],
    );
}

#[test]
fn a_tool_is_known_by_its_name() {
    let (dir, from) = folder();
    let link = dir.path().join("convert_imageset");
    #[cfg(unix)]
    std::os::unix::fs::symlink(program().get_program(), &link).unwrap();
    #[cfg(not(unix))]
    fs::copy(program().get_program(), &link).unwrap();
    let output = Command::new(&link)
        .current_dir(dir.path())
        .args(["--gray", "-encoded=false"])
        .args(from.split(' '))
        .arg("db")
        .output()
        .unwrap();
    works(&output);
    let info = json(dir.path(), "db info db");
    assert_eq!(info["first"]["shape"][0], 1);
}

#[test]
fn a_pair_goes_through_the_workbench() {
    let (dir, from) = folder();
    let here = dir.path();
    let size = "--resize_height=8 --resize_width=8";
    works(&call(
        here,
        &format!("convert_imageset {size} {from} images"),
    ));
    works(&call(
        here,
        &format!("convert_imageset --gray {size} --backend=leveldb {from} maps"),
    ));
    works(&call(here, "db pair images maps"));
    works(&call(here, "db shuffle images images2 maps maps2 --seed=1"));
    let output = call(here, "db pair images2 maps2");
    works(&output);
    assert!(
        out(&output).contains("a pair: the same keys"),
        "{}",
        out(&output)
    );
    // Another order is none.
    let numbers: Vec<String> = keys(here, "images2")
        .iter()
        .map(|k| k[..8].to_owned())
        .collect();
    assert_eq!(numbers, ["00000000", "00000001", "00000002"]);
    works(&call(here, "db split images a b --share=0.67"));
    works(&call(here, "db merge c a b --keep_keys --backend=leveldb"));
    works(&call(here, "db diff images c"));
    let output = call(here, "db pair images a");
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("no pair"), "{}", out(&output));
    let stats = json(here, "db stats images");
    assert_eq!(stats["labels"]["1"], 2);
    assert_eq!(stats["shapes"][0]["records"], 3);
    let output = call(here, "db stats maps");
    works(&output);
    assert!(out(&output).contains("1x8x8"), "{}", out(&output));
    works(&call(here, "db show images 00000003_gray8.png --out=x.png"));
    let picture = image::open(here.join("x.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 8));
    let output = call(here, "db show maps 1");
    works(&output);
    assert!(
        out(&output).contains("00000002_baseline.jpg"),
        "{}",
        out(&output)
    );
    works(&call(here, "db export images out"));
    let list = fs::read_to_string(here.join("out/list.txt")).unwrap();
    assert_eq!(list, "rgb8.png 1\nbaseline.png 0\ngray8.png 1\n");
    works(&call(here, "convert_imageset out/ out/list.txt again"));
    let again = json(here, "db stats again");
    assert_eq!(again["mean"], stats["mean"]);
}

const NET: &str = "
layer { name: 'd' type: 'Data' top: 'x' transform_param { crop_size: 20 } data_param { source: 'x' batch_size: 1 } }
layer { name: 'l' type: 'Data' top: 'y' data_param { source: 'nowhere' batch_size: 1 } }
layer { name: 'p1' type: 'Pooling' bottom: 'x' top: 'p1' pooling_param { kernel_size: 2 stride: 2 } }
layer { name: 'p2' type: 'Pooling' bottom: 'p1' top: 'p2' pooling_param { kernel_size: 2 stride: 2 } }
layer { name: 'last' type: 'Convolution' bottom: 'p2' top: 'last' convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'last' bottom: 'y' top: 'loss' }
";

#[test]
fn label_maps_take_the_nets_cells_and_get_weights() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    fs::create_dir(here.join("maps")).unwrap();
    // The upper half is class 1, the lower class 2.
    let map = image::GrayImage::from_fn(20, 24, |_, y| image::Luma([if y < 12 { 1 } else { 2 }]));
    map.save(here.join("maps/a.png")).unwrap();
    fs::write(here.join("net.prototxt"), NET).unwrap();
    let output = call(
        here,
        "db labels maps labels --like=net.prototxt --blob=last",
    );
    works(&output);
    assert!(
        err(&output).contains("5x5 cells, one every 4x4 pixels"),
        "{}",
        err(&output)
    );
    let output = call(here, "db show labels 00000000_a.png");
    let rows = "1 1 1 1 1\n1 1 1 1 1\n2 2 2 2 2\n2 2 2 2 2\n2 2 2 2 2\n";
    assert!(out(&output).ends_with(rows), "{}", out(&output));
    let found = json(here, "db class-weights labels --classes=3");
    assert_eq!(found["counts"], serde_json::json!([0, 10, 15]));
    // Shares of 0.4 and 0.6, and their median 0.5.
    let weights: Vec<f64> = serde_json::from_value(found["weights"].clone()).unwrap();
    for (a, b) in weights.iter().zip([1.0, 1.25, 0.5 / 0.6]) {
        assert!((a - b).abs() < 1e-6, "{weights:?}");
    }
    let text = out(&call(here, "db class-weights labels --classes=3"));
    assert!(text.contains("class_weighting: 1.25"), "{text}");
    fails(
        &call(
            here,
            "db labels maps more --map=1:7 --like=net.prototxt --blob=last",
        ),
        &["the label 7", "--map=7:255"],
    );
    assert!(!here.join("more").exists());
    fails(
        &call(here, "db labels maps more --like=net.prototxt --blob=lst"),
        &["did you mean 'last'"],
    );
}

#[test]
fn what_is_wrong_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    fs::create_dir(here.join("pics")).unwrap();
    for (name, width) in [("a.png", 2), ("b.png", 3)] {
        let image = image::GrayImage::new(width, 2);
        image.save(here.join("pics").join(name)).unwrap();
    }
    fs::write(here.join("list.txt"), "a.png 0\nb.png 1\n").unwrap();
    let from = "pics/ list.txt";
    fails(&call(here, "db inf x"), &["no action 'inf'", "db info"]);
    fails(&call(here, "db diff x"), &["takes DB DB"]);
    fails(&call(here, "db info nothing"), &["nothing"]);
    fails(
        &call(here, "convert_imageset a/ b"),
        &["needs the name of the database"],
    );
    fs::write(here.join("bad.txt"), "a.png cat\n").unwrap();
    fails(
        &call(here, "convert_imageset a/ bad.txt db"),
        &["bad.txt:1:1", "'cat'"],
    );
    fails(
        &call(here, &format!("convert_imageset --check_size {from} db")),
        &["00000001_b.png", "--resize_height"],
    );
    fails(
        &call(
            here,
            &format!("convert_imageset --encode_type=webp {from} db"),
        ),
        &["webp"],
    );
    works(&call(here, &format!("convert_imageset {from} db")));
    fails(
        &call(here, "compute_image_mean db mean"),
        &["00000001_b.png"],
    );
    fails(&call(here, "db show db nothing"), &["'00000000_a.png'"]);
    works(&call(here, "db"));
    let left: Vec<_> = fs::read_dir(here)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

/// Wrong files of every kind: an error that names what is wrong, and nothing new in the folder.
#[test]
fn wrong_files_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let picture = fs::read(fixtures().join("feed/images/rgb8.png")).unwrap();
    fs::create_dir(here.join("dir")).unwrap();
    fs::write(here.join("dir/theirs"), "mine").unwrap();
    let idx = |magic: u32, sizes: &[u32], rest: &[u8]| {
        let head: Vec<u8> = [&[magic], sizes]
            .concat()
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        [head, rest.to_vec()].concat()
    };
    for (name, bytes) in [
        ("a.png", picture.clone()),
        ("cut.png", picture[..40].to_vec()),
        ("nothing", Vec::new()),
        ("bytes", vec![0xff; 100]),
        ("list.txt", b"a.png 1\n".to_vec()),
        ("cut.txt", b"cut.png 1\n".to_vec()),
        ("label.txt", b"a.png 1\na.png dog\n".to_vec()),
        ("pairs.txt", b"a.png boxes.xml\n".to_vec()),
        ("boxes.xml", b"<annotation><size>".to_vec()),
        ("map.prototxt", b"item { name: 'cat' label: 1 }".to_vec()),
        ("map.txt", b"cat 1\ndog two\n".to_vec()),
        ("images", idx(2051, &[2, 1, 3], &[1, 2, 3, 4, 5])),
        ("endless", idx(2051, &[u32::MAX; 3], &[])),
        ("labels", idx(2049, &[2], &[1, 2])),
        ("many", idx(2049, &[u32::MAX], &[])),
        ("test_batch.bin", vec![1; 3000]),
    ] {
        fs::write(here.join(name), bytes).unwrap();
    }
    for n in 1..=5 {
        fs::write(here.join(format!("data_batch_{n}.bin")), [n; 3073]).unwrap();
    }
    let before = fs::read_dir(here).unwrap().count();
    let boxes = "convert_annoset --anno_type=detection";
    for (line, words) in [
        (
            "convert_imageset ./ nothing db",
            &["nothing", "the list is empty"][..],
        ),
        ("convert_imageset ./ none db", &["none"]),
        ("convert_imageset ./ dir db", &["dir"]),
        ("convert_imageset ./ bytes db", &["bytes", "no text"]),
        (
            "convert_imageset ./ label.txt db",
            &["label.txt:2:1", "'dog'"],
        ),
        (
            "convert_imageset ./ cut.txt db",
            &["cut.png", "cut.txt:1:1"],
        ),
        (
            "convert_imageset ./ list.txt dir",
            &["dir", "not empty", "another name"],
        ),
        (
            "convert_imageset ./ list.txt a.png",
            &["a.png", "another name"],
        ),
        (
            "convert_imageset ./ list.txt no/db",
            &["no/db", "no folder", "make the folder"],
        ),
        (
            "convert_imageset --backend=sql ./ list.txt db",
            &["'sql'", "lmdb, leveldb"],
        ),
        ("compute_image_mean dir", &["dir", "data.mdb"]),
        ("compute_image_mean nothing", &["nothing", "empty"]),
        ("compute_image_mean bytes mean", &["bytes", "cut short"]),
        (
            "convert_mnist_data labels images db",
            &["labels", "begins with 2049"],
        ),
        (
            "convert_mnist_data images labels db",
            &["images", "ends before"],
        ),
        (
            "convert_mnist_data images many db",
            &["many", "4294967295 labels"],
        ),
        (
            "convert_mnist_data endless many db",
            &["endless", "impossible"],
        ),
        (
            "convert_mnist_data nothing labels db",
            &["nothing", "ends before"],
        ),
        ("convert_mnist_data dir labels db", &["dir"]),
        // The first of both is made by then.
        (
            "convert_cifar_data . . lmdb",
            &["test_batch.bin", "ends before"],
        ),
        (
            "convert_cifar_data . . leveldb",
            &["test_batch.bin", "ends before"],
        ),
        ("convert_cifar_data dir . lmdb", &["dir/data_batch_1.bin"]),
        ("convert_cifar_data . none lmdb", &["no folder 'none'"]),
        ("BOXES ./ pairs.txt db", &["--label_map_file"]),
        ("BOXES --label_map_file=bytes ./ pairs.txt db", &["bytes"]),
        (
            "BOXES --label_map_file=map.prototxt ./ pairs.txt db",
            &["boxes.xml:1", "pairs.txt:1:1"],
        ),
        (
            "BOXES --label_map_file=map.prototxt --label_type=json ./ pairs.txt db",
            &["boxes.xml", "no JSON"],
        ),
        ("create_label_map none map", &["none"]),
        (
            "create_label_map nothing map",
            &["nothing", "names no classes"],
        ),
        ("create_label_map map.txt map", &["map.txt:2:1", "'two'"]),
        ("create_label_map list.txt dir", &["dir"]),
        ("create_label_map list.txt no/map", &["no/map", "no folder"]),
        (
            "get_image_size . cut.txt sizes",
            &["cut.png", "cut.txt:1:1"],
        ),
        ("get_image_size . list.txt dir", &["dir", "it is a folder"]),
        (
            "get_image_size --name_id_file=map.txt . list.txt sizes",
            &["map.txt:2:1"],
        ),
        ("get_image_size . list.txt", &["name of the file"]),
    ] {
        let line = line.replace("BOXES", boxes);
        fails(&call(here, &line), words);
        assert_eq!(fs::read_dir(here).unwrap().count(), before, "{line}");
    }
    works(&call(here, "convert_imageset ./ list.txt db"));
    let before = before + 1;
    for (line, words) in [
        (
            "compute_image_mean --backend=leveldb db",
            &["is an LMDB", "--backend=lmdb"][..],
        ),
        ("compute_image_mean db dir", &["it is a folder"]),
        (
            "compute_image_mean db no/mean",
            &["no/mean", "make the folder"],
        ),
        (
            "db show db 0 --out=no/x.png",
            &["no/x.png", "make the folder"],
        ),
        ("db shuffle db new db ./new", &["given to two"]),
        ("db split db new new", &["given to two"]),
        ("db split db new other", &["leaves one part without any"]),
        ("db merge db db", &["not empty"]),
        ("db merge new db db --keep_keys", &["twice"]),
        ("db export db dir", &["not empty"]),
        ("db class-weights db", &["3 channels", "--by_label"]),
        ("db labels dir new", &["no PNGs"]),
    ] {
        fails(&call(here, line), words);
        assert_eq!(fs::read_dir(here).unwrap().count(), before, "{line}");
    }
    assert_eq!(fs::read_to_string(here.join("dir/theirs")).unwrap(), "mine");
    // A root of nothing is one, as in Caffe.
    let output = program()
        .current_dir(here)
        .args(["convert_imageset", "", "list.txt", "bare"])
        .output();
    works(&output.unwrap());
    assert_eq!(keys(here, "bare"), ["00000000_a.png"]);
}

#[test]
fn small_tools() {
    let (dir, from) = folder();
    let here = dir.path();
    fs::write(here.join("classes.txt"), "cat\ndog\n").unwrap();
    works(&call(
        here,
        "create_label_map --include_background=true classes.txt map.prototxt",
    ));
    let map = fs::read_to_string(here.join("map.prototxt")).unwrap();
    assert!(
        map.starts_with("item {\n  name: \"none_of_the_above\"\n  label: 0\n"),
        "{map}"
    );
    assert!(map.contains("name: \"dog\"\n  label: 2"), "{map}");
    fs::write(here.join("list.txt"), "rgb8.png 1\n").unwrap();
    works(&call(here, &format!("get_image_size {from} sizes.txt")));
    let picture = image::open(fixtures().join("feed/images/rgb8.png")).unwrap();
    let sizes = fs::read_to_string(here.join("sizes.txt")).unwrap();
    assert_eq!(
        sizes,
        format!("rgb8 {} {}\n", picture.height(), picture.width())
    );
}

/// Everything against OpenCV, py-lmdb, plyvel, protobuf and Pillow.
#[test]
fn others_find_what_caffe_makes() {
    let modules = ["cv2", "numpy", "lmdb", "plyvel", "PIL", "google.protobuf"];
    let Some(python) = python_or_skip(&modules) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let check = |kind| script(&python, "databases.py", kind, here);
    let run = |words: &str| works(&call(here, words));
    check("make");
    let all = "images/ list.txt";
    run(&format!("convert_imageset {all} lmdb"));
    check("lmdb");
    run(&format!(
        "convert_imageset --backend leveldb --resize_height=24 --resize_width=31 --check_size {all} resized_leveldb"
    ));
    check("resized");
    run(&format!("convert_imageset --gray {all} gray_lmdb"));
    check("gray");
    run(&format!("convert_imageset --encoded {all} encoded_lmdb"));
    check("encoded");
    run(&format!(
        "convert_imageset --encode_type=png --resize_height=20 --resize_width=20 {all} png_lmdb"
    ));
    check("png");
    run(&format!(
        "convert_imageset --shuffle --seed=4 --backend=leveldb {all} shuffled_leveldb"
    ));
    check("shuffled");
    run(
        "convert_imageset --backend leveldb --encoded --encode_type jpg --shuffle --check_size --gray --resize_height=40 --resize_width=50 images/ list.txt jpg_leveldb",
    );
    check("jpg");
    run("compute_image_mean -backend leveldb resized_leveldb mean.binaryproto");
    check("mean");
    for backend in ["lmdb", "leveldb"] {
        run(&format!(
            "convert_mnist_data --backend={backend} images-idx3 labels-idx1 mnist_{backend}"
        ));
    }
    run("convert_cifar_data . . leveldb");
    check("bytes");
    run("create_label_map map.txt labelmap.prototxt");
    run(
        "convert_annoset --anno_type=detection --label_map_file=labelmap.prototxt --check_label --encoded images/ boxes.txt boxes_lmdb",
    );
    check("boxes");
    fs::write(here.join("net.prototxt"), NET).unwrap();
    run("db labels maps labels_lmdb --like=net.prototxt --blob=last");
    check("labels");
    // Keys come back to front where the later database is merged first.
    run("db split lmdb a b --share=0.5");
    run("db merge merged_leveldb b a --keep_keys --backend=leveldb");
    run("db diff lmdb merged_leveldb");
    check("order");
    // Theirs is read by us.
    let info = json(here, "db info merged_leveldb");
    assert_eq!(info["records"], 31);
    run("db export lmdb exported");
    run("db show lmdb 00000002_2.bmp --out=shown.png");
    check("pictures");
}
