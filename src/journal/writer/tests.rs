use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    error::Error,
    events::{Role, Severity, TopInfo},
    schema::{NetParameter, SolverParameter},
    tensor::Shape,
};

type Seen = Arc<Mutex<Vec<(Line, Vec<String>)>>>;

/// Remembers lines with the names of their pictures.
struct Memory(Seen);

impl Sink for Memory {
    fn write(&mut self, line: &Line, pictures: &[Picture<'_>]) -> Result<()> {
        let names = pictures.iter().map(|p| p.name.to_owned()).collect();
        self.0.lock().unwrap().push((line.clone(), names));
        Ok(())
    }

    fn keeps_pictures(&self) -> bool {
        true
    }
}

struct Broken;

impl Sink for Broken {
    fn write(&mut self, _: &Line, _: &[Picture<'_>]) -> Result<()> {
        Err(Error::data("the disk is full"))
    }
}

/// A journal whose clock ticks a hundredth of a second at each look.
fn journal() -> (Journal, Seen) {
    let seen = Seen::default();
    let mut time = Duration::ZERO;
    let clock = move || {
        time += Duration::from_millis(10);
        time
    };
    let journal = Journal::new("run", "solver.prototxt")
        .to(Memory(seen.clone()))
        .timed_by(clock);
    (journal, seen)
}

fn lines(seen: &Seen) -> Vec<Line> {
    let seen = seen.lock().unwrap();
    seen.iter().map(|(line, _)| line.clone()).collect()
}

/// The kinds of lines, in a row.
fn kinds(seen: &Seen) -> String {
    let kind = |line: &Line| {
        let value = serde_json::to_value(line).unwrap();
        value["kind"].as_str().unwrap().to_owned()
    };
    lines(seen).iter().map(kind).collect::<Vec<_>>().join(" ")
}

fn step(iteration: u64) -> Event<'static> {
    Event::Step {
        iteration,
        max_iter: 1000,
        loss: 0.5,
        rate: 0.1,
    }
}

#[test]
fn a_run_begins_with_what_it_is() {
    let (mut journal, seen) = journal();
    let solver = SolverParameter {
        max_iter: Some(7),
        display: Some(2),
        ..Default::default()
    };
    journal.on(&Event::Note("early"));
    journal.on(&Event::SolverInit { solver: &solver });
    assert!(lines(&seen).is_empty());
    journal.on(&Event::Seed { seed: 5 });
    assert_eq!(kinds(&seen), "run log");
    let Line::Run {
        name,
        max_iter,
        display,
        seed,
        ..
    } = &lines(&seen)[0]
    else {
        panic!("no first line")
    };
    assert_eq!(
        (&**name, *max_iter, *display, *seed),
        ("run", 7, 2, Some(5))
    );
}

#[test]
fn outputs_are_collected_into_one_line() {
    let (mut journal, seen) = journal();
    let train = |index, blob| Event::TrainOutput {
        index,
        blob,
        value: 0.1,
        loss_weight: 1.0,
    };
    let test = |index, blob| Event::TestOutput {
        net: 0,
        index,
        blob,
        value: f32::NAN,
        loss_weight: 0.0,
    };
    journal.on(&Event::Testing {
        iteration: 0,
        net: 0,
    });
    journal.on(&Event::TestStep { done: 1, of: 1 });
    journal.on(&Event::Note("in between"));
    journal.on(&test(0, "accuracy"));
    journal.on(&test(1, "loss"));
    journal.on(&Event::Iteration {
        iteration: 0,
        loss: 0.7,
        since: 0,
        seconds: 0.0,
    });
    journal.on(&train(0, "loss"));
    journal.on(&Event::Rate {
        iteration: 0,
        rate: 0.01,
    });
    journal.on(&step(1));
    journal.finish(None);
    journal.finish(Some("twice"));
    assert_eq!(kinds(&seen), "run log test train step end");
    let lines = lines(&seen);
    let Line::Test { outputs, .. } = &lines[2] else {
        panic!("no test")
    };
    assert_eq!((outputs.len(), outputs[0].value), (2, None));
    let Line::Train {
        loss,
        rate,
        outputs,
        ..
    } = &lines[3]
    else {
        panic!("no train")
    };
    assert_eq!((*loss, *rate, outputs.len()), (Some(0.7), Some(0.01), 1));
    let Line::End {
        iteration, error, ..
    } = &lines[5]
    else {
        panic!("no end")
    };
    assert_eq!((*iteration, error.clone()), (1, None));
}

#[test]
fn steps_are_thinned_to_four_a_second_and_the_last_is_told() {
    let (mut journal, seen) = journal();
    // Ten seconds.
    for iteration in 1..=1001 {
        journal.on(&step(iteration));
    }
    journal.finish(None);
    let lines = lines(&seen);
    let steps = lines.iter().filter(|l| matches!(l, Line::Step { .. }));
    let steps = steps.count();
    assert!((238..=242).contains(&steps), "{steps}");
    let last = &lines[lines.len() - 2];
    assert!(
        matches!(
            last,
            Line::Step {
                iteration: 1001,
                ..
            }
        ),
        "{last:?}"
    );
}

#[test]
fn a_net_has_the_layers_of_its_file() {
    let (mut journal, seen) = journal();
    let layer = |name: &str, kind: &str, bottom: &[&str]| LayerParameter {
        name: Some(name.to_owned()),
        r#type: Some(kind.to_owned()),
        bottom: bottom.iter().map(|&b| b.to_owned()).collect(),
        ..Default::default()
    };
    let net = NetParameter {
        name: Some("n".into()),
        layer: vec![layer("d", "Input", &[]), layer("r", "ReLU", &["x"])],
        ..Default::default()
    };
    journal.on(&Event::TestNet { index: 1, file: "" });
    journal.on(&Event::NetInit { net: &net });
    for (name, kind) in [("d", "Input"), ("x_d_0_split", "Split"), ("r", "ReLU")] {
        journal.on(&Event::Layer {
            name,
            kind,
            bottoms: &["x_d_0_split_0"],
            tops: &[TopInfo {
                name: "x",
                in_place: kind == "ReLU",
                shape: Shape::from([2, 3]),
                loss_weight: 0.0,
            }],
            params: &[],
            memory: 0,
            flops: 6,
        });
    }
    journal.on(&Event::NetReady {
        planned_floats: 0,
        naive_floats: 0,
    });
    let lines = lines(&seen);
    let Line::Net {
        phase,
        index,
        nodes,
        ..
    } = &lines[1]
    else {
        panic!("{lines:?}")
    };
    assert_eq!((&**phase, *index, nodes.len()), ("TEST", 1, 2));
    assert_eq!(nodes[1].bottoms, ["x"]);
    assert!(nodes[1].tops[0].in_place);
    assert_eq!((nodes[1].tops[0].shape.len(), nodes[1].flops), (2, Some(6)));
}

#[test]
fn pictures_have_names_that_are_safe_and_apart() {
    assert_eq!(file_name("conv_last"), "conv_last");
    assert_ne!(file_name("a/b"), file_name("a.b"));
    assert!(!file_name("../../etc/passwd").contains(['/', '.']));
    assert!(file_name(&"x".repeat(500)).len() < 80);
    let (mut journal, seen) = journal();
    journal.on(&Event::Picture {
        iteration: 100,
        role: Role::Map,
        blob: "conv_last",
        sample: 0,
        key: "k",
        channel: Some(1),
        caption: "left eye",
        range: Some([-1.5, f32::NAN]),
        png: b"png",
    });
    let worst = |png| Worst {
        key: "k".into(),
        loss: 3.0,
        truth: "1".into(),
        answer: "0".into(),
        png,
    };
    journal.on(&Event::Worst {
        iteration: 100,
        net: 0,
        samples: &[worst(None), worst(Some(b"png".to_vec()))],
    });
    let seen = seen.lock().unwrap();
    let (line, names) = &seen[1];
    assert_eq!(names, &["100_conv_last_0_1.png"]);
    let Line::Picture {
        file, low, high, ..
    } = line
    else {
        panic!("{line:?}")
    };
    assert_eq!(file.as_deref(), Some("pictures/100_conv_last_0_1.png"));
    assert_eq!((*low, *high), (Some(-1.5), None));
    let (line, names) = &seen[2];
    assert_eq!(names, &["worst_100_0_1.png"]);
    let Line::Worst { samples, .. } = line else {
        panic!("{line:?}")
    };
    assert_eq!(samples[0].picture, None);
    assert!(samples[1].picture.is_some());
}

#[test]
fn a_snapshot_is_told_when_it_stands() {
    let (mut journal, seen) = journal();
    let file = std::path::Path::new("snap_iter_3.caffemodel");
    journal.on(&step(3));
    journal.on(&Event::SnapshotModel { file });
    assert_eq!(kinds(&seen), "run step");
    journal.on(&Event::SnapshotState { file });
    assert_eq!(kinds(&seen), "run step snapshot");
    journal.on(&Event::Finding {
        severity: Severity::Warning,
        code: "N001",
        message: "m",
        place: "",
        help: "h",
        iteration: None,
    });
    assert!(matches!(
        lines(&seen).last(),
        Some(Line::Finding { place: None, .. })
    ));
}

#[test]
fn a_sink_that_fails_complains_once_and_keeps_nobody() {
    let (journal, seen) = journal();
    let mut journal = journal.to(Broken);
    journal.on(&step(1));
    journal.on(&step(2));
    let troubles = journal.take_troubles();
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].contains("the disk is full"));
    assert!(journal.take_troubles().is_empty());
    assert_eq!(kinds(&seen), "run step step");
}
