//! `get_image_size`: the sizes of listed images.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;

use super::{
    JSON,
    convert_imageset::ROOT,
    work::{Work, writable},
};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::{ImageSize, image_sizes},
    error::{Error, Place, Result},
    feed::{
        files::Folder,
        list::{Form, List},
    },
    model_io::write_file,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "get_image_size",
    about: "write down the sizes of listed images",
    flags: &[
        ROOT,
        Flag::operand(
            "list",
            "LISTFILE",
            "One image a line: its path; what follows is not read",
        ),
        Flag::operand(
            "output",
            "OUTFILE",
            "The file to write: name, height and width on a line; with --json it may be left out",
        ),
        Flag::value(
            "name_id_file",
            "FILE",
            "Numbers to write instead of names: a name and its number on a line",
        ),
        JSON,
    ],
    examples: "  cortado get_image_size VOCdevkit/ test.txt test_name_size.txt\n  cortado get_image_size --json VOCdevkit/ test.txt",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usage = "get_image_size VOCdevkit/ test.txt test_name_size.txt";
    let root = super::root(args, usage)?;
    let list = args.operand("list", "a list of images", usage)?;
    let json = args.switch("json");
    let output = match args.path("output") {
        None if json => None,
        _ => Some(args.operand("output", "the name of the file to write", usage)?),
    };
    output.as_deref().map(writable).transpose()?;
    let list = List::read(Path::new(""), &list.to_string_lossy(), Form::Path)?;
    let ids = args
        .path("name_id_file")
        .map(|path| ids(&path))
        .transpose()?;
    let total = format!("A total of {} images.", list.len());
    super::say(ui, "get_image_size.cpp:61", &total);
    // SSD's tool joins folder and path; the others put one before the other.
    let mut root = root.to_string_lossy().into_owned();
    if !root.is_empty() && !root.ends_with('/') {
        root.push('/');
    }
    let folder = Folder::new(Path::new(""), &root);
    let images = u64::try_from(list.len()).unwrap_or(0);
    let mut work = Work::begin(ui, "images", images, "get_image_size.cpp:100", 1000)?;
    let sizes = image_sizes(&list, &folder, ids.as_ref(), &mut work)?;
    work.end();
    if let Some(output) = output {
        let text: String = sizes.iter().map(ImageSize::line).collect();
        write_file(&output, text.as_bytes())?;
    }
    if json {
        let each = sizes.iter().map(|size| {
            let id = size.name.parse::<i64>().ok().filter(|_| ids.is_some());
            json!({
                "image": size.path, "name": id.map_or_else(|| json!(size.name), |id| json!(id)),
                "height": size.height, "width": size.width,
            })
        });
        ui.json(&each.collect())?;
    }
    Ok(Status::Done)
}

/// Names and their numbers.
fn ids(path: &Path) -> Result<BTreeMap<String, i64>> {
    let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
    let mut ids = BTreeMap::new();
    for (line, words) in (1..).zip(text.lines()) {
        let mut each = words.split_whitespace();
        let wrong = |what: String| {
            Error::data(what).at(Place::Text {
                file: path.display().to_string(),
                line,
                column: 1,
                excerpt: words.to_owned(),
                width: words.chars().count().max(1),
            })
        };
        let (Some(name), number) = (each.next(), each.next()) else {
            continue;
        };
        let number = number.and_then(|n| n.parse().ok());
        let number =
            number.ok_or_else(|| wrong("the line is no name and its number".to_owned()))?;
        if ids.insert(name.to_owned(), number).is_some() {
            return Err(wrong(format!("the name '{name}' comes twice")));
        }
    }
    Ok(ids)
}
