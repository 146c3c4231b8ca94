//! Nets in less precision than `f32`: how far they are off, that threads change nothing, what is refused, and the way
//! from a database to a calibration.

use std::{fs, path::Path};

use cortado::{
    error::ErrorKind,
    events::Silent,
    feed::lmdb::LmdbWriter,
    load,
    net::{Calibration, Keep, Level, Net, NetOptions, Precision},
    params::Params,
    threads,
};

use crate::cli::{call, err, fails, out, works};

/// Each kind of convolution, folded statistics, a residual, absorbed activations and both layouts of inner products.
const NET: &str = r#"
layer { name: "data" type: "DummyData" top: "data"
  dummy_data_param { shape { dim: 3 dim: 3 dim: 17 dim: 15 } data_filler { type: "gaussian" std: 1 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } bias_filler { type: "gaussian" std: 0.1 } } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1"
  scale_param { bias_term: true filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "depth" type: "Convolution" bottom: "conv1" top: "depth"
  convolution_param { num_output: 16 group: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "point" type: "Convolution" bottom: "depth" top: "point"
  convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "point" bottom: "conv1" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "conv3" type: "Convolution" bottom: "sum" top: "conv3"
  convolution_param { num_output: 24 group: 2 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
layer { name: "fc1" type: "InnerProduct" bottom: "conv3" top: "fc1"
  inner_product_param { num_output: 37 weight_filler { type: "msra" } bias_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu4" type: "ReLU" bottom: "fc1" top: "fc1" relu_param { negative_slope: 0.1 } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 10 transpose: true weight_filler { type: "msra" } } }
"#;

fn make(precision: Precision<'_>, optimize: Level) -> Result<(Net, Params), cortado::Error> {
    let file = load::net_from_text("net", NET, load::LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let options = NetOptions {
        seed: 3,
        keep: Keep::Outputs,
        optimize,
        precision,
        ..NetOptions::default()
    };
    let net = Net::new(&file.net, &mut params, &options, &mut Silent)?;
    Ok((net, params))
}

fn output(net: &mut Net, params: &mut Params) -> Vec<f32> {
    net.poison();
    net.forward(params).unwrap();
    net.output_values()
        .flat_map(|(_, _, view)| view.data.to_vec())
        .collect()
}

fn calibration(level: Level) -> Calibration {
    let (mut net, mut params) = make(Precision::F32, level).unwrap();
    net.calibrate();
    net.forward(&mut params).unwrap();
    let table = net.calibration().unwrap();
    Calibration::from_text(&table.to_text().unwrap()).unwrap()
}

/// Root of the mean square of the difference, in parts of that of `want`.
fn off(got: &[f32], want: &[f32]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
    let difference = square(&mut got.iter().zip(want).map(|(g, w)| g - w));
    (difference / square(&mut want.iter().copied())).sqrt()
}

#[test]
fn outputs_stay_near_those_in_f32() {
    for level in [Level::Off, Level::Exact, Level::Fold] {
        let table = calibration(level);
        let names: Vec<&str> = table.ranges().map(|(name, _)| name).collect();
        assert_eq!(names, ["conv1", "conv3", "fc1", "fc2", "point"]);
        let run = |precision| {
            let (mut net, mut params) = make(precision, level).unwrap();
            let loose = output(&mut net, &mut params);
            // The same where the weights are dropped from the store.
            let (mut net, mut params) = make(precision, level).unwrap();
            net.freeze(&mut params).unwrap();
            assert_eq!(output(&mut net, &mut params), loose);
            loose
        };
        let want = run(Precision::F32);
        for (precision, most) in [(Precision::Bf16, 0.01), (Precision::Int8(&table), 0.04)] {
            let off = off(&run(precision), &want);
            assert!(off > 1e-4, "{precision:?}: {off}: nothing was rounded");
            assert!(off < most, "{precision:?}: {off}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let table = calibration(Level::Fold);
    for precision in [Precision::Bf16, Precision::Int8(&table)] {
        let run = |n| {
            let work = || {
                let (mut net, mut params) = make(precision, Level::Fold).unwrap();
                output(&mut net, &mut params)
            };
            threads::with_threads(n, work).unwrap()
        };
        let one = run(1);
        assert!([2, 3, 7].iter().all(|&n| run(n) == one), "{precision:?}");
    }
}

#[test]
fn weights_are_packed_anew_when_they_change() {
    let (mut net, mut params) = make(Precision::Bf16, Level::Fold).unwrap();
    let before = output(&mut net, &mut params);
    for id in net.learnable() {
        params[id].value.data.iter_mut().for_each(|x| *x *= 2.0);
    }
    let after = output(&mut net, &mut params);
    assert!(before.iter().zip(&after).all(|(b, a)| b != a));
}

#[test]
fn what_does_not_fit_is_refused() {
    let text = calibration(Level::Fold).to_text().unwrap();
    let fewer: String = text
        .split_inclusive('\n')
        .filter(|l| !l.ends_with(" conv3\n"))
        .collect();
    let table = Calibration::from_text(&fewer).unwrap();
    let error = make(Precision::Int8(&table), Level::Fold).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Param);
    assert!(
        error.message().contains("no range for layer 'conv3'"),
        "{error}"
    );

    let file = load::net_from_text("net", NET, load::LoadOptions::default(), &mut Silent).unwrap();
    let options = NetOptions {
        backward: true,
        precision: Precision::Bf16,
        ..NetOptions::default()
    };
    let error = Net::new(&file.net, &mut Params::new(), &options, &mut Silent)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

const TRAIN: &str = r#"
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.00390625 }
  data_param { source: "db" batch_size: 10 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"#;

const SOLVER: &str = r#"net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9
max_iter: 30 snapshot_prefix: "snap" random_seed: 1
"#;

/// Pictures of 8×8 pixels, one half brighter than the other.
fn database(path: &Path) {
    let mut writer = LmdbWriter::create(path).unwrap();
    for i in 0..40u8 {
        let label = i % 2;
        let pixel = |p: u8| {
            let bright = (p % 8 >= 4) == (label == 1);
            60 * u8::from(bright) + (i.wrapping_mul(31) ^ p.wrapping_mul(57)) / 2
        };
        // channels: 1 height: 8 width: 8 data: .. label: ..
        let mut datum = vec![0x08, 1, 0x10, 8, 0x18, 8, 0x22, 64];
        datum.extend((0..64).map(pixel));
        datum.extend([0x28, label]);
        writer.put(format!("{i:08}").as_bytes(), &datum).unwrap();
    }
    writer.finish().unwrap();
}

/// The number behind a word.
fn value(text: &str, word: &str) -> f32 {
    let mut words = text.split_whitespace().skip_while(|w| *w != word).skip(1);
    let number = words.find(|w| *w != "=");
    number
        .and_then(|w| w.parse().ok())
        .unwrap_or_else(|| panic!("{word} in {text}"))
}

#[test]
fn from_a_database_to_a_calibration() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    database(&dir.join("db"));
    fs::write(dir.join("net.prototxt"), TRAIN).unwrap();
    fs::write(dir.join("solver.prototxt"), SOLVER).unwrap();
    works(&call(dir, "train --solver=solver.prototxt"));

    let net = "--model=net.prototxt --weights=snap_iter_30.caffemodel --iterations=4";
    let output = call(dir, &format!("calibrate {net}"));
    works(&output);
    let text = out(&output);
    assert!(text.contains("bf16 off"), "{text}");
    // output, values, f32, bf16, int8
    let row = |name: &str| -> Vec<f32> {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .map(|w| w.parse().unwrap())
            .collect()
    };
    let (accuracy, loss) = (row("accuracy"), row("loss"));
    assert_eq!((accuracy[0], loss[0]), (4.0, 4.0));
    assert!(accuracy[1] >= 0.9, "{text}");
    assert!((accuracy[1] - accuracy[3]).abs() <= 0.05, "{text}");
    assert!(
        (loss[1] - loss[3]).abs() <= 0.02 && loss[1] != loss[3],
        "{text}"
    );

    let json = call(dir, &format!("calibrate {net} --json"));
    let json: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    let first = &json["outputs"][0];
    assert_eq!(
        (&first["output"], &first["values"]),
        (&"accuracy".into(), &4.into())
    );
    assert!((first["int8"].as_f64().unwrap() - f64::from(accuracy[3])).abs() < 1e-4);

    let table = fs::read_to_string(dir.join("snap_iter_30.calibration")).unwrap();
    let names: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|l| l.split(' ').nth(2))
        .collect();
    assert_eq!(names, ["conv", "ip"]);

    // What is tested is what was reported.
    let int8 = "--precision=int8 --calibration=snap_iter_30.calibration";
    for (flags, at) in [("", 1), ("--precision=bf16", 2), (int8, 3)] {
        let output = call(dir, &format!("test {net} {flags}"));
        works(&output);
        assert!(
            (value(&err(&output), "Loss:") - loss[at]).abs() < 1e-5,
            "{flags}"
        );
    }
    works(&call(dir, &format!("run {net} {int8}")));
    works(&call(dir, &format!("time {net} --forward_only {int8}")));

    fails(
        &call(dir, &format!("test {net} --precision=int8")),
        &[
            "--precision=int8 needs",
            "cortado calibrate",
            "--calibration=FILE",
        ],
    );
    fails(
        &call(
            dir,
            &format!("test {net} --precision=int8 --calibration=none"),
        ),
        &["cannot read 'none'"],
    );
    fails(
        &call(
            dir,
            &format!("test {net} --precision=int8 --calibration=net.prototxt"),
        ),
        &["net.prototxt", "no calibration"],
    );
    fails(
        &call(dir, &format!("test {net} --precision=bf16 --calibration=x")),
        &["--calibration is for --precision=int8"],
    );
    fails(
        &call(dir, &format!("test {net} --precision=fp8")),
        &["none of f32, bf16, int8"],
    );
    fails(
        &call(dir, &format!("time {net} --precision=bf16")),
        &["forward_only"],
    );
    fails(
        &call(dir, &format!("run {net} --backward --precision=bf16")),
        &["only run forward"],
    );
    fs::write(
        dir.join("fed.prototxt"),
        r#"layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }"#,
    )
    .unwrap();
    fails(
        &call(
            dir,
            "calibrate --model=fed.prototxt --weights=snap_iter_30.caffemodel",
        ),
        &["nothing feeds here (x)", "data layer"],
    );
}
