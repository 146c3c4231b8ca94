//! One row of the layer table.

use super::{Layer, LayerDef};
use crate::error::Result;

/// A layer type: everything about it that holds before it is built. One `const` per layer file.
pub struct LayerType {
    /// The `type` of the prototxt: `"ReLU"`.
    pub name: &'static str,
    /// How many bottoms it takes.
    pub bottoms: Arity,
    /// How many tops it makes.
    pub tops: Arity,
    /// What part it plays.
    pub role: Role,
    /// Bottoms that never get a gradient: labels, indices. [`LAST`] is the last one, however many there are.
    pub no_grad: &'static [usize],
    /// Bottoms at which gradients end without a word, whatever learns below: only their shape or their order counts.
    pub stops: &'static [usize],
    /// Makes the layer.
    pub build: fn(&LayerDef) -> Result<Box<dyn Layer>>,
}

/// In [`LayerType::no_grad`]: the last bottom.
pub const LAST: usize = usize::MAX;

/// How many bottoms or tops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Exact(usize),
    /// From, to.
    Range(usize, usize),
    /// So many or more.
    AtLeast(usize),
    /// As many tops as bottoms; for `tops` only.
    LikeBottoms,
}

impl Arity {
    /// Whether `n` is allowed, beside `bottoms` bottoms.
    pub fn allows(self, n: usize, bottoms: usize) -> bool {
        match self {
            Self::Exact(k) => n == k,
            Self::Range(a, b) => (a..=b).contains(&n),
            Self::AtLeast(a) => n >= a,
            Self::LikeBottoms => n == bottoms,
        }
    }

    /// The smallest number allowed.
    pub fn least(self) -> usize {
        match self {
            Self::Exact(k) | Self::Range(k, _) | Self::AtLeast(k) => k,
            Self::LikeBottoms => 1,
        }
    }

    /// In words: "exactly 2", "1 to 2", "at least 1".
    pub fn words(self) -> String {
        match self {
            Self::Exact(k) => format!("exactly {k}"),
            Self::Range(a, b) => format!("{a} to {b}"),
            Self::AtLeast(a) => format!("at least {a}"),
            Self::LikeBottoms => "as many as bottoms".to_owned(),
        }
    }
}

/// What part a layer plays in a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tops from bottoms.
    Plain,
    /// Brings records of its own: `pull` instead of `forward`.
    Data,
    /// Tops that the caller sets.
    Input,
    /// A loss: missing tops are made, the first top weighs 1 unless the net says otherwise.
    Loss,
    /// A measurement: no gradient passes.
    Metric,
}

impl LayerType {
    /// A plain layer of one bottom and one top; the other kinds are told with `..`.
    pub const fn new(name: &'static str, build: fn(&LayerDef) -> Result<Box<dyn Layer>>) -> Self {
        Self {
            name,
            bottoms: Arity::Exact(1),
            tops: Arity::Exact(1),
            role: Role::Plain,
            no_grad: &[],
            stops: &[],
            build,
        }
    }

    /// Whether bottom `i` of `bottoms` can get a gradient.
    pub fn has_grad(&self, i: usize, bottoms: usize) -> bool {
        let without = |&b: &usize| b == i || (b == LAST && i + 1 == bottoms);
        !self.no_grad.iter().chain(self.stops).any(without)
    }

    /// With these arities.
    #[must_use]
    pub const fn arity(mut self, bottoms: Arity, tops: Arity) -> Self {
        self.bottoms = bottoms;
        self.tops = tops;
        self
    }

    /// With this role.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// With bottoms that never get a gradient.
    #[must_use]
    pub const fn no_grad(mut self, bottoms: &'static [usize]) -> Self {
        self.no_grad = bottoms;
        self
    }

    /// With bottoms at which gradients end without a word.
    #[must_use]
    pub const fn stops(mut self, bottoms: &'static [usize]) -> Self {
        self.stops = bottoms;
        self
    }
}
