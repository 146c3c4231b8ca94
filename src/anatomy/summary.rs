//! A net in figures, layer by layer.

use super::reach::{reaches, windows};
use crate::{
    graph::NodeId,
    net::Net,
    params::{ParamId, Params},
    tensor::Shape,
};

/// A layer in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// Its windows in short: `3x3 s2 p1`; empty for a layer without.
    pub kernel: String,
    /// The shapes of its tops, with their names.
    pub tops: Vec<(String, Shape)>,
    /// Values of parameters that no layer before has.
    pub params: usize,
    /// Multiply-adds of one forward pass: products with parameters. What else a layer computes is not counted, as usual.
    pub multiply_adds: u64,
    /// Bytes of its tops that are not another blob's.
    pub bytes: u64,
    /// Pixels of the input that a value of its first top depends on, height and width; infinite for all of them. `None`
    /// where that means nothing.
    pub field: Option<[f64; 2]>,
    /// Pixels of the input between neighbours of its first top.
    pub jump: Option<[f64; 2]>,
}

/// A net in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Its layers, inserted splits left out.
    pub rows: Vec<Row>,
    /// Values of all parameters.
    pub params: usize,
    /// Multiply-adds of one forward pass.
    pub multiply_adds: u64,
    /// Bytes of all blobs, each in a place of its own.
    pub bytes: u64,
    /// Bytes of the buffers that the net runs in.
    pub planned: u64,
}

/// The figures of a net at its shapes of now.
pub fn summary(net: &Net, params: &Params) -> Summary {
    let graph = net.graph();
    let reaches = reaches(graph);
    let mut seen: Vec<ParamId> = Vec::new();
    let mut rows = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        if node.origin.is_none() {
            continue;
        }
        let mut own = 0;
        for &id in &node.params {
            if !seen.contains(&id) {
                seen.push(id);
                own += params[id].value.shape.count();
            }
        }
        let tops = node.tops.iter().map(|&t| graph.value(t));
        let first = node.tops.first().and_then(|t| reaches[t.index()]);
        let flops = net.flops(NodeId(i as u32));
        rows.push(Row {
            name: node.name.to_string(),
            kind: node.kind.name,
            kernel: kernel(graph, node),
            tops: tops
                .clone()
                .map(|v| (v.name.to_string(), v.shape.clone()))
                .collect(),
            params: own,
            multiply_adds: multiply_adds(graph, node, flops),
            bytes: tops
                .filter(|v| v.version == 0)
                .map(|v| 4 * v.shape.count() as u64)
                .sum(),
            field: first.map(|r| r.field),
            jump: first.map(|r| r.jump),
        });
    }
    Summary {
        name: graph.name.clone(),
        params: rows.iter().map(|r| r.params).sum(),
        multiply_adds: rows.iter().map(|r| r.multiply_adds).sum(),
        bytes: rows.iter().map(|r| r.bytes).sum(),
        planned: 4 * net.planned_floats() as u64,
        rows,
    }
}

/// Of a layer's additions and multiplications those that are products with its parameters; a bias is none.
fn multiply_adds(graph: &crate::graph::Graph, node: &crate::graph::Node, flops: u64) -> u64 {
    let bias = match (node.kind.name, &node.params[..], &node.tops[..]) {
        (_, [], _) => return 0,
        ("InnerProduct", [_, _, ..], [top, ..]) => graph.value(*top).shape.count() as u64,
        _ => 0,
    };
    flops.saturating_sub(bias) / 2
}

/// Windows in short; what is as usual is left out.
pub(super) fn kernel(graph: &crate::graph::Graph, node: &crate::graph::Node) -> String {
    let Some((window, _)) = windows(graph, node) else {
        return String::new();
    };
    let by = |dims: &[usize]| {
        let all: Vec<String> = dims.iter().map(usize::to_string).collect();
        all.join("x")
    };
    let short = |dims: &[usize]| match dims {
        [first, rest @ ..] if rest.iter().all(|d| d == first) => first.to_string(),
        dims => by(dims),
    };
    let mut text = match node.kind.name {
        "Pooling" => {
            let method = node.def.param.pooling_param.unwrap_or_default();
            let method = method.pool().as_str_name().to_lowercase();
            format!("{} {method}", by(&window.kernel))
        }
        _ => by(&window.kernel),
    };
    for (letter, dims, usual) in [
        ('s', &window.stride, 1),
        ('p', &window.pad, 0),
        ('d', &window.dilation, 1),
    ] {
        if dims.iter().any(|&d| d != usual) {
            text += &format!(" {letter}{}", short(dims));
        }
    }
    let group = node
        .def
        .param
        .convolution_param
        .as_ref()
        .and_then(|p| p.group);
    if let Some(group) = group.filter(|&g| g > 1) {
        text += &format!(" g{group}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
        net::NetOptions,
    };

    #[test]
    fn a_small_net_in_figures() {
        let text = "
            layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 dim: 16 dim: 16 } } }
            layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'
                    convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 } }
            layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }
            layer { name: 'd' type: 'Convolution' bottom: 'c' top: 'd'
                    convolution_param { num_output: 4 kernel_h: 3 kernel_w: 1 dilation: 2 group: 2 bias_term: false } }
            layer { name: 'p' type: 'Pooling' bottom: 'd' top: 'p' pooling_param { pool: AVE global_pooling: true } }
            layer { name: 'ip' type: 'InnerProduct' bottom: 'p' top: 'ip' inner_product_param { num_output: 5 } }";
        let file = load::net_from_text("t", text, LoadOptions::default(), &mut Silent).unwrap();
        let mut params = Params::new();
        let net = Net::new(&file.net, &mut params, &NetOptions::default(), &mut Silent).unwrap();
        let s = summary(&net, &params);
        let row = |i: usize| {
            let r = &s.rows[i];
            (
                r.kernel.as_str(),
                r.params,
                r.multiply_adds,
                r.bytes,
                r.field,
            )
        };
        assert_eq!(row(0), ("", 0, 0, 4 * 2 * 3 * 256, Some([1.0; 2])));
        assert_eq!(
            row(1),
            (
                "3x3 s2 p1",
                3 * 4 * 9 + 4,
                2 * 64 * 4 * 27,
                4 * 2 * 4 * 64,
                Some([3.0; 2])
            )
        );
        // In place: no blob of its own.
        assert_eq!(row(2).3, 0);
        assert_eq!((row(3).0, row(3).4), ("3x1 d2 g2", Some([11.0, 3.0])));
        assert_eq!(row(4).0, "4x8 ave");
        assert_eq!(row(4).4, Some([f64::INFINITY; 2]));
        assert_eq!((row(5).1, row(5).2), (25, 2 * 5 * 4));
        assert_eq!(s.params, params.count());
    }
}
