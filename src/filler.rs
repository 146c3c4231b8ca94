//! How parameters start: Caffe's seven fillers, one row each.

use rand::RngExt as _;
use rand_distr::{Distribution as _, Normal};

use crate::{
    error::{Error, ErrorKind, Result},
    rng::Rng,
    schema::{FillerParameter, filler_parameter::VarianceNorm},
    tensor::{Shape, Tensor},
};

type Fill = fn(&FillerParameter, &mut Tensor, &mut Rng) -> Result<()>;

/// The table, sorted by name.
const FILLERS: &[(&str, Fill)] = &[
    ("bilinear", bilinear),
    ("constant", constant),
    ("gaussian", gaussian),
    ("msra", msra),
    ("positive_unitball", positive_unitball),
    ("uniform", uniform),
    ("xavier", xavier),
];

/// Fills a tensor as `filler` says.
///
/// # Errors
/// `Param` for an unknown type, or options or a shape that the filler cannot serve.
pub fn fill(filler: &FillerParameter, tensor: &mut Tensor, rng: &mut Rng) -> Result<()> {
    let name = filler.r#type();
    let Some((_, f)) = FILLERS.iter().find(|(n, _)| *n == name) else {
        let names: Vec<&str> = FILLERS.iter().map(|(n, _)| *n).collect();
        return Err(
            Error::new(ErrorKind::Param, format!("unknown filler type '{name}'"))
                .help(format!("use one of {}", names.join(", "))),
        );
    };
    if filler.sparse() != -1 && name != "gaussian" {
        return Err(Error::new(
            ErrorKind::Param,
            format!("filler '{name}' has no sparse form; only gaussian has"),
        ));
    }
    f(filler, tensor, rng)
}

fn constant(filler: &FillerParameter, tensor: &mut Tensor, _: &mut Rng) -> Result<()> {
    tensor.data.fill(filler.value());
    Ok(())
}

/// Values from `[min, max)`.
fn uniform_between(tensor: &mut Tensor, min: f32, max: f32, rng: &mut Rng) -> Result<()> {
    if !(min <= max && min.is_finite() && max.is_finite()) {
        return Err(Error::new(
            ErrorKind::Param,
            format!("uniform filler needs min <= max, not {min} and {max}"),
        ));
    }
    for x in &mut tensor.data {
        *x = min + (max - min) * rng.random::<f32>();
    }
    Ok(())
}

fn normal(tensor: &mut Tensor, mean: f32, std: f32, rng: &mut Rng) -> Result<()> {
    let distribution = Normal::new(mean, std)
        .ok()
        .filter(|_| std >= 0.0)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Param,
                format!("gaussian filler needs a finite std >= 0, not {std}"),
            )
        })?;
    for x in &mut tensor.data {
        *x = distribution.sample(rng);
    }
    Ok(())
}

fn uniform(filler: &FillerParameter, tensor: &mut Tensor, rng: &mut Rng) -> Result<()> {
    uniform_between(tensor, filler.min(), filler.max(), rng)
}

/// With `sparse: s`, about `s` weights of each output's inputs stay: every value survives with probability
/// `s / shape[0]`, as in Caffe.
fn gaussian(filler: &FillerParameter, tensor: &mut Tensor, rng: &mut Rng) -> Result<()> {
    normal(tensor, filler.mean(), filler.std(), rng)?;
    if filler.sparse() >= 0 {
        let keep = f64::from(filler.sparse()) / tensor.shape.legacy(0).max(1) as f64;
        if keep > 1.0 {
            return Err(Error::new(
                ErrorKind::Param,
                format!(
                    "gaussian filler: sparse {} is more than the {} outputs",
                    filler.sparse(),
                    tensor.shape.legacy(0)
                ),
            ));
        }
        for x in &mut tensor.data {
            if !rng.random_bool(keep) {
                *x = 0.0;
            }
        }
    }
    Ok(())
}

/// Uniform in `[0, 1)`, then each row of axis 0 divided by its sum.
fn positive_unitball(_: &FillerParameter, tensor: &mut Tensor, rng: &mut Rng) -> Result<()> {
    uniform_between(tensor, 0.0, 1.0, rng)?;
    let rows = tensor.shape.legacy(0).max(1);
    let row = tensor.data.len() / rows;
    if row > 0 {
        for chunk in tensor.data.chunks_mut(row) {
            let sum: f32 = chunk.iter().sum();
            chunk.iter_mut().for_each(|x| *x /= sum);
        }
    }
    Ok(())
}

/// `n` of the Xavier and MSRA formulas: inputs of one output, outputs of one input, or their mean.
fn fan(filler: &FillerParameter, shape: &Shape) -> f32 {
    let count = shape.count() as f32;
    let fan_in = count / shape.legacy(0).max(1) as f32;
    let fan_out = if shape.axes() > 1 {
        count / shape.legacy(1).max(1) as f32
    } else {
        count
    };
    match filler.variance_norm() {
        VarianceNorm::FanIn => fan_in,
        VarianceNorm::FanOut => fan_out,
        VarianceNorm::Average => (fan_in + fan_out) / 2.0,
    }
}

/// Glorot and Bengio 2010: uniform in ±sqrt(3 / n).
fn xavier(filler: &FillerParameter, tensor: &mut Tensor, rng: &mut Rng) -> Result<()> {
    let bound = (3.0 / fan(filler, &tensor.shape).max(1.0)).sqrt();
    uniform_between(tensor, -bound, bound, rng)
}

/// He et al. 2015: normal with std sqrt(2 / n).
fn msra(filler: &FillerParameter, tensor: &mut Tensor, rng: &mut Rng) -> Result<()> {
    let std = (2.0 / fan(filler, &tensor.shape).max(1.0)).sqrt();
    normal(tensor, 0.0, std, rng)
}

/// Bilinear interpolation for deconvolution: a square kernel k×k, f = ceil(k/2), c = (2f - 1 - f mod 2) / 2f,
/// w[y][x] = (1 - |x/f - c|)(1 - |y/f - c|).
fn bilinear(_: &FillerParameter, tensor: &mut Tensor, _: &mut Rng) -> Result<()> {
    let dims = tensor.shape.dims();
    let &[_, _, height, width] = dims else {
        return Err(Error::shape(format!(
            "bilinear filler needs 4 axes, not {}",
            tensor.shape
        )));
    };
    if height != width {
        return Err(Error::shape(format!(
            "bilinear filler needs a square kernel, not {height}x{width}"
        )));
    }
    let f = width.div_ceil(2) as f32;
    let c = (2.0 * f - 1.0 - f % 2.0) / (2.0 * f);
    for (i, value) in tensor.data.iter_mut().enumerate() {
        let x = (i % width) as f32;
        let y = ((i / width) % height) as f32;
        *value = (1.0 - (x / f - c).abs()) * (1.0 - (y / f - c).abs());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Use, stream};

    fn filled(filler: FillerParameter, shape: [usize; 4]) -> Vec<f32> {
        let mut tensor = Tensor::zeros(shape);
        fill(&filler, &mut tensor, &mut stream(7, Use::Filler, 0, 0)).unwrap();
        tensor.data
    }

    fn of(kind: &str) -> FillerParameter {
        FillerParameter {
            r#type: Some(kind.to_owned()),
            ..Default::default()
        }
    }

    fn mean_and_std(x: &[f32]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let var = x
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n;
        (mean, var.sqrt())
    }

    #[test]
    fn table_is_sorted() {
        assert!(FILLERS.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn statistics_follow_the_formulas() {
        let shape = [50, 20, 5, 5];
        let (mean, std) = mean_and_std(&filled(
            FillerParameter {
                mean: Some(0.5),
                std: Some(0.1),
                ..of("gaussian")
            },
            shape,
        ));
        assert!((mean - 0.5).abs() < 0.003 && (std - 0.1).abs() < 0.003);
        let (mean, std) = mean_and_std(&filled(of("msra"), shape));
        assert!(mean.abs() < 0.003 && (std - (2.0f64 / 500.0).sqrt()).abs() < 0.002);
        let x = filled(of("xavier"), shape);
        let bound = (3.0f32 / 500.0).sqrt();
        assert!(x.iter().all(|v| v.abs() <= bound) && x.iter().any(|v| v.abs() > 0.98 * bound));
        let out = FillerParameter {
            variance_norm: Some(VarianceNorm::FanOut as i32),
            ..of("xavier")
        };
        let bound = (3.0f32 / 1250.0).sqrt();
        assert!(filled(out, shape).iter().all(|v| v.abs() <= bound));
        let sparse = filled(
            FillerParameter {
                sparse: Some(10),
                ..of("gaussian")
            },
            shape,
        );
        let zeros = sparse.iter().filter(|&&v| v == 0.0).count() as f64 / sparse.len() as f64;
        assert!((zeros - 0.8).abs() < 0.02);
    }

    #[test]
    fn unitball_rows_sum_to_one() {
        for row in filled(of("positive_unitball"), [4, 3, 2, 2]).chunks(12) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn bilinear_kernel_of_four() {
        let x = filled(of("bilinear"), [1, 1, 4, 4]);
        assert_eq!(&x[..4], &[0.0625, 0.1875, 0.1875, 0.0625]);
        assert_eq!(x[5], 0.5625);
    }

    #[test]
    fn unknown_type_names_the_known() {
        let error = fill(
            &of("gausian"),
            &mut Tensor::zeros([1]),
            &mut stream(0, Use::Filler, 0, 0),
        )
        .unwrap_err();
        assert!(error.to_string().contains("gaussian"));
    }
}
