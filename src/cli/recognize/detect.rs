//! `detect`: the boxes that a net of SSD finds in images, as lines, as JSON, and drawn.

use std::path::PathBuf;

use serde_json::json;

use super::{
    super::{
        args::{Args, Flag},
        command::{Command, Status},
        nets,
        ui::{Ui, json_text},
    },
    BLOB, IMAGES, JSON, LABELS, MEAN, Names, Out, Recognizer, SCALE, files, show, too_few,
};
use crate::{
    error::{Error, Result},
    feed::pictures::{self, rgb},
    model_io::write_file,
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
        // What SSD's example program calls them.
        Flag::value("mean_file", "FILE", "").hidden(),
        Flag::value("mean_value", "VALUES", "").hidden(),
        Flag::value("confidence_threshold", "X", "").hidden(),
        Flag::value("out_file", "FILE", "").hidden(),
        Flag::value("file_type", "image|video", "").hidden(),
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

/// The words of SSD's example program, in its order, before its list of images.
const PLACES: [&str; 2] = ["model", "weights"];

/// The same line with the names that `detect` has for the flags of SSD's example program.
fn renamed(args: &Args) -> Result<Args> {
    let kinds = [("image", false), ("video", true)];
    if args.word("file_type", &kinds)? == Some(true) {
        return Err(
            Error::unsupported("--file_type=video: films are not read").help(
                "take the film apart and list its pictures: ffmpeg -i film.mp4 frames/%06d.png",
            ),
        );
    }
    let mut made = args.clone();
    match (args.text("mean_file"), args.text("mean_value")) {
        (Some(_), Some(_)) => {
            return Err(Error::param(
                "--mean_file",
                "cannot be given together with --mean_value",
            ));
        }
        (Some(mean), None) | (None, Some(mean)) => made = made.or_default("mean", &mean),
        (None, None) => {}
    }
    if let Some(least) = args.text("confidence_threshold") {
        made = made.or_default("confidence", &least);
    }
    Ok(made)
}

/// A call as SSD's example program, `tool`, takes it: its words, and its values for what is left out.
fn of_words(args: &Args, tool: &str) -> Result<(Args, Vec<PathBuf>)> {
    let words = args.all_paths("images");
    let [_, _, list, ..] = &words[..] else {
        let needed = "model_file weights_file list_file";
        return Err(too_few(tool, needed, words.len()));
    };
    let mut made = args.with_words("images", &PLACES);
    // An empty value takes no mean away.
    if !args.given("mean_value") {
        made = made.or_default("mean", "104,117,123");
    }
    let files = pictures::listed(list)?;
    Ok((made.or_default("confidence", "0.01"), files))
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "detect --model=deploy.prototxt --weights=ssd.caffemodel street.jpg";
    let mut args = renamed(args)?;
    // The only old name of this command is that of SSD's example program.
    let tool = args.tool().filter(|_| args.text("model").is_none());
    let old = tool.is_some();
    let mut listed = None;
    if let Some(tool) = tool {
        let (made, files) = of_words(&args, tool)?;
        (args, listed) = (made, Some(files));
    }
    let args = &args;
    let names = Names::read(args)?;
    let least: f32 = args.number("confidence")?.unwrap_or(0.3);
    let json = args.switch("json");
    let mut net = Recognizer::open(args, example, ui)?;
    let files = listed.map_or_else(|| files(args), Ok)?;
    // Before a folder is made for it.
    let rows = net.net.blob(&net.output);
    rows.map_or(Ok(()), |rows| found(rows, [1.0; 2], 0.0).map(drop))?;
    let mut out = Out::of(args)?;
    let into = args.path("out_file");
    let (mut list, mut told) = (Vec::new(), String::new());
    let status = net.each(&files, ui, |ui, file, sample, rows| {
        let size = [sample.width as f32, sample.height as f32];
        let mut found = found(rows, size, least)?;
        if !old {
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        if let Some(out) = &mut out {
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
            // SSD's program cuts off where this one rounds.
            let whole = |c: f32| g(if old { c.trunc() + 0.0 } else { c.round() });
            let [x0, y0, x1, y1] = f.corners.map(whole);
            text += &format!(
                "{} {} {} {x0} {y0} {x1} {y1}\n",
                file.display(),
                names.of(f.class),
                g(f.score)
            );
        }
        if into.is_some() {
            told += &text;
            return Ok(());
        }
        ui.print(&text)
    })?;
    if json {
        told = json_text(&json!(list));
    }
    match into {
        Some(path) => write_file(&path, told.as_bytes())?,
        None => ui.print(&told)?,
    }
    Ok(status)
}

/// Rows (image, class, score, xmin, ymin, xmax, ymax), corners as fractions of the image.
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
    Ok(rows
        .iter()
        // A row of -1 stands where nothing was found.
        .filter(|row| row[1] >= 0.0 && row[2] >= least)
        .map(|&[_, class, score, x0, y0, x1, y1]| Found {
            class: class as i64,
            score,
            corners: [x0 * width, y0 * height, x1 * width, y1 * height],
        })
        .collect())
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
            [(1, [10.0, 2.0, 50.0, 6.0]), (2, [0.0, 0.0, 100.0, 10.0])]
        );
        let scores = Tensor::zeros([1, 5]);
        assert!(super::found(scores.view(), [1.0; 2], 0.0).is_err());
    }
}
