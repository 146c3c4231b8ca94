//! `weights`: what is in a file of weights, and changes to it that need no net.

use std::path::Path;

use serde_json::{Value, json};

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    signals,
    table::Table,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model_io::weights::{Difference, Figures, Layer, Model, compare},
    nearest::nearest,
    number::g,
    tensor::{Shape, Tensor},
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "weights",
    about: "look into files of weights, compare, rename, strip and convert them",
    flags: &[
        Flag::operand(
            "action",
            "ACTION",
            "list, shapes, norms, histograms, diff, rename, strip or convert",
        ),
        Flag::operand(
            "files",
            "FILE",
            "The weights: .caffemodel, .caffemodel.h5 or .npz; for diff two, for the last three what is read and what is written",
        )
        .many(),
        Flag::value(
            "layers",
            "NAMES",
            "These layers alone, separated by commas; conv* is all that begin so. For strip: what is taken out",
        ),
        Flag::value(
            "rename",
            "OLD:NEW",
            "For rename, pairs separated by commas: conv1:stem,block1/*:a/*",
        ),
        Flag::value("bins", "N", "Parts of a histogram (default 32)"),
        Flag::value(
            "tolerance",
            "X",
            "For diff: parameters this far apart, relative to the first, are equal (default 0)",
        ),
        Flag::switch("json", "Print one JSON object instead of a table"),
    ],
    examples: "  cortado weights list net.caffemodel\n  cortado weights norms net.caffemodel --layers=conv*\n  cortado weights diff before.caffemodel after.caffemodel\n  cortado weights rename old.caffemodel new.caffemodel --rename=fc8:fc8_mine\n  cortado weights strip net.caffemodel small.caffemodel --layers=loss*\n  cortado weights convert net.caffemodel net.npz",
    run,
};

/// What an action does.
type Act = fn(&Call<'_>, &mut Ui) -> Result<Status>;

const ACTIONS: &[(&str, Act)] = &[
    ("list", list),
    ("shapes", shapes),
    ("norms", norms),
    ("histograms", histograms),
    ("diff", diff),
    ("rename", rename),
    ("strip", strip),
    ("convert", convert),
];

/// A call with its files.
struct Call<'a> {
    args: &'a Args,
    files: Vec<String>,
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    signals::tidy()?;
    let names = || ACTIONS.iter().map(|(name, _)| *name);
    let example = "weights list net.caffemodel";
    let action = args.operand("action", "to be told what to do", example)?;
    let action = action.to_string_lossy();
    let Some((_, act)) = ACTIONS.iter().find(|(name, _)| *name == action) else {
        let error = Error::new(
            ErrorKind::Param,
            format!("weights does not know how to '{action}'"),
        );
        return Err(match nearest(&action, names()) {
            Some(near) => error.help(format!("did you mean '{near}'?")),
            None => error.help(format!("it can {}", names().collect::<Vec<_>>().join(", "))),
        });
    };
    let call = Call {
        args,
        files: args.all("files"),
    };
    act(&call, ui)
}

impl Call<'_> {
    /// The files, as many as an action takes.
    fn files<const N: usize>(&self, what: &str) -> Result<[&str; N]> {
        let files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        files.try_into().map_err(|files: Vec<&str>| {
            Error::new(
                ErrorKind::Param,
                match files.len() {
                    1 => format!("one file was given; this takes {what}"),
                    n => format!("{n} files were given; this takes {what}"),
                },
            )
        })
    }

    /// The one file that is looked at, without the layers that are not asked for.
    fn model(&self) -> Result<Model> {
        let [file] = self.files("one file of weights")?;
        let mut model = Model::read(file.as_ref())?;
        self.select(&mut model)?;
        Ok(model)
    }

    fn select(&self, model: &mut Model) -> Result<()> {
        let wanted = self.args.list("layers");
        let fits = |pattern: &String, name: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        };
        for pattern in &wanted {
            if !model.layers.iter().any(|l| fits(pattern, l.name())) {
                let names = model.layers.iter().map(Layer::name);
                let error = Error::param("--layers", format!("no layer is named '{pattern}'"));
                return Err(match nearest(pattern, names) {
                    Some(near) => error.help(format!("did you mean '{near}'?")),
                    None => error,
                });
            }
        }
        if !wanted.is_empty() {
            model
                .layers
                .retain(|l| wanted.iter().any(|pattern| fits(pattern, l.name())));
        }
        Ok(())
    }

    fn print(&self, ui: &mut Ui, table: impl FnOnce() -> String, json: Value) -> Result<Status> {
        if self.args.switch("json") {
            ui.json(&json)?;
        } else {
            ui.print(&table())?;
        }
        Ok(Status::Done)
    }

    /// One row for each parameter.
    fn rows(
        &self,
        ui: &mut Ui,
        head: &[&str],
        row: impl Fn(&Tensor) -> (Vec<String>, Value),
    ) -> Result<Status> {
        let model = self.model()?;
        let head = [&["layer", "#"], head].concat();
        let mut table = Table::new(1, &head);
        let mut all = Vec::new();
        for layer in &model.layers {
            for (i, tensor) in layer.tensors() {
                let (cells, mut value) = row(tensor);
                table.row([vec![layer.name().to_owned(), i.to_string()], cells].concat());
                if let Value::Object(fields) = &mut value {
                    fields.insert("layer".into(), layer.name().into());
                    fields.insert("index".into(), i.into());
                    fields.insert("shape".into(), json!(tensor.shape.dims()));
                }
                all.push(value);
            }
        }
        let json = json!({ "net": model.name, "values": model.count(), "parameters": all });
        self.print(ui, || table.to_string(), json)
    }
}

fn extents(shape: &Shape) -> String {
    let dims: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
    match dims.is_empty() {
        true => "scalar".to_owned(),
        false => dims.join("x"),
    }
}

fn list(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let model = call.model()?;
    let mut table = Table::new(2, &["layer", "type", "parameters", "values", "bytes"]);
    let mut all = Vec::new();
    for layer in &model.layers {
        let values: usize = layer.tensors().map(|(_, t)| t.data.len()).sum();
        table.row(vec![
            layer.name().to_owned(),
            layer.kind().to_owned(),
            layer.blobs.len().to_string(),
            values.to_string(),
            (4 * values).to_string(),
        ]);
        let shapes: Vec<_> = layer
            .tensors()
            .map(|(_, t)| json!(t.shape.dims()))
            .collect();
        all.push(json!({
            "name": layer.name(), "type": layer.kind(), "values": values, "shapes": shapes,
        }));
    }
    let total = model.count();
    let json = json!({ "net": model.name, "values": total, "layers": all });
    call.print(
        ui,
        || {
            let name = match model.name.as_str() {
                "" => String::new(),
                name => format!("net '{name}': "),
            };
            format!(
                "{table}{name}{} layers, {total} values, {} bytes\n",
                model.layers.len(),
                4 * total
            )
        },
        json,
    )
}

fn shapes(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    call.rows(ui, &["shape", "values"], |tensor| {
        let cells = vec![extents(&tensor.shape), tensor.data.len().to_string()];
        (cells, json!({ "values": tensor.data.len() }))
    })
}

fn norms(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let head = [
        "shape",
        "l2",
        "mean",
        "std",
        "min",
        "max",
        "zeros",
        "not finite",
    ];
    call.rows(ui, &head, |tensor| {
        let f = Figures::of(&tensor.data);
        let mut cells = vec![extents(&tensor.shape)];
        cells.extend([f.l2, f.mean, f.std, f.min, f.max].map(g));
        cells.extend([f.zeros, f.bad].map(|n| n.to_string()));
        (cells, figures(&f))
    })
}

fn figures(f: &Figures) -> Value {
    json!({
        "count": f.count, "zeros": f.zeros, "not_finite": f.bad, "min": f.min, "max": f.max,
        "mean": f.mean, "std": f.std, "l1": f.l1, "l2": f.l2,
    })
}

fn histograms(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let bins = call.args.count("bins", 32)?.min(1 << 12);
    call.rows(ui, &["from", "to", "values"], |tensor| {
        let f = Figures::of(&tensor.data);
        let counts = f.histogram(&tensor.data, bins);
        let cells = vec![g(f.min), g(f.max), bars(&counts)];
        let mut json = figures(&f);
        json["counts"] = json!(counts);
        (cells, json)
    })
}

/// Counts as bars of eight heights.
fn bars(counts: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |&n: &u64| match n {
        0 => ' ',
        n => HEIGHTS[(n * 8).div_ceil(most).clamp(1, 8) as usize - 1],
    };
    counts.iter().map(bar).collect()
}

fn diff(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let [first, second] = call.files("two files of weights")?;
    let (mut a, mut b) = (Model::read(first.as_ref())?, Model::read(second.as_ref())?);
    if !call.args.list("layers").is_empty() {
        call.select(&mut a)?;
        // What only the first has is a difference, not a mistake.
        let names: Vec<String> = a.layers.iter().map(|l| l.name().to_owned()).collect();
        b.layers.retain(|l| names.iter().any(|n| n == l.name()));
    }
    let tolerance: f64 = call.args.number("tolerance")?.unwrap_or(0.0);
    let rows = compare(&a, &b);
    let equal = |d: &Difference| d.same_shape() && d.apart.is_some_and(|a| a.relative <= tolerance);
    let mut table = Table::new(
        1,
        &[
            "layer", "#", "first", "second", "max abs", "relative", "differ", "",
        ],
    );
    let mut all = Vec::new();
    for row in &rows {
        let shape = |s: &Option<Shape>| s.as_ref().map_or("-".to_owned(), extents);
        let mut cells = vec![row.layer.clone(), row.index.to_string()];
        cells.extend(row.shapes.iter().map(shape));
        cells.extend(match row.apart {
            Some(a) => [g(a.max), g(a.relative), a.count.to_string()],
            None => ["-", "-", "-"].map(str::to_owned),
        });
        cells.push(if equal(row) { "ok" } else { "OUT" }.to_owned());
        table.row(cells);
        all.push(json!({
            "layer": row.layer, "index": row.index,
            "shapes": row.shapes.iter().map(|s| s.as_ref().map(|s| s.dims().to_vec())).collect::<Vec<_>>(),
            "max_abs": row.apart.map(|a| a.max),
            "relative": row.apart.map(|a| a.relative),
            "differ": row.apart.map(|a| a.count),
            "equal": equal(row),
        }));
    }
    let same = rows.iter().filter(|r| equal(r)).count();
    let json = json!({ "first": first, "second": second, "equal": same, "parameters": all });
    call.print(
        ui,
        || format!("{table}{same} of {} parameters are equal\n", rows.len()),
        json,
    )?;
    Ok(if same == rows.len() {
        Status::Done
    } else {
        Status::Failed
    })
}

impl Call<'_> {
    /// The file that is read and the one that is written, whose ending says what it becomes.
    fn ends(&self) -> Result<[&str; 2]> {
        let [from, to] = self.files("two: what is read and what is written")?;
        let endings = ["caffemodel", "h5", "npz"];
        let ending = Path::new(to).extension().and_then(|e| e.to_str());
        if !ending.is_some_and(|e| endings.contains(&e)) {
            return Err(Error::new(
                ErrorKind::Param,
                format!("'{to}' does not say what it is to be"),
            )
            .help("let its name end with .caffemodel, .caffemodel.h5 or .npz"));
        }
        Ok([from, to])
    }

    fn written(&self, ui: &mut Ui, model: Model, path: &str, gone: &[String]) -> Result<Status> {
        let (layers, values) = (model.layers.len(), model.count());
        model.write(path.as_ref())?;
        let json = json!({ "output": path, "layers": layers, "values": values, "left_out": gone });
        let text = || {
            let gone = match gone {
                [] => String::new(),
                gone => format!("left out: {}\n", gone.join(", ")),
            };
            format!("{gone}wrote {layers} layers, {values} values to {path}\n")
        };
        self.print(ui, text, json)
    }
}

fn rename(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let [from, to] = call.ends()?;
    let mut pairs = Vec::new();
    for pair in call.args.list("rename") {
        let Some((old, new)) = pair.rsplit_once(':') else {
            return Err(Error::param("--rename", format!("'{pair}' is no OLD:NEW")));
        };
        pairs.push((old.to_owned(), new.to_owned()));
    }
    if pairs.is_empty() {
        return Err(Error::new(ErrorKind::Param, "no layer is to be renamed")
            .help("say which: --rename=old:new,block1/*:a/*"));
    }
    let mut model = Model::read(from.as_ref())?;
    model.rename(&pairs)?;
    call.written(ui, model, to, &[])
}

fn strip(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let [from, to] = call.ends()?;
    let mut model = Model::read(from.as_ref())?;
    let gone = model.strip(&call.args.list("layers"))?;
    call.written(ui, model, to, &gone)
}

fn convert(call: &Call<'_>, ui: &mut Ui) -> Result<Status> {
    let [from, to] = call.ends()?;
    call.written(ui, Model::read(from.as_ref())?, to, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_that_something_is_there() {
        assert_eq!(bars(&[0, 1, 4, 8, 1000]), " ▁▁▁█");
        assert_eq!(bars(&[1, 2]), "▄█");
        assert_eq!(bars(&[0]), " ");
    }

    #[test]
    fn shapes_in_short() {
        assert_eq!(extents(&Shape::from([3, 4])), "3x4");
        assert_eq!(extents(&Shape::default()), "scalar");
    }
}
