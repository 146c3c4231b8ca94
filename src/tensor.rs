//! Shapes, and contiguous `f32` data under them. A shape is kept apart from storage, so a reshape is free.

use std::fmt;

use ndarray::{ArrayView, ArrayViewMut, Dim, Dimension, IntoDimension};
use smallvec::SmallVec;

use crate::error::{Error, Result};

/// The extents of a blob, outermost first. A scalar has no axes and one element.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// Most axes a blob may have; Caffe's own limit.
    pub const MAX_AXES: usize = 32;
    /// Most elements a blob may have; Caffe counts in `int`.
    pub const MAX_COUNT: usize = i32::MAX as usize;

    /// The shape with these extents.
    pub fn new(dims: &[usize]) -> Self {
        Self(SmallVec::from_slice(dims))
    }

    /// The shape with these extents, if its element count and number of axes stay within what a blob may have.
    ///
    /// # Errors
    /// `Shape` where the product passes [`Self::MAX_COUNT`] or there are more than [`Self::MAX_AXES`] axes.
    pub fn checked(dims: &[usize]) -> Result<Self> {
        if dims.len() > Self::MAX_AXES {
            return Err(Error::shape(format!(
                "a blob of {} axes; at most {} are possible",
                dims.len(),
                Self::MAX_AXES
            )));
        }
        // Also beside an extent of 0 the others have to make sense: products of some of them size buffers.
        let count = (dims.iter()).try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
        match count {
            Some(n) if n <= Self::MAX_COUNT => Ok(Self::new(dims)),
            _ => Err(Error::shape(format!(
                "a blob of shape {dims:?} would hold more than {} values",
                Self::MAX_COUNT
            ))),
        }
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of axes.
    pub fn axes(&self) -> usize {
        self.0.len()
    }

    /// Number of elements; 1 for a scalar.
    pub fn count(&self) -> usize {
        self.0.iter().product()
    }

    /// Product of the extents of axes `from..to`; 1 where the range is empty.
    pub fn count_range(&self, from: usize, to: usize) -> usize {
        self.0[from..to].iter().product()
    }

    /// Product of the extents from axis `from` on.
    pub fn count_from(&self, from: usize) -> usize {
        self.0[from..].iter().product()
    }

    /// The axis that `index` means; negative counts from the end, -1 is the last.
    ///
    /// # Errors
    /// `Shape` where there is no such axis.
    pub fn axis(&self, index: i32) -> Result<usize> {
        let n = self.axes();
        let at = if index < 0 {
            n.checked_sub(index.unsigned_abs() as usize)
        } else {
            Some(index as usize)
        };
        match at {
            Some(a) if a < n => Ok(a),
            _ => Err(Error::shape(format!(
                "axis {index} is outside a blob of {n} axes, {self}"
            ))),
        }
    }

    /// Extent of axis `i`, or 1 where the shape has no such axis: Caffe's legacy view as `num, channels, height, width`.
    pub fn legacy(&self, i: usize) -> usize {
        self.0.get(i).copied().unwrap_or(1)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.as_slice(), f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.as_slice(), f)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

/// Borrowed data under a shape; `data.len() == shape.count()`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The extents.
    pub shape: &'a Shape,
    /// The elements in C order.
    pub data: &'a [f32],
}

/// Mutably borrowed data under a shape; `data.len() == shape.count()`.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// The extents.
    pub shape: &'a Shape,
    /// The elements in C order.
    pub data: &'a mut [f32],
}

/// The shape as `N` axes: short ones are padded with 1 at the end, as in Caffe's legacy accessors.
///
/// # Panics
/// Where the shape has more than `N` axes; callers check that first.
fn fixed<const N: usize>(shape: &Shape) -> [usize; N] {
    assert!(shape.axes() <= N, "a view of {N} axes on {shape}");
    std::array::from_fn(|i| shape.legacy(i))
}

impl<'a> View<'a> {
    /// As an ndarray view of `N` axes, padded with 1 at the end.
    ///
    /// # Panics
    /// Where the shape has more than `N` axes.
    pub fn nd<const N: usize>(&self) -> ArrayView<'a, f32, Dim<[usize; N]>>
    where
        [usize; N]: IntoDimension<Dim = Dim<[usize; N]>>,
        Dim<[usize; N]>: Dimension,
    {
        ArrayView::from_shape(fixed::<N>(self.shape), self.data)
            .expect("a view holds as many elements as its shape says")
    }
}

impl ViewMut<'_> {
    /// As an ndarray view of `N` axes, padded with 1 at the end.
    ///
    /// # Panics
    /// Where the shape has more than `N` axes.
    pub fn nd<const N: usize>(&mut self) -> ArrayViewMut<'_, f32, Dim<[usize; N]>>
    where
        [usize; N]: IntoDimension<Dim = Dim<[usize; N]>>,
        Dim<[usize; N]>: Dimension,
    {
        ArrayViewMut::from_shape(fixed::<N>(self.shape), self.data)
            .expect("a view holds as many elements as its shape says")
    }
}

/// Owned data under a shape: weights, inputs, results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// The extents.
    pub shape: Shape,
    /// The elements in C order; `data.len() == shape.count()`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// The tensor of these extents and elements.
    ///
    /// # Errors
    /// `Shape` where the element count does not fit the shape.
    pub fn new(shape: impl Into<Shape>, data: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        if shape.count() != data.len() {
            return Err(Error::shape(format!(
                "{} values for shape {shape}, which holds {}",
                data.len(),
                shape.count()
            )));
        }
        Ok(Self { shape, data })
    }

    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.count()];
        Self { shape, data }
    }

    /// Borrowed.
    pub fn view(&self) -> View<'_> {
        View {
            shape: &self.shape,
            data: &self.data,
        }
    }
}
