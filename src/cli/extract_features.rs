//! `extract_features`: blobs of a net on its own data, an entry a sample, as a database or as arrays.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    databases::work::{distinct, go_on, writable},
    signals::Signals,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer as _},
    feed::database::DatabaseWriter,
    graph,
    load::{self, LoadOptions},
    model_io::{caffemodel::Weights, npz},
    net::{Keep, Net, NetOptions},
    params::Params,
    schema::{Datum, NetState, Phase, data_parameter::Db},
    tensor::{Shape, Tensor, View},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "extract_features",
    about: "write blobs of a net, sample by sample, to a database or .npz",
    flags: &[
        Flag::operand("weights", "WEIGHTS", "The net's weights (.caffemodel)"),
        Flag::operand(
            "net",
            "NET",
            "The net's definition, with a data layer (.prototxt)",
        ),
        Flag::operand("blobs", "BLOBS", "The blobs to write, separated by commas"),
        Flag::operand(
            "targets",
            "TARGETS",
            "A database or .npz for each blob, separated by commas",
        ),
        Flag::operand("batches", "BATCHES", "How many batches to run"),
        Flag::operand("kind", "KIND", "lmdb, leveldb or npz"),
        Flag::operand(
            "mode",
            "[CPU|GPU]",
            "Accepted for scripts written for Caffe",
        ),
        Flag::operand("device", "[ID]", "Accepted for scripts written for Caffe"),
    ],
    examples: "  cortado extract_features net.caffemodel train_val.prototxt fc7,prob features_fc7,features_prob 10 lmdb\n  cortado extract_features net.caffemodel train_val.prototxt fc7 fc7.npz 10 npz",
    run,
};

/// Where the samples of a blob go.
enum Target {
    Database(DatabaseWriter),
    Array {
        path: PathBuf,
        shape: Vec<usize>,
        data: Vec<f32>,
    },
}

#[derive(Clone, Copy)]
enum Kind {
    Database(Db),
    Npz,
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "extract_features net.caffemodel train_val.prototxt fc7 features 10 lmdb";
    let weights = args.operand("weights", "the net's weights", example)?;
    let path = args.operand("net", "a net's definition", example)?;
    args.operand("targets", "the blobs and where they go", example)?;
    let (blobs, names) = (args.list("blobs"), args.list("targets"));
    distinct(names.iter().map(Path::new))?;
    if blobs.len() != names.len() {
        return Err(Error::new(
            ErrorKind::Param,
            format!("{} blobs and {} targets", blobs.len(), names.len()),
        )
        .help(format!(
            "give one target for each blob: {}",
            blobs.join(", ")
        )));
    }
    let batches: u64 = args.number("batches")?.ok_or_else(|| {
        Error::new(
            ErrorKind::Param,
            "extract_features needs a number of batches",
        )
        .help(format!("for example: cortado {example}"))
    })?;
    if batches == 0 {
        return Err(Error::param(
            "the number of batches",
            "0 batches hold no sample",
        ));
    }
    let kinds = [
        ("lmdb", Kind::Database(Db::Lmdb)),
        ("leveldb", Kind::Database(Db::Leveldb)),
        ("npz", Kind::Npz),
    ];
    let kind = args
        .word("kind", &kinds)?
        .unwrap_or(Kind::Database(Db::Lmdb));

    if let Kind::Npz = kind {
        names
            .iter()
            .try_for_each(|name| writable(Path::new(name)))?;
    }
    let (mut net, mut params) = open(&path, &weights, &blobs, ui)?;
    let signals = Signals::ending()?;
    let mut targets = Vec::new();
    for name in &names {
        let path = PathBuf::from(name);
        ui.log(
            "extract_features.cpp:121",
            &format!("Opening dataset {name}"),
        );
        targets.push(match kind {
            Kind::Database(kind) => Target::Database(DatabaseWriter::create(&path, kind)?),
            Kind::Npz => Target::Array {
                path,
                shape: Vec::new(),
                data: Vec::new(),
            },
        });
    }
    ui.log("extract_features.cpp:133", "Extracting Features");
    let mut counts = vec![0u64; blobs.len()];
    let bar = ui.bar("batches", batches);
    for _ in 0..batches {
        go_on(&signals)?;
        net.forward(&mut params)?;
        for ((blob, target), count) in blobs.iter().zip(&mut targets).zip(&mut counts) {
            let view = net.blob(blob).ok_or_else(|| missing(blob, &net))?;
            take(target, blob, view, count, ui)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    for ((blob, target), count) in blobs.iter().zip(targets).zip(counts) {
        finish(target, blob)?;
        ui.log("extract_features.cpp:172", &told(count, blob));
        ui.tell(&told(count, blob));
    }
    ui.log(
        "extract_features.cpp:177",
        "Successfully extracted the features!",
    );
    Ok(Status::Done)
}

fn told(count: u64, blob: &str) -> String {
    format!("Extracted features of {count} query images for feature blob {blob}")
}

fn missing(blob: &str, net: &Net) -> Error {
    Error::new(
        ErrorKind::Param,
        format!("Unknown feature blob name {blob} in the network"),
    )
    .help(format!("its blobs are {}", net.blob_names().join(", ")))
}

fn open(path: &Path, weights: &Path, blobs: &[String], ui: &mut Ui) -> Result<(Net, Params)> {
    let mut file = load::net(path, LoadOptions::default(), ui)?;
    let over = NetState {
        phase: Some(Phase::Test as i32),
        ..NetState::default()
    };
    file.net.state = Some(graph::state_of(&file.net, Phase::Test, Some(&over)));
    let weights = Weights::open(weights)?;
    let brought = |layer: &str, i: usize| weights.brings(layer, i);
    let mut params = Params::new();
    let options = NetOptions {
        keep: Keep::Outputs,
        wanted: blobs,
        brought: Some(&brought),
        locate: Some(&|index, field| file.place(index, field)),
        ..NetOptions::default()
    };
    let mut net = Net::new(&file.net, &mut params, &options, ui)?;
    if let Some(blob) = blobs.iter().find(|b| net.graph().latest(b).is_none()) {
        return Err(missing(blob, &net));
    }
    let report = weights.load(&net, &mut params)?;
    ui.on(&Event::Weights {
        file: weights.path(),
        copied: report.copied,
        ignored: &report.ignored,
        untouched: &report.untouched,
    });
    net.freeze(&mut params)?;
    Ok((net, params))
}

/// Adds the samples of a blob to its target, under the numbers that they have.
fn take(
    target: &mut Target,
    blob: &str,
    view: View<'_>,
    count: &mut u64,
    ui: &mut Ui,
) -> Result<()> {
    let samples = view.shape.legacy(0).max(1);
    let each = view.data.len() / samples;
    match target {
        Target::Array { shape, data, .. } => {
            let rest = view.shape.dims().get(1..).unwrap_or_default();
            if !shape.is_empty() && shape.get(1..) != Some(rest) {
                return Err(Error::shape(format!(
                    "blob '{blob}' is {} now and had another shape in the batch before",
                    view.shape
                )));
            }
            let before = shape.first().copied().unwrap_or(0);
            *shape = std::iter::once(before + samples)
                .chain(rest.iter().copied())
                .collect();
            data.extend_from_slice(view.data);
            let before = *count;
            *count += samples as u64;
            if *count / 1000 > before / 1000 {
                let round = *count - *count % 1000;
                ui.log("extract_features.cpp:162", &told(round, blob));
            }
        }
        Target::Database(writer) => {
            let side = |i: usize| i32::try_from(view.shape.legacy(i)).ok();
            for sample in view.data.chunks_exact(each.max(1)) {
                let datum = Datum {
                    channels: side(1),
                    height: side(2),
                    width: side(3),
                    float_data: sample.to_vec(),
                    ..Datum::default()
                };
                writer.put(format!("{count:010}").as_bytes(), &datum.encode_to_vec())?;
                *count += 1;
                if count.is_multiple_of(1000) {
                    ui.log("extract_features.cpp:162", &told(*count, blob));
                }
            }
        }
    }
    Ok(())
}

fn finish(target: Target, blob: &str) -> Result<()> {
    match target {
        Target::Database(writer) => writer.finish().map(|_| ()),
        Target::Array { path, shape, data } => {
            let tensor = Tensor {
                shape: Shape::checked(&shape)?,
                data,
            };
            let arrays = BTreeMap::from([(blob, tensor.view())]);
            npz::write_npz(&path, arrays, false)
        }
    }
}
