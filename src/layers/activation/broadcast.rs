//! What Scale and Bias share: a small blob that meets every position of a large one along some of its axes.

use crate::{
    error::{Error, Result},
    layer::LayerDef,
    tensor::Shape,
};

/// The axes of a learned blob: from `axis` on, `num_axes` of them; -1: to the end.
///
/// # Errors
/// Where the bottom has no such axes; `param` is the message to blame: `scale_param`.
pub(super) fn learned_shape(
    def: &LayerDef,
    param: &str,
    bottom: &Shape,
    axis: i32,
    num_axes: i32,
) -> Result<Shape> {
    let start = bottom
        .axis(axis)
        .map_err(|e| def.invalid(&format!("{param}.axis"), e.message()))?;
    let field = format!("{param}.num_axes");
    let end = match usize::try_from(num_axes) {
        Ok(n) => start.saturating_add(n),
        Err(_) if num_axes == -1 => bottom.axes(),
        Err(_) => {
            return Err(def.invalid(
                &field,
                format!(
                    "{num_axes} is neither a number of axes nor -1, which means all that follow"
                ),
            ));
        }
    };
    if end > bottom.axes() {
        return Err(def.invalid(
            &field,
            format!("{num_axes} axes from axis {start} on do not fit a bottom of shape {bottom}"),
        ));
    }
    Ok(Shape::new(&bottom.dims()[start..end]))
}

/// How the bottom is seen: n × channels × inner, where the small blob has `channels` elements. A scalar has no axis.
///
/// # Errors
/// Where the small blob does not match the bottom from `axis` on.
pub(super) fn dims(bottom: &Shape, small: &Shape, axis: i32) -> Result<(usize, usize)> {
    if small.axes() == 0 {
        return Ok((1, bottom.count()));
    }
    let start = bottom.axis(axis)?;
    let end = start + small.axes();
    if bottom.dims().get(start..end) != Some(small.dims()) {
        return Err(Error::shape(format!(
            "a blob of shape {small} does not match {bottom} from axis {start} on"
        ))
        .help("each of its axes must have the extent of the axis it meets; see `axis`"));
    }
    Ok((small.count(), bottom.count_from(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_blob_meets_the_axes_from_axis_on() {
        let bottom = Shape::from([2, 3, 4, 5]);
        assert_eq!(dims(&bottom, &[3].into(), 1).unwrap(), (3, 20));
        assert_eq!(dims(&bottom, &[4, 5].into(), -2).unwrap(), (20, 1));
        assert_eq!(dims(&bottom, &[2, 3, 4, 5].into(), 0).unwrap(), (120, 1));
        assert_eq!(dims(&bottom, &Shape::default(), 7).unwrap(), (1, 120));
        assert!(dims(&bottom, &[4].into(), 1).is_err());
        assert!(dims(&bottom, &[5, 1].into(), 3).is_err());
    }
}
