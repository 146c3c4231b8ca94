//! `parse_log`: the log of a training as two tables, as Caffe's `parse_log.py` makes them.

use std::path::{Path, PathBuf};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    ui::Ui,
};
use crate::{
    error::{Error, Result},
    model_io::write_file,
    report::log::{
        Log,
        table::{Table, tables},
    },
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "parse_log",
    about: "a training's log as tables: LOG.train and LOG.test, as parse_log.py writes them",
    flags: &[
        Flag::operand(
            "logfile_path",
            "LOG",
            "What a training wrote to standard error, Caffe's or ours, or a run.jsonl",
        ),
        Flag::operand(
            "output_dir",
            "DIR",
            "The folder for the tables (default: the log's own)",
        ),
        Flag::value(
            "delimiter",
            "CHAR",
            "What stands between columns (default: a comma); 'tab' for a tabulator",
        ),
        Flag::switch("verbose", "Say which files were written"),
        Flag::switch("json", "Print both tables as JSON instead of writing files"),
    ],
    examples: "  cortado parse_log train.log .\n  cortado parse_log train.log tables --delimiter=tab --verbose",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let log = args.operand("logfile_path", "a training's log", "parse_log train.log .")?;
    let delimiter = delimiter(args)?;
    let folder = match args.path("output_dir") {
        Some(folder) => folder,
        None => log.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let read = Log::open(&log)?;
    super::plot::warn_of_gaps(ui, &log, &read);
    let [train, tests] = tables(&read);
    if args.switch("json") {
        ui.json(&serde_json::json!({ "train": json(&train), "test": json(&tests) }))?;
        return Ok(Status::Done);
    }
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        return Err(
            Error::data(format!("there is no folder '{}'", folder.display()))
                .help(format!("make it first: mkdir {}", folder.display())),
        );
    }
    for (table, ending) in [(&train, "train"), (&tests, "test")] {
        let path = beside(&log, &folder, ending);
        if table.rows.is_empty() {
            if args.switch("verbose") {
                let text = format!("Not writing {}; no lines to write\n", path.display());
                ui.print(&text)?;
            }
            continue;
        }
        write_file(&path, &csv(table, delimiter)?)?;
        if args.switch("verbose") {
            ui.print(&format!("Wrote {}\n", path.display()))?;
        }
    }
    Ok(Status::Done)
}

/// `DIR/LOG.ending`.
fn beside(log: &Path, folder: &Path, ending: &str) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    folder.join(name)
}

fn delimiter(args: &Args) -> Result<u8> {
    let text = args.text("delimiter").unwrap_or_else(|| ",".to_owned());
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\r' | b'\n') => Ok(*one),
        _ => Err(Error::param(
            "--delimiter",
            format!("'{text}' is not a single ASCII character that can part columns"),
        )
        .help("give a comma, a semicolon, a space or 'tab'")),
    }
}

/// As Python's `csv` writes it: lines end with a carriage return and a line feed, and only what needs quotes has them.
fn csv(table: &Table, delimiter: u8) -> Result<Vec<u8>> {
    let fault = |e: &dyn std::fmt::Display| Error::data(format!("cannot write a table: {e}"));
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(&table.columns).map_err(|e| fault(&e))?;
    for row in &table.rows {
        writer.write_record(row.cells()).map_err(|e| fault(&e))?;
    }
    writer.into_inner().map_err(|e| fault(&e))
}

/// Rows as objects; what is not finite is null.
fn json(table: &Table) -> serde_json::Value {
    let rows = table.rows.iter().map(|row| {
        let mut object = serde_json::Map::new();
        let first = [
            serde_json::json!(row.iteration),
            serde_json::json!(row.seconds),
            serde_json::json!(row.rate),
        ];
        let values = row.outputs.iter().map(|value| serde_json::json!(value));
        for (name, value) in table.columns.iter().zip(first.into_iter().chain(values)) {
            object.insert(name.clone(), value);
        }
        serde_json::Value::Object(object)
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::table::Row;

    #[test]
    fn as_python_writes_it() {
        let table = Table {
            columns: ["NumIters", "Seconds", "LearningRate", "a,b", "c \"d\""]
                .map(str::to_owned)
                .to_vec(),
            rows: vec![Row {
                iteration: 10,
                seconds: Some(0.5),
                rate: None,
                outputs: vec![Some(1e-5), None],
            }],
        };
        let text = String::from_utf8(csv(&table, b',').unwrap()).unwrap();
        assert_eq!(
            text,
            "NumIters,Seconds,LearningRate,\"a,b\",\"c \"\"d\"\"\"\r\n10.0,0.5,nan,1e-05,\r\n"
        );
    }

    #[test]
    fn names_of_the_tables() {
        let path = beside(Path::new("logs/caffe.INFO"), Path::new("out"), "train");
        assert_eq!(path, Path::new("out/caffe.INFO.train"));
    }
}
