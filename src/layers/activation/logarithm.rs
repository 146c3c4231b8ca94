//! What Exp and Log share: the base of their logarithm.

use crate::{error::Result, layer::LayerDef};

/// The natural logarithm of `base`, exactly 1 for -1, which stands for e. `field` is where the base is told.
///
/// # Errors
/// `Param` where it is not a finite number above 0.
pub(super) fn of_base(def: &LayerDef, field: &str, base: f32) -> Result<f32> {
    if base == -1.0 {
        return Ok(1.0);
    }
    if base > 0.0 && base.is_finite() {
        return Ok(base.ln());
    }
    Err(def.invalid(
        field,
        format!("{base} must be above 0, or -1, which stands for e"),
    ))
}
