//! Channels, groups and windows of `convolution_param`, for every layer with filters.

use super::geometry::Window;
use crate::{
    error::{Error, Result},
    schema::ConvolutionParameter,
    tensor::Shape,
};

/// Filters that slide over a bottom.
#[derive(Debug)]
pub(crate) struct Filters {
    /// The bottom's channel axis.
    pub(crate) axis: usize,
    /// Channels of the bottom.
    pub(crate) channels: usize,
    /// Channels of the top.
    pub(crate) outputs: usize,
    /// Independent parts of both.
    pub(crate) groups: usize,
    /// Where the filters look.
    pub(crate) window: Window,
}

impl Filters {
    /// As the message tells them, for this bottom. Depthwise there is a group for each channel, whether the message says
    /// so or not, and as many outputs unless it tells a multiple.
    ///
    /// # Errors
    /// `Param`, with the field, and `Shape`, where message and bottom do not fit.
    pub(crate) fn told(p: &ConvolutionParameter, depthwise: bool, bottom: &Shape) -> Result<Self> {
        let invalid =
            |field: &str, why: &str| Err(Error::param(&format!("convolution_param.{field}"), why));
        let axis = bottom
            .axis(p.axis())
            .map_err(|e| Error::param("convolution_param.axis", e.message()))?;
        let window = Window::of_convolution(p, bottom.axes() - axis - 1)?;
        let channels = bottom.dims()[axis];
        if channels == 0 {
            return Err(Error::shape(format!(
                "the bottom, {bottom}, has no channels"
            )));
        }
        let (mut outputs, mut groups) = (p.num_output() as usize, p.group() as usize);
        if depthwise {
            if p.group.is_some_and(|g| g > 1 && g as usize != channels) {
                return Err(Error::param(
                    "convolution_param.group",
                    format!("is {groups}, but depthwise filters have a group for each of the {channels} channels"),
                )
                .help("leave group out, or use type: \"Convolution\""));
            }
            groups = channels;
            if p.num_output.is_none() {
                outputs = channels;
            }
        }
        if outputs == 0 {
            return invalid("num_output", "must be at least 1");
        }
        if groups == 0 {
            return invalid("group", "must be at least 1");
        }
        for (n, what) in [(channels, "input"), (outputs, "output")] {
            if n % groups != 0 {
                return invalid(
                    "group",
                    &format!("{n} {what} channels do not divide by group {groups}"),
                );
            }
        }
        Ok(Self {
            axis,
            channels,
            outputs,
            groups,
            window,
        })
    }

    /// The top for this bottom, with this size of its spatial axes.
    ///
    /// # Errors
    /// `Shape` where it is too large.
    pub(crate) fn top(&self, bottom: &Shape, output: &[usize]) -> Result<Shape> {
        Shape::checked(&[&bottom.dims()[..self.axis], &[self.outputs], output].concat())
    }
}
