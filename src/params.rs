//! The one store of learnable parameters. Nets borrow it for a pass; whoever trains owns it.
//!
//! Sharing is two nodes that hold one [`ParamId`]; a test net holds the ids of the train net's parameters.

use std::{
    mem,
    ops::{Index, IndexMut},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::tensor::Tensor;

/// A learnable blob with its gradient.
#[derive(Clone, Debug, Default)]
pub struct Param {
    /// The weights.
    pub value: Tensor,
    /// The gradient, accumulated (`+=`) by every layer that uses the parameter. As long as `value`, or empty where
    /// nothing asks for a gradient.
    pub grad: Vec<f32>,
    /// Multiplies the learning rate; 0 freezes.
    pub lr_mult: f32,
    /// Multiplies the weight decay.
    pub decay_mult: f32,
}

impl Param {
    /// Whether backward has to accumulate into `grad`.
    pub fn wants_grad(&self) -> bool {
        !self.grad.is_empty()
    }
}

/// Names one parameter of a [`Params`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) u32);

impl ParamId {
    /// The position in the store.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The store.
#[derive(Clone, Debug, Default)]
pub struct Params {
    all: Vec<Param>,
    stamp: u64,
}

impl Params {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    pub fn push(&mut self, param: Param) -> ParamId {
        let id = ParamId(u32::try_from(self.all.len()).expect("fewer than 2^32 parameters"));
        self.all.push(param);
        self.touch();
        id
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Values of all parameters together.
    pub fn count(&self) -> usize {
        self.all.iter().map(|p| p.value.data.len()).sum()
    }

    /// Sets every gradient to zero.
    pub fn clear_grads(&mut self) {
        for param in &mut self.all {
            param.grad.fill(0.0);
        }
    }

    /// Names what the values are now: a number that no other content of any store has had. It changes with every access
    /// that may change a value; a clone keeps it.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Says that values may have changed.
    pub(crate) fn touch(&mut self) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        self.stamp = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }

    /// Hands a parameter out; whoever changes its value without [`Params::touch`] breaks the stamp.
    pub(crate) fn lend(&mut self, id: ParamId) -> Param {
        mem::take(&mut self.all[id.index()])
    }

    /// Takes it back.
    pub(crate) fn take_back(&mut self, id: ParamId, param: Param) {
        self.all[id.index()] = param;
    }
}

impl Index<ParamId> for Params {
    type Output = Param;
    fn index(&self, id: ParamId) -> &Param {
        &self.all[id.index()]
    }
}

impl IndexMut<ParamId> for Params {
    fn index_mut(&mut self, id: ParamId) -> &mut Param {
        self.touch();
        &mut self.all[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_follows_the_values() {
        let mut params = Params::new();
        let id = params.push(Param::default());
        let first = params.stamp();
        let copy = params.clone();
        params.clear_grads();
        let lent = params.lend(id);
        params.take_back(id, lent);
        assert_eq!(params.stamp(), first);
        params[id].lr_mult = 2.0;
        assert_ne!(params.stamp(), first);
        assert_eq!(copy.stamp(), first);
        let mut other = Params::new();
        other.push(Param::default());
        assert_ne!(other.stamp(), first);
    }
}
