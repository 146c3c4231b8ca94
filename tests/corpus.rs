//! Nets from the wild, built: every net below the folder that `CORTADO_CORPUS` names whose layers are all in the
//! catalogue gets its shapes, in both phases, from the shapes of what it reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
};

use cortado::{
    events::Silent,
    graph, layers,
    load::{self, LoadOptions},
    net::{Net, NetOptions},
    params::Params,
    schema::{LayerParameter, NetParameter, NetState, Phase},
    tensor::Shape,
};

use crate::support::files;

/// Shapes of data that a net asks for and its data layer does not tell: part of the file's name, top, extents.
const SHAPES: &[(&str, &str, &[usize])] = &[
    ("SegNet-Tutorial", "data", &[1, 3, 360, 480]),
    ("SegNet-Tutorial", "label", &[1, 1, 360, 480]),
    ("tsn_bn_inception_rgb_train_val", "data", &[1, 9, 224, 224]),
    (
        "tsn_bn_inception_flow_train_val",
        "data",
        &[1, 30, 224, 224],
    ),
    ("mnist_autoencoder", "data", &[1, 1, 28, 28]),
    ("mnist_siamese", "pair_data", &[1, 2, 28, 28]),
    ("hed/4782d00d", "label", &[1, 1, 224, 224]),
    ("pose_train_test", "data", &[1, 4, 368, 368]),
    ("pose_train_test", "label", &[1, 114, 46, 46]),
];

/// Nets that do not build, each with its reason.
const BROKEN: &[(&str, &str)] = &[];

/// What a layer without bottoms would bring: batches of one image, and labels that go with them.
fn brought(file: &str, layer: &LayerParameter) -> Vec<(String, Shape)> {
    let transform = layer.transform_param.clone().unwrap_or_default();
    let dense = layer.dense_image_data_param.clone().unwrap_or_default();
    let images = layer.image_data_param.clone().unwrap_or_default();
    let resize = transform.resize_param.clone().unwrap_or_default();
    let sizes = [
        (transform.crop_size(), transform.crop_size()),
        (transform.crop_h(), transform.crop_w()),
        (dense.crop_height(), dense.crop_width()),
        (dense.new_height(), dense.new_width()),
        (images.new_height(), images.new_width()),
        (resize.height(), resize.width()),
        (224, 224),
    ];
    let (h, w) = sizes.into_iter().find(|&(h, w)| h * w > 0).unwrap();
    let (h, w) = (h as usize, w as usize);
    let memory = layer.memory_data_param.unwrap_or_default();
    layer
        .top
        .iter()
        .enumerate()
        .map(|(i, top)| {
            let told = (SHAPES.iter()).find(|(part, name, _)| file.contains(part) && top == name);
            if let Some((.., dims)) = told {
                return (top.clone(), Shape::new(dims));
            }
            let dims = match (layer.r#type(), i) {
                ("MemoryData", 0) => vec![
                    memory.batch_size() as usize,
                    memory.channels() as usize,
                    memory.height() as usize,
                    memory.width() as usize,
                ],
                ("MemoryData", _) => vec![memory.batch_size() as usize],
                ("AnnotatedData", 1) => vec![1, 1, 2, 8],
                ("DenseImageData", 1) => {
                    let smaller = dense.label_divide_factor().max(1) as usize;
                    vec![1, 1, h / smaller, w / smaller]
                }
                (_, 0) => vec![1, 3, h, w],
                _ => vec![1],
            };
            (top.clone(), Shape::new(&dims))
        })
        .collect()
}

/// The layers of a phase, data replaced by inputs; `None` where a type is not in the catalogue, or where the file is not
/// meant for the phase: a blob is read that only another phase or stage makes.
fn prepared(file: &str, net: &NetParameter, phase: Phase) -> Option<NetParameter> {
    let everywhere: BTreeSet<&String> = net.layer.iter().flat_map(|l| &l.top).collect();
    let mut kept = net.clone();
    let over = NetState {
        phase: Some(phase.into()),
        ..NetState::default()
    };
    kept.state = Some(graph::state_of(&kept, phase, Some(&over)));
    kept = graph::filter(&kept).ok()?.0;
    let fed = ["Input", "DummyData", "Parameter"];
    let mut shapes = Vec::new();
    let mut made: BTreeSet<&String> = BTreeSet::new();
    for layer in &kept.layer {
        if layer.bottom.is_empty() && !fed.contains(&layer.r#type()) {
            shapes.extend(brought(file, layer));
        } else if layers::of(layer).is_err() {
            return None;
        }
        let elsewhere = |b: &&String| !made.contains(b) && everywhere.contains(b);
        if layer.bottom.iter().any(|b| elsewhere(&b)) {
            return None;
        }
        made.extend(&layer.top);
    }
    let mut prepared = kept.clone();
    graph::stand_in(&mut prepared, &shapes).unwrap();
    Some(prepared)
}

fn build(net: &NetParameter, backward: bool) -> Result<usize, String> {
    let mut params = Params::new();
    let options = NetOptions {
        backward,
        // Shapes are what counts: no filler has to run.
        brought: Some(&|_, _| true),
        ..NetOptions::default()
    };
    let net = Net::new(net, &mut params, &options, &mut Silent).map_err(|e| e.to_string())?;
    Ok(net.graph().nodes.len())
}

#[test]
#[allow(clippy::print_stderr, reason = "to be read by whoever runs it")]
fn nets_from_the_wild_get_their_shapes() {
    let Some(folder) = env::var_os("CORTADO_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: CORTADO_CORPUS names no folder of prototxts");
        return;
    };
    let mut paths = files(&folder, ".prototxt");
    paths.extend(files(&folder, ".pt"));
    let (mut built, mut wrong) = (0, Vec::new());
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    for path in &paths {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy();
        let Some(net) = read(path) else { continue };
        for (phase, backward) in [(Phase::Train, true), (Phase::Test, false)] {
            let Some(net) = prepared(&name, &net, phase) else {
                let unknown = net.layer.iter().filter(|l| layers::of(l).is_err());
                unknown.for_each(|l| *missing.entry(l.r#type().to_owned()).or_default() += 1);
                continue;
            };
            let known = BROKEN.iter().find(|(broken, _)| *broken == name);
            match (build(&net, backward), known) {
                (Ok(nodes), None) => built += usize::from(nodes > 0),
                (Ok(_), Some((_, why))) => wrong.push(format!("{name} builds, though {why}")),
                (Err(error), None) => wrong.push(format!("{name}, {phase:?}: {error}")),
                (Err(_), Some(_)) => {}
            }
        }
    }
    eprintln!("{built} nets built; types that are not in the catalogue: {missing:?}");
    assert!(
        wrong.is_empty(),
        "{} nets:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(built > 100, "only {built} nets built");
}

/// The net of a file; `None` for solvers and for what `prototxt::files_from_the_wild_are_read` lists.
fn read(path: &Path) -> Option<NetParameter> {
    let file = load::net(path, LoadOptions::default(), &mut Silent).ok()?;
    (!file.net.layer.is_empty()).then_some(file.net)
}
