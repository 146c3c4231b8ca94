//! `convert_imageset`: a list of images to a database.

use std::path::Path;

use super::{BACKEND, BACKENDS, work::Work};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::{Contents, Encoding, Images, Options, Size, convert},
    error::Result,
    feed::{
        files::Folder,
        list::{Form, List},
    },
    schema::data_parameter::Db,
};

pub(in crate::cli) const ROOT: Flag = Flag::operand(
    "root",
    "ROOTFOLDER/",
    "What is put before each path of the list, as it is",
);
pub(in crate::cli) const LIST: Flag = Flag::operand(
    "list",
    "LISTFILE",
    "One image a line: its path, a blank and its label",
);
pub(in crate::cli) const GRAY: Flag =
    Flag::switch("gray", "Store one channel of brightness instead of colours");
pub(in crate::cli) const SHUFFLE: Flag =
    Flag::switch("shuffle", "Store the images in another order");
pub(in crate::cli) const SEED: Flag = Flag::value(
    "seed",
    "N",
    "Names the order that --shuffle draws (default 0)",
);
pub(in crate::cli) const WIDTH: Flag =
    Flag::value("resize_width", "N", "Width images are resized to");
pub(in crate::cli) const HEIGHT: Flag =
    Flag::value("resize_height", "N", "Height images are resized to");
pub(in crate::cli) const CHECK_SIZE: Flag =
    Flag::switch("check_size", "Make sure that all images are of one size");
pub(in crate::cli) const ENCODED: Flag = Flag::switch(
    "encoded",
    "Store the files of the images instead of their pixels",
);
pub(in crate::cli) const ENCODE_TYPE: Flag = Flag::value(
    "encode_type",
    "png|jpg|bmp",
    "The kind of file to store (default: that of the listed file)",
);

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "convert_imageset",
    about: "make a database of listed images and their labels",
    flags: &[
        ROOT,
        LIST,
        Flag::operand("database", "DB_NAME", "The database to make, a folder"),
        GRAY,
        SHUFFLE,
        SEED,
        BACKEND,
        WIDTH,
        HEIGHT,
        CHECK_SIZE,
        ENCODED,
        ENCODE_TYPE,
    ],
    examples: "  cortado convert_imageset --resize_height=256 --resize_width=256 --shuffle images/ train.txt train_lmdb\n  cortado convert_imageset --gray --backend=leveldb faces/ faces.txt faces_leveldb\n  cortado convert_imageset --encoded images/ train.txt train_lmdb",
    run,
};

const USAGE: &str = "convert_imageset images/ train.txt train_lmdb";

/// Height and width of `--resize_height` and `--resize_width`; as in Caffe, both or none count.
pub(in crate::cli) fn resize(args: &Args, ui: &mut Ui) -> Result<Option<[usize; 2]>> {
    let side = |name| Ok(args.number::<i64>(name)?.unwrap_or(0).max(0).unsigned_abs());
    let (height, width) = (side("resize_height")?, side("resize_width")?);
    if (height == 0) != (width == 0) {
        ui.warn("nothing is resized: that takes both --resize_height and --resize_width");
    }
    let side = |n| usize::try_from(n).unwrap_or(usize::MAX);
    Ok((height > 0 && width > 0).then(|| [side(height), side(width)]))
}

/// `--encoded` and `--encode_type`.
pub(in crate::cli) fn encoding(args: &Args, tag: &str, ui: &mut Ui) -> Encoding {
    match args.text("encode_type") {
        Some(kind) => {
            if !args.switch("encoded") {
                super::say(ui, tag, "encode_type specified, assuming encoded=true.");
            }
            Encoding::As(kind)
        }
        None if args.switch("encoded") => Encoding::AsListed,
        None => Encoding::Raw,
    }
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let root = super::root(args, USAGE)?;
    let list = args.operand("list", "a list of images", USAGE)?;
    let target = args.operand("database", "the name of the database to make", USAGE)?;
    let list = List::read(Path::new(""), &list.to_string_lossy(), Form::Label)?;
    let shuffle = match args.switch("shuffle") {
        true => Some(args.number("seed")?.unwrap_or(0)),
        false => None,
    };
    if shuffle.is_some() {
        super::say(ui, "convert_imageset.cpp:86", "Shuffling data");
    }
    let total = format!("A total of {} images.", list.len());
    super::say(ui, "convert_imageset.cpp:89", &total);
    let options = Options {
        images: Images {
            folder: Folder::new(Path::new(""), &root.to_string_lossy()),
            gray: args.switch("gray"),
            encoding: encoding(args, "convert_imageset.cpp:92", ui),
            size: resize(args, ui)?.map_or(Size::Own, Size::Fixed),
            state_size: false,
        },
        contents: Contents::Label,
        shuffle,
        check_size: args.switch("check_size"),
        backend: args.word("backend", BACKENDS)?.unwrap_or(Db::Lmdb),
    };
    let images = u64::try_from(list.len()).unwrap_or(0);
    let mut work = Work::begin(ui, "images", images, "convert_imageset.cpp:147", 1000)?;
    convert(&list, &options, &target, &mut work)?;
    work.end();
    Ok(Status::Done)
}
