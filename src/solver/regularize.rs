//! Weight decay: a pull on every weight, added to its gradient.

use crate::{
    error::{Error, Result},
    kernels::map,
    schema::SolverParameter,
};

/// The kind of pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Regularizer {
    /// Towards 0 in proportion: g += decay · w.
    L2,
    /// Towards 0 by a constant: g += decay · sign(w).
    L1,
}

impl Regularizer {
    /// From `regularization_type`.
    ///
    /// # Errors
    /// `Param` where it is unknown.
    pub(super) fn new(param: &SolverParameter) -> Result<Self> {
        match param.regularization_type() {
            "L2" => Ok(Self::L2),
            "L1" => Ok(Self::L1),
            other => Err(
                Error::param("regularization_type", format!("unknown type '{other}'"))
                    .help("set \"L2\" (the default) or \"L1\""),
            ),
        }
    }

    /// Adds the pull.
    pub(super) fn add(self, decay: f32, w: &[f32], g: &mut [f32]) {
        if decay == 0.0 {
            return;
        }
        match self {
            Self::L2 => map::axpy(decay, w, g),
            // Not `signum`, which is ±1 at ±0.
            Self::L1 => map::zip_into(g, w, move |g, w| {
                let up = if w > 0.0 { 1.0 } else { 0.0 };
                let down = if w < 0.0 { 1.0 } else { 0.0 };
                g + decay * (up - down)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds() {
        let w = [2.0, -4.0, 0.0, -0.0];
        for (kind, wanted) in [
            (Regularizer::L2, [2.0, -1.0, 1.0, 1.0]),
            (Regularizer::L1, [1.5, 0.5, 1.0, 1.0]),
        ] {
            let mut g = [1.0; 4];
            kind.add(0.5, &w, &mut g);
            assert_eq!(g, wanted, "{kind:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let param = SolverParameter {
            regularization_type: Some("L3".into()),
            ..Default::default()
        };
        let error = Regularizer::new(&param).unwrap_err();
        assert_eq!(error.field(), Some("regularization_type"));
    }
}
