//! A database to a folder of images and a list that `convert_imageset` reads.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Watch, picture};
use crate::{
    error::{Error, Result},
    feed::{NewFolder, database::Database, datum::Color, record::Stored},
};

/// Writes every record as a file into the new folder `target`: one that holds a file as it is, any other as a PNG. Names
/// are those of the keys, without the number before them. `list.txt` has a line for each: the file, and its class; for
/// a record with boxes a second file, `label xmin ymin xmax ymax` in pixels on a line. Returns the number of records.
///
/// # Errors
/// `Data`, with the record, where one cannot be read; `Io`.
pub fn export(database: &mut Database, target: &Path, watch: &mut dyn Watch) -> Result<u64> {
    let folder = NewFolder::create(target)?;
    let mut list = String::new();
    let mut taken = BTreeSet::from(["list.txt".to_owned()]);
    let mut count = 0u64;
    while let Some((key, value)) = database.next()? {
        let (key, value) = (key.to_vec(), value.to_vec());
        let text = database.text(&key);
        let placed = |e: Error| e.at(database.place(&key));
        let record = Stored::read(&value).map_err(placed)?;
        let ending = match record.encoding() {
            "JPEG" => "jpg",
            "PNG" => "png",
            "BMP" => "bmp",
            _ => "",
        };
        let mut name = file_name(&text, if ending.is_empty() { "png" } else { ending });
        while !taken.insert(name.to_lowercase()) {
            name = format!("{count:08}_{name}");
        }
        let bytes = match ending {
            "" => {
                let sample = record.sample(Color::AsStored).map_err(placed)?;
                picture::png(sample).map_err(placed)?
            }
            _ => record.data().to_vec(),
        };
        write(folder.path(), &name, &bytes)?;
        match record.annotations() {
            None => list += &format!("{name} {}\n", record.label()),
            Some(groups) => {
                let dims = record.sample(Color::AsStored).map_err(placed)?.dims();
                let (height, width) = (dims[1] as f32, dims[2] as f32);
                let mut lines = String::new();
                for group in groups {
                    for bbox in group.annotation.iter().filter_map(|a| a.bbox) {
                        lines += &format!(
                            "{} {} {} {} {}\n",
                            group.group_label(),
                            bbox.xmin() * width,
                            bbox.ymin() * height,
                            bbox.xmax() * width,
                            bbox.ymax() * height
                        );
                    }
                }
                let boxes = format!("{name}.txt");
                write(folder.path(), &boxes, lines.as_bytes())?;
                list += &format!("{name} {boxes}\n");
            }
        }
        count += 1;
        watch.done(count)?;
    }
    write(folder.path(), "list.txt", list.as_bytes())?;
    folder.finish()?;
    Ok(count)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, &e))?;
    }
    fs::write(&path, bytes).map_err(|e| Error::io("write", &path, &e))
}

/// A key's path within the folder, with this ending: no number before it, no blanks, nothing that leads out.
fn file_name(key: &str, ending: &str) -> String {
    let path = super::compare::without_number(key);
    let parts: Vec<String> = path
        .split(['/', '\\'])
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .map(|part| {
            let odd = |c: char| c.is_control() || c.is_whitespace() || "<>:\"|?*".contains(c);
            part.chars().map(|c| if odd(c) { '_' } else { c }).collect()
        })
        .collect();
    let path: PathBuf = parts.iter().collect();
    let own = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let same = own.as_deref() == Some(ending) || (own.as_deref(), ending) == (Some("jpeg"), "jpg");
    let image = matches!(own.as_deref(), Some("png" | "jpg" | "jpeg" | "bmp" | "gif"));
    let path = match (same, image) {
        (true, _) => path,
        (false, true) => path.with_extension(ending),
        (false, false) => PathBuf::from(format!("{}.{ending}", path.display())),
    };
    let text = path.to_string_lossy().into_owned();
    if parts.is_empty() {
        format!("record.{ending}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        feed::database::DatabaseWriter,
        schema::{Datum, data_parameter::Db},
    };

    #[test]
    fn names_stay_inside() {
        for (key, name) in [
            ("00000012_cats/a b.jpg", "cats/a_b.png"),
            ("../../etc/passwd", "etc/passwd.png"),
            ("00000007", "00000007.png"),
            ("/x/y.PNG", "x/y.PNG"),
            ("..", "record.png"),
        ] {
            assert_eq!(file_name(key, "png"), name, "{key}");
        }
        assert_eq!(file_name("a.jpeg", "jpg"), "a.jpeg");
    }

    #[test]
    fn what_comes_out_goes_in_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed/images/baseline.jpg"),
        )
        .unwrap();
        let raw = Datum {
            channels: Some(1),
            height: Some(1),
            width: Some(2),
            data: Some(vec![5, 250]),
            label: Some(4),
            ..Datum::default()
        };
        let encoded = Datum {
            data: Some(file.clone()),
            encoded: Some(true),
            ..Datum::default()
        };
        let path = dir.path().join("db");
        let mut writer = DatabaseWriter::create(&path, Db::Lmdb).unwrap();
        for (key, datum) in [
            ("00000000_a/x.png", &raw),
            ("00000001_a/x.png", &raw),
            ("2", &encoded),
        ] {
            writer.put(key.as_bytes(), &datum.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
        let out = dir.path().join("out");
        let count = export(&mut Database::open(&path).unwrap(), &out, &mut ()).unwrap();
        assert_eq!(count, 3);
        let list = fs::read_to_string(out.join("list.txt")).unwrap();
        assert_eq!(list, "a/x.png 4\n00000001_a/x.png 4\n2.jpg 0\n");
        assert_eq!(fs::read(out.join("2.jpg")).unwrap(), file);
        let image = image::open(out.join("a/x.png")).unwrap().to_luma8();
        assert_eq!(image.as_raw(), &[5, 250]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
