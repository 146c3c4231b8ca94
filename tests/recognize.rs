//! `classify`, `detect` and `segment` on image files.

use std::{env, fs, path::Path, process::Command};

use crate::{
    cli::{call, err, fails, out, program, works},
    support::{python_or_skip, segments},
};

/// The mean of each channel of an image: what it is like is known without weights.
const MEANS: &str = "
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 4 dim: 6 } } }
layer { name: 'mean' type: 'Pooling' bottom: 'data' top: 'mean' pooling_param { pool: AVE global_pooling: true } }
";

/// Every channel as it is.
const SAME: &str = "
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 4 dim: 6 } } }
layer { name: 'map' type: 'Power' bottom: 'data' top: 'map' }
";

fn picture(path: &Path, color: impl Fn(u32, u32) -> [u8; 3]) {
    let picture = image::RgbImage::from_fn(12, 8, |x, y| image::Rgb(color(x, y)));
    picture.save(path).unwrap();
}

/// A folder with a net, a red and a green picture.
fn folder(net: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    picture(&dir.path().join("in/red.png"), |_, _| [200, 10, 20]);
    picture(&dir.path().join("in/green.png"), |_, _| [10, 100, 20]);
    fs::write(
        dir.path().join("labels.txt"),
        "blue thing\ngreen thing\nred thing\n",
    )
    .unwrap();
    dir
}

#[test]
fn classes_in_the_words_of_caffes_example() {
    let dir = folder(MEANS);
    let line = "classify --model=net.prototxt --labels=labels.txt --top=2 in/red.png";
    let output = call(dir.path(), line);
    works(&output);
    assert_eq!(
        out(&output),
        "---------- Prediction for in/red.png ----------\n200.0000 - \"red thing\"\n20.0000 - \"blue thing\"\n"
    );
    let line = "classify --model=net.prototxt --mean=0,0,190 --scale=0.5 --top=1 --json in";
    let output = call(dir.path(), line);
    works(&output);
    let list: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(list[0]["file"], "in/green.png");
    assert_eq!(list[0]["classes"][0]["class"], 1);
    assert_eq!(list[0]["classes"][0]["score"], 50.0);
    assert_eq!(list[1]["classes"][0]["class"], 0);
}

#[test]
fn the_words_of_cpp_classification() {
    let dir = folder(MEANS);
    let tiny = cortado::Tensor::new([1, 3, 1, 2], vec![0., 0., 0., 0., 100., 300.]).unwrap();
    cortado::model_io::binaryproto::write_binaryproto(
        &dir.path().join("mean.binaryproto"),
        tiny.view(),
    )
    .unwrap();
    // A model x of one layer a, which has no weights, as this net has none.
    let model = [0x0a, 1, b'x', 0xa2, 6, 3, 0x0a, 1, b'a'];
    fs::write(dir.path().join("none.caffemodel"), model).unwrap();
    let line = "classify net.prototxt none.caffemodel mean.binaryproto labels.txt in/red.png";
    let output = call(dir.path(), line);
    works(&output);
    assert!(
        out(&output).contains("0.0000 - \"red thing\""),
        "{}",
        out(&output)
    );
}

#[test]
fn what_does_not_do_is_told() {
    let dir = folder(MEANS);
    let says = |line: &str, words: &str| {
        fails(&call(dir.path(), line), &[words]);
    };
    says("classify --model=net.prototxt", "no image is named");
    says("classify --model=net.prototxt none.png", "none.png");
    says("classify --model=net.prototxt in/*.gif", "means no image");
    fs::write(dir.path().join("two.txt"), "a\nb\n").unwrap();
    says(
        "classify --model=net.prototxt --labels=two.txt in/red.png",
        "2 labels for 3 scores",
    );
    says(
        "detect --model=net.prototxt in/red.png --out=drawn",
        "rows of 7",
    );
    assert!(!dir.path().join("drawn").exists());
    says(
        "classify --model=net.prototxt --mean=1,2 in/red.png",
        "--mean",
    );
    fs::write(dir.path().join("empty.png"), "").unwrap();
    says("classify --model=net.prototxt empty.png", "is empty");
    says(
        "segment --model=net.prototxt --blob=nose in/red.png",
        "no blob 'nose'",
    );
    // One broken image does not stop the others.
    fs::write(dir.path().join("in/broken.png"), "no picture").unwrap();
    let output = call(dir.path(), "classify --model=net.prototxt --top=1 in");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output).matches("Prediction for").count(), 2);
    assert!(err(&output).contains("broken.png") && err(&output).contains("1 of 3 images failed"));
}

#[test]
fn maps_of_classes_as_pictures() {
    let dir = folder(SAME);
    // Left half blue, right half red, in the order of the channels: class 0 and class 2.
    picture(&dir.path().join("in/halves.png"), |x, _| {
        if x < 6 { [0, 0, 250] } else { [250, 0, 0] }
    });
    let line = "segment --model=net.prototxt --labels=labels.txt --out=maps --heat in/halves.png";
    let output = call(dir.path(), line);
    works(&output);
    assert_eq!(
        out(&output),
        "in/halves.png: blue thing 50.0 %, red thing 50.0 % (maps/halves_labels.png)\n"
    );
    let file = fs::File::open(dir.path().join("maps/halves_labels.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .unwrap();
    assert_eq!((reader.info().width, reader.info().height), (12, 8));
    let mut labels = vec![9; 96];
    reader.next_frame(&mut labels).unwrap();
    for (i, &label) in labels.iter().enumerate() {
        assert_eq!(label, if i % 12 < 6 { 0 } else { 2 }, "{i}");
    }
    for name in ["overlay", "channel_0", "channel_1", "channel_2"] {
        let picture = image::open(dir.path().join(format!("maps/halves_{name}.png"))).unwrap();
        assert_eq!((picture.width(), picture.height()), (12, 8));
    }
    let heat = image::open(dir.path().join("maps/halves_channel_2.png"))
        .unwrap()
        .to_rgb8();
    let ([cold, ..], [hot, ..]) = (heat.get_pixel(0, 4).0, heat.get_pixel(11, 4).0);
    assert!(hot > cold, "{hot} {cold}");
}

/// Two boxes, whatever the picture: one in the middle, and a weaker one that reaches over the right edge.
const BOXES: &str = r#"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 6 } } }
layer { name: "seen" type: "Silence" bottom: "data" }
layer { name: "numbers" type: "DummyData" top: "image" top: "two" top: "one" top: "low" top: "high" top: "first" top: "last" top: "far"
  dummy_data_param { shape { dim: 1 dim: 1 dim: 1 dim: 1 }
    data_filler { value: 0 } data_filler { value: 2 } data_filler { value: 1 } data_filler { value: 0.05 } data_filler { value: 0.876543 }
    data_filler { value: 0.26 } data_filler { value: 0.76 } data_filler { value: 1.2 } } }
layer { name: "weak" type: "Concat" bottom: "image" bottom: "two" bottom: "low" bottom: "first" bottom: "first" bottom: "far" bottom: "last" top: "weak" concat_param { axis: 3 } }
layer { name: "strong" type: "Concat" bottom: "image" bottom: "one" bottom: "high" bottom: "first" bottom: "first" bottom: "last" bottom: "last" top: "strong" concat_param { axis: 3 } }
layer { name: "found" type: "Concat" bottom: "weak" bottom: "strong" top: "found" concat_param { axis: 2 } }
"#;

#[test]
fn boxes_as_text_as_json_and_drawn() {
    let dir = folder(BOXES);
    let here = dir.path();
    let image = |_, _| [10, 20, 30];
    image::RgbImage::from_fn(100, 50, |x, y| image::Rgb(image(x, y)))
        .save(here.join("street one.png"))
        .unwrap();
    let map = "item { name: 'a' label: 1 display_name: 'car' } item { name: 'b' label: 2 }";
    fs::write(here.join("map.prototxt"), map).unwrap();
    let ask = |more: &[&str]| {
        let args = [
            "detect",
            "--model=net.prototxt",
            "--labels=map.prototxt",
            "street one.png",
        ];
        let output = program().current_dir(here).args(args).args(more).output();
        let output = output.unwrap();
        works(&output);
        out(&output)
    };
    assert_eq!(ask(&[]), "street one.png car 0.876543 26 13 76 38\n");
    assert_eq!(
        ask(&["-confidence=0.01"]),
        "street one.png car 0.876543 26 13 76 38\nstreet one.png b 0.05 26 13 120 38\n"
    );
    let list: serde_json::Value =
        serde_json::from_str(&ask(&["--json", "--confidence", "0"])).unwrap();
    let found = &list[0]["found"];
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(
        (&found[0]["class"], &found[0]["label"]),
        (&1.into(), &"car".into())
    );
    assert!((found[1]["box"][2].as_f64().unwrap() - 120.0).abs() < 1e-3);
    ask(&["--out=drawn pictures", "--confidence=0.01"]);
    let drawn = image::open(here.join("drawn pictures/street one_found.png")).unwrap();
    let drawn = drawn.to_rgb8();
    assert_eq!(drawn.dimensions(), (100, 50));
    let at = |x: u32, y: u32| drawn.get_pixel(x, y).0;
    for (x, y) in [(26, 20), (76, 20), (50, 38), (99, 20)] {
        assert_ne!(at(x, y), image(x, y), "{x} {y}");
    }
    for (x, y) in [(25, 30), (40, 30), (77, 30), (50, 40)] {
        assert_eq!(at(x, y), image(x, y), "{x} {y}");
    }
}

/// The example program of SSD: its words, its list, its flags, its lines.
#[cfg(unix)]
#[test]
fn the_words_of_ssd_detect() {
    let dir = folder(BOXES);
    let here = dir.path();
    crate::scripts::link(here, "build/examples/ssd/ssd_detect.bin");
    let model = [0x0a, 1, b'x', 0xa2, 6, 3, 0x0a, 1, b'a'];
    fs::write(here.join("none.caffemodel"), model).unwrap();
    fs::create_dir(here.join("lists")).unwrap();
    // Paths are from where the program runs, whatever the list is called.
    fs::write(here.join("lists/test"), "in/red.png\nin/green.png\n").unwrap();
    let ask = |words: &str| {
        let mut ssd = Command::new(here.join("build/examples/ssd/ssd_detect.bin"));
        let output = ssd
            .current_dir(here)
            .args(words.split_whitespace())
            .output();
        output.unwrap()
    };
    let line =
        |name: &str| format!("in/{name}.png 2 0.05 3 2 14 6\nin/{name}.png 1 0.876543 3 2 9 6\n");
    let words = "net.prototxt none.caffemodel lists/test";
    let output = ask(words);
    works(&output);
    assert_eq!(out(&output), line("red") + &line("green"));
    let flags = "--file_type=image --mean_value=104,117,123 --confidence_threshold=0.4 --out_file=found.txt";
    for words in [format!("{flags} {words}"), format!("{words} {flags}")] {
        let output = ask(&words);
        works(&output);
        assert_eq!(out(&output), "");
        let found = fs::read_to_string(here.join("found.txt")).unwrap();
        assert_eq!(
            found,
            "in/red.png 1 0.876543 3 2 9 6\nin/green.png 1 0.876543 3 2 9 6\n"
        );
        fs::remove_file(here.join("found.txt")).unwrap();
    }
    fails(
        &ask("net.prototxt none.caffemodel"),
        &["ssd_detect", "list_file"],
    );
    fails(
        &ask(&format!("{words} --file_type video")),
        &["films", "ffmpeg"],
    );
    fails(&ask(&format!("{words} --file_type film")), &["film"]);
    fails(
        &ask(&format!("{words} -mean_file=a -mean_value=1")),
        &["--mean_file"],
    );
    fails(&ask("net.prototxt none.caffemodel none.txt"), &["none.txt"]);
}

#[test]
fn files_folders_lists_and_patterns() {
    let dir = folder(MEANS);
    let here = dir.path();
    fs::create_dir(here.join("more")).unwrap();
    picture(&here.join("more/red.jpg"), |_, _| [200, 10, 20]);
    fs::write(here.join("in/list.txt"), "green.png 0\nred.png 2\n").unwrap();
    fs::write(here.join("from_here.txt"), "more/red.jpg\n").unwrap();
    let told = |words: &[&str]| {
        let args = ["classify", "--model=net.prototxt", "--top=1"];
        let output = program().current_dir(here).args(args).args(words).output();
        let output = output.unwrap();
        works(&output);
        let text = out(&output);
        let files = text
            .lines()
            .filter_map(|l| l.strip_prefix("---------- Prediction for "));
        let files: Vec<String> = files
            .map(|l| l.strip_suffix(" ----------").unwrap().to_owned())
            .collect();
        (files, err(&output))
    };
    for (words, files) in [
        (&["in/red.png"][..], &["in/red.png"][..]),
        (&["in"], &["in/green.png", "in/red.png"]),
        (&["in/list.txt"], &["in/green.png", "in/red.png"]),
        (
            &["from_here.txt", "in/red.png"],
            &["more/red.jpg", "in/red.png"],
        ),
        (&["*/red.*"], &["in/red.png", "more/red.jpg"]),
    ] {
        assert_eq!(told(words).0, files, "{words:?}");
    }
    let many = "red.png\n".repeat(120);
    fs::write(here.join("in/many.txt"), many).unwrap();
    let (files, log) = told(&["in/many.txt"]);
    assert_eq!(files.len(), 120);
    assert!(
        log.contains("] Processed 100 files.") && log.contains("] Processed 120 files."),
        "{log}"
    );
    // One name in two folders: neither picture is lost.
    fs::write(here.join("same.prototxt"), SAME).unwrap();
    let output = call(
        here,
        "segment --model=same.prototxt --out=maps --json in/red.png more/red.jpg",
    );
    works(&output);
    let list: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(list[0]["labels"], "maps/red_labels.png");
    assert_eq!(list[1]["labels"], "maps/red_2_labels.png");
    assert_eq!(fs::read_dir(here.join("maps")).unwrap().count(), 4);
}

/// Ctrl-C ends between two images; what is written is whole.
#[cfg(unix)]
#[test]
fn an_end_by_ctrl_c_leaves_whole_pictures() {
    let dir = folder(SAME);
    let here = dir.path();
    fs::write(
        here.join("in/many.txt"),
        "red.png\ngreen.png\n".repeat(100_000),
    )
    .unwrap();
    let child = program()
        .current_dir(here)
        .args([
            "segment",
            "--model=net.prototxt",
            "--out=maps",
            "in/many.txt",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while fs::read_dir(here.join("maps")).map_or(0, Iterator::count) < 6 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    fails(&output, &["interrupted after ", "of 200000 images"]);
    for entry in fs::read_dir(here.join("maps")).unwrap() {
        let path = entry.unwrap().path();
        image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Everything against OpenCV, its runner of Caffe's nets, and Pillow.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn others_see_what_is_seen() {
    let modules = ["cv2.dnn", "numpy", "lmdb", "PIL"];
    let Some(python) = python_or_skip(&modules) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/recognize.py");
    let check = |kind: &str| {
        let output = Command::new(&python)
            .args([&*script, Path::new(kind), here])
            .output()
            .unwrap();
        assert!(output.status.success(), "{kind}: {}", err(&output));
    };
    let save = |words: &str, file: &str| {
        let output = call(here, words);
        works(&output);
        fs::write(here.join(file), &output.stdout).unwrap();
    };
    check("make");
    works(&call(here, "convert_imageset kinds/ list.txt colors"));
    works(&call(here, "convert_imageset --gray kinds/ list.txt grays"));
    check("kinds");
    segments::write(here, "max_iter: 30 test_interval: 30");
    works(&call(here, "train --solver=solver.prototxt"));
    fs::rename(
        here.join("snap_iter_30.caffemodel"),
        here.join("net.caffemodel"),
    )
    .unwrap();
    let map = "input: 'data' input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layer { name: 'score' type: 'Convolution' bottom: 'data' top: 'score' convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: 'prob' type: 'Softmax' bottom: 'score' top: 'prob' }";
    let class = map.replace("bottom: 'score'", "bottom: 'mean'").replace(
        "layer { name: 'prob'",
        "layer { name: 'mean' type: 'Pooling' bottom: 'score' top: 'mean' pooling_param { pool: AVE global_pooling: true } }
layer { name: 'prob'",
    );
    fs::write(here.join("map.prototxt"), map).unwrap();
    fs::write(here.join("deploy.prototxt"), class).unwrap();
    let files = "kinds/a.png kinds/b.bmp kinds/f.webp kinds/j.jpg";
    save(
        &format!(
            "classify --model=deploy.prototxt --weights=net.caffemodel --mean=10,20,30 --scale=0.01 --json {files}"
        ),
        "classes.json",
    );
    check("classes");
    save(
        "segment --model=map.prototxt --weights=net.caffemodel --scale=0.01 --heat --out=maps --json kinds/a.png kinds/b.bmp",
        "maps.json",
    );
    check("maps");
    let (Some(shared), Some(model)) = (env::var_os("CORTADO_SHARED"), env::var_os("CORTADO_RES10"))
    else {
        eprintln!("skipped: CORTADO_SHARED and CORTADO_RES10 name no trained detector");
        return;
    };
    let (shared, model) = (Path::new(&shared), Path::new(&model));
    for (from, to) in [
        (
            shared.join("reference/res10_ssd_astronaut.npz"),
            "astronaut.npz",
        ),
        (model.join("deploy.prototxt.txt"), "deploy.prototxt"),
        (
            model.join("res10_300x300_ssd_iter_140000.caffemodel"),
            "res10.caffemodel",
        ),
    ] {
        let bytes = fs::read(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        fs::write(here.join(to), bytes).unwrap();
    }
    check("astronaut");
    let line = "detect --model=deploy.prototxt --weights=res10.caffemodel --mean=104,177,123 --confidence=0.1 astronaut.png";
    works(&call(here, &format!("{line} --out=drawn")));
    save(&format!("{line} --json"), "faces.json");
    check("faces");
}
