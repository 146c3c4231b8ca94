//! InfogainLoss: loss = −Σᵢ Σ_c H[labelᵢ, c] · ln max(pᵢc, 10⁻²⁰) / n, p = softmax of the scores along
//! `infogain_loss_param.axis`.   dx_c = (p_c · Σ_k H[label, k] − H[label, c]) · w / n, 0 where the label is skipped, w =
//! the loss weight. None by the labels and H. With H = 1 on the diagonal, else 0, it is SoftmaxWithLoss.
//!
//! Shapes: scores outer × classes × inner, labels outer × inner, H classes × classes as third bottom or in the
//! .binaryproto that `source` names; loss a scalar; the optional second top is p, as the scores. Labels, p and H are kept
//! by the layer: backward reads no data. n and the labels that are skipped as `loss_param` says.
//! Departures: a label that is no class or no whole number is an error; the old flag `normalize` is understood.

use super::{
    labels::{Labels, SKIPPED},
    normalize::Normalize,
};
use crate::{
    error::{Error, Result},
    feed,
    kernels::softmax,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role, Setup},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("InfogainLoss", |def| Ok(Box::new(InfogainLoss::new(def))))
        .arity(Arity::Range(2, 3), Arity::Range(1, 2))
        .role(Role::Loss)
        .no_grad(&[1, 2]);

/// The smallest probability that the logarithm sees.
const LEAST: f32 = 1e-20;
const SOURCE: &str = "infogain_loss_param.source";

struct InfogainLoss {
    def: LayerDef,
    normalize: Normalize,
    axis: i32,
    /// H and its shape, from the file or of the last forward pass.
    gains: Vec<f32>,
    of_file: Option<Shape>,
    /// The sums of the rows of H.
    sums: Vec<f32>,
    labels: Labels,
    prob: Vec<f32>,
    partial: Vec<f64>,
    divisor: f64,
}

impl InfogainLoss {
    fn new(def: &LayerDef) -> Self {
        let param = def.param.infogain_loss_param.clone().unwrap_or_default();
        Self {
            def: def.clone(),
            normalize: Normalize::new(def),
            axis: param.axis(),
            gains: Vec::new(),
            of_file: None,
            sums: Vec::new(),
            labels: Labels::default(),
            prob: Vec::new(),
            partial: Vec::new(),
            divisor: 1.0,
        }
    }

    fn add_rows(&mut self) {
        let rows = self.gains.chunks_exact(self.labels.classes.max(1));
        self.sums.clear();
        self.sums.extend(rows.map(|row| row.iter().sum::<f32>()));
    }
}

impl Layer for InfogainLoss {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        if cx.bottoms.len() == 2 {
            let param = self.def.param.infogain_loss_param.as_ref();
            let source = param.map_or("", |param| param.source());
            if source.is_empty() {
                let error = Error::param(SOURCE, "there is no matrix H");
                return Err(error.help("give it as third bottom, or name a .binaryproto with it"));
            }
            let read = feed::read_blob(&self.def.root, source)?;
            self.of_file = Some(read.shape);
            self.gains = read.data;
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        self.labels = Labels::new(scores, labels, self.axis, "infogain_loss_param.axis")?;
        let classes = self.labels.classes;
        let gains = bottoms.get(2).or(self.of_file.as_ref());
        if let Some(gains) = gains
            && Some(gains.count()) != classes.checked_mul(classes)
        {
            return Err(Error::shape(format!(
                "H has shape {gains}, but with {classes} classes it must be {classes} × {classes}"
            )));
        }
        self.add_rows();
        self.prob.resize(scores.count(), 0.0);
        self.partial.resize(self.labels.piece_count(), 0.0);
        let mut tops = vec![Shape::new(&[]), scores.clone()];
        tops.truncate(self.def.param.top.len().max(1));
        Ok(tops)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.labels
            .read(io.bottoms[1].data, self.normalize.ignore)?;
        if let Some(gains) = io.bottoms.get(2) {
            self.gains.clear();
            self.gains.extend_from_slice(gains.data);
            self.add_rows();
        }
        let (labels, gains) = (&self.labels, &self.gains);
        let dims = (labels.classes, labels.inner);
        softmax::forward(io.bottoms[0].data, dims, &mut self.prob);
        let prob = &self.prob;
        labels.pieces(&mut self.partial, |start, named| {
            let mut loss = 0.0;
            for (i, &label) in (start..).zip(named) {
                if label != SKIPPED {
                    let row = &gains[label as usize * dims.0..][..dims.0];
                    for (&h, c) in row.iter().zip(0..) {
                        let p = match prob[labels.at(i, c)] {
                            p if p < LEAST => LEAST,
                            p => p,
                        };
                        loss -= f64::from(h * p.ln());
                    }
                }
            }
            loss
        });
        let items = (labels.outer, labels.inner);
        self.divisor = self.normalize.divisor(items, labels.valid);
        io.tops[0].data[0] = (self.partial.iter().sum::<f64>() / self.divisor) as f32;
        if let Some(top) = io.tops.get_mut(1) {
            top.data.copy_from_slice(&self.prob);
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let weight = io.top_diffs[0].map_or(0.0, |dy| dy.data[0]);
        let scale = (f64::from(weight) / self.divisor) as f32;
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        let (classes, inner) = (self.labels.classes, self.labels.inner);
        self.labels.items(dx.data, &self.prob, |dx, prob, named| {
            let all = dx.chunks_exact_mut(inner).zip(prob.chunks_exact(inner));
            for (c, (dx, prob)) in all.enumerate() {
                for ((dx, p), &label) in dx.iter_mut().zip(prob).zip(named) {
                    *dx = if label == SKIPPED {
                        0.0
                    } else {
                        let label = label as usize;
                        (p * self.sums[label] - self.gains[label * classes + c]) * scale
                    };
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, assert_close, check_gradient, error_of, noise, tensor},
        model_io::binaryproto::write_binaryproto,
        tensor::Tensor,
    };

    const TEXT: &str = "type: 'InfogainLoss'";

    fn gains() -> Tensor {
        tensor(&[1, 1, 2, 2], &[1.0, 0.5, 0.0, 2.0])
    }

    #[test]
    fn by_hand() {
        // p is 1/4 and 3/4, twice.
        let ln3 = 3.0f32.ln();
        let scores = tensor(&[2, 2], &[0.0, ln3, 0.0, ln3]);
        let inputs = [scores, tensor(&[2], &[0.0, 1.0]), gains()];
        let mut bench = Bench::new(TEXT, &inputs);
        let (a, b) = (-0.25f32.ln(), -0.75f32.ln());
        assert_close(bench.forward(), &[(a + 2.5 * b) / 2.0], 1e-6);
        let got = bench.backward(&[2.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[-0.625, 0.625, 0.5, -0.5], 1e-6);
    }

    #[test]
    fn the_matrix_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.binaryproto");
        write_binaryproto(&path, gains().view()).unwrap();
        let text = format!(
            "{TEXT} top: 'loss' top: 'p' infogain_loss_param {{ source: '{}' axis: -1 }}",
            path.display()
        );
        let inputs = [
            noise(&[3, 2, 2], 1),
            tensor(&[3, 2], &[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        ];
        check_gradient(&text, &inputs, &[0], &[]);
        let apart = format!("{TEXT} infogain_loss_param {{ axis: -1 }}");
        let [scores, labels] = inputs.clone();
        let mut other = Bench::new(&apart, &[scores, labels, gains()]);
        let mut bench = Bench::new(&text, &inputs);
        assert_eq!(bench.forward(), other.forward());
        assert_eq!(bench.tops[1].shape.dims(), [3, 2, 2]);
        let error = error_of(&text, &[noise(&[3, 3], 1), noise(&[3], 1)]);
        assert!(error.contains("it must be 3 × 3"), "{error}");
    }

    #[test]
    fn gradients() {
        let labels = tensor(&[2, 1, 2, 2], &[0.0, 2.0, 1.0, 1.0, 2.0, 0.0, 0.0, 2.0]);
        let inputs = [noise(&[2, 3, 2, 2], 1), labels, noise(&[3, 3], 2)];
        for options in ["ignore_label: 1", "normalization: BATCH_SIZE"] {
            let text = format!("{TEXT} loss_param {{ {options} }}");
            check_gradient(&text, &inputs, &[0], &[]);
        }
    }

    #[test]
    fn errors() {
        let scores = || noise(&[2, 2], 1);
        let labels = |l| tensor(&[2], &[0.0, l]);
        for (inputs, why) in [
            (vec![scores(), labels(1.0)], "there is no matrix H"),
            (
                vec![scores(), labels(1.0), noise(&[3], 1)],
                "it must be 2 × 2",
            ),
            (vec![scores(), labels(2.0), gains()], "label 2 of image 1"),
            (vec![scores(), noise(&[3], 1), gains()], "need 2 labels"),
        ] {
            let error = error_of(TEXT, &inputs);
            assert!(error.contains(why), "{error}");
        }
        let text = format!("{TEXT} infogain_loss_param {{ source: 'no/such.file' }}");
        let error = error_of(&text, &[scores(), labels(1.0)]);
        assert!(error.contains("such.file"), "{error}");
    }
}
