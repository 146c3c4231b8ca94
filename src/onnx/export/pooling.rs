//! Pooling with Caffe's rules: a last window that is cut off is there, and a mean counts the padding.

use super::{
    super::proto::{AttributeProto, int, ints, text},
    activation::FLOAT,
    emit::Site,
};
use crate::{
    error::Result,
    layers::vision::{
        geometry::{Rounding, Window},
        pooling::rounding,
    },
    schema::{pooling_parameter::PoolMethod, spp_parameter},
};

/// Windows of pooling over planes, with what follows from Caffe's rules.
struct Plan {
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    /// Positions behind the plane that the last windows reach over.
    end: [usize; 2],
}

impl Plan {
    fn new(window: &Window, input: [usize; 2], rounding: Rounding) -> Result<Self> {
        let pair = |dims: &[usize]| [dims[0], dims[1]];
        let output = pair(&window.output(&input, rounding)?);
        let (kernel, stride, pad) = (
            pair(&window.kernel),
            pair(&window.stride),
            pair(&window.pad),
        );
        let end = std::array::from_fn(|i| {
            ((output[i] - 1) * stride[i] + kernel[i]).saturating_sub(input[i] + pad[i])
        });
        Ok(Self {
            input,
            output,
            kernel,
            stride,
            pad,
            end,
        })
    }

    /// Whether the padding can be told to an operator of pooling, which takes less than a kernel of it.
    fn is_plain(&self) -> bool {
        (0..2).all(|i| self.pad[i] < self.kernel[i] && self.end[i] < self.kernel[i])
    }

    /// The shape of a factor for each window.
    fn planes(&self) -> [usize; 4] {
        [1, 1, self.output[0], self.output[1]]
    }

    /// For each window the values of a whole one over those that it counts: a mean counts the plane and its padding,
    /// not what lies behind. `None` where all are whole.
    fn correction(&self) -> Option<Vec<f32>> {
        let share = |i: usize, p: usize| {
            let start = p * self.stride[i];
            let counted = (self.input[i] + 2 * self.pad[i]).saturating_sub(start);
            counted.min(self.kernel[i])
        };
        let whole = (self.kernel[0] * self.kernel[1]) as f32;
        let mut factors = Vec::with_capacity(self.output[0] * self.output[1]);
        for h in 0..self.output[0] {
            for w in 0..self.output[1] {
                let counted = share(0, h) * share(1, w);
                factors.push(if counted == 0 {
                    0.0
                } else {
                    whole / counted as f32
                });
            }
        }
        factors.iter().any(|&f| f != 1.0).then_some(factors)
    }
}

/// `x`, padded with a value where that cannot be told to the operator, and what the operator is told.
fn told(s: &mut Site<'_, '_>, x: &str, plan: &Plan, with: f32) -> (String, Vec<AttributeProto>) {
    let mut x = x.to_owned();
    let mut pads = [plan.pad[0], plan.pad[1], plan.end[0], plan.end[1]];
    if !plan.is_plain() {
        let wide = s.extents("pads", &[0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]);
        let with = s.scalar("padding", with);
        x = s.op("Pad", &[&x, &wide, &with], vec![text("mode", "constant")]);
        pads = [0; 4];
    }
    let attributes = vec![
        ints("kernel_shape", plan.kernel),
        ints("strides", plan.stride),
        ints("pads", pads),
    ];
    (x, attributes)
}

/// The means of windows.
fn mean(s: &mut Site<'_, '_>, x: &str, plan: &Plan) -> String {
    let (x, mut attributes) = told(s, x, plan, 0.0);
    attributes.push(int("count_include_pad", 1));
    let y = s.op("AveragePool", &[&x], attributes);
    match plan.correction() {
        None => y,
        Some(factors) => {
            let by = s.floats("windows", &plan.planes(), &factors);
            s.op("Mul", &[&y, &by], Vec::new())
        }
    }
}

/// Σ x² / Σ x, the mean of what would be drawn. Padding is 0 and counts in neither.
fn drawn(s: &mut Site<'_, '_>, x: &str, plan: &Plan) -> String {
    let square = s.op("Mul", &[x, x], Vec::new());
    let (above, below) = (mean(s, &square, plan), mean(s, x, plan));
    // Where all is 0, so is what is drawn.
    let least = s.scalar("least", f32::MIN_POSITIVE);
    let below = s.op("Max", &[&below, &least], Vec::new());
    s.op("Div", &[&above, &below], Vec::new())
}

pub(super) fn pooling(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().pooling_param.unwrap_or_default();
    let dims = s.bottom(0).dims();
    let input = [dims[2], dims[3]];
    let window = Window::of_pooling(&p, input)?;
    let plan = Plan::new(&window, input, rounding(&p)?)?;
    let x = s.x(0);
    if plan.kernel == input && plan.output == [1, 1] && plan.pad == [0, 0] {
        match p.pool() {
            PoolMethod::Ave => {
                s.last("GlobalAveragePool", &[&x], Vec::new());
                return Ok(());
            }
            PoolMethod::Max if s.node.tops.len() == 1 => {
                s.last("GlobalMaxPool", &[&x], Vec::new());
                return Ok(());
            }
            _ => {}
        }
    }
    match p.pool() {
        PoolMethod::Max if s.node.tops.len() > 1 => {
            if !plan.is_plain() {
                return Err(s.refuse("a window lies in the padding, and has no largest value"));
            }
            let (x, attributes) = told(s, &x, &plan, f32::MIN);
            let mut found = s.ops("MaxPool", &[&x], 2, attributes);
            let (places, y) = (
                found.pop().unwrap_or_default(),
                found.pop().unwrap_or_default(),
            );
            s.end("Identity", &[&y], 0, Vec::new());
            // ONNX counts through the whole blob, Caffe within a plane.
            let plane = s.integer("plane", (input[0] * input[1]) as i64);
            let places = s.op("Mod", &[&places, &plane], Vec::new());
            s.end("Cast", &[&places], 1, vec![int("to", FLOAT)]);
        }
        PoolMethod::Max => {
            let (x, attributes) = told(s, &x, &plan, f32::MIN);
            s.last("MaxPool", &[&x], attributes);
        }
        PoolMethod::Ave => {
            let (x, mut attributes) = told(s, &x, &plan, 0.0);
            attributes.push(int("count_include_pad", 1));
            match plan.correction() {
                None => s.last("AveragePool", &[&x], attributes),
                Some(factors) => {
                    let y = s.op("AveragePool", &[&x], attributes);
                    let by = s.floats("windows", &plan.planes(), &factors);
                    s.last("Mul", &[&y, &by], Vec::new());
                }
            }
        }
        PoolMethod::Stochastic => {
            let y = drawn(s, &x, &plan);
            s.last("Identity", &[&y], Vec::new());
        }
    }
    Ok(())
}

pub(super) fn spp(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().spp_param.unwrap_or_default();
    let dims = s.bottom(0).dims();
    let input = [dims[2], dims[3]];
    let x = s.x(0);
    let mut parts = Vec::new();
    for level in 0..p.pyramid_height() {
        let bins = 1usize << level;
        let kernel = input.map(|n| n.div_ceil(bins).max(1));
        let pad: [usize; 2] = std::array::from_fn(|i| (kernel[i] * bins - input[i]).div_ceil(2));
        let window = Window {
            kernel: kernel[..].into(),
            stride: kernel[..].into(),
            pad: pad[..].into(),
            dilation: [1, 1][..].into(),
        };
        let plan = Plan::new(&window, input, Rounding::Ceil)?;
        let y = match p.pool() {
            spp_parameter::PoolMethod::Max => {
                let (x, attributes) = told(s, &x, &plan, f32::MIN);
                s.op("MaxPool", &[&x], attributes)
            }
            spp_parameter::PoolMethod::Ave => mean(s, &x, &plan),
            spp_parameter::PoolMethod::Stochastic => drawn(s, &x, &plan),
        };
        parts.push(s.op("Flatten", &[&y], vec![int("axis", 1)]));
    }
    if let [only] = &parts[..] {
        let only = only.clone();
        let from = [dims[0], dims[1]];
        s.end_reshaped(&only, &from, 0);
        return Ok(());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    s.last("Concat", &parts, vec![int("axis", 1)]);
    Ok(())
}
