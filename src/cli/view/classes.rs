//! Maps of classes: what a net answers, what labels say, and how far they agree.

use std::path::Path;

use super::{look::Look, source};
use crate::{
    error::{Error, Result},
    metrics::argmax,
    model_io::npz,
    net::Net,
    report::{channels::Planes, palette},
    tensor::Tensor,
};

/// A map of classes.
pub(super) struct Classes {
    pub(super) map: Vec<usize>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The class of every cell: the channel of the highest score, or the value itself where there is one channel.
pub(super) fn answer(values: &[f32], planes: Planes) -> Result<Classes> {
    if planes.list {
        return Err(Error::param(
            "--classes",
            "the blob has one score a class and no map of them",
        )
        .help("leave --classes out to see the scores"));
    }
    let plane = planes.rows * planes.columns;
    let map = (0..plane)
        .map(|at| match planes.channels {
            1 => class(values[at]),
            _ => argmax(values.iter().skip(at).step_by(plane).copied()),
        })
        .collect();
    Ok(Classes {
        map,
        rows: planes.rows,
        columns: planes.columns,
    })
}

fn class(value: f32) -> usize {
    value.round().clamp(0.0, 65_535.0) as usize
}

/// A blob of labels: one value a cell.
pub(super) fn classes_of(net: &Net, blob: &str, index: usize) -> Result<Classes> {
    let (values, dims) = source::sample(net, blob, index)?;
    classes(values, &dims).ok_or_else(|| {
        Error::shape(format!(
            "'{blob}' is no map of labels: a sample of it has shape {dims:?}"
        ))
    })
}

fn classes(values: &[f32], dims: &[usize]) -> Option<Classes> {
    let (rows, columns) = match *dims {
        [.., rows, columns] => (rows, columns),
        [] => (1, 1),
        [_] => return None,
    };
    (rows * columns == values.len() && !values.is_empty()).then(|| Classes {
        map: values.iter().map(|&v| class(v)).collect(),
        rows,
        columns,
    })
}

/// A map of labels from a file.
pub(super) fn read_classes(path: &Path, blobs: &[String]) -> Result<Classes> {
    if !path.exists() {
        return Err(Error::param(
            "--truth",
            format!("'{}' is no blob of the net and no file", path.display()),
        )
        .help(format!("the blobs are {}", blobs.join(", "))));
    }
    let tensor: Tensor = match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => {
            let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, &e))?;
            npz::read_npy(&mut std::io::BufReader::new(file))?
        }
        _ => {
            let image = image::open(path)
                .map_err(|e| Error::data(format!("cannot read '{}': {e}", path.display())))?
                .to_luma8();
            let size = [image.height() as usize, image.width() as usize];
            let values = image.as_raw().iter().map(|&v| f32::from(v)).collect();
            Tensor::new(size, values)?
        }
    };
    classes(&tensor.data, tensor.shape.dims()).ok_or_else(|| {
        Error::data(format!(
            "'{}' has shape {}; a map of labels has rows and columns",
            path.display(),
            tensor.shape
        ))
    })
}

/// How much of the answer is as the truth has it.
pub(super) fn agreement(truth: &Classes, answer: &Classes) -> String {
    if (truth.rows, truth.columns) != (answer.rows, answer.columns) {
        return format!(
            "{}x{}, truth {}x{}",
            answer.rows, answer.columns, truth.rows, truth.columns
        );
    }
    let pairs = || truth.map.iter().zip(&answer.map);
    let right = pairs().filter(|(t, a)| t == a).count();
    format!(
        "{:.1} % right",
        100.0 * right as f64 / truth.map.len() as f64
    )
}

/// The classes that are seen, in their colours; many are not named.
pub(super) fn legend(mut seen: Vec<usize>, look: &Look) -> Vec<(palette::Rgb, String)> {
    seen.sort_unstable();
    seen.dedup();
    seen.iter()
        .take(64)
        .map(|&c| (palette::class(c), look.name("class", c)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_channel_is_the_answer() {
        let planes = |channels| Planes {
            channels,
            rows: 1,
            columns: 2,
            list: false,
        };
        let map = |values: &[f32], channels| answer(values, planes(channels)).unwrap().map;
        assert_eq!(map(&[0.1, 0.9, 0.8, 0.2], 2), [1, 0]);
        assert_eq!(map(&[3.0, 7.2], 1), [3, 7]);
        let list = Planes {
            list: true,
            ..planes(1)
        };
        assert!(answer(&[0.0; 2], list).is_err());
    }
}
