//! What a trained network says about the test faces, and the figures of it.

use std::path::Path;

use super::{
    faces::{CLASSES, Face},
    folder::{BATCH, Variant},
};
use crate::{
    error::{Error, Result},
    events::Silent,
    load::{self, LoadOptions},
    metrics::{ChannelStats, ConfusionMatrix, argmax},
    model_io::caffemodel,
    net::{Keep, Net, NetOptions},
    params::Params,
    tensor::{Tensor, View},
};

/// What a network says about one face, cell by cell.
pub(super) struct Answer {
    /// Softmax, one plane a class.
    pub(super) prob: Vec<f32>,
    /// The class of the highest score.
    pub(super) classes: Vec<usize>,
}

/// A network's test.
pub(super) struct Report {
    /// The network.
    pub(super) title: &'static str,
    /// Summed over all cells of the test set.
    pub(super) confusion: ConfusionMatrix,
    /// Of the scores before the softmax.
    pub(super) scores: ChannelStats,
    /// Of the softmax: the heat maps.
    pub(super) maps: ChannelStats,
    /// For the first faces.
    pub(super) answers: Vec<Answer>,
}

/// Runs the deploy net of `folder` with the weights that training left there, on every face; keeps the first `keep`
/// answers.
///
/// # Errors
/// Where the files do not read or fit together.
pub(super) fn evaluate(
    variant: &Variant,
    folder: &Path,
    weights: &Path,
    mean: &Tensor,
    faces: &[Face],
    keep: usize,
) -> Result<Report> {
    let file = load::net(
        &folder.join("deploy.prototxt"),
        LoadOptions::default(),
        &mut Silent,
    )?;
    let mut params = Params::new();
    let options = NetOptions {
        keep: Keep::Named,
        ..NetOptions::default()
    };
    let mut net = Net::new(&file.net, &mut params, &options, &mut Silent)?;
    caffemodel::Weights::open(weights)?.load(&net, &mut params)?;

    let mut report = Report {
        title: variant.title,
        confusion: ConfusionMatrix::new(CLASSES.len()),
        scores: ChannelStats::new(CLASSES.len()),
        maps: ChannelStats::new(CLASSES.len()),
        answers: Vec::new(),
    };
    for batch in faces.chunks(BATCH) {
        net.set_input("images", &images(batch, mean)?)?;
        net.forward(&mut params)?;
        let (scores, prob) = (blob(&net, "conv_last")?, blob(&net, "prob")?);
        let cells = scores.shape.legacy(2) * scores.shape.legacy(3);
        let samples = scores.data.chunks_exact(CLASSES.len() * cells);
        let probs = prob.data.chunks_exact(CLASSES.len() * cells);
        for ((face, scores), prob) in batch.iter().zip(samples).zip(probs) {
            let classes: Vec<usize> = (0..cells)
                .map(|cell| argmax(scores.iter().skip(cell).step_by(cells).copied()))
                .collect();
            for (&truth, &answer) in face.map.iter().zip(&classes) {
                report.confusion.add(usize::from(truth), answer);
            }
            report.scores.add(scores);
            report.maps.add(prob);
            if report.answers.len() < keep {
                report.answers.push(Answer {
                    prob: prob.to_vec(),
                    classes,
                });
            }
        }
    }
    Ok(report)
}

fn blob<'a>(net: &'a Net, name: &str) -> Result<View<'a>> {
    let view = net
        .blob(name)
        .ok_or_else(|| Error::data(format!("the deploy net has no blob '{name}'")))?;
    if view.shape.legacy(1) != CLASSES.len() {
        return Err(Error::shape(format!(
            "'{name}' is {}; there are {} classes",
            view.shape,
            CLASSES.len()
        )));
    }
    Ok(view)
}

/// Faces as the network wants them: blue, green, red, minus the mean.
fn images(faces: &[Face], mean: &Tensor) -> Result<Tensor> {
    let size = faces.first().map_or(0, |face| face.size);
    let data: Vec<f32> = faces
        .iter()
        .flat_map(|face| {
            let pixels = face.bgr_planes().into_iter();
            pixels
                .zip(&mean.data)
                .map(|(pixel, mean)| f32::from(pixel) - mean)
        })
        .collect();
    Tensor::new([faces.len(), 3, size, size], data)
}
