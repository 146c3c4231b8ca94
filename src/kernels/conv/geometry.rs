//! Sizes of a convolution, checked once.

use smallvec::SmallVec;

/// One size for each spatial axis, outermost first.
pub type Dims = SmallVec<[usize; 4]>;

/// A convolution with its sizes, for one image; the batch follows from the lengths of the slices.
///
/// Input: in_channels × input; weights: out_channels × in_channels / groups × kernel; output: out_channels × output,
/// where each axis of the output is ⌊(input + 2·pad − (dilation·(kernel − 1) + 1)) / stride⌋ + 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) groups: usize,
    pub(super) input: Dims,
    pub(super) kernel: Dims,
    pub(super) stride: Dims,
    pub(super) pad: Dims,
    pub(super) dilation: Dims,
    pub(super) output: Dims,
}

/// What is needed to make a [`ConvShape`]. Each slice has one entry for each spatial axis.
#[derive(Clone, Copy, Debug)]
pub struct ConvParams<'a> {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Independent convolutions side by side; divides both channel counts.
    pub groups: usize,
    /// Spatial size of the input.
    pub input: &'a [usize],
    /// Spatial size of a filter.
    pub kernel: &'a [usize],
    /// Distance between neighbouring windows.
    pub stride: &'a [usize],
    /// Zeros before and after each axis.
    pub pad: &'a [usize],
    /// Distance between neighbouring taps of a filter.
    pub dilation: &'a [usize],
}

impl ConvShape {
    /// Checks the sizes and derives the output's.
    ///
    /// # Errors
    /// A sentence: which size makes no sense, does not fit the others, or is too large to address.
    pub fn new(p: &ConvParams<'_>) -> Result<Self, String> {
        let axes = p.input.len();
        for (name, dims) in [
            ("kernel", p.kernel),
            ("stride", p.stride),
            ("pad", p.pad),
            ("dilation", p.dilation),
        ] {
            if dims.len() != axes {
                return Err(format!(
                    "{name} has {} values for {axes} spatial axes",
                    dims.len()
                ));
            }
            if name != "pad" && dims.contains(&0) {
                return Err(format!("{name} must be at least 1"));
            }
        }
        for (name, channels) in [("input", p.in_channels), ("output", p.out_channels)] {
            if channels == 0 {
                return Err(format!("there must be at least one {name} channel"));
            }
            if p.groups == 0 || channels % p.groups != 0 {
                return Err(format!(
                    "{channels} {name} channels do not divide by group {}",
                    p.groups
                ));
            }
        }
        let output = (0..axes)
            .map(|i| {
                out_size(
                    p.input[i],
                    p.kernel[i],
                    p.stride[i],
                    p.pad[i],
                    p.dilation[i],
                )
            })
            .collect::<Result<Dims, String>>()?;
        // No spatial axis is one axis of size 1.
        let or_one = |dims: &[usize], fill: usize| -> Dims {
            if axes == 0 {
                SmallVec::from_slice(&[fill])
            } else {
                SmallVec::from_slice(dims)
            }
        };
        let shape = ConvShape {
            in_channels: p.in_channels,
            out_channels: p.out_channels,
            groups: p.groups,
            input: or_one(p.input, 1),
            kernel: or_one(p.kernel, 1),
            stride: or_one(p.stride, 1),
            pad: or_one(p.pad, 0),
            dilation: or_one(p.dilation, 1),
            output: or_one(&output, 1),
        };
        shape.check_addressable()?;
        Ok(shape)
    }

    /// Everything the kernels multiply later fits; they need not check again.
    fn check_addressable(&self) -> Result<(), String> {
        let count = |first: usize, dims: &[usize]| {
            dims.iter()
                .try_fold(first, |n, &d| n.checked_mul(d))
                .filter(|&n| n <= isize::MAX as usize / size_of::<f32>())
        };
        let input = count(self.in_channels, &self.input);
        let output = count(self.out_channels, &self.output);
        let rows = count(self.in_channels / self.groups, &self.kernel);
        let weights = rows.and_then(|r| count(r, &[self.out_channels]));
        let columns = rows.and_then(|r| count(r, &self.output));
        match (input, output, weights, columns) {
            (Some(_), Some(_), Some(_), Some(_)) => Ok(()),
            _ => Err("the convolution is too large to address".into()),
        }
    }

    /// Spatial size of the output. Without spatial axes: one axis of size 1.
    pub fn output(&self) -> &[usize] {
        &self.output
    }

    /// Floats of one input image.
    pub fn in_len(&self) -> usize {
        self.in_channels * self.in_spatial()
    }

    /// Floats of one output image.
    pub fn out_len(&self) -> usize {
        self.out_channels * self.out_spatial()
    }

    /// Floats of the weights.
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.col_rows()
    }

    /// Output channels: floats of the bias.
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// Multiply-adds of one pass over one image.
    pub fn multiply_adds(&self) -> usize {
        self.weights_len().saturating_mul(self.out_spatial())
    }

    /// Pixels of one input channel.
    pub(super) fn in_spatial(&self) -> usize {
        self.input.iter().product()
    }

    /// Pixels of one output channel.
    pub(super) fn out_spatial(&self) -> usize {
        self.output.iter().product()
    }

    /// Weights of one filter: rows of the column matrix of one group.
    pub(super) fn col_rows(&self) -> usize {
        self.in_channels / self.groups * self.kernel.iter().product::<usize>()
    }

    /// The column matrix is the image itself.
    pub(super) fn is_pointwise(&self) -> bool {
        let all = |dims: &[usize], value| dims.iter().all(|&d| d == value);
        all(&self.kernel, 1) && all(&self.stride, 1) && all(&self.pad, 0)
    }
}

/// The next index in row-major order.
pub(super) fn count_up(at: &mut [usize], dims: &[usize]) {
    for (i, &d) in at.iter_mut().zip(dims).rev() {
        *i += 1;
        if *i < d {
            return;
        }
        *i = 0;
    }
}

fn out_size(
    input: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    dilation: usize,
) -> Result<usize, String> {
    let too_large = || "a size of the convolution is too large".to_owned();
    let reach = (kernel - 1)
        .checked_mul(dilation)
        .and_then(|n| n.checked_add(1))
        .ok_or_else(too_large)?;
    let padded = pad
        .checked_mul(2)
        .and_then(|p| p.checked_add(input))
        .filter(|&p| p <= isize::MAX as usize)
        .ok_or_else(too_large)?;
    if input == 0 {
        return Err("an axis of the input is empty".into());
    }
    match padded.checked_sub(reach) {
        Some(room) => Ok(room / stride + 1),
        None => Err(format!(
            "the kernel reaches over {reach} pixels (size {kernel}, dilation {dilation}), \
             the input has {input} and pad adds {pad} on each side"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: ConvParams<'_> = ConvParams {
        in_channels: 4,
        out_channels: 6,
        groups: 2,
        input: &[7, 9],
        kernel: &[3, 2],
        stride: &[2, 1],
        pad: &[1, 0],
        dilation: &[1, 3],
    };

    #[test]
    fn output_sizes_are_rounded_down() {
        // (7 + 2 - 3) / 2 + 1 = 4;  (9 - 4) / 1 + 1 = 6
        let s = ConvShape::new(&PARAMS).unwrap();
        assert_eq!(s.output(), [4, 6]);
        assert_eq!((s.in_len(), s.out_len(), s.weights_len()), (252, 144, 72));
    }

    #[test]
    fn no_spatial_axis_is_an_inner_product() {
        let none: &[usize] = &[];
        let s = ConvShape::new(&ConvParams {
            input: none,
            kernel: none,
            stride: none,
            pad: none,
            dilation: none,
            ..PARAMS
        })
        .unwrap();
        assert_eq!((s.in_len(), s.out_len(), s.is_pointwise()), (4, 6, true));
    }

    #[test]
    fn senseless_sizes_are_named() {
        let error = |p: ConvParams<'_>| ConvShape::new(&p).unwrap_err();
        let says = |e: String, part: &str| assert!(e.contains(part), "{e}");
        says(
            error(ConvParams {
                groups: 3,
                ..PARAMS
            }),
            "4 input channels do not divide by group 3",
        );
        says(
            error(ConvParams {
                groups: 0,
                ..PARAMS
            }),
            "group 0",
        );
        says(
            error(ConvParams {
                stride: &[0, 1],
                ..PARAMS
            }),
            "stride must be at least 1",
        );
        says(
            error(ConvParams {
                pad: &[0],
                ..PARAMS
            }),
            "pad has 1 values for 2",
        );
        says(
            error(ConvParams {
                kernel: &[10, 2],
                ..PARAMS
            }),
            "reaches over 10 pixels",
        );
        says(
            error(ConvParams {
                pad: &[usize::MAX, 0],
                ..PARAMS
            }),
            "too large",
        );
        says(
            error(ConvParams {
                pad: &[1 << 61, 1 << 61],
                ..PARAMS
            }),
            "too large",
        );
    }
}
