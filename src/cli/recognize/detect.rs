//! `detect`: the boxes that a net of SSD finds in images, as lines, as JSON, and drawn.

use serde_json::json;

use super::{
    super::{
        args::{Args, Flag},
        command::{Command, Status},
        nets,
        ui::Ui,
    },
    BLOB, IMAGES, JSON, LABELS, MEAN, Names, Out, Recognizer, SCALE, show,
};
use crate::{
    error::{Error, Result},
    feed::pictures::rgb,
    number::g,
    report::{boxes, palette},
    tensor::View,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "detect",
    about: "find things in images with an SSD net: boxes as text, JSON and drawn",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        MEAN,
        SCALE,
        LABELS,
        Flag::value(
            "confidence",
            "X",
            "Leave out boxes that score less (default 0.3)",
        ),
        Flag::value("out", "DIR", "Draw the boxes into pictures in this folder"),
        BLOB,
        JSON,
        nets::EXACT,
        IMAGES,
    ],
    examples: "  cortado detect --model=deploy.prototxt --weights=ssd.caffemodel --mean=104,117,123 street.jpg --out=found\n  cortado detect --model=deploy.prototxt --weights=ssd.caffemodel --labels=labelmap.prototxt --json 'street/*.jpg'",
    run,
};

/// A box in pixels of its image.
struct Found {
    class: i64,
    score: f32,
    /// xmin, ymin, xmax, ymax.
    corners: [f32; 4],
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "detect --model=deploy.prototxt --weights=ssd.caffemodel street.jpg";
    let names = Names::read(args)?;
    let least: f32 = args.number("confidence")?.unwrap_or(0.3);
    let json = args.switch("json");
    let out = Out::of(args)?;
    let mut net = Recognizer::open(args, example, ui)?;
    let mut list = Vec::new();
    let status = net.each(args, ui, |ui, file, sample, rows| {
        let found = found(rows, [sample.width as f32, sample.height as f32], least)?;
        if let Some(out) = &out {
            let rgb = rgb(sample);
            let mut picture = show(sample, &rgb)?.plain(1)?;
            for thing in found.iter().rev() {
                let caption = format!("{} {:.2}", names.of(thing.class), thing.score);
                let color = palette::class(usize::try_from(thing.class).unwrap_or(0).max(1));
                boxes::draw(&mut picture, thing.corners, &caption, color);
            }
            super::save(&out.path(file, "found"), &picture)?;
        }
        if json {
            let things = found.iter().map(|f| {
                json!({ "class": f.class, "label": names.of(f.class), "score": f.score, "box": f.corners })
            });
            list.push(json!({ "file": file.display().to_string(), "found": things.collect::<Vec<_>>() }));
            return Ok(());
        }
        let mut text = String::new();
        for f in &found {
            let [x0, y0, x1, y1] = f.corners.map(|c| g(c.round()));
            text += &format!(
                "{} {} {} {x0} {y0} {x1} {y1}\n",
                file.display(),
                names.of(f.class),
                g(f.score)
            );
        }
        ui.print(&text)
    })?;
    if json {
        ui.print(&super::super::json_text(&json!(list))?)?;
    }
    Ok(status)
}

/// Rows (image, class, score, xmin, ymin, xmax, ymax), corners as fractions of the image; the best first.
fn found(rows: View<'_>, [width, height]: [f32; 2], least: f32) -> Result<Vec<Found>> {
    let dims = rows.shape.dims();
    if dims.last() != Some(&7) {
        return Err(Error::shape(format!(
            "the output is {}; a net of SSD gives rows of 7: image, class, score and a box",
            rows.shape
        ))
        .help("choose the top of DetectionOutput with --blob; 'classify' and 'segment' are for other nets"));
    }
    let (rows, _) = rows.data.as_chunks::<7>();
    let mut found: Vec<Found> = rows
        .iter()
        // A row of -1 stands where nothing was found.
        .filter(|row| row[1] >= 0.0 && row[2] >= least)
        .map(|&[_, class, score, x0, y0, x1, y1]| Found {
            class: class as i64,
            score,
            corners: [x0 * width, y0 * height, x1 * width, y1 * height],
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn rows_are_boxes_in_pixels() {
        let rows = vec![
            0.0, 1.0, 0.4, 0.1, 0.2, 0.5, 0.6, //
            0.0, 2.0, 0.9, 0.0, 0.0, 1.0, 1.0, //
            0.0, 1.0, 0.1, 0.0, 0.0, 1.0, 1.0, //
            0.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0,
        ];
        let rows = Tensor::new([1, 1, 4, 7], rows).unwrap();
        let found = found(rows.view(), [100.0, 10.0], 0.3).unwrap();
        let told: Vec<_> = found.iter().map(|f| (f.class, f.corners)).collect();
        assert_eq!(
            told,
            [(2, [0.0, 0.0, 100.0, 10.0]), (1, [10.0, 2.0, 50.0, 6.0])]
        );
        let scores = Tensor::zeros([1, 5]);
        assert!(super::found(scores.view(), [1.0; 2], 0.0).is_err());
    }
}
