//! What all layers that work element by element share: shapes, both passes, in place or not, threads.

use crate::{
    error::Result,
    kernels::map,
    layer::{Backward, Forward, InPlace, InPlaceBackward, Layer, Reads, Sharing, Tail, Traits},
    tensor::Shape,
};

/// What a derivative is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GradFrom {
    /// The input: training keeps it.
    Bottom,
    /// The output: training may run in place.
    Top,
}

/// y = f(x), dx = dy · df. Copied into the loops, whose constants its options then are: a loop that looked them up behind
/// a pointer would do so for every element.
pub(super) trait Activation: Copy + Send + Sync {
    /// What `df` gets.
    const GRAD: GradFrom;
    /// The function.
    fn f(&self, x: f32) -> f32;
    /// What the layer before may do instead.
    fn tail(&self) -> Option<Tail> {
        None
    }
    /// The derivative by x, from x or from y as `GRAD` says.
    fn df(&self, seen: f32) -> f32;
}

/// The layer of an [`Activation`].
pub(super) struct Unary<A>(pub(super) A);

impl<A: Activation> Unary<A> {
    fn seen<T>(bottom: Option<T>, top: Option<T>) -> T {
        match A::GRAD {
            GradFrom::Bottom => bottom,
            GradFrom::Top => top,
        }
        .expect("declared in traits")
    }
}

impl<A: Activation> Layer for Unary<A> {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: Sharing::InPlace,
            backward_reads: match A::GRAD {
                GradFrom::Bottom => Reads::BOTTOMS,
                GradFrom::Top => Reads::TOPS,
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        self.0.tail()
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let own = self.0;
        map::map(io.bottoms[0].data, io.tops[0].data, move |x| own.f(x));
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let seen = Self::seen(io.bottoms[0], io.tops[0]);
        let dy = io.top_diff();
        if let Some(dx) = &mut io.bottom_diffs[0] {
            let own = self.0;
            map::zip2(dy.data, seen.data, dx.data, move |dy, seen| {
                dy * own.df(seen)
            });
        }
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        let own = self.0;
        map::map_in_place(io.data.data, move |x| own.f(x));
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let seen = Self::seen(io.bottom, io.top);
        let own = self.0;
        map::zip_into(io.diff.data, seen.data, move |dy, seen| dy * own.df(seen));
        Ok(())
    }
}
