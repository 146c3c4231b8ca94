//! What a unit of a net looks for, and where in a picture it finds it.
//!
//! Three questions to a net that runs backward: which input drives a unit most ([`maximize`]), how its value falls
//! where a patch of the input is covered ([`occlusion`]), and by which pixels it changes most ([`gradient`]).

mod gradient;
mod maximize;
mod occlusion;
#[cfg(test)]
mod tests;

pub use gradient::{GradientOptions, gradient};
pub use maximize::{MaximizeOptions, Maximum, maximize};
pub use occlusion::{OcclusionOptions, occlusion};

use crate::{
    error::{Error, ErrorKind, Result},
    net::Net,
    params::Params,
    tensor::{Shape, Tensor, View},
};

/// Told of progress: so much done, of so much.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// One output of a net: a channel of a blob, or one pixel of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The blob.
    pub blob: String,
    /// Its channel, on axis 1.
    pub channel: usize,
    /// Row and column; `None` for the sum over the channel.
    pub at: Option<(usize, usize)>,
}

impl Unit {
    /// Where its values stand in a sample of the blob.
    ///
    /// # Errors
    /// `Shape` where the blob has no such unit.
    fn range(&self, shape: &Shape) -> Result<std::ops::Range<usize>> {
        let channels = if shape.axes() > 1 { shape.dims()[1] } else { 1 };
        if self.channel >= channels {
            return Err(Error::shape(format!(
                "'{}' has no channel {}: its shape is {shape}",
                self.blob, self.channel
            ))
            .help(format!(
                "its channels are 0 to {}",
                channels.saturating_sub(1)
            )));
        }
        let plane = shape.count_from(shape.axes().min(2));
        let start = self.channel * plane;
        let Some((y, x)) = self.at else {
            return Ok(start..start + plane);
        };
        let (rows, columns) = (shape.legacy(2), shape.legacy(3));
        if shape.axes() > 4 || y >= rows || x >= columns {
            return Err(Error::shape(format!(
                "'{}' has no row {y} with a column {x}: its shape is {shape}",
                self.blob
            )));
        }
        let at = start + y * columns + x;
        Ok(at..at + 1)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.blob, self.channel)?;
        match self.at {
            Some((y, x)) => write!(f, ":{y}:{x}"),
            None => Ok(()),
        }
    }
}

/// A map over the rows and columns of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Row by row.
    pub values: Vec<f32>,
    /// Height of the input.
    pub rows: usize,
    /// Width of the input.
    pub columns: usize,
    /// The unit's value on the input as it is.
    pub output: f64,
}

/// A net that can be asked: one input changes, everything else stays as it was set. Axis 0 of the input counts
/// samples, which must not depend on each other.
pub struct Probe<'n> {
    net: &'n mut Net,
    params: &'n mut Params,
    name: String,
    input: Tensor,
    samples: usize,
}

impl<'n> Probe<'n> {
    /// Asks through an input blob. The net has to be made to run backward and keep everything, in the phase TEST, with
    /// its gradients forced (`force_backward`), and the blob that is asked for has to be an output.
    ///
    /// # Errors
    /// `Graph` where the net has no such input, `Shape` where it has no axis of samples.
    pub fn new(net: &'n mut Net, params: &'n mut Params, name: &str) -> Result<Self> {
        let known = net.inputs().contains(&name);
        let view = net.blob(name).filter(|_| known).ok_or_else(|| {
            Error::new(ErrorKind::Graph, format!("the net has no input '{name}'"))
                .help(format!("its inputs are: {}", net.inputs().join(", ")))
        })?;
        let input = Tensor::new(view.shape.clone(), view.data.to_vec())?;
        if input.shape.axes() < 2 || input.shape.count() == 0 {
            return Err(Error::shape(format!(
                "the input has shape {}; an axis of samples and one of channels are needed",
                input.shape
            )));
        }
        // Nobody wants the gradients of weights here.
        for id in net.learnable() {
            params[id].grad = Vec::new();
        }
        let samples = input.shape.legacy(0);
        Ok(Self {
            name: name.to_owned(),
            net,
            params,
            input,
            samples,
        })
    }

    /// How many samples are asked at once.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// How many values a sample of the input has.
    pub fn size(&self) -> usize {
        self.input.data.len() / self.samples
    }

    /// Channels, height and width of the input.
    ///
    /// # Errors
    /// `Shape` where it is no picture.
    pub fn picture(&self) -> Result<[usize; 3]> {
        match *self.input.shape.dims() {
            [_, c, h, w] => Ok([c, h, w]),
            _ => Err(Error::shape(format!(
                "the input '{}' has shape {}, which is no picture of channels, height and width",
                self.name, self.input.shape
            ))),
        }
    }

    /// Sets the input to some samples, at most as many as are asked at once.
    fn set(&mut self, inputs: &[Vec<f32>]) -> Result<()> {
        let size = self.size();
        for (to, from) in self.input.data.chunks_exact_mut(size).zip(inputs) {
            if from.len() != size {
                return Err(Error::shape(format!(
                    "{} values for a sample of {size}",
                    from.len()
                )));
            }
            to.copy_from_slice(from);
        }
        self.net.set_input(&self.name, &self.input)
    }

    fn blob(&self, unit: &Unit) -> Result<View<'_>> {
        let view = self.net.blob(&unit.blob).ok_or_else(|| {
            Error::new(
                ErrorKind::Graph,
                format!("the net has no blob '{}'", unit.blob),
            )
        })?;
        if view.shape.legacy(0) != self.samples {
            return Err(Error::shape(format!(
                "'{}' has shape {}, not one row for each of the {} samples of the input",
                unit.blob, view.shape, self.samples
            ))
            .help("ask for a blob whose first axis counts samples"));
        }
        Ok(view)
    }

    /// Runs forward; the value of a unit for each of the inputs.
    fn values(&mut self, inputs: &[Vec<f32>], unit: &Unit) -> Result<Vec<f64>> {
        self.set(inputs)?;
        self.net.forward(self.params)?;
        self.read(inputs.len(), std::iter::repeat(unit))
    }

    fn read<'u>(&self, count: usize, units: impl Iterator<Item = &'u Unit>) -> Result<Vec<f64>> {
        let mut values = Vec::with_capacity(count);
        for (sample, unit) in (0..count).zip(units) {
            let view = self.blob(unit)?;
            let size = view.data.len() / self.samples.max(1);
            let range = unit.range(view.shape)?;
            let part = &view.data[sample * size..][range];
            // A sum of nothing but zeros is 0, not -0.
            values.push(part.iter().map(|&v| f64::from(v)).sum::<f64>() + 0.0);
        }
        Ok(values)
    }

    /// Runs forward and backward: for each input the value of its unit and the gradient of that by the input. All units
    /// are of one blob.
    fn gradients(
        &mut self,
        inputs: &[Vec<f32>],
        units: &[Unit],
    ) -> Result<(Vec<f64>, Vec<Vec<f32>>)> {
        self.set(inputs)?;
        let Some(first) = units.first() else {
            return Ok((Vec::new(), Vec::new()));
        };
        self.net.forward(self.params)?;
        let values = self.read(inputs.len(), units.iter())?;
        let view = self.blob(first)?;
        let mut diff = Tensor::zeros(view.shape.clone());
        let size = diff.data.len() / self.samples.max(1);
        for (sample, unit) in units.iter().enumerate().take(inputs.len()) {
            let range = unit.range(&diff.shape)?;
            diff.data[sample * size..][range].fill(1.0);
        }
        self.net.set_diff(&first.blob, &diff)?;
        self.net.backward(self.params)?;
        let gradient = self.net.diff(&self.name).ok_or_else(|| {
            Error::new(
                ErrorKind::Graph,
                format!(
                    "no gradient of '{}' reaches the input '{}'",
                    first.blob, self.name
                ),
            )
            .help("a layer between them has none, or the blob does not depend on that input")
        })?;
        let gradients = gradient.data.chunks_exact(self.size());
        let gradients = gradients.take(inputs.len()).map(<[f32]>::to_vec).collect();
        Ok((values, gradients))
    }
}
