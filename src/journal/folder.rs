//! Where lines and pictures go on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{Line, Picture, Sink};
use crate::error::{Error, ErrorKind, Result};

/// The file of lines in a run's folder.
pub const LINES: &str = "run.jsonl";
/// The folder of pictures in it.
pub const PICTURES: &str = "pictures";

/// A file of lines: each is written at once and whole.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: File,
    /// The file ends within a line.
    torn: bool,
}

impl LineFile {
    /// Opens it: to go on at its end, or with nothing in it.
    ///
    /// # Errors
    /// `Io` where it cannot be written.
    pub fn open(path: &Path, go_on: bool) -> Result<Self> {
        let failed = |e: &std::io::Error| Error::io("write", path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|e| failed(&e))?;
        let mut torn = false;
        if go_on {
            torn = is_torn(&mut file).map_err(|e| failed(&e))?;
        } else if file.metadata().is_ok_and(|m| m.is_file()) {
            file.set_len(0).map_err(|e| failed(&e))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            torn,
        })
    }

    fn put(&mut self, line: &Line) -> Result<()> {
        let mut bytes = Vec::new();
        if self.torn {
            bytes.push(b'\n');
        }
        serde_json::to_writer(&mut bytes, line)
            .map_err(|e| Error::new(ErrorKind::Io, format!("a line cannot be written: {e}")))?;
        bytes.push(b'\n');
        // Until all of it is there, whatever follows starts a line of its own.
        self.torn = true;
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.flush())
            .map_err(|e| Error::io("write", &self.path, &e))?;
        self.torn = false;
        Ok(())
    }
}

/// Whether the last byte is no end of a line.
fn is_torn(file: &mut File) -> std::io::Result<bool> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl Sink for LineFile {
    fn write(&mut self, line: &Line, _: &[Picture<'_>]) -> Result<()> {
        self.put(line)
    }
}

/// A run's folder: its lines, and its pictures beside them.
#[derive(Debug)]
pub struct RunFolder {
    lines: LineFile,
    pictures: PathBuf,
}

impl RunFolder {
    /// Makes the folder where it is not there. One that holds a record already is gone on with where `go_on` says so; a
    /// record that never came to its first iteration makes room for another.
    ///
    /// # Errors
    /// `Param` where it holds a record that is not to be gone on with; `Io` where it cannot be written.
    pub fn open(folder: &Path, go_on: bool) -> Result<Self> {
        let lines = folder.join(LINES);
        if !go_on && Self::began(folder) {
            return Err(Error::new(
                ErrorKind::Param,
                format!("'{}' holds the record of another run", folder.display()),
            )
            .help("name another folder, or resume that run with --snapshot"));
        }
        let pictures = folder.join(PICTURES);
        fs::create_dir_all(&pictures).map_err(|e| Error::io("make", &pictures, &e))?;
        Ok(Self {
            lines: LineFile::open(&lines, go_on)?,
            pictures,
        })
    }

    /// Whether a folder holds the record of a run that came to its first iteration.
    pub fn began(folder: &Path) -> bool {
        const HEAD: u64 = 64 << 20;
        let Ok(file) = File::open(folder.join(LINES)) else {
            return false;
        };
        let lines = BufReader::new(file.take(HEAD)).split(b'\n');
        let kinds = [
            r#"{"kind":"step""#,
            r#"{"kind":"train""#,
            r#"{"kind":"test""#,
        ];
        lines
            .map_while(std::io::Result::ok)
            .any(|line| kinds.iter().any(|kind| line.starts_with(kind.as_bytes())))
    }

    /// Whether a folder holds lines of a run.
    pub fn holds_record(folder: &Path) -> bool {
        fs::metadata(folder.join(LINES)).is_ok_and(|found| found.is_file() && found.len() > 0)
    }
}

impl Sink for RunFolder {
    fn write(&mut self, line: &Line, pictures: &[Picture<'_>]) -> Result<()> {
        for picture in pictures {
            // Beside and renamed: who reads the line finds the picture whole. It is not worth waiting for the disk.
            let path = self.pictures.join(picture.name);
            let beside = self.pictures.join(format!(".{}.part", picture.name));
            fs::write(&beside, picture.png)
                .and_then(|()| fs::rename(&beside, &path))
                .map_err(|e| Error::io("write", &path, &e))?;
        }
        self.lines.put(line)
    }

    fn keeps_pictures(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::read;

    fn log(text: &str) -> Line {
        Line::Log {
            t: 0.0,
            level: "info".into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "{\"kind\":\"lo").unwrap();
        LineFile::open(&path, true)
            .unwrap()
            .write(&log("next"), &[])
            .unwrap();
        let record = read(&path).unwrap();
        assert_eq!((record.lines, record.skipped), (vec![log("next")], 1));
        LineFile::open(&path, false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_folder_is_gone_on_with_only_where_that_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/run");
        // The first failed before it began: it makes room.
        RunFolder::open(&folder, false)
            .unwrap()
            .write(&log("no such file"), &[])
            .unwrap();
        for go_on in [false, true] {
            let mut run = RunFolder::open(&folder, go_on).unwrap();
            let picture = Picture {
                name: "1.png",
                png: b"png",
            };
            let step = Line::Step {
                t: 0.0,
                iteration: 1,
                loss: None,
                rate: None,
            };
            run.write(&step, &[picture]).unwrap();
        }
        assert_eq!(read(&folder.join(LINES)).unwrap().lines.len(), 2);
        let names: Vec<_> = fs::read_dir(folder.join(PICTURES)).unwrap().collect();
        assert_eq!(names.len(), 1);
        let error = RunFolder::open(&folder, false).unwrap_err();
        assert!(error.message().contains("another run"), "{error}");
    }
}
