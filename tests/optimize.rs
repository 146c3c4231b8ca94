//! Nets that only run forward are rewritten before they run: outputs stay, and memory does not grow.

use cortado::{
    events::{Event, Silent},
    load::{self, LoadOptions, NetFile},
    net::{Keep, Level, Net, NetOptions},
    params::Params,
    report::compare::{Tolerance, compare_arrays},
    schema::{NetState, Phase},
};

use crate::support::{cases, files, fixtures};

fn net(file: &NetFile, level: Level) -> (Net, Params, bool) {
    let mut params = Params::new();
    let options = NetOptions {
        keep: Keep::Outputs,
        optimize: level,
        ..NetOptions::default()
    };
    let mut fused = false;
    let mut observer = |event: &Event<'_>| fused |= matches!(event, Event::Fused { .. });
    let net = Net::new(&file.net, &mut params, &options, &mut observer).unwrap();
    (net, params, fused)
}

/// Every recorded case, forward alone, with all rewrites.
#[test]
fn agrees_with_the_reference() {
    let mut seen = 0;
    for case in cases() {
        let (mut net, mut params, _) = net(&case.file, Level::Fold);
        case.fill(&mut net, &mut params);
        net.poison();
        net.set_inputs(&case.inputs()).unwrap();
        net.forward(&mut params).unwrap();
        for (name, _, ours) in net.output_values() {
            let Some(theirs) = case.record.get(&format!("out/{name}")) else {
                continue;
            };
            let row = compare_arrays(name, ours.data, &theirs.data, Tolerance::default());
            assert!(row.ok, "{}: {row:?}", case.name);
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} outputs compared");
}

/// The nets in `fixtures/nets`, in TEST: outputs stay, exactly where nothing is folded.
#[test]
fn outputs_stay_and_memory_does_not_grow() {
    let mut rewritten = 0;
    for path in files(&fixtures().join("nets"), ".prototxt") {
        let mut file = load::net(&path, LoadOptions::default(), &mut Silent).unwrap();
        file.net.state = Some(NetState {
            phase: Some(Phase::Test as i32),
            ..NetState::default()
        });
        let run = |level| {
            let (mut net, mut params, fused) = net(&file, level);
            for id in net.learnable() {
                let param = &mut params[id];
                // Statistics are never trained, and a variance is no less than 0.
                if param.lr_mult == 0.0 {
                    param.value.data.fill(0.75);
                }
            }
            net.poison();
            net.forward(&mut params).unwrap();
            let values: Vec<Vec<f32>> = net
                .output_values()
                .map(|(_, _, view)| view.data.to_vec())
                .collect();
            (values, net.planned_floats(), fused)
        };
        let (plain, floats, _) = run(Level::Off);
        for level in [Level::Exact, Level::Fold] {
            let (values, fewer, fused) = run(level);
            rewritten += usize::from(fused);
            assert!(fewer <= floats, "{}: {fewer} floats", path.display());
            let tolerance = match level {
                Level::Fold => Tolerance::default(),
                _ => Tolerance {
                    rtol: 0.0,
                    atol: 0.0,
                },
            };
            for (ours, theirs) in values.iter().zip(&plain) {
                let row = compare_arrays("output", ours, theirs, tolerance);
                assert!(row.ok, "{}, {level:?}: {row:?}", path.display());
            }
        }
    }
    assert!(rewritten >= 4, "only {rewritten} nets rewritten");
}
