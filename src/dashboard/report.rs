//! A run, or several beside each other, as one file that needs nothing else.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{page, runs::picture};
use crate::{
    error::Result,
    journal::{self, LINES, Line, PICTURES},
    model_io::write_file,
};

/// A run for a report.
#[derive(Clone, Debug)]
pub struct Run {
    /// What to call it.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// Bytes of all pictures at most, as they are on the disk.
const BYTES: usize = 24 << 20;
/// Iterations that are shown in pictures, as many as go into the bytes.
const ITERATIONS: [usize; 6] = [16, 10, 6, 4, 2, 1];
/// Lines of a kind at most: steps, displayed iterations, tests and figures, looks at layers, words.
const STEPS: usize = 2000;
const DISPLAYS: usize = 2000;
const TESTS: usize = 500;
const VITALS: usize = 40;
const WORDS: usize = 2000;

#[derive(Serialize)]
struct Data<'a> {
    live: bool,
    title: &'a str,
    runs: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    lines: Vec<Line>,
}

/// The page with these runs in it, their pictures included, thinned to what a page can hold.
///
/// # Errors
/// `Io` where a record cannot be read.
pub fn report(runs: &[Run], title: &str) -> Result<String> {
    let mut told = Vec::new();
    for run in runs {
        let record = journal::read(&run.folder.join(LINES))?;
        told.push(Told {
            name: &run.name,
            lines: thin(record.lines),
        });
    }
    let budget = BYTES / runs.len().max(1);
    for (run, told) in runs.iter().zip(&mut told) {
        for most in ITERATIONS {
            let (lines, bytes) = with_pictures(&told.lines, &run.folder, most);
            if bytes <= budget || most == 1 {
                told.lines = lines;
                break;
            }
        }
    }
    page::with_data(&Data {
        live: false,
        title,
        runs: told,
    })
}

/// Writes [`report`] to a file, beside it first.
///
/// # Errors
/// `Io` where a record cannot be read, or the file not be written.
pub fn write_report(runs: &[Run], title: &str, path: &Path) -> Result<()> {
    let text = report(runs, title)?;
    write_file(path, text.as_bytes())
}

/// Some of `n` places, evenly, the first and the last among them.
fn some(n: usize, most: usize) -> impl Fn(usize) -> bool {
    let picked: BTreeSet<usize> = match (n, most) {
        (n, most) if n <= most => (0..n).collect(),
        (n, 0 | 1) => n.checked_sub(1).into_iter().collect(),
        (n, most) => (0..most).map(|i| i * (n - 1) / (most - 1)).collect(),
    };
    move |i| picked.contains(&i)
}

/// Leaves out lines where there are too many of a kind.
fn thin(lines: Vec<Line>) -> Vec<Line> {
    let group = |line: &Line| match line {
        Line::Step { .. } => Some((0, STEPS)),
        Line::Train { .. } => Some((1, DISPLAYS)),
        Line::Test { .. } => Some((2, TESTS)),
        Line::Metrics { .. } => Some((3, TESTS)),
        Line::Vitals { .. } => Some((4, VITALS)),
        Line::Log { .. } => Some((5, WORDS)),
        _ => None,
    };
    let mut counts = [0usize; 6];
    for (group, _) in lines.iter().filter_map(group) {
        counts[group] += 1;
    }
    let most = [STEPS, DISPLAYS, TESTS, TESTS, VITALS, WORDS];
    let kept: Vec<_> = counts.iter().zip(most).map(|(&n, m)| some(n, m)).collect();
    let mut seen = [0usize; 6];
    let keep = |line: &Line| match group(line) {
        Some((group, _)) => {
            seen[group] += 1;
            kept[group](seen[group] - 1)
        }
        None => true,
    };
    let mut keep = keep;
    lines.into_iter().filter(|line| keep(line)).collect()
}

/// The lines with the pictures of some iterations in them, and the bytes that these have.
fn with_pictures(lines: &[Line], folder: &Path, most: usize) -> (Vec<Line>, usize) {
    let of = |line: &Line| match line {
        Line::Picture { iteration, .. } | Line::Worst { iteration, .. } => Some(*iteration),
        _ => None,
    };
    let all: BTreeSet<u64> = lines.iter().filter_map(of).collect();
    let keep = some(all.len(), most);
    let kept: BTreeSet<u64> = all
        .iter()
        .enumerate()
        .filter_map(|(i, &iteration)| keep(i).then_some(iteration))
        .collect();
    let mut bytes = 0;
    let mut load = |file: &Option<String>| -> Option<String> {
        let name = file.as_deref()?.strip_prefix(PICTURES)?.strip_prefix('/')?;
        let png = picture(folder, name)?;
        bytes += png.len();
        Some(STANDARD.encode(png))
    };
    let mut told = Vec::with_capacity(lines.len());
    for line in lines {
        let mut line = line.clone();
        match &mut line {
            Line::Picture {
                iteration,
                role,
                file,
                png,
                ..
            } => {
                // What stays the same is told once.
                let constant = ["input", "truth"].contains(&role.as_str());
                if !constant && !kept.contains(iteration) {
                    continue;
                }
                let Some(loaded) = load(file) else {
                    continue;
                };
                (*file, *png) = (None, Some(loaded));
            }
            Line::Worst {
                iteration, samples, ..
            } => {
                let shown = kept.contains(iteration);
                for sample in samples {
                    let picture = sample.picture.take();
                    sample.png = if shown { load(&picture) } else { None };
                }
            }
            _ => {}
        }
        told.push(line);
    }
    (told, bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn picture_line(iteration: u64, role: &str, file: &str) -> String {
        format!(
            r#"{{"kind":"picture","t":1,"iteration":{iteration},"role":"{role}","blob":"b","sample":0,"key":"k","channel":null,"caption":"","file":"{file}","low":null,"high":null}}"#
        )
    }

    #[test]
    fn places_are_picked_evenly_with_both_ends() {
        let picked = |n, most| (0..n).filter(|&i| some(n, most)(i)).collect::<Vec<_>>();
        assert_eq!(picked(5, 9), [0, 1, 2, 3, 4]);
        assert_eq!(picked(9, 3), [0, 4, 8]);
        assert_eq!(picked(9, 1), [8]);
        assert_eq!(picked(0, 3), Vec::<usize>::new());
    }

    #[test]
    fn a_report_holds_lines_and_pictures_and_nothing_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(PICTURES)).unwrap();
        let png = b"\x89PNG bytes";
        fs::write(dir.path().join("pictures/a.png"), png).unwrap();
        fs::write(dir.path().join("secret.png"), b"\x89PNG secret").unwrap();
        let mut text =
            String::from("{\"kind\":\"log\",\"t\":0,\"level\":\"info\",\"text\":\"</script>\"}\n");
        for iteration in 0..40 {
            text += &picture_line(iteration, "map", "pictures/a.png");
            text += "\n";
        }
        text += &picture_line(0, "input", "pictures/../secret.png");
        for i in 0..5000 {
            text +=
                &format!("\n{{\"kind\":\"step\",\"t\":1,\"iteration\":{i},\"loss\":1,\"rate\":1}}");
        }
        fs::write(dir.path().join(LINES), text).unwrap();
        let run = |name: &str| Run {
            name: name.to_owned(),
            folder: dir.path().to_owned(),
        };
        let page = report(&[run("a"), run("b")], "two <runs>").unwrap();
        assert_eq!(
            page.matches(&STANDARD.encode(png)).count(),
            2 * ITERATIONS[0]
        );
        assert!(!page.contains(&STANDARD.encode(b"\x89PNG secret")));
        assert_eq!(page.matches("\"kind\":\"step\"").count(), 2 * STEPS);
        assert!(page.contains("\"iteration\":4999"));
        assert!(page.contains("two \\u003cruns>") && page.contains("\\u003c/script>"));
        let path = dir.path().join("report.html");
        write_report(&[run("a")], "t", &path).unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("\"name\":\"a\"")
        );
    }
}
