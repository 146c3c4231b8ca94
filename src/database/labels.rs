//! Label maps, PNGs with a palette or in gray, to a database of labels for a net.

use std::{collections::BTreeMap, path::Path};

use prost::Message as _;

use super::{
    Watch,
    encode::raw,
    in_order::in_order,
    like::{Grid, Like, Line},
};
use crate::{
    error::{Error, Result},
    feed::{
        Interpolation, Picture,
        database::{Database, DatabaseWriter},
        datum::{Color, Sample},
        files::Folder,
        list::{Entry, List},
        resize,
    },
    schema::data_parameter::Db,
};

/// Which cells a label map is brought to.
pub enum Cells {
    /// Those of its pixels.
    Own,
    /// As many rows and columns, each with the label of the nearest pixel.
    Size([usize; 2]),
    /// Those of a net's map.
    Like(Box<Like>),
}

/// Which label a cell of several pixels gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// That of the pixel at its middle.
    #[default]
    Middle,
    /// That which most of its pixels have, the least of equals.
    Most,
}

/// How label maps become records.
pub struct LabelOptions {
    /// Where they are.
    pub folder: Folder,
    /// Their cells.
    pub cells: Cells,
    /// The label of a cell.
    pub sampling: Sampling,
    /// Labels that become others.
    pub changed: BTreeMap<u8, u8>,
    /// The label that stands for none and is always allowed.
    pub ignored: u8,
    /// Labels have to be below this; with a net, its channels.
    pub classes: Option<usize>,
    /// The kind of database.
    pub backend: Db,
}

/// Writes the database `target`, one label map an entry of the list, under the keys of `keys` in their order, or as
/// `convert_imageset` makes them. Returns the number of records.
///
/// # Errors
/// `Io` or `Data`, with the line, where a label map cannot be read or has a label that the net has no channel for.
pub fn write_labels(
    list: &List,
    keys: Option<&mut Database>,
    options: &LabelOptions,
    target: &Path,
    watch: &mut dyn Watch,
) -> Result<u64> {
    let entries: Vec<&Entry> = list.entries().iter().collect();
    let keys = keys
        .map(|database| collect(database, entries.len()))
        .transpose()?;
    let mut keys = keys.map(Vec::into_iter);
    let mut writer = DatabaseWriter::create(target, options.backend)?;
    let mut count = 0u64;
    in_order(
        &entries,
        |entry| {
            let path = list.path(entry);
            let record = record(path, options).map_err(|e| e.at(list.line(entry)));
            let number = entry.line().saturating_sub(1);
            record.map(|record| (format!("{number:08}_{path}"), record))
        },
        |made| {
            let (key, record) = made?;
            match keys.as_mut().and_then(Iterator::next) {
                Some(key) => writer.put(&key, &record)?,
                None => writer.put(key.as_bytes(), &record)?,
            }
            count += 1;
            watch.done(count)
        },
    )?;
    writer.finish()
}

/// The keys of a database, which are as many as there are label maps.
fn collect(database: &mut Database, wanted: usize) -> Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    while let Some((key, _)) = database.next()? {
        keys.push(key.to_vec());
    }
    let integers = database.integer_keys();
    if keys.len() != wanted {
        return Err(Error::data(format!(
            "'{}' has {} records, and the list names {wanted} label maps",
            database.name(),
            keys.len()
        ))
        .help("list one label map for each image, in the order of the images"));
    }
    if integers {
        let text = |key: &Vec<u8>| crate::feed::database::key_text(key, true).into_bytes();
        return Ok(keys.iter().map(text).collect());
    }
    Ok(keys)
}

fn record(path: &str, options: &LabelOptions) -> Result<Vec<u8>> {
    let sample = options.folder.sample(path, Color::Labels, Vec::new())?;
    let (mut map, _) = Picture::from_sample(sample)?;
    for label in &mut map.pixels {
        if let Some(&other) = options.changed.get(label) {
            *label = other;
        }
    }
    let mut classes = options.classes;
    let map = match &options.cells {
        Cells::Own => map,
        Cells::Size([height, width]) => resize(&map, *height, *width, Interpolation::Nearest)?,
        Cells::Like(like) => {
            let grid = like.grid([map.height, map.width])?;
            classes = classes.or(Some(grid.channels));
            cells(&map, &grid, options.sampling)
        }
    };
    let wrong =
        |label: u8| label != options.ignored && classes.is_some_and(|n| usize::from(label) >= n);
    if let Some(label) = map.pixels.iter().copied().find(|&label| wrong(label)) {
        return Err(Error::data(format!(
            "'{path}' has the label {label}, and there are {} classes, from 0 on",
            classes.unwrap_or(0)
        ))
        .help(format!(
            "change it with --map={label}:{}, or give the net another channel",
            options.ignored
        )));
    }
    let sample: Sample<'_> = map.into_sample(0);
    let mut datum = raw(sample)?;
    datum.encoded = None;
    datum.label = Some(0);
    Ok(datum.encode_to_vec())
}

/// A label map at the cells of a grid.
fn cells(map: &Picture, grid: &Grid, sampling: Sampling) -> Picture {
    let sides = [map.height, map.width];
    let [rows, columns]: [Vec<(usize, usize)>; 2] = [0, 1].map(|axis| {
        let line = &grid.lines[axis];
        (0..line.count)
            .map(|place| match sampling {
                Sampling::Middle => {
                    let at = nearest(line, place, sides[axis]);
                    (at, at + 1)
                }
                Sampling::Most => around(line, place, sides[axis]),
            })
            .collect()
    });
    let mut pixels = Vec::with_capacity(rows.len() * columns.len());
    for &(top, bottom) in &rows {
        for &(left, right) in &columns {
            let mut counts = [0u32; 256];
            for y in top..bottom {
                for &label in &map.row(y)[left..right] {
                    counts[usize::from(label)] += 1;
                }
            }
            let most = counts.iter().max().copied().unwrap_or(0);
            let label = counts.iter().position(|&n| n == most).unwrap_or(0);
            pixels.push(u8::try_from(label).unwrap_or(0));
        }
    }
    Picture {
        channels: 1,
        height: rows.len(),
        width: columns.len(),
        pixels,
    }
}

/// The pixel that a place is over, or the nearest one of the edge.
fn nearest(line: &Line, place: usize, side: usize) -> usize {
    let at = (line.scale * place as f64 + line.offset).round();
    (at.max(0.0) as usize).min(side.saturating_sub(1))
}

/// The pixels that are nearer to a place than to its neighbours: first, and behind the last.
fn around(line: &Line, place: usize, side: usize) -> (usize, usize) {
    let at = line.scale * place as f64 + line.offset;
    let half = line.scale.max(1.0) / 2.0;
    let first = ((at - half).ceil().max(0.0) as usize).min(side.saturating_sub(1));
    let last = ((at + half).ceil().max(0.0) as usize).clamp(first + 1, side.max(first + 1));
    (first, last)
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;
    use crate::{
        database::encode::write_image,
        feed::{list::Form, record::Stored},
        schema::NetParameter,
        text,
    };

    fn map(width: usize, pixels: &[u8]) -> Picture {
        Picture {
            channels: 1,
            height: pixels.len() / width,
            width,
            pixels: pixels.to_vec(),
        }
    }

    fn write(dir: &Path, name: &str, map: &Picture) {
        let png = write_image(map, ImageFormat::Png).unwrap();
        std::fs::write(dir.join(name), png).unwrap();
    }

    fn options(dir: &Path, cells: Cells) -> LabelOptions {
        LabelOptions {
            folder: Folder::new(dir, ""),
            cells,
            sampling: Sampling::Middle,
            changed: BTreeMap::new(),
            ignored: 255,
            classes: None,
            backend: Db::Lmdb,
        }
    }

    fn read(path: &Path) -> (Vec<u8>, [i32; 3], Vec<u8>) {
        let mut database = Database::open(path).unwrap();
        let (key, value) = database.next().unwrap().unwrap();
        let record = Stored::read(value).unwrap();
        (key.to_vec(), record.stated(), record.data().to_vec())
    }

    #[test]
    fn a_nets_cells() {
        let dir = tempfile::tempdir().unwrap();
        #[rustfmt::skip]
        let pixels = [
            1, 1, 2, 2,
            1, 0, 2, 2,
            3, 3, 0, 255,
            3, 3, 255, 255,
        ];
        write(dir.path(), "a.png", &map(4, &pixels));
        let net = "layer { name: 'd' type: 'Data' top: 'x' data_param { source: 'none' } }
          layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'p' pooling_param { kernel_size: 2 stride: 2 } }
          layer { name: 'c' type: 'Convolution' bottom: 'p' top: 'c' convolution_param { num_output: 4 kernel_size: 1 } }";
        let source = text::Source::new("net", net);
        let net = text::parse::<NetParameter>("NetParameter", &source)
            .unwrap()
            .message;
        let list = List::parse("l", "a.png 0".into(), Form::Path).unwrap();
        let like = || Cells::Like(Box::new(Like::new(&net, "c", Path::new("")).unwrap()));
        let most = LabelOptions {
            sampling: Sampling::Most,
            ..options(dir.path(), like())
        };
        let target = dir.path().join("most");
        write_labels(&list, None, &most, &target, &mut ()).unwrap();
        let (key, stated, data) = read(&target);
        assert_eq!(key, b"00000000_a.png");
        assert_eq!((stated, &data[..]), ([1, 2, 2], &[1, 2, 3, 255][..]));
        let few = LabelOptions {
            classes: Some(3),
            ..options(dir.path(), like())
        };
        let error = write_labels(&list, None, &few, &dir.path().join("no"), &mut ()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the label 3, and there are 3 classes"),
            "{error}"
        );
    }

    #[test]
    fn keys_of_the_images_and_other_labels() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.png", &map(2, &[7, 0]));
        let images = dir.path().join("images");
        let mut writer = DatabaseWriter::create(&images, Db::Leveldb).unwrap();
        writer.put(b"00000000_a.jpg", b"x").unwrap();
        writer.finish().unwrap();
        let mut images = Database::open(&images).unwrap();
        let list = List::parse("l", "a.png".into(), Form::Path).unwrap();
        let changed = LabelOptions {
            changed: BTreeMap::from([(7, 1)]),
            ..options(dir.path(), Cells::Size([1, 4]))
        };
        let target = dir.path().join("db");
        write_labels(&list, Some(&mut images), &changed, &target, &mut ()).unwrap();
        let (key, stated, data) = read(&target);
        assert_eq!(key, b"00000000_a.jpg");
        assert_eq!((stated, &data[..]), ([1, 1, 4], &[1, 1, 0, 0][..]));
        images.rewind().unwrap();
        let two = List::parse("l", "a.png\na.png".into(), Form::Path).unwrap();
        let target = dir.path().join("none");
        let error = write_labels(&two, Some(&mut images), &changed, &target, &mut ());
        assert!(error.unwrap_err().message().contains("names 2 label maps"));
    }
}
