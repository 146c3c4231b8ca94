use std::{cell::RefCell, path::Path, rc::Rc};

use prost::Message as _;

use super::*;
use crate::{
    feed::lmdb::LmdbWriter,
    load::{self, LoadOptions},
    metrics::Worst,
    schema::Datum,
    solver::{Action, Solver, SolverOptions},
    watch::{WorstSamples, heads::wanted},
};

/// Images of 3x8x8 and label maps of 1x8x8: the left half is class 0, the right class 1.
fn databases(root: &Path) {
    for (name, channels) in [("images", 3), ("maps", 1)] {
        let mut writer = LmdbWriter::create(&root.join(name)).unwrap();
        for i in 0..6u8 {
            let pixel = |at: usize| u8::from(at % 8 >= 4) * if channels == 1 { 1 } else { 200 + i };
            let datum = Datum {
                channels: Some(channels),
                height: Some(8),
                width: Some(8),
                data: Some((0..channels as usize * 64).map(pixel).collect()),
                ..Datum::default()
            };
            let key = format!("rec{i}");
            writer.put(key.as_bytes(), &datum.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
    }
}

const SOLVER: &str = "net_param { name: 'n'
  layer { name: 'images' type: 'Data' top: 'data' data_param { source: 'images' batch_size: 3 backend: LMDB } transform_param { scale: 0.01 mirror: true } }
  layer { name: 'maps' type: 'Data' top: 'label' data_param { source: 'maps' batch_size: 3 backend: LMDB } }
  layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } }
  layer { name: 'bn' type: 'BatchNorm' bottom: 'conv' top: 'bn' batch_norm_param { use_global_stats: false } }
  layer { name: 'drop' type: 'Dropout' bottom: 'bn' top: 'bn' }
  layer { name: 'score' type: 'Convolution' bottom: 'bn' top: 'score' convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: 'xavier' } } }
  layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'score' bottom: 'label' top: 'loss' } }
 base_lr: 0.1 lr_policy: 'fixed' max_iter: 9 display: 0 random_seed: 1 snapshot_after_train: false";

/// Weights after training, and what was told on the way.
fn train(root: &Path, tests: &str, watched: bool) -> (Vec<Vec<f32>>, Vec<String>, Vec<Worst>) {
    let text = format!("{SOLVER} {tests}");
    let param = load::solver_from_text("s", &text, LoadOptions::default(), &mut Silent).unwrap();
    let options = SolverOptions {
        root: root.to_owned(),
        wanted: watched.then_some(wanted),
        ..SolverOptions::default()
    };
    let nets = Rc::new(RefCell::new(Vec::new()));
    let seen = nets.clone();
    let mut observer = move |event: &Event<'_>| {
        if let Event::NetInit { net } = event {
            seen.borrow_mut().push((*net).clone());
        }
    };
    let mut solver = Solver::new(param, options, &mut observer).unwrap();
    if watched {
        let nets = nets.borrow();
        let blobs = ["conv".to_owned(), "nothing".to_owned()];
        let options = MapsOptions {
            blobs: &blobs,
            samples: 2,
            net: NetOptions {
                root: root.to_owned(),
                seed: solver.seed(),
                ..NetOptions::default()
            },
            every: tests.is_empty().then_some(3),
        };
        let net = nets.last().unwrap();
        let maps = Maps::new(net, &solver.net, &mut solver.params, &options);
        let maps = maps.unwrap().unwrap();
        assert_eq!(maps.unknown(), ["nothing"]);
        solver.watch(Box::new(maps));
        solver.watch(Box::new(WorstSamples::new(&nets[1..], 4)));
    }
    let (mut told, mut worst) = (Vec::new(), Vec::new());
    let mut observer = |event: &Event<'_>| match event {
        Event::Picture {
            iteration,
            role,
            blob,
            sample,
            key,
            channel,
            png,
            ..
        } => {
            assert!(image::load_from_memory(png).is_ok());
            let channel = channel.map_or_else(String::new, |c| c.to_string());
            told.push(format!(
                "{iteration} {} {blob}{channel} {sample} {key}",
                role.name()
            ));
        }
        Event::Worst { samples, .. } => worst = samples.to_vec(),
        Event::Warning(text) => panic!("{text}"),
        _ => {}
    };
    solver
        .solve(&mut || Action::Continue, &mut observer)
        .unwrap();
    let ids = solver.net.learnable();
    let weights = ids.iter().map(|&id| solver.params[id].value.data.clone());
    (weights.collect(), told, worst)
}

#[test]
fn looking_on_changes_no_bit_and_shows_the_same_samples() {
    let dir = tempfile::tempdir().unwrap();
    databases(dir.path());
    for tests in ["", "test_iter: 2 test_interval: 3"] {
        let (plain, ..) = train(dir.path(), tests, false);
        let (weights, told, worst) = train(dir.path(), tests, true);
        assert_eq!(plain, weights, "{tests}");
        let first = [
            "0 input data 0 rec0",
            "0 truth label 0 rec0",
            "0 answer score 0 rec0",
            "0 map score0 0 rec0",
            "0 map score1 0 rec0",
            "0 map conv0 0 rec0",
        ];
        assert_eq!(told[..6], first);
        let later: Vec<&str> = told
            .iter()
            .filter(|t| t.starts_with("6 ") && t.ends_with("1 rec1"))
            .map(String::as_str)
            .collect();
        assert_eq!(later.len(), 1 + 2 + 4, "{later:?}");
        assert_eq!(worst.is_empty(), tests.is_empty());
        for pair in worst.windows(2) {
            assert!(pair[0].loss >= pair[1].loss && pair[0].key != pair[1].key);
        }
        if let Some(first) = worst.first() {
            assert!(first.key.starts_with("rec") && first.png.is_some());
            assert!(first.truth.contains("places right"), "{}", first.truth);
        }
    }
}
