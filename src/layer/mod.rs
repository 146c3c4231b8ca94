//! THE CONTRACT: what a layer is, and nothing of how a net runs it.
//!
//! A layer is built from its [`LayerDef`], declares parameters in `setup`, gives its top shapes in `reshape`, says in
//! `traits` how it may share buffers and what backward reads, and computes in `forward` and `backward`. It never sees
//! names, neighbours or buffers of others. Two laws of gradients: bottom diffs are *written* (`=`), parameter gradients
//! are *accumulated* (`+=`).

mod def;
mod fuse;
mod io;
mod kind;
#[cfg(test)]
pub(crate) mod testing;

pub use crate::rng::Rng;
pub use def::LayerDef;
pub use fuse::{Act, Affine, Folded, Prepack, Tail, Taken};
pub use io::{Backward, Forward, InPlace, InPlaceBackward, ParamDecl, Setup};
pub use kind::{Arity, LAST, LayerType, Role};

pub use crate::kernels::narrow::Reduction;

use crate::{
    error::{Error, Result},
    params::Param,
    tensor::{Shape, View},
};

/// One layer of a net.
pub trait Layer: Send {
    /// Once, before the first `reshape`: checks the bottoms and declares parameters.
    ///
    /// # Errors
    /// Where bottoms or options do not fit.
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let _ = cx;
        Ok(())
    }

    /// The shapes of the tops for these bottoms; sizes private state. Called again whenever a bottom's shape changes.
    ///
    /// # Errors
    /// Where the bottoms do not fit.
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>>;

    /// Where [`Traits::moving`] says so, before each `forward`: the shapes of the tops for this data of the bottoms;
    /// `Some` when they differ from those last told. They hold until the next `reshape` or `incoming_shapes`. What is
    /// computed to know them may be kept for `forward`.
    ///
    /// # Errors
    /// Where the data makes no sense.
    fn incoming_shapes(&mut self, bottoms: &[View<'_>]) -> Result<Option<Vec<Shape>>> {
        let _ = bottoms;
        unreachable!("a layer that declares Traits::moving implements incoming_shapes")
    }

    /// What the planner has to know; asked after each `reshape`. While the net runs, shapes may change behind a layer that
    /// declares [`Traits::moving`]; then only the length of the workspace may change with them.
    fn traits(&self) -> Traits {
        Traits::default()
    }

    /// Computes every top. Tops hold anything before and must be written whole.
    ///
    /// # Errors
    /// Where the data makes no sense, a label out of range for instance.
    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()>;

    /// Writes the wanted bottom diffs whole and adds to the gradients of the parameters that want one.
    ///
    /// # Errors
    /// Where the layer has no gradient.
    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let _ = io;
        Err(Error::unsupported("this layer has no gradient"))
    }

    /// [`Layer::forward`] where bottom and top are one buffer; only for [`Sharing::InPlace`].
    ///
    /// # Errors
    /// As `forward`.
    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        let _ = io;
        unreachable!("a layer that declares Sharing::InPlace implements forward_in_place")
    }

    /// [`Layer::backward`] where top diff and bottom diff are one buffer; only for [`Sharing::InPlace`].
    ///
    /// # Errors
    /// As `backward`.
    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let _ = io;
        unreachable!("a layer that declares Sharing::InPlace implements backward_in_place")
    }

    /// [`Role::Data`] only, instead of forward: swaps a finished batch into the tops' buffers. `Some(shapes)` when the
    /// top shapes differ from those last told.
    ///
    /// # Errors
    /// Where a record cannot be had or read.
    fn pull(&mut self, tops: &mut [Vec<f32>]) -> Result<Option<Vec<Shape>>> {
        let _ = tops;
        unreachable!("a layer of Role::Data implements pull")
    }

    /// [`Role::Data`] only: how many records were delivered so far, `seek` included.
    fn position(&self) -> Option<u64> {
        None
    }

    /// [`Role::Data`] only: how many records a pass over the source has; `None` where it never ends.
    ///
    /// # Errors
    /// Where the source cannot be read.
    fn records(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// [`Role::Data`] only: goes on as if `records` records had been delivered.
    ///
    /// # Errors
    /// Where the source cannot be had.
    fn seek(&mut self, records: u64) -> Result<()> {
        let _ = records;
        Ok(())
    }

    /// In a net that only runs forward: what this layer does to its bottom, if the layer before could do it. Settled by
    /// the definition alone.
    fn tail(&self) -> Option<Tail> {
        None
    }

    /// The factors and shifts of [`Tail::Affine`], for these parameters.
    fn affine(&self, params: &[Param]) -> Option<Affine> {
        let _ = params;
        None
    }

    /// Takes over the work of the layer behind, from the next `forward` on; `false` where it cannot. With [`Tail::Sum`]
    /// one more bottom comes last.
    fn absorb(&mut self, tail: Tail) -> bool {
        let _ = tail;
        false
    }

    /// In a net that only runs forward, before the first pass and whenever parameters or shapes have changed: derives
    /// from the parameters what forward needs. `true` where forward reads the parameters no more, for any shapes to come:
    /// then final ones may be dropped.
    ///
    /// # Errors
    /// Where the parameters make no sense.
    fn prepack(&mut self, io: &mut Prepack<'_>) -> Result<bool> {
        let _ = io;
        Ok(false)
    }

    /// In a net that only runs forward: whether [`Layer::reduce`] is of use. Settled by the definition and the parameters'
    /// shapes alone.
    fn reducible(&self) -> bool {
        false
    }

    /// Computes the products of forward so, from the next `prepack` on. Only asked of reducible layers, in nets that only
    /// run forward.
    ///
    /// # Errors
    /// Where sums would not fit.
    fn reduce(&mut self, to: Reduction) -> Result<()> {
        let _ = to;
        unreachable!("a reducible layer implements reduce")
    }

    /// Floating-point operations of one forward pass at the current shapes; a multiply-add counts as two. 0 = not worth
    /// telling.
    fn flops(&self) -> u64 {
        0
    }
}

/// What a layer declares to the planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// How top and bottom may share a buffer.
    pub sharing: Sharing,
    /// Which data backward reads besides the top diffs.
    pub backward_reads: Reads,
    /// Scratch floats that forward and backward ask for; lent by the executor, contents undefined.
    pub workspace: usize,
    /// Forward changes parameters: running statistics.
    pub writes_params: bool,
    /// The shapes of the tops depend on the data of the bottoms: see [`Layer::incoming_shapes`]. `reshape` gives the
    /// largest that are usual. Only with [`Sharing::Separate`].
    pub moving: bool,
}

impl Traits {
    /// Whether a plan made for these holds for `other` too, but for the length of the workspace. Tops that lie in their
    /// bottom or the reverse are not planned where shapes change while a net runs.
    pub(crate) fn same_plan(&self, other: &Self) -> bool {
        let sharing = |t: &Self| match t.sharing {
            Sharing::Gather | Sharing::Scatter => Sharing::Separate,
            sharing => sharing,
        };
        sharing(self) == sharing(other) && self.backward_reads == other.backward_reads
    }
}

/// How top and bottom may share a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// They never do.
    #[default]
    Separate,
    /// One bottom and one top of the same shape may be one buffer, if the planner finds that nobody else reads it.
    InPlace,
    /// Every top *is* the bottom under its own shape: no forward step. With one top, backward is free too; with more
    /// (Split), backward sums.
    Alias,
    /// As the shapes are now, the top is the bottoms one after the other: where they can be made in their places, there
    /// is no forward step. For nets that only run forward; others see [`Sharing::Separate`].
    Gather,
    /// As the shapes are now, the tops are pieces of the bottom, one after the other: no forward step in nets that only
    /// run forward; others see [`Sharing::Separate`].
    Scatter,
}

/// Data that backward reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The data of the bottoms.
    pub bottoms: bool,
    /// The data of the tops.
    pub tops: bool,
}

impl Reads {
    /// Nothing but top diffs.
    pub const NONE: Self = Self {
        bottoms: false,
        tops: false,
    };
    /// The data of the bottoms.
    pub const BOTTOMS: Self = Self {
        bottoms: true,
        tops: false,
    };
    /// The data of the tops.
    pub const TOPS: Self = Self {
        bottoms: false,
        tops: true,
    };
}
