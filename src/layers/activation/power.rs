//! Power: y = (shift + scale · x)^power.   dx = dy · power · scale · (shift + scale · x)^(power - 1).
//!
//! Shapes: x, y any, equal. Where power or scale is 0, y is a constant and dx is 0.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::{LayerType, Tail};

pub(super) const TYPE: LayerType = LayerType::new("Power", |def| {
    let param = def.param.power_param.unwrap_or_default();
    Ok(Box::new(Unary(Power {
        power: param.power(),
        scale: param.scale(),
        shift: param.shift(),
    })))
});

#[derive(Clone, Copy)]
struct Power {
    power: f32,
    scale: f32,
    shift: f32,
}

impl Power {
    fn raise(base: f32, power: f32) -> f32 {
        if power == 1.0 {
            base
        } else if power == 2.0 {
            base * base
        } else {
            base.powf(power)
        }
    }
}

impl Activation for Power {
    const GRAD: GradFrom = GradFrom::Bottom;

    fn f(&self, x: f32) -> f32 {
        Self::raise(self.shift + self.scale * x, self.power)
    }

    fn tail(&self) -> Option<Tail> {
        let same = (self.power, self.scale, self.shift) == (1.0, 1.0, 0.0);
        same.then_some(Tail::Identity)
    }

    fn df(&self, x: f32) -> f32 {
        let slope = self.power * self.scale;
        if slope == 0.0 {
            0.0
        } else {
            slope * Self::raise(self.shift + self.scale * x, self.power - 1.0)
        }
    }
}
