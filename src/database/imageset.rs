//! `convert_imageset` and `convert_annoset`: a list of images, with labels or annotations, to a database.

use std::path::Path;

use prost::Message as _;
use rand::seq::SliceRandom as _;

use super::{
    Watch,
    annotate::Annotations,
    encode::{Images, Stored},
    in_order::in_order,
};
use crate::{
    error::{Error, ErrorKind, Result},
    feed::{
        database::DatabaseWriter,
        list::{Entry, List},
    },
    rng::{Use, stream},
    schema::{AnnotatedDatum, annotated_datum::AnnotationType, data_parameter::Db},
};

/// What becomes of an entry.
pub enum Contents {
    /// A `Datum` with the entry's label.
    Label,
    /// An `AnnotatedDatum` with the entry's label and no annotations.
    AnnotatedLabel,
    /// An `AnnotatedDatum` with the boxes that the entry's second file tells.
    Boxes(Annotations),
}

/// How a list becomes a database.
pub struct Options {
    /// How images become records.
    pub images: Images,
    /// What stands beside an image.
    pub contents: Contents,
    /// The seed of another order than the list's.
    pub shuffle: Option<u64>,
    /// Whether all images have to be of one size.
    pub check_size: bool,
    /// The kind of database.
    pub backend: Db,
}

/// A record, and what was odd about it.
struct Made {
    key: String,
    result: Result<(Vec<u8>, [usize; 3]), Failure>,
    odd: Vec<String>,
}

enum Failure {
    /// The image cannot be read: it is left out.
    Image(Error),
    /// Nothing can be done.
    Other(Error),
}

/// Writes the database `target`, one record an entry, under the keys of Caffe: the entry's number, eight digits from 0,
/// `_`, and its path. An image that cannot be read is left out with a warning, as in Caffe. Returns the number of
/// records.
///
/// # Errors
/// `Data` where no image could be read, sizes differ and should not, or annotations make no sense; `Io` where the
/// database cannot be written.
pub fn convert(
    list: &List,
    options: &Options,
    target: &Path,
    watch: &mut dyn Watch,
) -> Result<u64> {
    // Numbers count the lines of the file, also those that hold nothing.
    let mut entries: Vec<(u64, &Entry)> = list
        .entries()
        .iter()
        .map(|entry| (u64::from(entry.line().saturating_sub(1)), entry))
        .collect();
    if let Some(seed) = options.shuffle {
        let mut order: Vec<&Entry> = list.entries().iter().collect();
        order.shuffle(&mut stream(seed, Use::Other, 0, 0));
        entries = (0..).zip(order).collect();
    }
    let mut writer = DatabaseWriter::create(target, options.backend)?;
    let mut count = 0u64;
    let mut left_out = 0u64;
    let mut first: Option<[usize; 3]> = None;
    let mut why = None;
    in_order(
        &entries,
        |(number, entry)| make(*number, entry, list, options),
        |made| {
            for odd in &made.odd {
                watch.warn(odd);
            }
            let (bytes, dims) = match made.result {
                Ok(made) => made,
                Err(Failure::Image(e)) => {
                    watch.warn(&format!("left out: {e}"));
                    left_out += 1;
                    why.get_or_insert(e);
                    return Ok(());
                }
                Err(Failure::Other(e)) => return Err(e),
            };
            if options.check_size {
                let wanted = *first.get_or_insert(dims);
                if wanted != dims {
                    let size = |[c, h, w]: [usize; 3]| format!("{c}x{h}x{w}");
                    return Err(Error::data(format!(
                        "'{}' is {}, and the images before it are {}",
                        made.key,
                        size(dims),
                        size(wanted)
                    ))
                    .help("give all one size with --resize_height and --resize_width, or leave --check_size out"));
                }
            }
            writer.put(made.key.as_bytes(), &bytes)?;
            count += 1;
            watch.done(count)
        },
    )?;
    if let (0, Some(why)) = (count, why) {
        return Err(why);
    }
    if left_out > 0 {
        watch.warn(&format!(
            "{left_out} of {} images were left out",
            entries.len()
        ));
    }
    writer.finish()
}

fn make(number: u64, entry: &Entry, list: &List, options: &Options) -> Made {
    let path = list.path(entry);
    let mut odd = Vec::new();
    let result = options
        .images
        .load(path)
        .map_err(|e| {
            let e = e.at(list.line(entry));
            match e.kind() {
                ErrorKind::Param => Failure::Other(e),
                _ => Failure::Image(e),
            }
        })
        .and_then(|stored| {
            let dims = stored.dims;
            record(stored, entry, list, options, &mut odd)
                .map(|record| (record, dims))
                .map_err(|e| Failure::Other(e.at(list.line(entry))))
        });
    Made {
        key: format!("{number:08}_{path}"),
        result,
        odd,
    }
}

/// The bytes of the record.
fn record(
    Stored {
        mut datum,
        original,
        ..
    }: Stored,
    entry: &Entry,
    list: &List,
    options: &Options,
    odd: &mut Vec<String>,
) -> Result<Vec<u8>> {
    datum.label = Some(entry.label);
    let annotated = match &options.contents {
        Contents::Label => return Ok(datum.encode_to_vec()),
        Contents::AnnotatedLabel => AnnotatedDatum {
            datum: Some(datum),
            ..AnnotatedDatum::default()
        },
        Contents::Boxes(annotations) => {
            // SSD's tool has no class for an image with boxes.
            datum.label = Some(-1);
            let file = options.images.folder.path(list.second(entry));
            AnnotatedDatum {
                annotation_group: annotations.read(&file, original, odd)?,
                datum: Some(datum),
                r#type: Some(AnnotationType::Bbox.into()),
            }
        }
    };
    Ok(annotated.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::{Encoding, Size},
        feed::{database::Database, files::Folder, list::Form, record},
    };

    fn options(shuffle: Option<u64>, backend: Db) -> Options {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed/images");
        Options {
            images: Images {
                folder: Folder::new(&folder, ""),
                gray: false,
                size: Size::Fixed([8, 6]),
                encoding: Encoding::Raw,
                state_size: false,
            },
            contents: Contents::Label,
            shuffle,
            check_size: true,
            backend,
        }
    }

    fn keys(path: &Path) -> Vec<(String, i32)> {
        let mut database = Database::open(path).unwrap();
        let mut keys = Vec::new();
        while let Some((key, value)) = database.next().unwrap() {
            let label = record::Stored::read(value).unwrap().label();
            keys.push((String::from_utf8(key.to_vec()).unwrap(), label));
        }
        keys
    }

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Watch for Heard {
        fn done(&mut self, _: u64) -> Result<()> {
            Ok(())
        }

        fn warn(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
    }

    #[test]
    fn keys_are_caffes_and_missing_images_leave_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let text = "rgb8.png 3\nmissing.png 1\n\nbaseline.jpg 2\n";
        let list = List::parse("list.txt", text.into(), Form::Label).unwrap();
        let wanted = [("00000000_rgb8.png", 3), ("00000003_baseline.jpg", 2)];
        for backend in [Db::Lmdb, Db::Leveldb] {
            let target = dir.path().join(format!("{backend:?}"));
            let mut heard = Heard::default();
            let count = convert(&list, &options(None, backend), &target, &mut heard).unwrap();
            assert_eq!(count, 2);
            let wanted = wanted.map(|(key, label)| (key.to_owned(), label));
            assert_eq!(keys(&target), wanted);
            assert!(heard.0[0].contains("missing.png"), "{:?}", heard.0);
            assert!(heard.0[0].contains("list.txt:2"), "{:?}", heard.0);
            assert!(heard.0[1].contains("1 of 3"), "{:?}", heard.0);
        }
    }

    #[test]
    fn a_seed_is_an_order() {
        let dir = tempfile::tempdir().unwrap();
        let text = "rgb8.png 0\ngray8.png 1\nrgb.bmp 2\nbaseline.jpg 3\nalpha.png 4\n";
        let list = List::parse("list.txt", text.into(), Form::Label).unwrap();
        let order = |name: &str, seed| {
            let target = dir.path().join(name);
            convert(&list, &options(seed, Db::Lmdb), &target, &mut ()).unwrap();
            keys(&target)
        };
        let (one, again, other) = (
            order("a", Some(1)),
            order("b", Some(1)),
            order("c", Some(2)),
        );
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert!(
            one.iter()
                .zip(0..)
                .all(|((key, _), i)| key.starts_with(&format!("{i:08}_")))
        );
        let mut labels: Vec<i32> = one.iter().map(|(_, label)| *label).collect();
        labels.sort_unstable();
        assert_eq!(labels, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn nothing_is_left_where_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("db");
        let images = dir.path().join("images");
        std::fs::create_dir(&images).unwrap();
        for (name, width) in [("a.png", 2), ("b.png", 3)] {
            let image = image::GrayImage::new(width, 2);
            image.save(images.join(name)).unwrap();
        }
        let list = List::parse("l", "a.png 0\nb.png 1".into(), Form::Label).unwrap();
        let mut own = options(None, Db::Lmdb);
        own.images.size = Size::Own;
        own.images.folder = Folder::new(&images, "");
        let error = convert(&list, &own, &target, &mut ()).unwrap_err();
        assert!(error.message().contains("00000001_b.png"), "{error}");
        let none = List::parse("l", "no.png 0".into(), Form::Label).unwrap();
        let error = convert(&none, &own, &target, &mut ()).unwrap_err();
        assert!(error.to_string().contains("no.png"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
