//! Rows of HDF5 files, one file after the other, and a file of the rows of many batches.
//!
//! A row is what a dataset has at one index of its first axis. Of the files one is in memory at a time, whole.

use std::{
    fs::{self, File as FsFile},
    io::{BufWriter, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use rand::seq::SliceRandom as _;

use super::resolve;
use crate::{
    error::{Error, ErrorKind, Place, Result},
    model_io::{
        atomic_write,
        hdf5::{Content, Dataset, File, Tree, write, write_values},
    },
    rng::{Rng, Use, stream},
    tensor::{Shape, View},
};

/// A file of the list.
struct Listed {
    name: String,
    path: PathBuf,
    rows: usize,
}

/// The rows of the files that a list names, in their order or shuffled, and again from the first after the last.
pub struct Rows {
    files: Vec<Listed>,
    tops: Vec<String>,
    /// The shape of a row of each top.
    shapes: Vec<Shape>,
    /// Seed and layer that name the random streams; `None` for the order of the list.
    shuffle: Option<(u64, u64)>,
    /// Rows of one pass over all files, at least 1.
    total: u64,
    position: u64,
    loaded: Option<Loaded>,
}

/// The file that rows come from just now.
struct Loaded {
    file: usize,
    pass: u64,
    /// The rows' order.
    order: Vec<usize>,
    data: Vec<Vec<f32>>,
}

impl Rows {
    /// Opens every file of the list `source`, which relative paths start from `root`; each has a dataset for each top.
    /// With `shuffle`, the seed of the run and the layer's index, every pass has an order of its own: the files', and
    /// within each its rows'.
    ///
    /// # Errors
    /// `Io` where a file cannot be read; `Format` where it is no HDF5 file or damaged; `Data` where a dataset is
    /// missing or does not fit the others.
    pub fn open(
        root: &Path,
        source: &str,
        tops: &[String],
        shuffle: Option<(u64, u64)>,
    ) -> Result<Self> {
        let list = resolve(root, source);
        let text = fs::read(&list).map_err(|e| {
            Error::io("read", &list, &e)
                .help("hdf5_data_param.source names a list of .h5 files, one a line")
        })?;
        if text.starts_with(b"\x89HDF") {
            return Err(Error::data(format!("'{source}' is an HDF5 file itself"))
                .help("write its name into a text file, and name that as source"));
        }
        let text = String::from_utf8_lossy(&text);
        let mut rows = Self {
            files: Vec::new(),
            tops: tops.to_vec(),
            shapes: Vec::new(),
            shuffle,
            total: 0,
            position: 0,
            loaded: None,
        };
        for name in text.split_whitespace() {
            let placed = |e: Error| match e.places() {
                [] => e.at(Place::File(name.to_owned())),
                _ => e,
            };
            rows.add(name, resolve(root, name)).map_err(placed)?;
        }
        if rows.total == 0 {
            return Err(
                Error::data(format!("the files that '{source}' lists have no rows"))
                    .help("list at least one .h5 file with data, one a line"),
            );
        }
        Ok(rows)
    }

    fn add(&mut self, name: &str, path: PathBuf) -> Result<()> {
        let file = File::open(&path)?;
        let mut rows = None;
        for (i, top) in self.tops.iter().enumerate() {
            let dataset = dataset(&file, top)?;
            let Some((&own, row)) = dataset.shape().dims().split_first() else {
                return Err(Error::data(format!(
                    "dataset '{top}' is a single value; at least 1 axis is needed"
                )));
            };
            match rows {
                Some(rows) if rows != own => {
                    return Err(Error::data(format!(
                        "dataset '{top}' has {own} rows, but '{}' has {rows}",
                        self.tops[0]
                    )));
                }
                _ => rows = Some(own),
            }
            match self.shapes.get(i) {
                None => self.shapes.push(Shape::new(row)),
                Some(first) if first.dims() != row => {
                    return Err(Error::data(format!(
                        "a row of dataset '{top}' is {:?} here, but {first} in the first file",
                        row
                    )));
                }
                Some(_) => {}
            }
        }
        let rows = rows.unwrap_or(0);
        self.total = self.total.saturating_add(u64::try_from(rows).unwrap_or(0));
        if rows > 0 {
            let name = name.to_owned();
            self.files.push(Listed { name, path, rows });
        }
        Ok(())
    }

    /// The shape of a row of each top.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Rows of one pass over all files.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of the next row, counted over all passes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Makes `row`, counted over all passes, the next one.
    pub fn seek(&mut self, row: u64) {
        self.position = row;
    }

    /// Copies the next `count` rows into a place for each top, and goes on behind them.
    ///
    /// # Errors
    /// Where a file cannot be read, or has changed since it was opened.
    pub fn read(&mut self, count: usize, tops: &mut [Vec<f32>]) -> Result<()> {
        for (shape, top) in self.shapes.iter().zip(tops.iter_mut()) {
            top.resize(count.saturating_mul(shape.count()), 0.0);
        }
        let mut done = 0;
        while done < count {
            let (loaded, at) = self.load()?;
            let now = (count - done).min(loaded.order.len() - at);
            for (data, top) in loaded.data.iter().zip(tops.iter_mut()) {
                let Some(width) = data.len().checked_div(loaded.order.len()) else {
                    continue;
                };
                for (i, &row) in loaded.order[at..at + now].iter().enumerate() {
                    let to = (done + i) * width;
                    top[to..to + width].copy_from_slice(&data[row * width..(row + 1) * width]);
                }
            }
            done += now;
            self.position += u64::try_from(now).unwrap_or(0);
        }
        Ok(())
    }

    /// The file of the next row, and which row of its order that is.
    fn load(&mut self) -> Result<(&Loaded, usize)> {
        let pass = self.position / self.total;
        let left = self.position % self.total;
        let mut left = usize::try_from(left).map_err(|_| Error::data("too many rows"))?;
        let mut files: Vec<usize> = (0..self.files.len()).collect();
        if let Some(mut rng) = self.stream(pass, 0) {
            files.shuffle(&mut rng);
        }
        let mut file = 0;
        for next in files {
            file = next;
            if left < self.files[next].rows {
                break;
            }
            left -= self.files[next].rows;
        }
        let loaded = match self.loaded.take() {
            Some(loaded) if loaded.file == file && loaded.pass == pass => loaded,
            before => {
                let data = match before {
                    Some(loaded) if loaded.file == file => loaded.data,
                    // The memory of the last file goes before the next one comes.
                    before => {
                        drop(before);
                        self.data(file)?
                    }
                };
                let mut order: Vec<usize> = (0..self.files[file].rows).collect();
                if let Some(mut rng) = self.stream(pass, file + 1) {
                    order.shuffle(&mut rng);
                }
                Loaded {
                    file,
                    pass,
                    order,
                    data,
                }
            }
        };
        Ok((self.loaded.insert(loaded), left))
    }

    /// The random stream of one shuffle of a pass.
    fn stream(&self, pass: u64, what: usize) -> Option<Rng> {
        let (seed, layer) = self.shuffle?;
        let each = u64::try_from(self.files.len() + 1).ok()?;
        let what = u64::try_from(what).ok()?;
        let when = pass.wrapping_mul(each).wrapping_add(what);
        Some(stream(seed, Use::Other, layer, when))
    }

    fn data(&self, file: usize) -> Result<Vec<Vec<f32>>> {
        let listed = &self.files[file];
        let read = || -> Result<Vec<Vec<f32>>> {
            let file = File::open(&listed.path)?;
            let tops = self.tops.iter().zip(&self.shapes);
            tops.map(|(top, shape)| {
                let dataset = dataset(&file, top)?;
                let same = dataset.shape().dims().split_first();
                if same != Some((&listed.rows, shape.dims())) {
                    return Err(Error::data(format!(
                        "dataset '{top}' has changed its shape"
                    )));
                }
                dataset
                    .read()
                    .map_err(|e| e.help(format!("look at dataset '{top}'")))
            })
            .collect()
        };
        read().map_err(|e| match e.places() {
            [] => e.at(Place::File(listed.name.clone())),
            _ => e,
        })
    }
}

fn dataset<'f>(file: &'f File, top: &str) -> Result<Dataset<'f>> {
    if let Some(dataset) = file.dataset(top)? {
        return Ok(dataset);
    }
    let root = file.root()?;
    let names: Vec<&str> = root.names().take(8).collect();
    Err(
        Error::data(format!("there is no dataset '{top}'")).help(format!(
            "a top takes the dataset of its name; this file has {}",
            names.join(", ")
        )),
    )
}

/// Rows on their way to a file, out of memory's way.
struct Spool {
    file: FsFile,
    /// The shape of a row; unknown before the first.
    row: Option<Shape>,
    rows: usize,
}

/// Collects batches and leaves them as one HDF5 file of two datasets, `data` and `label`.
///
/// The file is there, whole, after the first batch, which is all that Caffe takes, and again whenever the number of
/// batches has doubled; the last time when this is dropped.
pub struct RowWriter {
    path: PathBuf,
    data: Spool,
    label: Spool,
    batches: u64,
    /// Batches that are in the file.
    saved: u64,
}

impl RowWriter {
    /// For the file of this name, seen from `root`.
    ///
    /// # Errors
    /// `Io` where its folder cannot be written.
    pub fn create(root: &Path, name: &str) -> Result<Self> {
        let path = resolve(root, name);
        let folder = path.parent().unwrap_or(Path::new("."));
        let spool = || {
            let file =
                tempfile::tempfile_in(folder).map_err(|e| Error::io("write in", folder, &e))?;
            Ok::<_, Error>(Spool {
                file,
                row: None,
                rows: 0,
            })
        };
        Ok(Self {
            data: spool()?,
            label: spool()?,
            path,
            batches: 0,
            saved: 0,
        })
    }

    /// The file that comes of it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// `Shape` where its rows are unlike those before; `Io` where the disk is full.
    pub fn add(&mut self, data: View<'_>, label: View<'_>) -> Result<()> {
        let place = Place::File(self.path.display().to_string());
        let before = self.data.rows;
        let added = self.data.add(data).and_then(|()| self.label.add(label));
        if let Err(error) = added {
            // Both datasets end where the last whole batch does.
            self.data.rows = before;
            return Err(error.at(place));
        }
        self.batches += 1;
        if self.batches.is_power_of_two() {
            self.save()?;
        }
        Ok(())
    }

    /// Writes the file, if there is anything that it does not have yet.
    ///
    /// # Errors
    /// `Io` where it cannot be written; what was there then stays.
    pub fn save(&mut self) -> Result<()> {
        if self.saved == self.batches {
            return Ok(());
        }
        let (data, label) = (self.data.shape()?, self.label.shape()?);
        let mut tree = Tree::default();
        tree.dataset("data", Content::Stored(&data, &self.data.file))?;
        tree.dataset("label", Content::Stored(&label, &self.label.file))?;
        atomic_write(&self.path, |out| {
            write(out, &tree).map_err(|e| Error::io("write", &self.path, &e))
        })?;
        self.saved = self.batches;
        Ok(())
    }
}

impl Drop for RowWriter {
    fn drop(&mut self) {
        // There is nobody left to tell; a file of fewer rows is there in any case.
        let _ = self.save();
    }
}

impl Spool {
    fn add(&mut self, batch: View<'_>) -> Result<()> {
        let Some((&rows, row)) = batch.shape.dims().split_first() else {
            return Err(Error::shape("a batch without an axis has no rows"));
        };
        match &self.row {
            Some(first) if first.dims() != row => {
                return Err(Error::shape(format!(
                    "rows of shape {row:?} come after rows of {first}, and a dataset has one shape"
                )));
            }
            Some(_) => {}
            None => self.row = Some(Shape::new(row)),
        }
        self.rows = self.rows.saturating_add(rows);
        // Refuses what would grow beyond all bounds.
        self.shape()?;
        let mut write = || {
            self.file.seek(SeekFrom::End(0))?;
            write_values(&mut BufWriter::new(&self.file), batch.data)
        };
        write().map_err(|e| Error::new(ErrorKind::Io, format!("cannot keep the rows: {e}")))
    }

    fn shape(&self) -> Result<Shape> {
        let row = self.row.as_ref().map_or(&[][..], Shape::dims);
        Shape::checked(&[&[self.rows], row].concat())
    }
}

#[cfg(test)]
mod tests;
