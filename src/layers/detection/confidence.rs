//! What the scores of one box cost, against the class that it should have.

use crate::schema::multi_box_loss_parameter::ConfLossType;

/// −ln of the probability, not below that of the smallest normal number.
fn cost(p: f32) -> f32 {
    // Written so that a NaN passes.
    if p < f32::MIN_POSITIVE {
        -f32::MIN_POSITIVE.ln()
    } else {
        -p.ln()
    }
}

/// The cost of `scores` where `class` is right; `None`: none of them is.
pub(super) fn loss(kind: ConfLossType, scores: &[f32], class: Option<usize>) -> f32 {
    match kind {
        ConfLossType::Softmax => {
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = scores.iter().map(|x| (x - largest).exp()).sum();
            class.map_or(0.0, |class| cost((scores[class] - largest).exp() / sum))
        }
        ConfLossType::Logistic => {
            let term = |(c, &x): (usize, &f32)| {
                let target = f32::from(u8::from(Some(c) == class));
                // −ln σ(x) and −ln (1 − σ(x)), for large x too.
                (-x.abs()).exp().ln_1p() + x * (f32::from(u8::from(x >= 0.0)) - target)
            };
            scores.iter().enumerate().map(term).sum()
        }
    }
}

/// The gradient of [`loss`] by the scores.
pub(super) fn slope(kind: ConfLossType, scores: &[f32], class: Option<usize>, to: &mut [f32]) {
    match kind {
        ConfLossType::Softmax => {
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (to, x) in to.iter_mut().zip(scores) {
                *to = (x - largest).exp();
                sum += *to;
            }
            to.iter_mut().for_each(|p| *p /= sum);
        }
        ConfLossType::Logistic => {
            for (to, x) in to.iter_mut().zip(scores) {
                *to = 1.0 / (1.0 + (-x).exp());
            }
        }
    }
    if let Some(class) = class {
        to[class] -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let scores = [1.0f32, 2.0, 5.0].map(f32::ln);
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-5, "{a}, not {b}");
        near(loss(ConfLossType::Softmax, &scores, Some(1)), 4.0f32.ln());
        let mut to = [0.0; 3];
        slope(ConfLossType::Softmax, &scores, Some(1), &mut to);
        to.iter()
            .zip([0.125, -0.75, 0.625])
            .for_each(|(&a, b)| near(a, b));
        // σ = 1/2, 2/3, 5/6.
        let want = 2.0f32.ln() + 1.5f32.ln() + 6.0f32.ln();
        near(loss(ConfLossType::Logistic, &scores, Some(1)), want);
        let none = 2.0f32.ln() + 3.0f32.ln() + 6.0f32.ln();
        near(loss(ConfLossType::Logistic, &scores, None), none);
        slope(ConfLossType::Logistic, &scores, Some(1), &mut to);
        to.iter()
            .zip([0.5, -1.0 / 3.0, 5.0 / 6.0])
            .for_each(|(&a, b)| near(a, b));
    }

    #[test]
    fn hopeless_scores_have_a_finite_loss_and_nan_stays_visible() {
        let far = [1000.0, -1000.0];
        assert!(loss(ConfLossType::Softmax, &far, Some(1)) < 90.0);
        assert_eq!(loss(ConfLossType::Logistic, &far, Some(1)), 2000.0);
        for kind in [ConfLossType::Softmax, ConfLossType::Logistic] {
            assert!(loss(kind, &[f32::NAN, 0.0], Some(0)).is_nan());
        }
    }
}
