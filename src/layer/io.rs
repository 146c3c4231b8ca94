//! What the executor hands to a layer.
//!
//! Fields are public so that `let x = io.bottoms[0]; let y = &mut io.tops[0];` borrows disjointly. Two lifetimes: with
//! one, the slice of mutable views would stay locked for as long as the buffers live.

use crate::{
    params::Param,
    rng::Rng,
    schema::FillerParameter,
    tensor::{Shape, View, ViewMut},
};

/// For [`super::Layer::setup`].
pub struct Setup<'a> {
    /// Shapes of the bottoms.
    pub bottoms: &'a [Shape],
    /// The parameters declared so far, in the order in which Caffe stores them.
    pub declared: Vec<ParamDecl>,
}

/// A parameter that a layer asks for.
#[derive(Clone, Debug)]
pub struct ParamDecl {
    /// Its extents.
    pub shape: Shape,
    /// How it starts.
    pub filler: FillerParameter,
    /// Kept by the layer itself (running statistics): never trained, and a `lr_mult` above 0 is an error.
    pub statistic: bool,
    /// Never trained, whatever `lr_mult` says.
    pub fixed: bool,
}

impl Setup<'_> {
    /// Asks for a learnable parameter; without a filler it starts at 0.
    pub fn param(&mut self, shape: Shape, filler: Option<&FillerParameter>) {
        self.declared.push(ParamDecl {
            shape,
            filler: filler.cloned().unwrap_or_default(),
            statistic: false,
            fixed: false,
        });
    }

    /// Asks for a parameter that forward itself keeps; it starts at 0 and no solver touches it.
    pub fn statistic(&mut self, shape: Shape) {
        self.declared.push(ParamDecl {
            shape,
            filler: FillerParameter::default(),
            statistic: true,
            fixed: false,
        });
    }

    /// Asks for a parameter that no solver touches, whatever the net says.
    pub fn fixed(&mut self, shape: Shape, filler: Option<&FillerParameter>) {
        self.param(shape, filler);
        self.declared
            .last_mut()
            .into_iter()
            .for_each(|p| p.fixed = true);
    }
}

/// For [`super::Layer::forward`].
pub struct Forward<'io, 'buf> {
    /// The bottoms.
    pub bottoms: &'io [View<'buf>],
    /// The tops, to be written whole.
    pub tops: &'io mut [ViewMut<'buf>],
    /// The layer's parameters.
    pub params: &'io mut [Param],
    /// Scratch of the length that the layer's traits ask for.
    pub workspace: &'io mut [f32],
    /// The layer's random stream of this pass.
    pub rng: &'io mut Rng,
}

/// For [`super::Layer::backward`].
pub struct Backward<'io, 'buf> {
    /// Data of the bottoms; `None` unless declared in `backward_reads`.
    pub bottoms: &'io [Option<View<'buf>>],
    /// Data of the tops; `None` unless declared in `backward_reads`.
    pub tops: &'io [Option<View<'buf>>],
    /// The gradient of the loss by each top; `None` means zero. At least one is there.
    pub top_diffs: &'io [Option<View<'buf>>],
    /// To be written whole; `None`: no gradient wanted there.
    pub bottom_diffs: &'io mut [Option<ViewMut<'buf>>],
    /// The layer's parameters; gradients are accumulated where [`Param::wants_grad`].
    pub params: &'io mut [Param],
    /// Scratch of the length that the layer's traits ask for.
    pub workspace: &'io mut [f32],
}

impl<'buf> Backward<'_, 'buf> {
    /// Data of bottom `i`.
    ///
    /// # Panics
    /// Where the layer did not declare that it reads bottoms.
    pub fn bottom(&self, i: usize) -> View<'buf> {
        self.bottoms[i].expect("backward reads bottoms only where `traits` says so")
    }

    /// Data of top `i`.
    ///
    /// # Panics
    /// Where the layer did not declare that it reads tops.
    pub fn top(&self, i: usize) -> View<'buf> {
        self.tops[i].expect("backward reads tops only where `traits` says so")
    }

    /// The diff of the only top.
    ///
    /// # Panics
    /// Never for a layer of one top: a backward step without any top diff does not exist.
    pub fn top_diff(&self) -> View<'buf> {
        self.top_diffs[0].expect("a backward step has a top diff")
    }
}

/// For [`super::Layer::forward_in_place`].
pub struct InPlace<'io> {
    /// Bottom before, top after.
    pub data: ViewMut<'io>,
    /// The layer's parameters.
    pub params: &'io mut [Param],
    /// Scratch of the length that the layer's traits ask for.
    pub workspace: &'io mut [f32],
    /// The layer's random stream of this pass.
    pub rng: &'io mut Rng,
}

/// For [`super::Layer::backward_in_place`].
pub struct InPlaceBackward<'io> {
    /// Data of the bottom; `None` unless declared in `backward_reads`.
    pub bottom: Option<View<'io>>,
    /// Data of the top; `None` unless declared in `backward_reads`.
    pub top: Option<View<'io>>,
    /// Top diff before, bottom diff after.
    pub diff: ViewMut<'io>,
    /// The layer's parameters.
    pub params: &'io mut [Param],
    /// Scratch of the length that the layer's traits ask for.
    pub workspace: &'io mut [f32],
}
