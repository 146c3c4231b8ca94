//! How far a value looks into the net's input: the receptive field, and the distance of neighbours.

use crate::{
    graph::{Graph, Node},
    layers::vision::{filters::Filters, geometry::Window},
};

/// What one value of a blob depends on, along height and width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reach {
    /// Pixels of the input.
    pub(super) field: [f64; 2],
    /// Pixels of the input between neighbours.
    pub(super) jump: [f64; 2],
}

impl Reach {
    /// A pixel of the input.
    pub(super) const PIXEL: Self = Self {
        field: [1.0; 2],
        jump: [1.0; 2],
    };
    /// The whole input.
    pub(super) const ALL: Self = Self {
        field: [f64::INFINITY; 2],
        jump: [f64::INFINITY; 2],
    };

    fn wider(self, other: Self) -> Self {
        let most = |a: [f64; 2], b: [f64; 2]| [a[0].max(b[0]), a[1].max(b[1])];
        Self {
            field: most(self.field, other.field),
            jump: most(self.jump, other.jump),
        }
    }

    /// What windows of such values look at.
    fn windows(self, kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> Self {
        let along = |i: usize| {
            let taps = (dilation[i] * (kernel[i] - 1)) as f64;
            (
                self.field[i] + taps * self.jump[i],
                self.jump[i] * stride[i] as f64,
            )
        };
        let (h, w) = (along(0), along(1));
        Self {
            field: [h.0, w.0],
            jump: [h.1, w.1],
        }
    }

    /// What a transposed convolution's values look at: ⌈kernel / stride⌉ values meet in each.
    fn spread(self, kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> Self {
        let along = |i: usize| {
            let meet = (dilation[i] * (kernel[i] - 1) + 1).div_ceil(stride[i]);
            (
                self.field[i] + (meet - 1) as f64 * self.jump[i],
                self.jump[i] / stride[i] as f64,
            )
        };
        let (h, w) = (along(0), along(1));
        Self {
            field: [h.0, w.0],
            jump: [h.1, w.1],
        }
    }
}

/// The windows of a node over planes, and whether they spread instead of gather.
pub(super) fn windows(graph: &Graph, node: &Node) -> Option<(Window, bool)> {
    let bottom = &graph.value(*node.bottoms.first()?).shape;
    let param = &node.def.param;
    match node.kind.name {
        "Convolution" | "ConvolutionDepthwise" | "DepthwiseConvolution" | "Deconvolution" => {
            let depthwise = node.kind.name.contains("Depthwise");
            let p = param.convolution_param.clone().unwrap_or_default();
            let told = Filters::told(&p, depthwise, bottom).ok()?;
            Some((told.window, node.kind.name == "Deconvolution"))
        }
        "Im2col" => {
            let p = param.convolution_param.clone().unwrap_or_default();
            let axis = bottom.axis(p.axis()).ok()?;
            let window = Window::of_convolution(&p, bottom.axes() - axis - 1).ok()?;
            Some((window, false))
        }
        "Pooling" => {
            let [_, _, h, w] = *bottom.dims() else {
                return None;
            };
            let p = param.pooling_param.unwrap_or_default();
            Some((Window::of_pooling(&p, [h, w]).ok()?, false))
        }
        _ => None,
    }
}

/// By value: what it looks at; `None` where that means nothing, as for labels.
pub(super) fn reaches(graph: &Graph) -> Vec<Option<Reach>> {
    let mut all: Vec<Option<Reach>> = vec![None; graph.values.len()];
    for node in &graph.nodes {
        let bottoms = node.bottoms.iter().filter_map(|b| all[b.index()]);
        let widest = bottoms.reduce(Reach::wider);
        for (i, &top) in node.tops.iter().enumerate() {
            let shape = &graph.value(top).shape;
            all[top.index()] = match widest {
                // The first blob of planes of a layer without bottoms.
                None if node.bottoms.is_empty() => {
                    (i == 0 && shape.axes() == 4).then_some(Reach::PIXEL)
                }
                None => None,
                Some(reach) => Some(next(graph, node, reach)),
            };
        }
    }
    all
}

fn next(graph: &Graph, node: &Node, reach: Reach) -> Reach {
    if let Some((window, spreads)) = windows(graph, node) {
        let pair = |dims: &[usize]| match *dims {
            [h, w] => Some([h, w]),
            _ => None,
        };
        let sizes = (
            pair(&window.kernel),
            pair(&window.stride),
            pair(&window.dilation),
        );
        let (Some(kernel), Some(stride), Some(dilation)) = sizes else {
            return Reach::ALL;
        };
        let global = node
            .def
            .param
            .pooling_param
            .is_some_and(|p| p.global_pooling());
        return match (global, spreads) {
            (true, _) => Reach::ALL,
            (_, true) => reach.spread(kernel, stride, dilation),
            _ => reach.windows(kernel, stride, dilation),
        };
    }
    let planes = node
        .bottoms
        .first()
        .is_some_and(|&b| graph.value(b).shape.axes() == 4);
    match node.kind.name {
        "InnerProduct" | "SPP" | "MVN" | "Reduction" | "LSTM" | "RNN" | "DetectionOutput"
        | "Proposal" | "ROIPooling" | "ROIAlign" | "PSROIPooling" => Reach::ALL,
        "Normalize"
            if node
                .def
                .param
                .norm_param
                .as_ref()
                .is_none_or(|p| p.across_spatial()) =>
        {
            Reach::ALL
        }
        "Interp" | "Upsample" | "Reorg" if planes => resized(graph, node, reach),
        _ => reach,
    }
}

/// Neighbours are as much nearer as there are more of them.
fn resized(graph: &Graph, node: &Node, reach: Reach) -> Reach {
    let (Some(&bottom), Some(&top)) = (node.bottoms.first(), node.tops.first()) else {
        return reach;
    };
    let (from, to) = (
        graph.value(bottom).shape.dims(),
        graph.value(top).shape.dims(),
    );
    let ratio = |i: usize| match (from.get(i), to.get(i)) {
        (Some(&a), Some(&b)) if b > 0 => a as f64 / b as f64,
        _ => 1.0,
    };
    // Bilinear places read two neighbours.
    let more = if node.kind.name == "Interp" { 1.0 } else { 0.0 };
    Reach {
        field: [
            reach.field[0] + more * reach.jump[0],
            reach.field[1] + more * reach.jump[1],
        ],
        jump: [reach.jump[0] * ratio(2), reach.jump[1] * ratio(3)],
    }
}
