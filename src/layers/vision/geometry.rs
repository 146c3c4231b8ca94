//! Kernel, stride, pad and dilation: read once here, for every layer whose windows slide.

use smallvec::{SmallVec, smallvec};

use crate::{
    error::{Error, Result},
    schema::{ConvolutionParameter, PoolingParameter},
};

/// One size for each spatial axis, outermost first.
pub(crate) type Dims = SmallVec<[usize; 4]>;

/// Windows that slide over the spatial axes of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Taps of a window.
    pub(crate) kernel: Dims,
    /// Distance of neighbouring windows.
    pub(crate) stride: Dims,
    /// Positions before and after the axis.
    pub(crate) pad: Dims,
    /// Distance of neighbouring taps.
    pub(crate) dilation: Dims,
}

/// What happens to a last window that does not fit whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// It is left out.
    Floor,
    /// It is there, cut off.
    Ceil,
}

/// One size as a message tells it.
struct Told<'m> {
    /// The message: `convolution_param`.
    message: &'static str,
    /// The field: `stride`.
    field: &'static str,
    /// Once for all axes, or once for each.
    values: &'m [u32],
    /// By `_h` and `_w`.
    hw: [Option<u32>; 2],
    /// What it is where nothing is told; without that it has to be told.
    default: Option<usize>,
}

impl Told<'_> {
    fn wrong(&self, suffix: &str, why: impl std::fmt::Display) -> Error {
        let Self { message, field, .. } = self;
        // The kernel's fields are kernel_size, kernel_h and kernel_w.
        let stem = match suffix {
            "" => field,
            _ => field.trim_end_matches("_size"),
        };
        Error::param(&format!("{message}.{stem}{suffix}"), why)
    }

    /// The size along each of `axes` axes.
    fn resolve(&self, axes: usize) -> Result<Dims> {
        let field = self.field;
        let stem = field.trim_end_matches("_size");
        let size = |&v: &u32| v as usize;
        let dims: Dims = match (self.hw, self.values) {
            ([None, None], []) => {
                let default = self
                    .default
                    .ok_or_else(|| self.wrong("", "a window needs a size, and none is given"))
                    .map_err(|e| e.help(format!("set {field}, or {stem}_h and {stem}_w")))?;
                smallvec![default; axes]
            }
            ([None, None], [one]) => smallvec![*one as usize; axes],
            ([None, None], many) if many.len() == axes => many.iter().map(size).collect(),
            ([None, None], many) => {
                return Err(self
                    .wrong(
                        "",
                        format!("given {} times for {axes} spatial axes", many.len()),
                    )
                    .help("give it once, or once for each spatial axis"));
            }
            (_, [_, ..]) => {
                return Err(self
                    .wrong("", format!("{stem}_h or {stem}_w is given as well"))
                    .help(format!("keep {field}, or {stem}_h and {stem}_w")));
            }
            ([Some(h), Some(w)], []) if axes == 2 => smallvec![h as usize, w as usize],
            ([Some(_), Some(_)], []) => {
                return Err(self
                    .wrong(
                        "_h",
                        format!("height and width are for 2 spatial axes, the bottom has {axes}"),
                    )
                    .help(format!("give {field} once, or once for each spatial axis")));
            }
            ([h, _], []) => {
                let [has, lacks] = if h.is_some() {
                    ["_h", "_w"]
                } else {
                    ["_w", "_h"]
                };
                // Caffe's Convolution takes what is missing from the default, where that makes sense.
                match self.default {
                    Some(0) if axes == 2 && self.message == "convolution_param" => {
                        self.hw.iter().map(|v| v.unwrap_or(0) as usize).collect()
                    }
                    _ => return Err(self.wrong(has, format!("given without {stem}{lacks}"))),
                }
            }
        };
        if self.default != Some(0) && dims.contains(&0) {
            return Err(self.wrong(
                match self.hw {
                    [Some(0), _] => "_h",
                    [_, Some(0)] => "_w",
                    _ => "",
                },
                "must be at least 1",
            ));
        }
        if dims.iter().any(|&d| d > i32::MAX as usize) {
            return Err(self.wrong("", format!("more than {} is too large", i32::MAX)));
        }
        Ok(dims)
    }
}

impl Window {
    /// As `convolution_param` tells it, for a bottom of `axes` spatial axes.
    ///
    /// # Errors
    /// `Param`, with the field, where it tells too little, too much or a size that makes no sense.
    pub(crate) fn of_convolution(param: &ConvolutionParameter, axes: usize) -> Result<Self> {
        let told = |field, values, hw, default| Told {
            message: "convolution_param",
            field,
            values,
            hw,
            default,
        };
        let p = param;
        Ok(Self {
            // Without spatial axes there is nothing that a kernel could span.
            kernel: told(
                "kernel_size",
                &p.kernel_size,
                [p.kernel_h, p.kernel_w],
                (axes == 0).then_some(1),
            )
            .resolve(axes)?,
            stride: told("stride", &p.stride, [p.stride_h, p.stride_w], Some(1)).resolve(axes)?,
            pad: told("pad", &p.pad, [p.pad_h, p.pad_w], Some(0)).resolve(axes)?,
            dilation: told("dilation", &p.dilation, [None, None], Some(1)).resolve(axes)?,
        })
    }

    /// As `pooling_param` tells it; `global`, the size of the bottom, is the kernel with `global_pooling`.
    ///
    /// # Errors
    /// `Param`, with the field, as for [`Self::of_convolution`]; where a pad is as large as the kernel; where
    /// `global_pooling` comes with a window of its own.
    pub(crate) fn of_pooling(param: &PoolingParameter, global: [usize; 2]) -> Result<Self> {
        let p = param;
        let size = |field, value: &Option<u32>, hw, default| {
            Told {
                message: "pooling_param",
                field,
                values: value.as_slice(),
                hw,
                default,
            }
            .resolve(2)
        };
        let kernel_told = (&p.kernel_size, [p.kernel_h, p.kernel_w]);
        let kernel = if p.global_pooling() {
            if kernel_told != (&None, [None, None]) {
                return Err(Error::param(
                    "pooling_param.global_pooling",
                    "the window is the whole bottom, but a kernel is given as well",
                )
                .help("keep global_pooling, or the kernel"));
            }
            Dims::from_slice(&global)
        } else {
            size("kernel_size", kernel_told.0, kernel_told.1, None)?
        };
        let stride = size("stride", &p.stride, [p.stride_h, p.stride_w], Some(1))?;
        let pad = size("pad", &p.pad, [p.pad_h, p.pad_w], Some(0))?;
        if p.global_pooling() {
            if pad.iter().any(|&p| p != 0) || stride.iter().any(|&s| s != 1) {
                return Err(Error::param(
                    "pooling_param.global_pooling",
                    "there is one window, so stride must be 1 and pad 0",
                ));
            }
        } else if pad.iter().zip(&kernel).any(|(p, k)| p >= k) {
            return Err(Error::param(
                "pooling_param.pad",
                format!(
                    "{pad:?} is not smaller than the kernel, {kernel:?}: windows would lie in the padding"
                ),
            ));
        }
        Ok(Self {
            kernel,
            stride,
            pad,
            dilation: smallvec![1; 2],
        })
    }

    /// How many windows there are along each axis of `input`. With [`Rounding::Ceil`] Caffe's rule for pooling holds:
    /// where there is any padding, a last window that would begin behind the input and its first padding is dropped.
    ///
    /// # Errors
    /// `Shape` where an axis has no window.
    pub(crate) fn output(&self, input: &[usize], rounding: Rounding) -> Result<Dims> {
        let padded = self.pad.iter().any(|&p| p > 0);
        let windows = |i: usize| -> Option<usize> {
            // Each is at most 2^31 (a blob's limit, and `resolve`), so 64 bits hold it all.
            let [n, k, s, p, d] = [
                input[i],
                self.kernel[i],
                self.stride[i],
                self.pad[i],
                self.dilation[i],
            ]
            .map(|v| i64::try_from(v).unwrap_or(i64::from(i32::MAX)));
            let room = n + 2 * p - (d * (k - 1) + 1);
            let mut windows = match rounding {
                Rounding::Floor => room.div_euclid(s) + 1,
                Rounding::Ceil => -(-room).div_euclid(s) + 1,
            };
            if rounding == Rounding::Ceil && padded && (windows - 1) * s >= n + p {
                windows -= 1;
            }
            usize::try_from(windows).ok().filter(|&w| w > 0 && n > 0)
        };
        (0..input.len())
            .map(windows)
            .collect::<Option<Dims>>()
            .ok_or_else(|| {
                let dilation = match self.dilation.iter().all(|&d| d == 1) {
                    true => String::new(),
                    false => format!(", dilation {:?}", self.dilation),
                };
                Error::shape(format!(
                    "no window fits: the bottom is {input:?}, kernel {:?}, pad {:?}, stride {:?}{dilation}",
                    self.kernel, self.pad, self.stride
                ))
                .help("make the kernel smaller, or the bottom or pad larger")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rounding::{Ceil, Floor};

    fn convolution(set: impl FnOnce(&mut ConvolutionParameter), axes: usize) -> Result<Window> {
        let mut param = ConvolutionParameter::default();
        set(&mut param);
        Window::of_convolution(&param, axes)
    }

    fn pooling(set: impl FnOnce(&mut PoolingParameter)) -> Result<Window> {
        let mut param = PoolingParameter::default();
        set(&mut param);
        Window::of_pooling(&param, [4, 7])
    }

    #[track_caller]
    fn fails(window: Result<Window>, field: &str, part: &str) {
        let error = window.unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }

    #[test]
    fn sizes_are_told_once_or_for_each_axis_or_by_height_and_width() {
        let once = convolution(|p| p.kernel_size = vec![3], 3).unwrap();
        assert_eq!(once.kernel[..], [3, 3, 3]);
        assert_eq!(once.stride[..], [1, 1, 1]);
        assert_eq!(once.pad[..], [0, 0, 0]);
        assert_eq!(once.dilation[..], [1, 1, 1]);
        let each = convolution(
            |p| {
                p.kernel_size = vec![3, 5];
                p.stride = vec![2];
                p.pad_h = Some(1);
                p.dilation = vec![2, 1];
            },
            2,
        )
        .unwrap();
        assert_eq!(each.kernel[..], [3, 5]);
        assert_eq!(each.stride[..], [2, 2]);
        assert_eq!(each.pad[..], [1, 0]);
        assert_eq!(each.dilation[..], [2, 1]);
        let hw = pooling(|p| (p.kernel_h, p.kernel_w) = (Some(2), Some(3))).unwrap();
        assert_eq!(hw.kernel[..], [2, 3]);
        let global = pooling(|p| p.global_pooling = Some(true)).unwrap();
        assert_eq!(global.kernel[..], [4, 7]);
        // An inner product: no axis, no kernel.
        assert!(convolution(|_| {}, 0).unwrap().kernel.is_empty());
    }

    #[test]
    fn contradictions_name_the_field() {
        let c = "convolution_param";
        fails(
            convolution(|_| {}, 2),
            &format!("{c}.kernel_size"),
            "kernel_h and kernel_w",
        );
        fails(
            convolution(|p| p.kernel_size = vec![1, 2, 3], 2),
            &format!("{c}.kernel_size"),
            "3 times for 2 spatial axes",
        );
        fails(
            convolution(|p| (p.kernel_size, p.kernel_h) = (vec![3], Some(3)), 2),
            &format!("{c}.kernel_size"),
            "as well",
        );
        fails(
            convolution(|p| p.kernel_h = Some(3), 2),
            &format!("{c}.kernel_h"),
            "without kernel_w",
        );
        fails(
            convolution(|p| (p.kernel_h, p.kernel_w) = (Some(3), Some(3)), 1),
            &format!("{c}.kernel_h"),
            "2 spatial axes",
        );
        fails(
            convolution(|p| p.kernel_size = vec![0], 2),
            &format!("{c}.kernel_size"),
            "at least 1",
        );
        fails(
            convolution(|p| (p.kernel_size, p.stride) = (vec![1], vec![0]), 2),
            &format!("{c}.stride"),
            "at least 1",
        );
        fails(
            convolution(
                |p| {
                    p.kernel_size = vec![1];
                    (p.stride_h, p.stride_w) = (Some(1), Some(0));
                },
                2,
            ),
            &format!("{c}.stride_w"),
            "at least 1",
        );
        fails(
            convolution(|p| (p.kernel_size, p.dilation) = (vec![1], vec![0]), 2),
            &format!("{c}.dilation"),
            "at least 1",
        );
        fails(
            convolution(|p| (p.kernel_size, p.pad) = (vec![1], vec![u32::MAX]), 2),
            &format!("{c}.pad"),
            "too large",
        );
        fails(
            pooling(|p| (p.kernel_size, p.pad) = (Some(3), Some(3))),
            "pooling_param.pad",
            "not smaller",
        );
        fails(
            pooling(|p| (p.kernel_size, p.pad_h) = (Some(3), Some(1))),
            "pooling_param.pad_h",
            "without pad_w",
        );
        fails(
            pooling(|p| (p.global_pooling, p.kernel_size) = (Some(true), Some(3))),
            "pooling_param.global_pooling",
            "as well",
        );
        fails(
            pooling(|p| (p.global_pooling, p.stride) = (Some(true), Some(2))),
            "pooling_param.global_pooling",
            "stride must be 1",
        );
    }

    #[test]
    fn the_number_of_windows() {
        let window = |kernel: usize, stride: usize, pad: usize, dilation: usize| Window {
            kernel: smallvec![kernel],
            stride: smallvec![stride],
            pad: smallvec![pad],
            dilation: smallvec![dilation],
        };
        let output = |w: Window, n, rounding| w.output(&[n], rounding).map(|o| o[0]);
        // |abc|def|g..|
        assert_eq!(output(window(3, 3, 0, 1), 7, Ceil).unwrap(), 3);
        assert_eq!(output(window(3, 3, 0, 1), 7, Floor).unwrap(), 2);
        // A fourth window would begin at position 6 of 4 + 2 padded ones: dropped.
        assert_eq!(output(window(2, 2, 1, 1), 5, Ceil).unwrap(), 3);
        assert_eq!(output(window(3, 1, 0, 2), 7, Floor).unwrap(), 3);
        // Larger than the bottom, but within a stride: one window, cut off.
        assert_eq!(output(window(8, 3, 0, 1), 6, Ceil).unwrap(), 1);
        let error = output(window(8, 3, 0, 1), 6, Floor).unwrap_err();
        assert!(
            error
                .message()
                .contains("[6], kernel [8], pad [0], stride [3]"),
            "{error}"
        );
        assert!(output(window(8, 1, 0, 1), 6, Ceil).is_err());
        assert!(output(window(1, 1, 0, 1), 0, Ceil).is_err());
        let most = i32::MAX as usize;
        assert!(output(window(most, most, 0, most), 6, Ceil).is_err());
    }
}
