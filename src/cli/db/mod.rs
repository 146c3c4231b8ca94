//! `db`: a workbench for databases, one word for each thing to do with them.

mod arrange;
mod compare;
mod inspect;
mod labels;
mod stats;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    databases::{BACKENDS, convert_imageset, work::Work},
    nets,
    ui::{self, Ui},
};
use crate::{
    error::{Error, ErrorKind, Result},
    feed::database::Database,
    nearest::nearest,
    schema::data_parameter::Db,
};

/// A thing to do.
struct Action {
    name: &'static str,
    /// The words after it.
    words: &'static str,
    about: &'static str,
    /// How many words it takes, at least and at most.
    count: (usize, usize),
    run: fn(&Args, &[PathBuf], &mut Ui) -> Result<Status>,
}

const ACTIONS: &[Action] = &[
    Action {
        name: "info",
        words: "DB",
        about: "what kind of database it is, how many records, what the first one is",
        count: (1, 1),
        run: inspect::info,
    },
    Action {
        name: "ls",
        words: "DB",
        about: "every key with label, size and encoding (--limit)",
        count: (1, 1),
        run: inspect::ls,
    },
    Action {
        name: "show",
        words: "DB KEY",
        about: "one record in words, or as a picture (--out=record.png)",
        count: (2, 2),
        run: inspect::show,
    },
    Action {
        name: "stats",
        words: "DB",
        about: "sizes, encodings, labels, mean, duplicates, records that cannot be read",
        count: (1, 1),
        run: stats::stats,
    },
    Action {
        name: "diff",
        words: "DB DB",
        about: "what differs, key by key; exit code 1 where anything does (--limit)",
        count: (2, 2),
        run: compare::diff,
    },
    Action {
        name: "pair",
        words: "DB DB",
        about: "whether both hold the same keys in the same order; exit code 1 where not",
        count: (2, 2),
        run: compare::pair,
    },
    Action {
        name: "shuffle",
        words: "DB NEW [DB NEW]",
        about: "records in another order, a pair of databases together (--seed)",
        count: (2, 4),
        run: arrange::shuffle,
    },
    Action {
        name: "split",
        words: "DB NEW NEW",
        about: "a share of the records apart from the rest (--share, --seed)",
        count: (3, 3),
        run: arrange::split,
    },
    Action {
        name: "merge",
        words: "NEW DB DB ...",
        about: "the records of all one after the other (--keep_keys)",
        count: (2, usize::MAX),
        run: arrange::merge,
    },
    Action {
        name: "export",
        words: "DB FOLDER",
        about: "images as files, with a list of their labels",
        count: (2, 2),
        run: arrange::export,
    },
    Action {
        name: "labels",
        words: "LIST|FOLDER NEW",
        about: "label maps to a database of labels, at a net's own cells (--like, --blob)",
        count: (2, 2),
        run: labels::labels,
    },
    Action {
        name: "class-weights",
        words: "DB",
        about: "weights by median frequency for a loss_param (--classes, --ignore_label)",
        count: (1, 1),
        run: labels::class_weights,
    },
];

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "db",
    about: "look at databases, compare, rearrange and export them",
    flags: &[
        Flag::operand(
            "action",
            "ACTION",
            "info, ls, show, stats, diff, pair, shuffle, split, merge, export, labels or class-weights",
        ),
        Flag::operand(
            "words",
            "DATABASES",
            "What it is done with; LMDB or LevelDB is found out",
        )
        .many(),
        Flag::switch("json", "Print JSON instead of a table, or of what was made"),
        Flag::value(
            "limit",
            "N",
            "Records or differences to tell at most (ls: all, diff: 20)",
        ),
        Flag::value(
            "out",
            "FILE.png",
            "Where show writes the record as a picture",
        ),
        Flag::value("seed", "N", "Names what shuffle and split draw (default 0)"),
        Flag::value(
            "share",
            "X",
            "The share of records that split gives to the first new database (default 0.9)",
        ),
        Flag::value(
            "backend",
            "lmdb|leveldb",
            "The kind of new databases (default: as the old; labels: lmdb)",
        ),
        Flag::switch(
            "keep_keys",
            "merge leaves keys as they are instead of giving new numbers",
        ),
        Flag::value(
            "root",
            "FOLDER/",
            "What labels puts before each path of its list, as it is",
        ),
        Flag::value(
            "like",
            "FILE",
            "The net whose cells labels takes, with its stride and its crop",
        ),
        Flag::value(
            "blob",
            "NAME",
            "The blob of that net which is compared with the labels",
        ),
        Flag::value(
            "sampling",
            "middle|most",
            "A cell's label: that of the pixel at its middle, or of most of its pixels (default middle)",
        ),
        Flag::value("map", "FROM:TO,...", "Labels that become others: 255:0,7:1"),
        Flag::value(
            "keys",
            "DB",
            "The database of images whose keys the labels get, in its order",
        ),
        convert_imageset::HEIGHT,
        convert_imageset::WIDTH,
        Flag::value(
            "classes",
            "N",
            "How many classes there are (default: the net's channels, or as many as are found)",
        ),
        Flag::value(
            "ignore_label",
            "N",
            "The label that stands for none (default 255; -1: there is none)",
        ),
        Flag::switch(
            "by_label",
            "class-weights counts the labels of records instead of their pixels",
        ),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
    ],
    examples: "  cortado db info train_lmdb\n  cortado db show train_lmdb 00000003_cat.jpg --out=cat.png\n  cortado db stats train_lmdb --json\n  cortado db pair train_lmdb train_label_lmdb\n  cortado db shuffle train_lmdb new_lmdb train_label_lmdb new_label_lmdb --seed=7\n  cortado db split all_lmdb train_lmdb test_lmdb --share=0.8\n  cortado db merge both_lmdb one_lmdb other_lmdb\n  cortado db export train_lmdb pictures\n  cortado db labels maps.txt train_label_lmdb --root=maps/ --like=train_val.prototxt --blob=conv_last --keys=train_lmdb\n  cortado db class-weights train_label_lmdb",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let Some(name) = args.text("action") else {
        ui.print(&overview())?;
        return Ok(Status::Done);
    };
    let name = name.replace('_', "-");
    let Some(action) = ACTIONS.iter().find(|action| action.name == name) else {
        let names = || ACTIONS.iter().map(|action| action.name);
        let error = Error::new(ErrorKind::Param, format!("db has no action '{name}'"));
        return Err(match nearest(&name, names()) {
            Some(near) => error.help(format!("did you mean 'db {near}'?")),
            None => error.help(format!(
                "its actions are {}",
                names().collect::<Vec<_>>().join(", ")
            )),
        });
    };
    let words = args.all_paths("words");
    let (least, most) = action.count;
    if words.len() < least || words.len() > most {
        return Err(Error::new(
            ErrorKind::Param,
            format!(
                "db {name} takes {}, and got {}",
                action.words,
                match words.len() {
                    0 => "nothing".to_owned(),
                    1 => "one word".to_owned(),
                    n => format!("{n} words"),
                }
            ),
        )
        .help(format!("write: db {name} {}", action.words)));
    }
    (action.run)(args, &words, ui)
}

fn overview() -> String {
    let mut text = String::from("db ACTION DATABASES\n\n");
    for action in ACTIONS {
        let call = format!("{} {}", action.name, action.words);
        text += &format!("  {call:<26}{}\n", action.about);
    }
    text + "\n'db --help' tells the flags.\n"
}

/// Opens a database of the words of a line.
fn open(path: &Path) -> Result<Database> {
    Database::open(path)
}

/// Begins work on the records of databases.
fn begin<'u>(ui: &'u mut Ui, databases: &[&Database]) -> Result<Work<'u>> {
    let mut records = 0;
    for database in databases {
        // A LevelDB would be read from end to end for it.
        records += database.records_known().unwrap_or(0);
    }
    Work::begin(ui, "records", records, "cortado:1", 100_000)
}

/// `--backend`.
fn backend(args: &Args) -> Result<Option<Db>> {
    args.word("backend", BACKENDS)
}

/// Tells what was made, each by its path, with its number of records; `words` are for a person.
fn made(args: &Args, ui: &mut Ui, made: &[(&Path, u64)], words: &str) -> Result<()> {
    for (path, count) in made {
        let text = format!("{count} {words} {}", path.display());
        ui.log("cortado:1", &text);
        ui.tell(&text);
    }
    if args.switch("json") {
        let each = made
            .iter()
            .map(|(path, count)| json!({"path": path.display().to_string(), "records": count}));
        ui.json(&each.collect())?;
    }
    Ok(())
}

/// Extents as text: `3x32x32`.
fn size([c, h, w]: [usize; 3]) -> String {
    format!("{c}x{h}x{w}")
}

/// The name of a kind of database.
fn kind(kind: Db) -> &'static str {
    match kind {
        Db::Lmdb => "LMDB",
        Db::Leveldb => "LevelDB",
    }
}

/// Prints without regard to bars, for lines that come one after the other.
fn line(text: &str) -> Result<()> {
    ui::write(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_and_the_help_name_every_action() {
        let overview = overview();
        for action in ACTIONS {
            assert!(
                overview.contains(&format!("\n  {} ", action.name)),
                "{}",
                action.name
            );
            assert!(
                COMMAND.flags[0].help.contains(action.name),
                "{}",
                action.name
            );
        }
    }
}
