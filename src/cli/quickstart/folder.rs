//! The folder that quickstart writes: databases, mean image, and both networks' files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::faces::Face;
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer},
    feed::lmdb::LmdbWriter,
    model_io::{binaryproto::write_binaryproto, write_file},
    schema::Datum,
    tensor::Tensor,
};

/// The first line of the folder's README: how quickstart knows a folder of its own.
const MARK: &str = "This folder was made by 'cortado quickstart'.";
const README: &str = "README.txt";

/// One of the two networks.
pub(super) struct Variant {
    /// In tables and captions.
    pub(super) title: &'static str,
    /// Its folder.
    pub(super) folder: &'static str,
    /// The network to train.
    pub(super) train_val: &'static str,
    /// The network to use.
    pub(super) deploy: &'static str,
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/facial_keypoints/",
            $name
        ))
    };
}

/// Both networks, the broken one first.
pub(super) const VARIANTS: [Variant; 2] = [
    Variant {
        title: "as written",
        folder: "as_written",
        train_val: fixture!("train_val.prototxt"),
        deploy: fixture!("deploy.prototxt"),
    },
    Variant {
        title: "repaired",
        folder: "repaired",
        train_val: fixture!("repaired/train_val.prototxt"),
        deploy: fixture!("repaired/deploy.prototxt"),
    },
];

const SOLVER: &str = fixture!("solver.prototxt");

/// Samples in one batch of the network's files.
pub(super) const BATCH: usize = 100;

/// The solver's text for a run.
pub(super) fn solver(seed: u64, test: usize, iterations: Option<u64>) -> String {
    let mut text = String::new();
    for line in SOLVER.lines() {
        match (line.split(':').next().unwrap_or_default(), iterations) {
            ("random_seed", _) => text += &format!("random_seed: {seed}"),
            ("test_iter", _) => text += &format!("test_iter: {}", test.div_ceil(BATCH)),
            ("max_iter", Some(n)) => text += &format!("max_iter: {n}"),
            _ => text += line,
        }
        text.push('\n');
    }
    text
}

/// Makes sure of a folder to write to: a new one, an empty one, one of quickstart's own, or any with `force`.
///
/// # Errors
/// `Io` where the folder is somebody else's, or cannot be made.
pub(super) fn claim(dir: &Path, force: bool) -> Result<()> {
    let occupied = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(Error::io("open the folder", dir, &e)),
    };
    let ours = || fs::read_to_string(dir.join(README)).is_ok_and(|text| text.starts_with(MARK));
    if occupied && !force && !ours() {
        return Err(Error::new(
            ErrorKind::Io,
            format!(
                "'{}' is there already, and quickstart did not make it",
                dir.display()
            ),
        )
        .help("name another folder with --dir, or write into this one with --force"));
    }
    fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
    write(
        &dir.join(README),
        &format!("{MARK}\n{}", include_str!("readme.txt")),
    )
}

/// Writes a text as a whole.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    write_file(path, text.as_bytes())
}

/// Writes the files of a network into its folder, and returns that. A file that is there with other content, edited by
/// hand perhaps, is kept beside as `.old`.
pub(super) fn write_network(
    dir: &Path,
    variant: &Variant,
    solver: &str,
    observer: &mut dyn Observer,
) -> Result<PathBuf> {
    let folder = dir.join(variant.folder);
    fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, &e))?;
    for (name, text) in [
        ("train_val.prototxt", variant.train_val),
        ("deploy.prototxt", variant.deploy),
        ("solver.prototxt", solver),
    ] {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|found| found != text.as_bytes()) {
            let old = folder.join(format!("{name}.old"));
            fs::rename(&path, &old).map_err(|e| Error::io("rename", &path, &e))?;
            observer.on(&Event::Note(&format!(
                "{} was changed since; it is now {}",
                path.display(),
                old.display()
            )));
        }
        write(&path, text)?;
    }
    Ok(folder)
}

/// Writes the databases `<name>_lmdb` and `<name>_label_lmdb`.
pub(super) fn write_databases(dir: &Path, name: &str, faces: &[Face]) -> Result<()> {
    write_database(&dir.join(format!("{name}_lmdb")), faces, |face| {
        datum(3, face.size, face.bgr_planes())
    })?;
    write_database(&dir.join(format!("{name}_label_lmdb")), faces, |face| {
        datum(1, face.cells(), face.map.clone())
    })
}

/// A sample of square planes. Sides are those of a [`Face`], far below `i32::MAX`.
fn datum(channels: i32, side: usize, data: Vec<u8>) -> Datum {
    let side = i32::try_from(side).unwrap_or(i32::MAX);
    Datum {
        channels: Some(channels),
        height: Some(side),
        width: Some(side),
        data: Some(data),
        label: Some(0),
        ..Datum::default()
    }
}

fn write_database(path: &Path, faces: &[Face], record: impl Fn(&Face) -> Datum) -> Result<()> {
    remove_database(path)?;
    let mut writer = LmdbWriter::create(path)?;
    for (number, face) in faces.iter().enumerate() {
        let key = format!("{number:08}");
        writer.put(key.as_bytes(), &record(face).encode_to_vec())?;
    }
    writer.finish()?;
    Ok(())
}

/// Removes the database of an earlier run: its two files by name, nothing else.
fn remove_database(path: &Path) -> Result<()> {
    for name in ["data.mdb", "lock.mdb"] {
        let file = path.join(name);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &file, &e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the mean of the faces' pixels, as `compute_image_mean` does, and returns it: 1 × 3 × size × size.
///
/// # Errors
/// `Data` where there are no faces; `Io`.
pub(super) fn write_mean(path: &Path, faces: &[Face]) -> Result<Tensor> {
    let Some(first) = faces.first() else {
        return Err(Error::data("no faces to take the mean of"));
    };
    let mut sums = vec![0u64; 3 * first.size * first.size];
    for face in faces {
        for (sum, pixel) in sums.iter_mut().zip(face.bgr_planes()) {
            *sum += u64::from(pixel);
        }
    }
    let data = sums
        .iter()
        .map(|&sum| (sum as f64 / faces.len() as f64) as f32)
        .collect();
    let mean = Tensor::new([1, 3, first.size, first.size], data)?;
    write_binaryproto(path, mean.view())?;
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::quickstart::faces,
        events::Silent,
        feed::{
            datum::{Color, Pixels, decode},
            lmdb::LmdbSource,
            source::Source as _,
        },
        model_io::binaryproto::read_binaryproto,
        schema::{NetParameter, SolverParameter},
        text,
    };

    #[test]
    fn a_foreign_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("thesis.tex");
        fs::write(&file, "x").unwrap();
        let error = claim(dir.path(), false).unwrap_err();
        assert!(error.help_text().unwrap().contains("--dir"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        claim(dir.path(), true).unwrap();
        assert!(file.exists());
        // From now on it is known.
        claim(dir.path(), false).unwrap();
    }

    #[test]
    fn databases_hold_what_was_drawn_and_can_be_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let faces = faces::draw(5, 0, 3, 48);
        for _ in 0..2 {
            write_databases(dir.path(), "train", &faces).unwrap();
        }
        let sizes = [
            ("train_lmdb", [3, 48, 48]),
            ("train_label_lmdb", [1, 12, 12]),
        ];
        for (name, dims) in sizes {
            let mut source = LmdbSource::open(dir.path(), name).unwrap();
            assert_eq!(source.records(), 3);
            source
                .read(3, &mut |records| {
                    assert_eq!(records[2].key, b"00000002");
                    let sample = decode(records[2].value, Color::AsStored)?;
                    assert_eq!(sample.dims(), dims);
                    let wanted = if dims[0] == 3 {
                        faces[2].bgr_planes()
                    } else {
                        faces[2].map.clone()
                    };
                    assert_eq!(sample.pixels, Pixels::U8(wanted.into()));
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn the_mean_is_the_mean() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mean.binaryproto");
        let face = |rgb: [u8; 3]| Face {
            size: 1,
            rgb: rgb.to_vec(),
            map: vec![0],
        };
        let mean = write_mean(&path, &[face([1, 2, 3]), face([2, 4, 9])]).unwrap();
        assert_eq!(mean.data, [6.0, 3.0, 1.5]);
        assert_eq!(read_binaryproto(&path).unwrap(), mean);
        assert!(write_mean(&path, &[]).is_err());
    }

    #[test]
    fn a_file_changed_by_hand_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let solver = solver(1, 100, None);
        let folder = write_network(dir.path(), &VARIANTS[0], &solver, &mut Silent).unwrap();
        fs::write(folder.join("solver.prototxt"), "mine").unwrap();
        write_network(dir.path(), &VARIANTS[0], &solver, &mut Silent).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("solver.prototxt.old"), "mine");
        assert_eq!(read("solver.prototxt"), solver);
        assert!(!folder.join("deploy.prototxt.old").exists());
    }

    #[test]
    fn the_embedded_files_parse_and_differ_in_two_places() {
        let net = |text: &str| {
            text::parse::<NetParameter>("NetParameter", &text::Source::new("net", text))
                .unwrap()
                .message
        };
        let [written, repaired] = [&VARIANTS[0], &VARIANTS[1]].map(|v| {
            net(v.deploy);
            net(v.train_val)
        });
        let mut cured = written.clone();
        cured
            .layer
            .retain(|l| l.bottom != ["conv_last"] || l.name() != "relu2");
        assert_eq!(cured.layer.len() + 1, written.layer.len());
        let conv1 = cured
            .layer
            .iter_mut()
            .find(|l| l.name() == "conv1")
            .unwrap();
        let filler = conv1
            .convolution_param
            .as_mut()
            .and_then(|c| c.weight_filler.as_mut())
            .unwrap();
        assert_eq!(filler.std(), 0.0001);
        filler.std = Some(0.01);
        assert_eq!(cured, repaired);
    }

    #[test]
    fn the_solver_fits_the_run() {
        let text = solver(42, 250, Some(7));
        let solver = text::parse::<SolverParameter>(
            "SolverParameter",
            &text::Source::new("solver", text.as_str()),
        )
        .unwrap()
        .message;
        assert_eq!(solver.random_seed(), 42);
        assert_eq!(solver.test_iter, [3]);
        assert_eq!(solver.max_iter(), 7);
        assert_eq!(solver.momentum(), 0.9);
    }
}
