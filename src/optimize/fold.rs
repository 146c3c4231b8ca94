//! Folds BatchNorm, Scale and Bias into the weights before them, or into one another.

use super::{Level, Pass, Rewrite};
use crate::{graph::NodeId, layer::Tail};

pub(super) const PASS: Pass = Pass {
    level: Level::Fold,
    run: |rewrite| rewrite.each(fold),
};

fn fold(rewrite: &mut Rewrite<'_>, id: NodeId) {
    while let Some(next) = rewrite.behind(id) {
        let affine = matches!(rewrite.layer(next).tail(), Some(Tail::Affine));
        if !affine || !rewrite.layer(id).absorb(Tail::Affine) {
            return;
        }
        rewrite.fuse(id, next);
    }
}
