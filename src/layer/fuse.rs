//! How neighbours become one in a net that only runs forward.
//!
//! A layer *offers*: its [`Tail`] says what it does to its bottom where that is simple. The layer before may *absorb* the
//! tail and do it on the way to its own top. `optimize` introduces neighbours to each other and knows neither; a new
//! activation or a new layer with a matrix product only answers for itself.

pub use crate::kernels::gemm::Act;

use crate::params::Param;

/// What a layer does to its first bottom, simple enough for the layer before to do. The answer must not depend on
/// shapes that may change.
#[derive(Clone, Copy, Debug)]
pub enum Tail {
    /// Nothing: the top is the bottom.
    Identity,
    /// A factor and a shift for each index of axis 1, see [`super::Layer::affine`].
    Affine,
    /// Adds its other bottom; there are two, and both count once.
    Sum,
    /// An activation.
    Act(Act),
}

/// y = scale · x + shift, one pair for each index of axis 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Affine {
    /// The factors.
    pub scale: Vec<f32>,
    /// The shifts, as many.
    pub shift: Vec<f32>,
}

impl Affine {
    /// This one, then `next`.
    #[must_use]
    pub fn then(mut self, next: &Self) -> Self {
        let pairs = self.scale.iter_mut().zip(&mut self.shift);
        for ((scale, shift), (&s, &t)) in pairs.zip(next.scale.iter().zip(&next.shift)) {
            *scale *= s;
            *shift = *shift * s + t;
        }
        self
    }
}

/// What a layer took over: act(affine(own result) + sum), each if it was absorbed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// An affine map of each channel; several count as one.
    pub affine: bool,
    /// The last bottom is added.
    pub sum: bool,
    /// The activation.
    pub act: Act,
}

impl Taken {
    /// Takes a tail over, if it comes in an order that this can hold.
    pub fn take(&mut self, tail: Tail) -> bool {
        let open = matches!(self.act, Act::None);
        match tail {
            Tail::Affine if open && !self.sum => self.affine = true,
            Tail::Sum if open && !self.sum => self.sum = true,
            Tail::Act(act) if open => self.act = act,
            _ => return false,
        }
        true
    }
}

/// For [`super::Layer::prepack`].
pub struct Prepack<'a> {
    /// The layer's parameters.
    pub params: &'a mut [Param],
    /// The affine map that the layer absorbed, for the parameters of now.
    pub then: Option<&'a Affine>,
    /// The parameters are final and nobody else's: the layer may take their values instead of copying them.
    pub last: bool,
}

/// Weights and bias with an absorbed affine map folded in: scale · (w·x + b) + shift = (scale·w)·x + (scale·b + shift).
#[derive(Debug, Default)]
pub struct Folded {
    /// The weights, in the layout that the layer gave them.
    pub weights: Vec<f32>,
    /// One value for each output.
    pub bias: Vec<f32>,
}

impl Folded {
    /// Folds `io.then` into parameter 0, the weights, and parameter 1, the bias, if there is one. Outputs are the rows
    /// of the weights, or their columns where `columns` says so.
    pub fn fold(&mut self, io: &mut Prepack<'_>, columns: bool) {
        let Some(Affine { scale, shift }) = io.then else {
            return;
        };
        let [weights, bias @ ..] = &mut *io.params else {
            return;
        };
        if io.last {
            self.weights = std::mem::take(&mut weights.value.data);
        } else {
            self.weights.clone_from(&weights.value.data);
        }
        let row = self.weights.len() / scale.len().max(1);
        if columns {
            for row in self.weights.chunks_exact_mut(scale.len().max(1)) {
                row.iter_mut().zip(scale).for_each(|(w, s)| *w *= s);
            }
        } else {
            for (row, s) in self.weights.chunks_exact_mut(row.max(1)).zip(scale) {
                row.iter_mut().for_each(|w| *w *= s);
            }
        }
        self.bias.clone_from(shift);
        if let [bias, ..] = bias {
            let own = bias.value.data.iter().zip(scale);
            for (to, (b, s)) in self.bias.iter_mut().zip(own) {
                *to += b * s;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::testing::tensor;

    #[test]
    fn affine_maps_follow_each_other() {
        let of = |scale: f32, shift: f32| Affine {
            scale: vec![scale],
            shift: vec![shift],
        };
        // 5 · (2x + 3) + 7 = 10x + 22
        assert_eq!(of(2.0, 3.0).then(&of(5.0, 7.0)), of(10.0, 22.0));
    }

    #[test]
    fn what_comes_too_late_is_left() {
        let relu = Tail::Act(Act::Relu(0.0));
        let mut taken = Taken::default();
        assert!(taken.take(Tail::Affine) && taken.take(Tail::Affine));
        assert!(taken.take(Tail::Sum));
        assert!(!taken.take(Tail::Affine) && !taken.take(Tail::Sum));
        assert!(taken.take(relu));
        assert!(!taken.take(relu) && !taken.take(Tail::Sum) && !taken.take(Tail::Identity));
    }

    #[test]
    fn rows_and_columns_fold() {
        let param = |data: &[f32]| Param {
            value: tensor(&[data.len()], data),
            ..Param::default()
        };
        let then = Affine {
            scale: vec![2.0, 3.0],
            shift: vec![1.0, 1.0],
        };
        let mut params = [param(&[1., 2., 3., 4.]), param(&[10., 20.])];
        let mut folded = Folded::default();
        let mut fold = |params: &mut [Param], columns, last| {
            let then = Some(&then);
            folded.fold(&mut Prepack { params, then, last }, columns);
            (folded.weights.clone(), folded.bias.clone())
        };
        let (w, b) = fold(&mut params, false, false);
        assert_eq!((&w[..], &b[..]), (&[2., 4., 9., 12.][..], &[21., 61.][..]));
        assert_eq!(fold(&mut params[..1], true, true).0, [2., 6., 6., 12.]);
        assert!(params[0].value.data.is_empty());
    }
}
