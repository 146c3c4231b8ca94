//! `--class-weights`: weights of classes for the losses of a training net, counted or read.

use std::path::{Path, PathBuf};

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::{
    error::{Error, Result},
    events::{Event, Observer as _, Silent},
    number::g,
    schema::{LayerParameter, LossParameter, NetParameter, SolverParameter},
    solver::{self, SolverOptions},
    text,
    watch::balance::{self, Counts, SCHEMES, Scheme},
};

pub(crate) const FLAG: Flag = Flag::value(
    "class-weights",
    "HOW",
    "Weigh the classes of SoftmaxWithLoss: median-frequency or inverse (counted over the training labels), or a file of weights",
);

/// The weights that the flag asks for, for [`SolverOptions::class_weights`]. The tests stay unweighted. Counting always
/// gives the same, so that a resumed run has the weights of the one before.
///
/// # Errors
/// Of reading and building the net, of its labels, and of a file that does not fit.
pub(crate) fn of(
    args: &Args,
    param: &SolverParameter,
    options: &SolverOptions,
    ui: &mut Ui,
) -> Result<Vec<(String, Vec<f32>)>> {
    let Some(how) = args.text(FLAG.name) else {
        return Ok(Vec::new());
    };
    let scheme = SCHEMES.iter().find(|(name, _)| *name == how);
    let net = solver::train_net(param, options, &mut Silent)?;
    let losses = balance::losses(&net, &options.root)?;
    for loss in &losses {
        if weighed(&net, &loss.layer) {
            let text = format!(
                "--class-weights go before the class_weighting of '{}'",
                loss.layer
            );
            ui.warn(&text);
        }
    }
    let weights = match scheme {
        None => balance::given(&losses, &from_file(&PathBuf::from(&how))?)?,
        Some(&(name, scheme)) => {
            ui.on(&Event::Note(&format!(
                "counting labels for --class-weights={name}"
            )));
            let bar = ui.bar("labels", 0);
            let counted = balance::count(&net, &options.root, losses, &mut |done, of| {
                bar.set_length(of);
                bar.set_position(done);
            });
            bar.finish_and_clear();
            let counted = counted?;
            counted
                .iter()
                .map(|counts| tell(counts, scheme, ui))
                .collect()
        }
    };
    for (layer, weights) in &weights {
        let list: Vec<String> = weights.iter().map(|&w| g(w)).collect();
        ui.on(&Event::Note(&format!(
            "class weights of '{layer}': {}",
            list.join(" ")
        )));
    }
    Ok(weights)
}

fn weighed(net: &NetParameter, layer: &str) -> bool {
    let mut losses = net.layer.iter().filter(|l| l.name() == layer);
    losses.any(|l| {
        l.loss_param
            .as_ref()
            .is_some_and(|p| p.weight_by_label_freqs())
    })
}

fn tell(counts: &Counts, scheme: Scheme, ui: &mut Ui) -> (String, Vec<f32>) {
    let list: Vec<String> = counts.labels.iter().map(u64::to_string).collect();
    let of = match counts.records {
        0 => String::new(),
        n => format!(" in {n} records"),
    };
    let text = format!(
        "labels of '{}' by class{of}: {}",
        counts.loss.layer,
        list.join(" ")
    );
    ui.on(&Event::Note(&text));
    if counts.cut {
        ui.warn("there are more records than were counted: if they are sorted by class, give the weights in a file");
    }
    let never: Vec<String> = counts
        .labels
        .iter()
        .enumerate()
        .filter(|(_, n)| **n == 0)
        .map(|(class, _)| class.to_string())
        .collect();
    if !never.is_empty() {
        ui.warn(&format!(
            "no training label of '{}' is of class {}: weight 1",
            counts.loss.layer,
            never.join(", ")
        ));
    }
    (counts.loss.layer.clone(), counts.weights(scheme))
}

/// Weights from a file: numbers, one a line, or the fields of a `loss_param` in prototxt.
fn from_file(path: &Path) -> Result<Vec<f32>> {
    let help = "write one weight a line, from class 0 on, or class_weighting: 0.5 class_weighting: 2; or say median-frequency or inverse";
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io("read", path, &error).help(help))?;
    let bare = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let words: Vec<&str> = bare
        .flat_map(|line| line.split([',', ' ', '\t']))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let numbers: std::result::Result<Vec<f32>, _> = words.iter().map(|word| word.parse()).collect();
    let weights = match numbers {
        Ok(weights) => weights,
        Err(_) => fields(path, text).map_err(|error| error.help(help))?,
    };
    if weights.is_empty() {
        let why = format!("'{}' holds no weights", path.display());
        return Err(Error::param("--class-weights", why).help(help));
    }
    Ok(weights)
}

fn fields(path: &Path, text: String) -> Result<Vec<f32>> {
    let source = text::Source::new(&path.display().to_string(), text);
    // Read as the wrong message, fields are unknown and skipped.
    let loss = text::parse::<LossParameter>("LossParameter", &source);
    if let Some(loss) = loss.ok().filter(|l| !l.message.class_weighting.is_empty()) {
        return Ok(loss.message.class_weighting);
    }
    let layer = text::parse::<LayerParameter>("LayerParameter", &source)?.message;
    Ok(layer
        .loss_param
        .map_or_else(Vec::new, |loss| loss.class_weighting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_weights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        for (text, want) in [
            ("1\n0.5 # the rare one\n\n2\n", &[1.0, 0.5, 2.0][..]),
            ("1, 0.5, 2", &[1.0, 0.5, 2.0]),
            ("class_weighting: 1 class_weighting: 0.5", &[1.0, 0.5]),
            ("loss_param { class_weighting: [3, 4] }", &[3.0, 4.0]),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(from_file(&path).unwrap(), want, "{text}");
        }
        for (text, why) in [
            ("", "holds no weights"),
            ("name: 'x'", "holds no weights"),
            ("one\ntwo", "one weight a line"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = from_file(&path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = from_file(&dir.path().join("median"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("median-frequency or inverse"), "{error}");
    }
}
