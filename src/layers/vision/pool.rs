//! What Pooling and SPP share: windows of planes by one of the methods, with what backward needs of forward.

use rand::RngExt as _;

use super::geometry::{Rounding, Window};
use crate::{
    error::Result,
    kernels::pool::{self, PoolShape},
    layer::Rng,
};

/// How a window becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The largest.
    Max,
    /// The mean.
    Average,
    /// TRAIN: one drawn in proportion to the values; TEST: the mean of that.
    Stochastic,
}

/// The windows of a bottom.
#[derive(Debug)]
pub(super) struct Pool {
    method: Method,
    train: bool,
    /// Whether forward keeps the position of each window's value.
    keeps: bool,
    /// Known from `fit` on.
    sizes: Option<PoolShape>,
    /// The positions in their planes.
    at: Vec<i32>,
}

impl Pool {
    /// `keeps`: MAX keeps positions although nobody trains.
    pub(super) fn new(method: Method, train: bool, keeps: bool) -> Self {
        Self {
            method,
            train,
            keeps: match method {
                Method::Max => train || keeps,
                Method::Average => false,
                Method::Stochastic => train,
            },
            sizes: None,
            at: Vec::new(),
        }
    }

    /// Windows over so many planes of this size; gives height and width of the planes of windows.
    ///
    /// # Errors
    /// `Shape` where no window fits.
    pub(super) fn fit(
        &mut self,
        window: &Window,
        [h, w]: [usize; 2],
        rounding: Rounding,
    ) -> Result<[usize; 2]> {
        let pair = |size: &[usize]| [size[0], size[1]];
        let pooled = pair(&window.output(&[h, w], rounding)?);
        let (kernel, pad) = (pair(&window.kernel), pair(&window.pad));
        self.sizes = Some(PoolShape {
            input: [h, w],
            pooled,
            // No window reaches farther, and no loop should try.
            kernel: [kernel[0].min(h + 2 * pad[0]), kernel[1].min(w + 2 * pad[1])],
            stride: pair(&window.stride),
            pad,
        });
        Ok(pooled)
    }

    /// Room for so many windows in all planes.
    pub(super) fn hold(&mut self, windows: usize) {
        let kept = if self.keeps { windows } else { 0 };
        self.at.resize(kept, pool::NO_PIXEL);
    }

    fn sizes(&self) -> PoolShape {
        self.sizes.expect("reshape comes first")
    }

    /// Whether backward reads the bottom.
    pub(super) fn reads_bottom(&self) -> bool {
        self.method != Method::Average && !self.keeps
    }

    /// Floats of workspace for so many windows at a time.
    pub(super) fn workspace(&self, windows: usize) -> usize {
        match self.method {
            // The maxima that come with positions, found anew in backward.
            Method::Max if !self.keeps => windows,
            Method::Stochastic if self.train => windows,
            _ => 0,
        }
    }

    /// The positions that forward kept.
    pub(super) fn positions(&self) -> &[i32] {
        &self.at
    }

    /// y of whole planes, whose windows come from window `first` on.
    pub(super) fn forward(
        &mut self,
        first: usize,
        x: &[f32],
        y: &mut [f32],
        workspace: &mut [f32],
        rng: &mut Rng,
    ) {
        let s = self.sizes();
        let at = match self.keeps {
            true => &mut self.at[first..][..y.len()],
            false => &mut [],
        };
        match self.method {
            Method::Max => pool::max_forward(&s, x, y, at),
            Method::Average => pool::average_forward(&s, x, y),
            Method::Stochastic if self.train => {
                let shares = &mut workspace[..y.len()];
                shares.fill_with(|| 1.0 - rng.random::<f32>());
                pool::stochastic_forward(&s, x, shares, y, at);
            }
            Method::Stochastic => pool::stochastic_mean(&s, x, y),
        }
    }

    /// dx of whole planes, overwritten; `x` where [`Self::reads_bottom`].
    pub(super) fn backward(
        &mut self,
        first: usize,
        x: Option<&[f32]>,
        dy: &[f32],
        dx: &mut [f32],
        workspace: &mut [f32],
    ) {
        let s = self.sizes();
        match (self.method, x) {
            (Method::Average, _) => pool::average_backward(&s, dy, dx),
            (Method::Stochastic, Some(x)) if !self.keeps => {
                pool::stochastic_mean_backward(&s, x, dy, dx);
            }
            (_, Some(x)) if !self.keeps => {
                self.at.resize(dy.len(), pool::NO_PIXEL);
                pool::max_forward(&s, x, &mut workspace[..dy.len()], &mut self.at);
                pool::max_backward(&s, dy, &self.at, dx);
                self.at.clear();
            }
            _ => pool::max_backward(&s, dy, &self.at[first..][..dy.len()], dx),
        }
    }
}
