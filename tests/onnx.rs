//! Nets as ONNX models: every recorded case of a layer that a model can say, run by onnxruntime and read back.

use std::collections::{BTreeMap, BTreeSet};

use cortado::{
    ErrorKind,
    events::Silent,
    layer::Role,
    layers,
    load::NetFile,
    model_io::{caffemodel, npz},
    net::{Keep, Net, NetOptions},
    onnx::{self, EXPORTED, ExportOptions, Exported},
    params::Params,
    schema::{NetParameter, NetState, Phase},
    tensor::Tensor,
};

use crate::support::{Case, cases, models_agree, python_or_skip};

/// A net in TEST with weights and what it makes of the recorded inputs.
struct Run {
    net: Net,
    params: Params,
    outputs: BTreeMap<String, Tensor>,
}

impl Run {
    fn new(
        net: &NetParameter,
        case: &Case,
        weights: Option<&NetParameter>,
    ) -> cortado::Result<Self> {
        let mut net = net.clone();
        net.force_backward = None;
        net.state = Some(NetState {
            phase: Some(Phase::Test.into()),
            ..NetState::default()
        });
        let mut params = Params::new();
        let options = NetOptions {
            keep: Keep::All,
            ..NetOptions::default()
        };
        let mut built = Net::new(&net, &mut params, &options, &mut Silent)?;
        match weights {
            Some(weights) => {
                caffemodel::copy_weights(weights, &built, &mut params)?;
            }
            None => case.fill(&mut built, &mut params),
        }
        let known = built
            .inputs()
            .iter()
            .map(|&n| n.to_owned())
            .collect::<Vec<_>>();
        let inputs: Vec<(&str, &Tensor)> = case
            .inputs()
            .into_iter()
            .filter(|(name, _)| known.iter().any(|k| k == name))
            .collect();
        built.set_inputs(&inputs)?;
        built.forward(&mut params)?;
        let outputs = built
            .output_values()
            .map(|(name, _, view)| {
                let tensor = Tensor::new(view.shape.clone(), view.data.to_vec()).unwrap();
                (name.to_owned(), tensor)
            })
            .collect();
        Ok(Self {
            net: built,
            params,
            outputs,
        })
    }

    fn export(&self) -> cortado::Result<Exported> {
        onnx::export(&self.net, &self.params, &ExportOptions::default())
    }
}

fn kind(case: &Case) -> String {
    case.name.split('/').next().unwrap().to_owned()
}

/// Recorded cases that run in TEST.
fn runs() -> Vec<(Case, Run)> {
    let runs = cases().into_iter().filter_map(|case| {
        let run = Run::new(&case.file.net, &case, None).ok()?;
        Some((case, run))
    });
    runs.collect()
}

/// Every case is written, or refused for what its layer is; onnxruntime makes the same of it.
#[test]
fn models_compute_what_nets_compute() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = BTreeSet::new();
    let mut count = 0;
    for (case, run) in runs() {
        let kind = kind(&case);
        let exported = match run.export() {
            Ok(exported) => exported,
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Unsupported,
                    "{}: {error}",
                    case.name
                );
                let role = layers::find(&kind).unwrap().role;
                let of_training = !matches!(role, Role::Plain | Role::Input);
                let empty = error.message().contains("holds no values");
                let padding = error.message().contains("lies in the padding");
                assert!(
                    of_training || empty || padding || !EXPORTED.contains(&&*kind),
                    "{}: {error}",
                    case.name
                );
                continue;
            }
        };
        written.insert(kind);
        count += 1;
        let path = dir
            .path()
            .join(format!("{}.onnx", case.name.replace('/', "-")));
        onnx::write(&path, &exported.model).unwrap();
        let arrays = (case.inputs().into_iter())
            .map(|(name, t)| (format!("in/{name}"), t.view()))
            .chain(
                run.outputs
                    .iter()
                    .map(|(name, t)| (format!("out/{name}"), t.view())),
            );
        npz::write_npz(&path.with_extension("npz"), arrays, false).unwrap();
    }
    assert!(count > 350, "{count}");
    let never: Vec<_> = EXPORTED.iter().filter(|k| !written.contains(**k)).collect();
    assert!(never.is_empty(), "no case of {never:?}");
    let Some(python) = python_or_skip(&["onnxruntime", "onnx", "numpy"]) else {
        return;
    };
    models_agree(&python, dir.path(), count, "value");
}

/// Types whose operators no layer does one by one.
const ONE_WAY: &[&str] = &[];

/// What is written is read again as a net that computes the same.
#[test]
fn models_are_read_back() {
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    let mut failures = Vec::new();
    for (case, run) in runs() {
        let Ok(exported) = run.export() else {
            continue;
        };
        let back = match onnx::import(&exported.model, &[]) {
            Ok(back) => back,
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Unsupported,
                    "{}: {error}",
                    case.name
                );
                refused.insert(kind(&case), format!("{}: {error}", case.name));
                continue;
            }
        };
        // Through the files, as the program goes.
        let mut net = back.net.clone();
        net.layer.iter_mut().for_each(|l| l.blobs.clear());
        let text = cortado::text::print("NetParameter", &net);
        let options = cortado::load::LoadOptions::default();
        let read = cortado::load::net_from_text("back", &text, options, &mut Silent).unwrap();
        let file: NetFile = read;
        let again = Run::new(&file.net, &case, Some(&back.net))
            .unwrap_or_else(|e| panic!("{}: {e}\n{text}", case.name));
        for (name, want) in &run.outputs {
            let Some(got) = again
                .outputs
                .get(name)
                .or_else(|| again.outputs.get(&format!("{name}_out")))
            else {
                failures.push(format!("{}: no '{name}'\n{text}", case.name));
                continue;
            };
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 + 1e-4 * b.abs() || a == b;
            if got.shape != want.shape || !got.data.iter().zip(&want.data).all(close) {
                failures.push(format!("{}: '{name}' differs\n{text}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let other: Vec<&String> = refused
        .iter()
        .filter(|(kind, _)| !ONE_WAY.contains(&&***kind))
        .map(|(_, why)| why)
        .collect();
    assert!(other.is_empty(), "{other:#?}");
}
