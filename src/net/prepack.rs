//! What a net that only runs forward derives from its parameters: once, and again when they change.

use super::{Calibration, Net, NetOptions, Precision};
use crate::{
    error::{Error, Result},
    graph::{Graph, Node, NodeId},
    layer::{Affine, Layer, Prepack, Reduction},
    params::{Param, ParamId, Params},
};

/// Which parameters the layers are prepared for.
pub(super) enum Ready {
    /// The net runs backward: parameters are read as they are.
    Never,
    /// Those of this stamp; `None`: none yet, or shapes have changed.
    For(Option<u64>),
    /// For good.
    Frozen,
}

impl Ready {
    pub(super) fn new(backward: bool) -> Self {
        if backward {
            Self::Never
        } else {
            Self::For(None)
        }
    }

    pub(super) fn reshaped(&mut self) {
        if let Self::For(stamp) = self {
            *stamp = None;
        }
    }
}

impl Net {
    /// Prepares the layers for these parameters, if that is not done yet.
    pub(super) fn prepack(&mut self, params: &mut Params) -> Result<()> {
        match self.ready {
            Ready::For(stamp) if stamp != Some(params.stamp()) => {}
            _ => return Ok(()),
        }
        for i in 0..self.run.nodes.len() {
            self.prepack_node(i, params, false)?;
        }
        self.ready = Ready::For(Some(params.stamp()));
        Ok(())
    }

    /// Prepares layers whose shapes have changed within a pass.
    pub(super) fn prepack_again(&mut self, nodes: &[NodeId], params: &mut Params) -> Result<()> {
        if matches!(self.ready, Ready::For(_)) {
            for id in nodes {
                self.prepack_node(id.index(), params, false)?;
            }
        }
        Ok(())
    }

    /// Says that the parameters are final and only this net uses them: values that layers keep in a form of their own are
    /// dropped from the store, and later changes to it are not seen. Does nothing in a net that runs backward.
    ///
    /// # Errors
    /// Of the first layer that cannot use its parameters.
    pub fn freeze(&mut self, params: &mut Params) -> Result<()> {
        if !matches!(self.ready, Ready::For(_)) {
            return Ok(());
        }
        for i in 0..self.run.nodes.len() {
            let ids = self.run.nodes[i].params.clone();
            let alone = ids.iter().all(|&id| self.users(id) == 1);
            if self.prepack_node(i, params, alone)? && alone {
                for id in ids {
                    params[id].value.data = Vec::new();
                }
            }
        }
        self.ready = Ready::Frozen;
        Ok(())
    }

    /// Notes from now on what the layers read that a net of less precision would round: see [`Net::calibration`].
    pub fn calibrate(&mut self) {
        self.seen = Some(Calibration::default());
    }

    /// The ranges of all that was read since [`Net::calibrate`].
    pub fn calibration(&self) -> Option<&Calibration> {
        self.seen.as_ref()
    }

    fn users(&self, id: ParamId) -> usize {
        let nodes = self.graph.nodes.iter();
        nodes.filter(|n| n.params.contains(&id)).count()
    }

    fn prepack_node(&mut self, i: usize, params: &mut Params, last: bool) -> Result<bool> {
        let node = &self.run.nodes[i];
        if node.gone {
            return Ok(false);
        }
        let mut then: Option<Affine> = None;
        for id in &node.absorbed {
            let held = lend(self.run.node(*id), params);
            let next = self.layers[id.index()].affine(&held);
            take_back(self.run.node(*id), params, held);
            then = match (then, next) {
                (Some(then), Some(next)) => Some(then.then(&next)),
                (then, next) => then.or(next),
            };
        }
        let mut held = lend(node, params);
        let result = self.layers[i].prepack(&mut Prepack {
            params: &mut held,
            then: then.as_ref(),
            last,
        });
        take_back(node, params, held);
        result.map_err(|error| error.at(self.graph.place(NodeId(i as u32))))
    }
}

/// Tells the layers the precision that is wanted.
pub(super) fn reduce(
    run: &Graph,
    layers: &mut [Box<dyn Layer>],
    options: &NetOptions<'_>,
) -> Result<()> {
    if matches!(options.precision, Precision::F32) {
        return Ok(());
    }
    if options.backward {
        return Err(
            Error::unsupported("a net that runs backward computes in f32")
                .help("ask for less precision where the net only runs forward"),
        );
    }
    for (i, (node, layer)) in run.nodes.iter().zip(layers).enumerate() {
        if node.gone || !layer.reducible() {
            continue;
        }
        let to = match options.precision {
            Precision::Int8(table) => table.reduction(&node.name),
            _ => Ok(Reduction::Bf16),
        };
        to.and_then(|to| layer.reduce(to))
            .map_err(|error| error.at(run.place(NodeId(i as u32))))?;
    }
    Ok(())
}

fn lend(node: &Node, params: &mut Params) -> Vec<Param> {
    node.params.iter().map(|&id| params.lend(id)).collect()
}

fn take_back(node: &Node, params: &mut Params, held: Vec<Param>) {
    for (&id, param) in node.params.iter().zip(held) {
        params.take_back(id, param);
    }
}
