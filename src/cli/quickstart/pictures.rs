//! Heat maps of what the networks say, beside the faces and the truth.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::{
    evaluate::{Answer, Report},
    faces::{CLASSES, Face},
};
use crate::{
    error::{Error, Result},
    model_io::write_file,
    report::{
        self,
        heatmap::{Picture, Sheet},
    },
};

/// How many faces are shown.
pub(super) const SHOWN: usize = 4;
/// Pixels on a sheet for one of a face.
const ZOOM: u32 = 4;

/// Writes one sheet for each network, and one with all of them face by face; returns their names.
///
/// # Errors
/// `Io`, or `Shape` where an answer has another size than its face's map.
pub(super) fn write(dir: &Path, faces: &[Face], reports: &[Report]) -> Result<Vec<PathBuf>> {
    let folder = dir.join("heatmaps");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, &e))?;
    let mut written = Vec::new();
    for report in reports {
        let mut rows = Vec::new();
        for (number, (face, answer)) in faces.iter().zip(&report.answers).enumerate() {
            rows.push((format!("{number}"), row(face, answer)?));
        }
        let name = report.title.replace(' ', "_");
        let title = format!("The network {}: test faces", report.title);
        written.push(save(&folder, &name, title, rows)?);
    }
    let mut rows = Vec::new();
    for (number, face) in faces.iter().enumerate() {
        for report in reports {
            if let Some(answer) = report.answers.get(number) {
                rows.push((report.title.to_owned(), row(face, answer)?));
            }
        }
    }
    let titles: Vec<&str> = reports.iter().map(|r| r.title).collect();
    let title = format!("Each face twice: {}", titles.join(", "));
    written.push(save(&folder, "side_by_side", title, rows)?);
    Ok(written)
}

/// Face, truth, answer, and a heat map for each class.
fn row(face: &Face, answer: &Answer) -> Result<Vec<RgbImage>> {
    let cells = (face.cells(), face.cells());
    let picture = Picture::new(face.size, face.size, &face.rgb)?;
    let truth: Vec<usize> = face.map.iter().map(|&c| c.into()).collect();
    let mut pictures = vec![
        picture.plain(ZOOM)?,
        picture.classes(&truth, cells, ZOOM)?,
        picture.classes(&answer.classes, cells, ZOOM)?,
    ];
    for channel in answer.prob.chunks(answer.classes.len().max(1)) {
        pictures.push(picture.heat(channel, cells, ZOOM)?);
    }
    Ok(pictures)
}

fn save(
    folder: &Path,
    name: &str,
    title: String,
    rows: Vec<(String, Vec<RgbImage>)>,
) -> Result<PathBuf> {
    let columns = ["face", "truth", "answer"].iter().chain(&CLASSES);
    let sheet = Sheet {
        title,
        columns: columns.map(|&c| c.to_owned()).collect(),
        rows,
    };
    let path = folder.join(format!("{name}.png"));
    write_file(&path, &report::png(&sheet.render())?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::quickstart::faces,
        metrics::{ChannelStats, ConfusionMatrix},
    };

    #[test]
    fn a_sheet_for_each_network_and_one_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let faces = faces::draw(2, 0, 2, 48);
        // As if the network had read the truth.
        let answer = |face: &Face| Answer {
            prob: (0..5u8)
                .flat_map(|c| face.map.iter().map(move |&m| f32::from(u8::from(m == c))))
                .collect(),
            classes: face.map.iter().map(|&c| c.into()).collect(),
        };
        let report = |title| Report {
            title,
            confusion: ConfusionMatrix::new(5),
            scores: ChannelStats::new(5),
            maps: ChannelStats::new(5),
            answers: faces.iter().map(answer).collect(),
        };
        let written = write(dir.path(), &faces, &[report("as written"), report("b")]).unwrap();
        let names: Vec<_> = written.iter().filter_map(|p| p.file_name()).collect();
        assert_eq!(names, ["as_written.png", "b.png", "side_by_side.png"]);
        let [one, both] = [0, 2].map(|i| image::open(&written[i]).unwrap());
        assert!(both.height() > one.height() && one.width() > 8 * 48 * ZOOM);
        if let Some(keep) = std::env::var_os("CORTADO_PICTURES") {
            std::fs::copy(&written[2], keep).unwrap();
        }
    }
}
