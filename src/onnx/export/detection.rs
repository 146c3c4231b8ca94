//! Regions, and what depends on shapes alone.

use super::{
    super::proto::{float, int, ints, text},
    activation::INT64,
    emit::Site,
};
use crate::{error::Result, layers::data};

/// What depends on the shapes of the bottoms alone is a constant of the model.
pub(super) fn constant(s: &mut Site<'_, '_>) -> Result<()> {
    for (i, made) in s.computed(0.0)?.into_iter().enumerate() {
        let value = s.floats("constant", made.shape.dims(), &made.data);
        s.end("Identity", &[&value], i, Vec::new());
    }
    let name = &s.node.name;
    s.emit.notes.push(format!(
        "layer '{name}' ({}) is a constant of the model: it holds for these shapes alone",
        s.node.kind.name
    ));
    Ok(())
}

/// Equal numbers are a constant of the model.
pub(super) fn dummy_data(s: &mut Site<'_, '_>) -> Result<()> {
    if !data::is_constant(s.param()) {
        return Err(s
            .refuse("its numbers are drawn at random, not fed")
            .help("'cortado deploy' makes an input of it"));
    }
    constant(s)
}

/// The regions as R × 5.
fn rows(s: &mut Site<'_, '_>) -> String {
    let rois = s.x(1);
    let dims = s.bottom(1).dims();
    s.reshaped(&rois, dims, &[dims[0], 5])
}

pub(super) fn roi_pooling(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().roi_pooling_param.unwrap_or_default();
    let (x, rois) = (s.x(0), rows(s));
    let attributes = vec![
        ints(
            "pooled_shape",
            [p.pooled_h() as usize, p.pooled_w() as usize],
        ),
        float("spatial_scale", p.spatial_scale()),
    ];
    s.last("MaxRoiPool", &[&x, &rois], attributes);
    Ok(())
}

pub(super) fn roi_align(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().roi_align_param.unwrap_or_default();
    let samples = p.sampling_ratio.or(p.sample_ratio).unwrap_or(-1).max(0);
    let (x, rois) = (s.x(0), rows(s));
    let boxes = s.cut(&rois, &[1], &[1], &[5]);
    let image = s.cut(&rois, &[1], &[0], &[1]);
    let count = s.bottom(1).dims()[0];
    let image = s.reshaped(&image, &[count, 1], &[count]);
    let image = s.cast(&image, INT64);
    let attributes = vec![
        text("mode", "avg"),
        int("output_height", i64::from(p.pooled_h())),
        int("output_width", i64::from(p.pooled_w())),
        int("sampling_ratio", i64::from(samples)),
        float("spatial_scale", p.spatial_scale()),
        text("coordinate_transformation_mode", "output_half_pixel"),
    ];
    s.last("RoiAlign", &[&x, &boxes, &image], attributes);
    Ok(())
}
