//! The lines of `debug_info`: mean absolute values of everything that flows, in Caffe's words.

use super::{Net, plan::Place};
use crate::{graph::ValueId, number::g, params::Params};

fn mean_abs(data: &[f32]) -> f32 {
    if data.is_empty() {
        return 0.0;
    }
    (data.iter().map(|x| f64::from(x.abs())).sum::<f64>() / data.len() as f64) as f32
}

impl Net {
    fn mean_at(&self, value: ValueId, place: Place) -> f32 {
        let count = self.graph.value(value).shape.count();
        mean_abs(&self.arena.slots[place.slot][place.range(count)])
    }

    /// After step `i` of forward: its tops.
    pub(super) fn note_forward(&mut self, i: usize) {
        if self.debug.is_none() {
            return;
        }
        let step = &self.plan.steps[i];
        let node = self.run.node(step.node);
        let mut lines = Vec::new();
        for (&top, place) in node.tops.iter().zip(&step.tops) {
            if let Some(place) = *place {
                lines.push(format!(
                    "    [Forward] Layer {}, top blob {} data: {}",
                    node.name,
                    self.graph.value(top).name,
                    g(self.mean_at(top, place))
                ));
            }
        }
        self.debug.get_or_insert_default().extend(lines);
    }

    /// After step `i` of forward: its parameters.
    pub(super) fn note_forward_params(&mut self, i: usize, params: &Params) {
        let node = self.run.node(self.plan.steps[i].node);
        let lines: Vec<String> = node
            .params
            .iter()
            .enumerate()
            .map(|(p, &id)| {
                format!(
                    "    [Forward] Layer {}, param blob {p} data: {}",
                    node.name,
                    g(mean_abs(&params[id].value.data))
                )
            })
            .collect();
        self.debug.get_or_insert_default().extend(lines);
    }

    /// After step `i` of backward: its bottom diffs and the gradients of its parameters.
    pub(super) fn note_backward(&mut self, i: usize, params: &Params) {
        let step = &self.plan.steps[i];
        let node = self.run.node(step.node);
        let mut lines = Vec::new();
        for (&bottom, place) in node.bottoms.iter().zip(&step.bottom_diffs) {
            if let Some(place) = *place {
                lines.push(format!(
                    "    [Backward] Layer {}, bottom blob {} diff: {}",
                    node.name,
                    self.graph.value(bottom).name,
                    g(self.mean_at(bottom, place))
                ));
            }
        }
        if !step.bottom_diffs.is_empty() {
            for (p, &id) in node.params.iter().enumerate() {
                if params[id].wants_grad() {
                    lines.push(format!(
                        "    [Backward] Layer {}, param blob {p} diff: {}",
                        node.name,
                        g(mean_abs(&params[id].grad))
                    ));
                }
            }
        }
        self.debug.get_or_insert_default().extend(lines);
    }

    /// After backward: the norms of all parameters and gradients.
    pub(super) fn note_params(&mut self, params: &Params) {
        if self.debug.is_none() {
            return;
        }
        let (mut l1, mut l2) = ([0.0f64; 2], [0.0f64; 2]);
        for id in self.graph.learnable() {
            for (k, data) in [&params[id].value.data, &params[id].grad]
                .into_iter()
                .enumerate()
            {
                for &x in data {
                    l1[k] += f64::from(x.abs());
                    l2[k] += f64::from(x) * f64::from(x);
                }
            }
        }
        self.debug.get_or_insert_default().push(format!(
            "    [Backward] All net params (data, diff): L1 norm = ({}, {}); L2 norm = ({}, {})",
            g(l1[0]),
            g(l1[1]),
            g(l2[0].sqrt()),
            g(l2[1].sqrt())
        ));
    }
}
