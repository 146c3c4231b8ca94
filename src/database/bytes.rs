//! `convert_mnist_data` and `convert_cifar_data`: files of bytes to databases.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::{Watch, encode::stated};
use crate::{
    error::{Error, Place, Result},
    feed::database::DatabaseWriter,
    schema::{Datum, data_parameter::Db},
};

/// A file, unpacked where it is packed by gzip.
struct Bytes {
    inner: Box<dyn Read>,
    path: PathBuf,
}

impl Bytes {
    fn open(path: &Path) -> Result<Self> {
        let open = || File::open(path).map_err(|e| Error::io("open", path, &e));
        let mut start = [0; 2];
        let packed = open()?.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
        let file = BufReader::new(open()?);
        Ok(Self {
            inner: if packed {
                Box::new(BufReader::new(flate2::read::GzDecoder::new(file)))
            } else {
                Box::new(file)
            },
            path: path.to_owned(),
        })
    }

    fn wrong(&self, what: impl Into<String>) -> Error {
        Error::format(what).at(Place::File(self.path.display().to_string()))
    }

    fn fill(&mut self, to: &mut [u8]) -> Result<()> {
        self.inner.read_exact(to).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => self
                .wrong("the file ends before all that it promises")
                .help("download it again"),
            _ => Error::io("read", &self.path, &e),
        })
    }

    fn number(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn magic(&mut self, wanted: u32, what: &str) -> Result<()> {
        match self.number()? {
            found if found == wanted => Ok(()),
            found => Err(self
                .wrong(format!(
                    "the file begins with {found}, and a file of {what} with {wanted}"
                ))
                .help("name the file of images first, then that of labels")),
        }
    }
}

/// Writes the database `target` of MNIST's files, as they are or packed by gzip, under keys of eight digits. `about` is
/// told the number of images, rows and columns before the first. Returns the number of records.
///
/// # Errors
/// `Format` where a file is another or cut short, or they do not belong together; `Io`.
pub fn convert_mnist(
    images: &Path,
    labels: &Path,
    target: &Path,
    backend: Db,
    about: impl FnOnce(u32, u32, u32),
    watch: &mut dyn Watch,
) -> Result<u64> {
    let (mut images, mut labels) = (Bytes::open(images)?, Bytes::open(labels)?);
    images.magic(2051, "images")?;
    labels.magic(2049, "labels")?;
    let (count, named) = (images.number()?, labels.number()?);
    if count != named {
        return Err(labels.wrong(format!("{named} labels, and there are {count} images")));
    }
    let (rows, columns) = (images.number()?, images.number()?);
    let side = |n: u32| usize::try_from(n).ok().filter(|&n| n > 0 && n <= 1 << 14);
    let (Some(height), Some(width)) = (side(rows), side(columns)) else {
        return Err(images.wrong(format!("images of {rows}x{columns} are impossible")));
    };
    about(count, rows, columns);
    let [channels, height, width] = stated([1, height, width])?.map(Some);
    let mut writer = DatabaseWriter::create(target, backend)?;
    let mut pixels = vec![0; (rows * columns) as usize];
    for number in 0..count {
        let mut label = [0];
        images.fill(&mut pixels)?;
        labels.fill(&mut label)?;
        let datum = Datum {
            channels,
            height,
            width,
            data: Some(pixels.clone()),
            label: Some(label[0].into()),
            ..Datum::default()
        };
        writer.put(format!("{number:08}").as_bytes(), &datum.encode_to_vec())?;
        watch.done(u64::from(number) + 1)?;
    }
    writer.finish()
}

/// Bytes of an image of CIFAR-10.
const CIFAR: usize = 3 * 32 * 32;

/// Adds the images of CIFAR-10's binary files, the first of them number 0, to a new database under keys of five digits.
/// `about` is told each file's number, from 1. Returns the number of records.
///
/// # Errors
/// `Format` where a file is cut short; `Data` where there are no images; `Io`.
pub fn convert_cifar(
    files: &[PathBuf],
    writer: &mut DatabaseWriter,
    mut about: impl FnMut(usize),
    watch: &mut dyn Watch,
) -> Result<u64> {
    let mut number = 0u64;
    for (file, path) in (1..).zip(files) {
        about(file);
        let mut file = Bytes::open(path)?;
        let mut record = vec![0; CIFAR + 1];
        let mut label = [0];
        loop {
            match file.inner.read(&mut label) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) => return Err(Error::io("read", path, &e)),
            }
            file.fill(&mut record[1..])?;
            let datum = Datum {
                channels: Some(3),
                height: Some(32),
                width: Some(32),
                data: Some(record[1..].to_vec()),
                label: Some(label[0].into()),
                ..Datum::default()
            };
            writer.put(format!("{number:05}").as_bytes(), &datum.encode_to_vec())?;
            number += 1;
            watch.done(number)?;
        }
    }
    if number == 0 {
        let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        return Err(Error::data(format!("no images in {}", names.join(", ")))
            .help("unpack cifar-10-binary.tar.gz again"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::feed::{database::Database, record::Stored};

    fn mnist(dir: &Path, packed: bool) -> [PathBuf; 2] {
        let images = [
            &2051u32.to_be_bytes()[..],
            &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3],
        ]
        .concat();
        let images = [&images[..], &[1, 2, 3, 4, 5, 6]].concat();
        let labels = [&2049u32.to_be_bytes()[..], &[0, 0, 0, 2, 7, 9]].concat();
        [("images", images), ("labels", labels)].map(|(name, bytes)| {
            let path = dir.join(name);
            let file = File::create(&path).unwrap();
            if packed {
                let mut packer = flate2::write::GzEncoder::new(file, Default::default());
                packer.write_all(&bytes).unwrap();
                packer.finish().unwrap();
            } else {
                (&file).write_all(&bytes).unwrap();
            }
            path
        })
    }

    #[test]
    fn mnist_packed_or_not() {
        for packed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let [images, labels] = mnist(dir.path(), packed);
            let target = dir.path().join("db");
            let mut told = None;
            let about = |n, rows, columns| told = Some((n, rows, columns));
            convert_mnist(&images, &labels, &target, Db::Lmdb, about, &mut ()).unwrap();
            assert_eq!(told, Some((2, 1, 3)));
            let mut database = Database::open(&target).unwrap();
            let all = database.take(9).unwrap();
            assert_eq!(all[1].0, b"00000001");
            let record = Stored::read(&all[1].1).unwrap();
            assert_eq!((record.label(), record.data()), (9, &[4, 5, 6][..]));
            assert_eq!(record.stated(), [1, 1, 3]);
        }
    }

    #[test]
    fn other_files_are_refused_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let [images, labels] = mnist(dir.path(), false);
        let target = dir.path().join("db");
        let convert = |a: &Path, b: &Path| {
            convert_mnist(a, b, &target, Db::Leveldb, |_, _, _| {}, &mut ()).unwrap_err()
        };
        let error = convert(&labels, &images);
        assert!(error.to_string().contains("begins with 2049"), "{error}");
        let bytes = std::fs::read(&images).unwrap();
        std::fs::write(&images, &bytes[..20]).unwrap();
        assert!(
            convert(&images, &labels)
                .to_string()
                .contains("ends before")
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn cifar_counts_through_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = (0..2u8)
            .map(|n| {
                let path = dir.path().join(format!("{n}"));
                let record = [vec![n], vec![n + 10; CIFAR]].concat();
                std::fs::write(&path, record.repeat(2)).unwrap();
                path
            })
            .collect();
        let target = dir.path().join("db");
        let mut writer = DatabaseWriter::create(&target, Db::Leveldb).unwrap();
        let count = convert_cifar(&files, &mut writer, |_| {}, &mut ()).unwrap();
        assert_eq!((count, writer.finish().unwrap()), (4, 4));
        let all = Database::open(&target).unwrap().take(9).unwrap();
        assert_eq!(all[2].0, b"00002");
        assert_eq!(Stored::read(&all[2].1).unwrap().label(), 1);
    }
}
