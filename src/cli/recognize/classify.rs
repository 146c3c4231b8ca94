//! `classify`: what a net takes images for, in the words of Caffe's example program.

use serde_json::json;

use super::{
    super::{
        args::{Args, Flag},
        command::{Command, Status},
        nets,
        ui::Ui,
    },
    BLOB, IMAGES, JSON, LABELS, MEAN, Names, Recognizer, SCALE, files, too_few,
};
use crate::error::{Error, ErrorKind, Result};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "classify",
    about: "say what images show: the classes with the highest scores",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        MEAN,
        SCALE,
        LABELS,
        Flag::value("top", "N", "How many classes to tell (default 5)"),
        BLOB,
        JSON,
        nets::EXACT,
        nets::PRECISION,
        nets::CALIBRATION,
        IMAGES,
    ],
    examples: "  cortado classify --model=deploy.prototxt --weights=net.caffemodel --mean=mean.binaryproto --labels=labels.txt cat.jpg\n  cortado classify --model=deploy.prototxt --weights=net.caffemodel --top=1 --json pictures/",
    run,
};

/// The words of Caffe's example program, in its order.
const PLACES: [&str; 4] = ["model", "weights", "mean", "labels"];

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "classify --model=deploy.prototxt --weights=net.caffemodel cat.jpg";
    // deploy.prototxt net.caffemodel mean.binaryproto labels.txt cat.jpg
    let words = args.all("images");
    let unnamed = args.text("model").is_none();
    let old = unnamed && words.len() > PLACES.len();
    if let Some(tool) = args.tool().filter(|_| unnamed && !old) {
        let needed = "deploy.prototxt network.caffemodel mean.binaryproto labels.txt image.jpg";
        return Err(too_few(tool, needed, words.len()));
    }
    let told;
    let args = if old {
        told = args.with_words("images", &PLACES);
        &told
    } else {
        args
    };
    let top = args.count("top", 5)?;
    let names = Names::read(args)?;
    let json = args.switch("json");
    let mut net = Recognizer::open(args, example, ui)?;
    let mut list = Vec::new();
    let status = net.each(&files(args)?, ui, |ui, file, _, scores| {
        if names.len() > 0 && names.len() != scores.data.len() {
            return Err(Error::new(
                ErrorKind::Param,
                format!(
                    "{} labels for {} scores of {}",
                    names.len(),
                    scores.data.len(),
                    scores.shape
                ),
            )
            .help("give the file with one label for each class of this net, or another --blob"));
        }
        let best = best(scores.data, top);
        if json {
            let answers = best.iter().map(|&(class, score)| {
                json!({ "class": class, "label": names.of(class as i64), "score": finite(score) })
            });
            list.push(json!({ "file": file.display().to_string(), "classes": answers.collect::<Vec<_>>() }));
            return Ok(());
        }
        let mut text = format!("---------- Prediction for {} ----------\n", file.display());
        for (class, score) in best {
            text += &format!("{score:.4} - \"{}\"\n", names.of(class as i64));
        }
        ui.print(&text)
    })?;
    if json {
        ui.json(&json!(list))?;
    }
    Ok(status)
}

/// JSON has no numbers that are not finite.
fn finite(score: f32) -> Option<f32> {
    score.is_finite().then_some(score)
}

/// The highest scores with their classes; of equals the first class first.
fn best(scores: &[f32], top: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(top);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_scores_come_first() {
        assert_eq!(
            best(&[0.1, 0.5, 0.4, 0.5], 3),
            [(1, 0.5), (3, 0.5), (2, 0.4)]
        );
        assert_eq!(best(&[1.0], 5), [(0, 1.0)]);
        assert!(best(&[], 5).is_empty());
    }
}
