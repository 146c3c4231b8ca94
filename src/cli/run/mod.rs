//! `run`: a net forward, and backward if wanted, on the user's own input; every blob out.

pub(super) mod feed;
mod output;

use serde_json::{Value, json};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    table::Table,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    net::{Keep, Net},
    number::g,
    schema::Phase,
    tensor::View,
};
use feed::Feed;
use output::Output;

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "run",
    about: "run a net on arrays, images or a database, and keep every blob",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        feed::INPUT,
        feed::LMDB,
        feed::RESIZE,
        feed::MEAN,
        feed::SCALE,
        Flag::value("output", "FILE", "Write blobs to this .npz"),
        Flag::value(
            "blobs",
            "NAMES",
            "Write only these blobs, separated by commas",
        ),
        Flag::switch(
            "backward",
            "Run backward too; writes diff/<blob> and grad_param/<layer>/<i> as well",
        ),
        Flag::value("iterations", "N", "How many batches to run (default 1)"),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
        nets::SEED,
        nets::EXACT,
        nets::PRECISION,
        nets::CALIBRATION,
        Flag::switch("json", "Print the table of outputs as JSON"),
    ],
    examples: "  cortado run --model=deploy.prototxt --weights=net.caffemodel --input=face.png --scale=0.0078125 --output=blobs.npz\n  cortado run --model=net.prototxt --input=data=x.npy --backward --output=blobs.npz\n  cortado run --model=train_val.prototxt --weights=net.caffemodel --iterations=10 --output=blobs.npz",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "run --model=deploy.prototxt --input=data=x.npz";
    let iterations = args.count("iterations", 1)?;
    let backward = args.switch("backward");
    let wanted = args.list("blobs");
    let wish = Wish {
        phase: Phase::Test,
        own_state: true,
        backward,
        keep: match (backward, args.path("output")) {
            (true, _) => Keep::All,
            (false, Some(_)) if wanted.is_empty() => Keep::Named,
            _ => Keep::Outputs,
        },
        wanted: wanted.clone(),
        frozen: !backward,
    };
    let Loaded {
        mut net,
        mut params,
    } = nets::load(args, &wish, example, ui)?;
    if let Some(unknown) = wanted
        .iter()
        .find(|name| net.graph().latest(name).is_none())
    {
        return Err(
            Error::new(ErrorKind::Param, format!("the net has no blob '{unknown}'"))
                .help(format!("its blobs are {}", net.blob_names().join(", "))),
        );
    }
    if backward && !net.graph().nodes.iter().any(|n| n.needs_backward) {
        return Err(Error::new(
            ErrorKind::Param,
            "backward has nowhere to start: no layer counts in a loss",
        )
        .help("add a loss layer, or force_backward: true to get the gradient of every output"));
    }
    let mut feed = Feed::open(args, &net)?;
    let mut output = Output::default();
    let bar = ui.bar("run", iterations as u64);
    for _ in 0..iterations {
        feed.next(&mut net)?;
        params.clear_grads();
        let loss = net.forward(&mut params)?;
        if net.graph().losses().next().is_some() {
            ui.log("cortado:1", &format!("Loss: {}", g(loss)));
            ui.tell(&format!("loss {}", g(loss)));
        }
        if backward {
            net.backward(&mut params)?;
        }
        output.take(&net, &params, &wanted, backward, iterations > 1)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(path) = args.path("output") {
        output.write(&path)?;
        ui.log("cortado:1", &format!("Blobs written to {}", path.display()));
        ui.tell(&format!("{} arrays in {}", output.len(), path.display()));
    }
    match args.switch("json") {
        true => ui.json(&summary_json(&net))?,
        false => ui.print(&summary(&net))?,
    }
    Ok(Status::Done)
}

/// [`summary`] as JSON.
fn summary_json(net: &Net) -> Value {
    let outputs = net.output_values().map(|(name, _, view)| {
        let [min, mean, max] = range(view);
        json!({ "output": name, "shape": view.shape.dims(), "min": min, "mean": mean, "max": max })
    });
    json!({ "outputs": outputs.collect::<Vec<_>>() })
}

/// The outputs of the last batch.
fn summary(net: &Net) -> String {
    let mut table = Table::new(2, &["output", "shape", "min", "mean", "max"]);
    for (name, _, view) in net.output_values() {
        let [min, mean, max] = range(view).map(g);
        table.row(vec![
            name.to_owned(),
            view.shape.to_string(),
            min,
            mean,
            max,
        ]);
    }
    table.to_string()
}

fn range(view: View<'_>) -> [f64; 3] {
    let values = || view.data.iter().map(|&x| f64::from(x));
    [
        values().fold(f64::INFINITY, f64::min),
        values().sum::<f64>() / view.data.len().max(1) as f64,
        values().fold(f64::NEG_INFINITY, f64::max),
    ]
}
