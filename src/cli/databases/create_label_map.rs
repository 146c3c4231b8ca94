//! `create_label_map`: names of classes to a label map.

use std::fs;

use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::label_map,
    error::{Error, Result},
    model_io::write_file,
    text,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "create_label_map",
    about: "make a label map of a list of classes",
    flags: &[
        Flag::operand(
            "list",
            "MAPFILE",
            "One class a line: its name, its number and a name to show; the first alone will do",
        ),
        Flag::operand("output", "OUTFILE", "The label map to write, a prototxt"),
        Flag::switch(
            "include_background",
            "Begin with none_of_the_above as class 0",
        ),
        Flag::value(
            "delimiter",
            "CHARACTERS",
            "Fields are cut at each of these (default a blank)",
        ),
    ],
    examples: "  cortado create_label_map --include_background=true map.txt labelmap.prototxt",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usage = "create_label_map map.txt labelmap.prototxt";
    let list = args.operand("list", "a list of classes", usage)?;
    let output = args.operand("output", "the name of the label map to write", usage)?;
    let delimiter = args.text("delimiter").unwrap_or_else(|| " ".to_owned());
    let lines = fs::read_to_string(&list).map_err(|e| Error::io("read", &list, &e))?;
    let background = args.switch("include_background");
    let map = label_map(&list.to_string_lossy(), &lines, background, &delimiter)?;
    if lines.trim().is_empty() {
        return Err(
            Error::data(format!("'{}' names no classes", list.display()))
                .help("write one class a line: its name, its number and a name to show"),
        );
    }
    write_file(&output, text::print("LabelMap", &map).as_bytes())?;
    let text = format!("{} classes in {}", map.item.len(), output.display());
    super::say(ui, "cortado:1", &text);
    Ok(Status::Done)
}
