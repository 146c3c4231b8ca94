//! The program from outside: what it prints, what it writes, how it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use cortado::{model_io::npz, tensor::Tensor};

use crate::support::{files, fixtures};

/// The program's file: what the environment says, else where cargo put it when this test was built.
fn executable() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_cortado")
        .map_or_else(|| env!("CARGO_BIN_EXE_cortado").into(), PathBuf::from)
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(executable());
    command.stdin(Stdio::null());
    command
}

/// Runs the program in `dir`; words are separated by spaces.
pub(crate) fn call(dir: &Path, words: &str) -> Output {
    program()
        .current_dir(dir)
        .args(words.split_whitespace())
        .output()
        .unwrap()
}

fn here(words: &str) -> Output {
    call(Path::new("."), words)
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts exit code 1 and an error that has these words.
pub(crate) fn fails(output: &Output, words: &[&str]) {
    let text = err(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is not in\n{text}");
    }
    assert!(text.lines().any(|l| l.starts_with("error: ")), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

pub(crate) fn works(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", err(output));
}

const NET: &str = r#"
name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 } data_filler { value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"#;

const SOLVER: &str = r#"net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9
max_iter: 6 display: 2 test_iter: 2 test_interval: 3 snapshot: 3 snapshot_prefix: "snap" random_seed: 1
"#;

const DEPLOY: &str = r#"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 weight_filler { value: 1 } } }
force_backward: true
"#;

/// A folder with the little net, its solver and the deploy net.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("net.prototxt", NET),
        ("solver.prototxt", SOLVER),
        ("deploy.prototxt", DEPLOY),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// Log lines as (`file:line`, text).
fn lines(log: &str) -> Vec<(String, String)> {
    log.lines()
        .filter_map(|line| {
            let (prefix, text) = line.split_once("] ")?;
            let words: Vec<&str> = prefix.split_whitespace().collect();
            (words.len() == 4 && line.starts_with(['I', 'W', 'E']))
                .then(|| (words[3].to_owned(), text.to_owned()))
        })
        .collect()
}

#[test]
fn help_and_version() {
    for words in ["--help", "-help", "help", ""] {
        let output = here(words);
        works(&output);
        for command in ["train", "test", "time", "run", "compare"] {
            assert!(out(&output).contains(&format!("\n  {command} ")), "{words}");
        }
    }
    for words in ["train --help", "train -h", "-help train"] {
        let output = here(words);
        works(&output);
        assert!(
            out(&output).contains("--solver"),
            "{words}: {}",
            out(&output)
        );
        assert!(out(&output).contains("Examples:"), "{words}");
    }
    for words in ["--version", "train --version"] {
        let output = here(words);
        works(&output);
        assert!(out(&output).contains(env!("CARGO_PKG_VERSION")), "{words}");
    }
}

#[test]
fn mistakes_on_the_command_line() {
    for (words, expected) in [
        ("trian", &["unknown command 'trian'", "'cortado train'"][..]),
        ("fly", &["unknown command 'fly'", "compare"]),
        ("train", &["needs a solver", "--solver=solver.prototxt"]),
        ("train --solvr=x", &["no flag --solvr", "--solver?"]),
        ("train -solver", &["--solver needs a value"]),
        ("train -reference=x", &["--reference", "flag of compare"]),
        ("train x.prototxt", &["'x.prototxt' is no flag", "--solver"]),
        ("train -solver=s -threads=none", &["--threads", "none"]),
        ("train -solver=s -threads=0", &["--threads", "at least 1"]),
        ("train -solver=s -log=maybe", &["maybe"]),
        ("train -solver=s -snapshot=a -weights=b", &["not both"]),
        (
            "train -solver=s -sigint_effect=jump",
            &["jump", "stop, snapshot, none"],
        ),
        ("train -solver=none.prototxt", &["none.prototxt"]),
        ("test -model=m.prototxt", &["needs the weights"]),
        ("time -model=none.prototxt", &["none.prototxt"]),
        (
            "time -model=m -iterations=0",
            &["--iterations", "at least 1"],
        ),
        (
            "time -model=Cargo.toml -iterations=x",
            &["--iterations", "'x'"],
        ),
        ("compare -model=m", &["recorded run", "--reference"]),
        ("-threads=2", &["no command"]),
    ] {
        fails(&here(words), expected);
    }
}

#[test]
fn a_syntax_error_is_shown_where_it_is() {
    let dir = folder();
    fs::write(
        dir.path().join("bad.prototxt"),
        "net: \"n\"\nmax_iters: 3\n",
    )
    .unwrap();
    fails(
        &call(dir.path(), "train -solver bad.prototxt"),
        &["bad.prototxt:2:1", "max_iters: 3", "max_iter"],
    );
}

#[test]
fn training_logs_what_caffe_logs() {
    let dir = folder();
    let output = call(
        dir.path(),
        "train -solver=solver.prototxt -gpu 0 --threads=2",
    );
    works(&output);
    let log = err(&output);
    assert!(
        log.contains("-gpu 0: this program computes on the CPU"),
        "{log}"
    );
    let lines = lines(&log);
    let has = |tag: &str, start: &str| {
        let found = lines
            .iter()
            .any(|(t, text)| t == tag && text.starts_with(start));
        assert!(found, "no '{tag}] {start}' in\n{log}");
    };
    has("caffe.cpp:197", "Use CPU.");
    has("solver.cpp:45", "Initializing solver from parameters: ");
    has("net.cpp:382", "ip -> ip");
    has("solver.cpp:57", "Solver scaffolding done.");
    has("solver.cpp:289", "Solving tiny");
    has("solver.cpp:347", "Iteration 3, Testing net (#0)");
    has("solver.cpp:414", "    Test net output #1: loss = ");
    has("solver.cpp:239", "Iteration 4 (");
    has("sgd_solver.cpp:112", "Iteration 4, lr = 0.1");
    has(
        "solver.cpp:464",
        "Snapshotting to binary proto file snap_iter_3.caffemodel",
    );
    has("caffe.cpp:250", "Optimization Done.");
    for file in [
        "snap_iter_3.caffemodel",
        "snap_iter_3.solverstate",
        "snap_iter_6.caffemodel",
    ] {
        assert!(dir.path().join(file).exists(), "{file}");
    }

    let resumed = call(
        dir.path(),
        "train -solver=solver.prototxt -snapshot snap_iter_3.solverstate",
    );
    works(&resumed);
    assert!(err(&resumed).contains("Resuming from snap_iter_3.solverstate"));

    let scored = call(
        dir.path(),
        "test -model net.prototxt -weights snap_iter_6.caffemodel -iterations 2 -solver=ignored",
    );
    works(&scored);
    let log = err(&scored);
    for words in [
        "Batch 1, accuracy = ",
        "] Loss: ",
        "] accuracy = ",
        "(* 1 = ",
        "no use of --solver",
    ] {
        assert!(log.contains(words), "{words} not in\n{log}");
    }
}

/// Numbers of the log may differ a little; what is made of words may not.
fn same(a: &str, b: &str) -> bool {
    let words =
        |text: &str| -> Vec<String> { text.split([' ', ',', ')']).map(str::to_owned).collect() };
    let (a, b) = (words(a), words(b));
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(a, b)| match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => (a - b).abs() <= 1e-3 * b.abs() + 1e-5,
                _ => a == b,
            })
}

/// What a log tells, without what depends on Caffe's insides, on the clock or on where weights are loaded.
fn told(log: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for (tag, text) in lines(log) {
        let file = tag.split(':').next().unwrap_or_default();
        let inner = [
            "db_lmdb.cpp",
            "data_layer.cpp",
            "data_transformer.cpp",
            "blocking_queue.cpp",
            "cortado",
            "upgrade_proto.cpp",
        ];
        if inner.contains(&file) || text.starts_with("Finetuning") {
            continue;
        }
        let text = match (text.find(" ("), text.find("), loss")) {
            (Some(from), Some(to)) if tag == "solver.cpp:239" => {
                format!("{}{}", &text[..from], &text[to + 1..])
            }
            _ => text,
        };
        told.push(format!("{tag}] {text}"));
    }
    // The softmax inside a loss layer is made like a layer there.
    told.dedup();
    let mut i = 0;
    while i < told.len() {
        let made = told[i].starts_with("layer_factory");
        if made
            && !told
                .get(i + 1)
                .is_some_and(|next| next.starts_with("net.cpp:86"))
        {
            told.remove(i);
        } else {
            i += 1;
        }
    }
    told
}

#[test]
fn the_log_of_a_recorded_run() {
    let run = fixtures().join("reference/runs/seed_sgd");
    let dir = tempfile::tempdir().unwrap();
    for file in files(&run, "") {
        let to = dir.path().join(file.strip_prefix(&run).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, &to).unwrap();
    }
    let output = call(
        dir.path(),
        "train -solver=solver.prototxt -weights=init.caffemodel",
    );
    works(&output);
    let ours = told(&err(&output));
    let caffes = told(&fs::read_to_string(run.join("caffe.log")).unwrap());
    for (ours, caffes) in ours.iter().zip(&caffes) {
        assert!(same(ours, caffes), "ours:  {ours}\nCaffe: {caffes}");
    }
    assert_eq!(ours.len(), caffes.len());
}

#[test]
fn called_by_the_name_caffe() {
    let dir = folder();
    let caffe = dir
        .path()
        .join(format!("caffe{}", std::env::consts::EXE_SUFFIX));
    fs::copy(executable(), &caffe).unwrap();
    let call = |words: &[&str]| {
        Command::new(&caffe)
            .current_dir(dir.path())
            .args(words)
            .output()
            .unwrap()
    };
    let query = call(&["device_query", "-gpu", "0"]);
    works(&query);
    assert!(out(&query).contains("CPU"));
    works(&call(&["train", "--solver", "solver.prototxt"]));
    fails(&call(&["tset"]), &["'caffe test'"]);
}

#[test]
fn time_tells_every_layer() {
    let dir = folder();
    let output = call(dir.path(), "time -model=net.prototxt -iterations=3");
    works(&output);
    let table = out(&output);
    for words in ["layer", "GFLOP/s", "InnerProduct", "backward", "total"] {
        assert!(table.contains(words), "{words} not in\n{table}");
    }
    for words in ["Average Forward pass: ", "ip\tforward: ", "Total Time: "] {
        assert!(err(&output).contains(words), "{words}");
    }
}

#[test]
fn time_measures_forward_alone_and_tells_programs() {
    let dir = folder();
    let output = call(
        dir.path(),
        "time -model=deploy.prototxt -forward_only -iterations=3 -json=- -output=out.npz",
    );
    works(&output);
    let text = out(&output);
    for words in [
        "{\n  \"version\": ",
        "\"iterations\": 3",
        "\"backward_ms\": null",
        "\"share_of_peak\": ",
        "\"name\": \"ip\"",
    ] {
        assert!(text.contains(words), "{words} not in\n{text}");
    }
    assert!(text.trim_end().ends_with('}'), "{text}");
    let outputs = npz::read_npz(&dir.path().join("out.npz")).unwrap();
    assert_eq!(outputs["y"].shape.dims(), [1, 2]);
}

#[test]
fn time_measures_the_steps_of_a_solver() {
    let dir = folder();
    let output = call(
        dir.path(),
        "time -solver=solver.prototxt -iterations=3 -json=times.json",
    );
    works(&output);
    for words in ["update", "step", "of peak"] {
        assert!(
            out(&output).contains(words),
            "{words} not in\n{}",
            out(&output)
        );
    }
    let text = std::fs::read_to_string(dir.path().join("times.json")).unwrap();
    let losses = text.split("\"losses\": [").nth(1).unwrap();
    let losses: Vec<f32> = losses[..losses.find(']').unwrap()]
        .split(", ")
        .map(|x| x.parse().unwrap())
        .collect();
    assert_eq!(losses.len(), 4);
    assert!(losses[3] < losses[0], "{losses:?}");
    for (words, expected) in [
        ("time -solver=s -model=m", "both --solver and --model"),
        ("time -solver=s -forward_only", "--forward_only was given"),
    ] {
        fails(&call(dir.path(), words), &[expected]);
    }
}

#[test]
fn run_feeds_arrays_and_keeps_blobs() {
    let dir = folder();
    let x = Tensor::new([2, 3, 2, 2], (0..24).map(|i| i as f32).collect()).unwrap();
    let path = dir.path().join("x.npz");
    npz::write_npz(&path, [("in/x", x.view())], false).unwrap();
    let output = call(
        dir.path(),
        "run --model deploy.prototxt --input x.npz --backward --output out.npz",
    );
    works(&output);
    assert!(out(&output).contains("[2, 2]"), "{}", out(&output));
    let json = call(
        dir.path(),
        "run --model deploy.prototxt --input x.npz --json",
    );
    let json: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    let y = &json["outputs"][0];
    assert_eq!(
        (&y["output"], &y["shape"]),
        (&"y".into(), &serde_json::json!([2, 2]))
    );
    assert_eq!(
        (y["min"].as_f64(), y["max"].as_f64()),
        (Some(66.0), Some(210.0))
    );
    let blobs = npz::read_npz(&dir.path().join("out.npz")).unwrap();
    assert_eq!(blobs["x"], x);
    assert_eq!(blobs["y"].data, [66.0, 66.0, 210.0, 210.0]);
    assert_eq!(blobs["diff/x"].shape, x.shape);
    assert_eq!(blobs["grad_param/ip/0"].shape.dims(), [2, 12]);

    fails(
        &call(dir.path(), "run --model deploy.prototxt"),
        &["input 'x'", "--input=x=FILE"],
    );
    fails(
        &call(dir.path(), "run --model deploy.prototxt --input z=x.npz"),
        &["no input 'z'", "inputs are x"],
    );
    fails(
        &call(
            dir.path(),
            "run --model deploy.prototxt --input x.npz --blobs=q",
        ),
        &["no blob 'q'"],
    );
}

#[test]
fn run_feeds_images() {
    let dir = folder();
    let mut picture = image::RgbImage::new(2, 2);
    picture.put_pixel(1, 0, image::Rgb([10, 20, 30]));
    picture.save(dir.path().join("a.png")).unwrap();
    image::RgbImage::new(4, 4)
        .save(dir.path().join("b.png"))
        .unwrap();
    let words =
        "run --model deploy.prototxt --input a.png --mean=1,2,3 --scale=0.5 --output out.npz";
    works(&call(dir.path(), words));
    let blobs = npz::read_npz(&dir.path().join("out.npz")).unwrap();
    // Blue first.
    assert_eq!(
        blobs["x"].data,
        [
            -0.5, 14.5, -0.5, -0.5, -1.0, 9.0, -1.0, -1.0, -1.5, 3.5, -1.5, -1.5
        ]
    );
    let large = "run --model deploy.prototxt --input x=b.png";
    fails(&call(dir.path(), large), &["4x4", "2x2", "--resize"]);
    works(&call(
        dir.path(),
        &format!("{large} --resize --input x=a.png"),
    ));
}

#[test]
fn compare_tells_by_exit_code() {
    let case = fixtures().join("reference/layers/InnerProduct/00");
    let words = "compare -model net.prototxt -weights weights.caffemodel -reference blobs.npz";
    let output = call(&case, words);
    works(&output);
    assert!(out(&output).contains("max abs"), "{}", out(&output));
    let strict = call(&case, &format!("{words} -rtol=0 -atol=-1"));
    fails(&strict, &["--atol"]);

    let dir = tempfile::tempdir().unwrap();
    let mut record = npz::read_npz(&case.join("blobs.npz")).unwrap();
    let top = record
        .iter_mut()
        .find(|(key, _)| key.starts_with("out/"))
        .unwrap();
    top.1.data[0] += 1.0;
    let path = dir.path().join("blobs.npz");
    let arrays = record.iter().map(|(key, tensor)| (key, tensor.view()));
    npz::write_npz(&path, arrays, false).unwrap();
    let output = program()
        .current_dir(&case)
        .args(words.replace("blobs.npz", "").split_whitespace())
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("OUT"), "{}", out(&output));
}

#[cfg(unix)]
#[test]
fn ctrl_c_snapshots_and_stops() {
    use std::io::{BufRead as _, BufReader};
    let dir = folder();
    let solver = SOLVER
        .replace("max_iter: 6", "max_iter: 100000000")
        .replace("snapshot: 3", "");
    fs::write(dir.path().join("long.prototxt"), solver).unwrap();
    let mut child = program()
        .current_dir(dir.path())
        .args(["train", "-solver=long.prototxt"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = log.find(|line| line.as_ref().unwrap().contains("Iteration 10 "));
    assert!(line.is_some());
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<String> = log.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let stopped = rest
        .iter()
        .any(|line| line.ends_with("Optimization stopped early."));
    assert!(stopped, "{rest:?}");
    let saved = files(dir.path(), ".solverstate");
    assert_eq!(saved.len(), 1, "{saved:?}");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    let dir = folder();
    let output = Command::new("sh")
        .current_dir(dir.path())
        .args([
            "-c",
            &format!(
                "{{ '{}' time -model=net.prototxt -iterations=2 2>err; echo $? >code; }} | true",
                executable().display()
            ),
        ])
        .status()
        .unwrap();
    assert!(output.success());
    assert_eq!(
        fs::read_to_string(dir.path().join("code")).unwrap().trim(),
        "0"
    );
    let text = fs::read_to_string(dir.path().join("err")).unwrap();
    assert!(
        !text.contains("error") && !text.contains("panicked"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn training_ends_when_nobody_reads_its_log() {
    let dir = folder();
    let solver = SOLVER
        .replace("max_iter: 6", "max_iter: 100000000")
        .replace("snapshot: 3", "");
    fs::write(dir.path().join("long.prototxt"), solver).unwrap();
    let script = format!(
        "'{}' train -solver=long.prototxt 2>&1 | grep -m1 'Iteration 4 '",
        executable().display()
    );
    let output = Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", &script])
        .output()
        .unwrap();
    works(&output);
    assert!(out(&output).contains("Iteration 4 "), "{}", out(&output));
    assert_eq!(files(dir.path(), ".caffemodel").len(), 1);
}

/// A disk that is full from some point on, for real: files may not grow past one block.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let wide = NET.replace("num_output: 2", "num_output: 900");
    std::fs::write(dir.path().join("net.prototxt"), wide).unwrap();
    let solver = r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 snapshot: 2 snapshot_prefix: "s""#;
    std::fs::write(dir.path().join("s.prototxt"), solver).unwrap();
    works(&call(dir.path(), "train -solver s.prototxt"));
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let before = [read("s_iter_4.caffemodel"), read("s_iter_4.solverstate")];
    assert!(before[0].len() > 4096);
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1; exec \"$0\" train -solver s.prototxt",
        ])
        .arg(executable())
        .current_dir(dir.path())
        .output()
        .unwrap();
    fails(&output, &["cannot write", "s_iter_4.caffemodel"]);
    let after = [read("s_iter_4.caffemodel"), read("s_iter_4.solverstate")];
    assert!(before == after, "a snapshot was lost");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 6, "something half-written was left behind");
}
