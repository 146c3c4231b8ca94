//! LabelsequenceAccuracy: the share of sequences that are read without a mistake. What is read is the best class of each
//! step, repetitions counted once and blanks left out; it must equal the labels that are not `blank_label`. No gradient.
//!
//! Shapes: scores N×T×C, labels N×L, accuracy a scalar. Of equal scores the first counts, as in the fork.
//! Departures: a label that is no class or no whole number is an error; an empty batch gives 0, not NaN.

use super::ctc_loss::sequences;
use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("LabelsequenceAccuracy", |def| {
    let param = def.param.labelsequence_accuracy_param.unwrap_or_default();
    Ok(Box::new(LabelsequenceAccuracy {
        blank: param.blank_label(),
        dims: [0; 3],
    }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.role(Role::Metric);

struct LabelsequenceAccuracy {
    blank: i32,
    /// N, T, C.
    dims: [usize; 3],
}

impl Layer for LabelsequenceAccuracy {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        let fits = scores.axes() >= 3 && labels.axes() > 0 && scores.dims()[0] == labels.dims()[0];
        if !fits {
            return Err(Error::shape(format!(
                "scores {scores} and labels {labels}: the scores must be items × steps × classes, the labels items × labels"
            ))
            .help("CtcLoss has the steps first: Permute them with order: 1 order: 0 order: 2"));
        }
        let dims = scores.dims();
        self.dims = [dims[0], dims[1], scores.count_from(2)];
        if usize::try_from(self.blank).is_ok_and(|blank| blank < self.dims[2]) {
            return Ok(vec![Shape::new(&[])]);
        }
        Err(Error::param(
            "labelsequence_accuracy_param.blank_label",
            format!(
                "is {}; the scores have {} classes",
                self.blank, self.dims[2]
            ),
        ))
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let [items, steps, classes] = self.dims;
        let (scores, labels) = (&io.bottoms[0], &io.bottoms[1]);
        let blank = self.blank.unsigned_abs();
        let wanted = sequences(labels, items, classes, blank)?;
        let mut hits = 0;
        for (i, wanted) in wanted.iter().enumerate() {
            let item = &scores.data[i * steps * classes..][..steps * classes];
            let mut read = Vec::new();
            let mut before = blank;
            for step in item.chunks(classes) {
                let best =
                    (1..classes).fold(0, |b, c| if step[c] > step[b] { c } else { b }) as u32;
                if best != before && best != blank {
                    read.push(best);
                }
                before = best;
            }
            hits += usize::from(read == *wanted);
        }
        io.tops[0].data[0] = hits as f32 / items.max(1) as f32;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, error_of, noise, tensor},
        tensor::Tensor,
    };

    const TEXT: &str =
        "type: 'LabelsequenceAccuracy' labelsequence_accuracy_param { blank_label: 2 }";

    /// Scores of 3 classes whose best are these.
    fn best(items: &[&[usize]]) -> Tensor {
        let steps = items[0].len();
        let mut scores = vec![0.0; items.len() * steps * 3];
        for (i, item) in items.iter().enumerate() {
            for (t, &class) in item.iter().enumerate() {
                scores[(i * steps + t) * 3 + class] = 1.0;
            }
        }
        tensor(&[items.len(), steps, 3], &scores)
    }

    #[test]
    fn by_hand() {
        let scores = best(&[&[0, 0, 2, 0], &[1, 2, 2, 0], &[2, 2, 2, 2], &[0, 1, 1, 0]]);
        // Right; order wrong; right; one too few.
        let labels = [0.0, 0.0, 2.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 0.0, 1.0, 2.0];
        let mut bench = Bench::new(TEXT, &[scores, tensor(&[4, 3], &labels)]);
        assert_eq!(bench.forward(), [0.5]);
    }

    #[test]
    fn empty_batches_and_errors() {
        let mut bench = Bench::new(TEXT, &[noise(&[0, 4, 3], 1), noise(&[0, 2], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        let scores = || noise(&[1, 4, 3], 1);
        let error = error_of(TEXT, &[scores(), tensor(&[1, 1], &[3.0])]);
        assert!(error.contains("label 3 of item 0, position 0"), "{error}");
        let error = error_of(TEXT, &[noise(&[1, 4, 2], 1), noise(&[1, 1], 1)]);
        assert!(
            error.contains("blank_label: is 2; the scores have 2"),
            "{error}"
        );
        let error = error_of(TEXT, &[noise(&[4, 3], 1), noise(&[4, 1], 1)]);
        assert!(error.contains("items × steps × classes"), "{error}");
        let text = "type: 'LabelsequenceAccuracy' labelsequence_accuracy_param { blank_label: -1 }";
        let error = error_of(text, &[scores(), noise(&[1, 1], 1)]);
        assert!(error.contains("blank_label: is -1"), "{error}");
    }
}
