//! `convert_annoset`: a list of images with labels or boxes to a database of SSD's records.

use std::path::Path;

use super::{
    BACKEND, BACKENDS,
    convert_imageset::{
        CHECK_SIZE, ENCODE_TYPE, ENCODED, GRAY, HEIGHT, ROOT, SEED, SHUFFLE, WIDTH, encoding,
        resize,
    },
    work::Work,
};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::{AnnotationFormat, Annotations, Contents, Images, Options, Size, convert},
    error::{Error, ErrorKind, Result},
    feed::{
        files::Folder,
        list::{Form, List},
    },
    schema::{LabelMap, data_parameter::Db},
    text,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "convert_annoset",
    about: "make a database of images with boxes, as SSD's nets read it",
    flags: &[
        ROOT,
        Flag::operand(
            "list",
            "LISTFILE",
            "One image a line: its path, a blank and its label or its file of annotations",
        ),
        Flag::operand("database", "DB_NAME", "The database to make, a folder"),
        GRAY,
        SHUFFLE,
        SEED,
        BACKEND,
        Flag::value(
            "anno_type",
            "classification|detection",
            "What stands beside an image: a label, or a file with boxes (default classification)",
        ),
        Flag::value(
            "label_type",
            "xml|json|txt",
            "The kind of files with boxes (default xml)",
        ),
        Flag::value(
            "label_map_file",
            "FILE",
            "The names of classes and their numbers, as create_label_map writes them",
        ),
        Flag::switch(
            "check_label",
            "Make sure that the label map has no name twice",
        ),
        Flag::value(
            "min_dim",
            "N",
            "Enlarge images so that their shorter side has this length",
        ),
        Flag::value(
            "max_dim",
            "N",
            "Shrink images so that their longer side has this length",
        ),
        WIDTH,
        HEIGHT,
        CHECK_SIZE,
        ENCODED,
        ENCODE_TYPE,
    ],
    examples: "  cortado convert_annoset --anno_type=detection --label_map_file=labelmap_voc.prototxt --encoded VOCdevkit/ trainval.txt trainval_lmdb\n  cortado convert_annoset --anno_type=detection --label_type=json --label_map_file=labelmap_coco.prototxt coco/ minival.txt minival_lmdb",
    run,
};

const USAGE: &str = "convert_annoset --anno_type=detection --label_map_file=labelmap.prototxt VOCdevkit/ trainval.txt trainval_lmdb";

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let root = super::root(args, USAGE)?;
    let list = args.operand("list", "a list of images", USAGE)?;
    let target = args.operand("database", "the name of the database to make", USAGE)?;
    let kinds = [("classification", false), ("detection", true)];
    let boxes = args.word("anno_type", &kinds)?.unwrap_or(false);
    let form = if boxes { Form::Pair } else { Form::Label };
    let list = List::read(Path::new(""), &list.to_string_lossy(), form)?;
    let contents = if boxes {
        Contents::Boxes(annotations(args)?)
    } else {
        Contents::AnnotatedLabel
    };
    let shuffle = match args.switch("shuffle") {
        true => Some(args.number("seed")?.unwrap_or(0)),
        false => None,
    };
    if shuffle.is_some() {
        super::say(ui, "convert_annoset.cpp:119", "Shuffling data");
    }
    let total = format!("A total of {} images.", list.len());
    super::say(ui, "convert_annoset.cpp:122", &total);
    let side = |name| args.number::<i64>(name).map(|n| n.unwrap_or(0).max(0));
    let (min, max) = (side("min_dim")?, side("max_dim")?);
    let size = match resize(args, ui)? {
        _ if min > 0 || max > 0 => Size::Within {
            min: usize::try_from(min).unwrap_or(0),
            max: usize::try_from(max).unwrap_or(0),
        },
        Some(size) => Size::Fixed(size),
        None => Size::Own,
    };
    let options = Options {
        images: Images {
            folder: Folder::new(Path::new(""), &root.to_string_lossy()),
            gray: args.switch("gray"),
            encoding: encoding(args, "convert_annoset.cpp:125", ui),
            size,
            state_size: true,
        },
        contents,
        shuffle,
        check_size: args.switch("check_size"),
        backend: args.word("backend", BACKENDS)?.unwrap_or(Db::Lmdb),
    };
    let images = u64::try_from(list.len()).unwrap_or(0);
    let mut work = Work::begin(ui, "images", images, "convert_annoset.cpp:195", 1000)?;
    convert(&list, &options, &target, &mut work)?;
    work.end();
    Ok(Status::Done)
}

fn annotations(args: &Args) -> Result<Annotations> {
    let formats = [
        ("xml", AnnotationFormat::Xml),
        ("json", AnnotationFormat::Json),
        ("txt", AnnotationFormat::Text),
    ];
    let format = args.word("label_type", &formats)?;
    let format = format.unwrap_or(AnnotationFormat::Xml);
    let map = match args.path("label_map_file") {
        Some(path) => {
            text::read_file::<LabelMap>("LabelMap", &path, text::Options::default())?.message
        }
        // Numbers need no names.
        None if format == AnnotationFormat::Text => LabelMap::default(),
        None => {
            return Err(Error::new(
                ErrorKind::Param,
                "boxes name their classes, and nothing says which numbers these are",
            )
            .help("name a label map with --label_map_file; create_label_map makes one"));
        }
    };
    Annotations::new(format, &map, args.switch("check_label"))
}
