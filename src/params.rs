//! The one store of learnable parameters. Nets borrow it for a pass; whoever trains owns it.
//!
//! Sharing is two nodes that hold one [`ParamId`]; a test net holds the ids of the train net's parameters.

use std::ops::{Index, IndexMut};

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
pub struct Params(Vec<Param>);

impl Params {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    pub fn push(&mut self, param: Param) -> ParamId {
        let id = ParamId(u32::try_from(self.0.len()).expect("fewer than 2^32 parameters"));
        self.0.push(param);
        id
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets every gradient to zero.
    pub fn clear_grads(&mut self) {
        for param in &mut self.0 {
            param.grad.fill(0.0);
        }
    }
}

impl Index<ParamId> for Params {
    type Output = Param;
    fn index(&self, id: ParamId) -> &Param {
        &self.0[id.index()]
    }
}

impl IndexMut<ParamId> for Params {
    fn index_mut(&mut self, id: ParamId) -> &mut Param {
        &mut self.0[id.index()]
    }
}
