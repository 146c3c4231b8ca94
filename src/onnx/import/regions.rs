//! Operators that resize planes, or pool regions of them.

use super::{
    moves::reshaped,
    reader::{Op, Reader, layer},
};
use crate::{
    error::Result,
    schema::{
        ConcatParameter, InterpParameter, LayerParameter, RoiAlignParameter, RoiPoolingParameter,
        UpsampleParameter, interp_parameter::Mode,
    },
    tensor::Shape,
};

/// The size that Resize, or its older name Upsample, is to give.
fn size(reader: &Reader<'_>, op: &Op<'_>, shape: &Shape) -> Result<Vec<usize>> {
    let upsample = op.kind() == "Upsample";
    if !upsample && op.input(3).is_some() {
        let sizes = op.needs(reader, 3, "its sizes")?.ints();
        let sizes = sizes.ok_or_else(|| op.refuse("its sizes are no integers"))?;
        return sizes
            .iter()
            .map(|&s| usize::try_from(s))
            .collect::<Result<_, _>>()
            .map_err(|_| op.refuse(&format!("its sizes are {sizes:?}")));
    }
    let at = if upsample { 1 } else { 2 };
    let scales = op.needs(reader, at, "its factors")?.floats();
    if scales.len() != shape.axes() {
        return Err(op.refuse(&format!("{} factors for {shape}", scales.len())));
    }
    let grown = scales.iter().zip(shape.dims());
    Ok(grown.map(|(s, &d)| (s * d as f32) as usize).collect())
}

pub(super) fn resize(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[
        "coordinate_transformation_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
        "mode",
        "nearest_mode",
    ])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let to = size(reader, op, &shape)?;
    let [outer @ .., h, w] = shape.dims() else {
        return Err(op.refuse("its input has no height and width"));
    };
    if to.len() != shape.axes() || to[..outer.len()] != *outer {
        return Err(op.refuse("it resizes more than height and width"));
    }
    let (to_h, to_w) = (to[outer.len()], to[outer.len() + 1]);
    let mode = op.text("mode", "nearest");
    let upsample = op.kind() == "Upsample";
    let default = if upsample { "asymmetric" } else { "half_pixel" };
    let places = op.text("coordinate_transformation_mode", default);
    let default = if upsample {
        "floor"
    } else {
        "round_prefer_floor"
    };
    let rounds = op.text("nearest_mode", default);
    let whole = to_h % h == 0 && to_w % w == 0;
    let interp = |mode: Option<Mode>| LayerParameter {
        interp_param: Some(InterpParameter {
            height: i32::try_from(to_h).ok(),
            width: i32::try_from(to_w).ok(),
            mode: mode.map(Into::into),
            ..InterpParameter::default()
        }),
        ..layer("Interp")
    };
    // By a whole factor the nearest value is the same whether pixels are places or squares, if it is rounded so.
    let repeats = match (places.as_str(), rounds.as_str()) {
        ("asymmetric", "floor") => true,
        ("half_pixel" | "pytorch_half_pixel", "round_prefer_floor" | "round_prefer_ceil") => true,
        ("asymmetric", _) => to_h == *h && to_w == *w,
        _ => false,
    };
    let param = match (mode.as_str(), places.as_str()) {
        ("nearest", _) if repeats && whole => LayerParameter {
            upsample_param: Some(UpsampleParameter {
                scale_h: Some((to_h / h) as u32),
                scale_w: Some((to_w / w) as u32),
                ..UpsampleParameter::default()
            }),
            ..layer("Upsample")
        },
        ("nearest", "align_corners") if rounds == "round_prefer_ceil" => {
            interp(Some(Mode::Nearest))
        }
        ("linear", "align_corners") => interp(None),
        _ => {
            return Err(op.refuse(&format!(
                "no layer resizes {shape} to {to:?} in mode '{mode}' with places '{places}'"
            )));
        }
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

/// A layer that puts values at the places of a mask, in planes of this size.
pub(super) fn unpooled(h: usize, w: usize) -> LayerParameter {
    LayerParameter {
        upsample_param: Some(UpsampleParameter {
            upsample_h: Some(h as u32),
            upsample_w: Some(w as u32),
            ..UpsampleParameter::default()
        }),
        ..layer("Upsample")
    }
}

/// Rows of zeros in which the values of as many rows go to their places.
pub(super) fn scatter(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis", "reduction"])?;
    let (rows, width) = {
        let zeros = op.needs(reader, 0, "the values that it writes over")?;
        let &[rows, width] = &zeros.dims[..] else {
            return Err(op.refuse("what it writes over is no matrix"));
        };
        if zeros.floats().iter().any(|&x| x != 0.0) {
            return Err(op.refuse("what it writes over are no zeros"));
        }
        (rows, width)
    };
    let both = [op.x(reader, 2)?, op.x(reader, 1)?];
    let shape = reader.shape(&both[0]);
    let fits = matches!(*shape.dims(), [n, _] if n == rows);
    let plain = op.text("reduction", "none") == "none" && matches!(op.int("axis", 0), 1 | -1);
    if !fits || !plain || reader.shape(&both[1]) != shape {
        return Err(op.refuse("a layer puts the values of rows to places in as many rows"));
    }
    // The layer has planes, of height 1 here.
    let as_planes = |n: usize| reshaped([1, rows as i64, 1, n as i64]);
    let [x, mask] = both;
    let x = reader.step(op, "values", as_planes(shape.dims()[1]), &[x], Vec::new())?;
    let mask = reader.step(
        op,
        "places",
        as_planes(shape.dims()[1]),
        &[mask],
        Vec::new(),
    )?;
    let planes = reader.step(op, "planes", unpooled(1, width), &[x, mask], Vec::new())?;
    let param = reshaped([rows as i64, width as i64]);
    reader.one(&op.name, param, &planes, &op.y()?, Vec::new())
}

pub(super) fn max_roi_pool(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["pooled_shape", "spatial_scale"])?;
    let bottoms = [op.x(reader, 0)?, op.x(reader, 1)?];
    let [h, w] = op.extents("pooled_shape")?[..] else {
        return Err(op.refuse("'pooled_shape' is no height and width"));
    };
    let param = LayerParameter {
        roi_pooling_param: Some(RoiPoolingParameter {
            pooled_h: Some(h as u32),
            pooled_w: Some(w as u32),
            spatial_scale: Some(op.float("spatial_scale", 1.0)),
        }),
        ..layer("ROIPooling")
    };
    reader.add(&op.name, param, &bottoms, &[op.y()?], Vec::new())
}

pub(super) fn roi_align(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[
        "coordinate_transformation_mode",
        "mode",
        "output_height",
        "output_width",
        "sampling_ratio",
        "spatial_scale",
    ])?;
    let corners = match reader.opset {
        16.. => op.text("coordinate_transformation_mode", "half_pixel"),
        _ => "output_half_pixel".to_owned(),
    };
    if corners != "output_half_pixel" || op.text("mode", "avg") != "avg" {
        return Err(op.refuse("the layer takes means, with values at the corners of cells"));
    }
    let (x, boxes, image) = (op.x(reader, 0)?, op.x(reader, 1)?, op.x(reader, 2)?);
    let count = reader.shape(&boxes).dims().first().copied().unwrap_or(0) as i64;
    let rows = reshaped([count, 1]);
    let image = reader.step(op, "image", rows, &[image], Vec::new())?;
    let param = LayerParameter {
        concat_param: Some(ConcatParameter::default()),
        ..layer("Concat")
    };
    let rois = reader.step(op, "rois", param, &[image, boxes], Vec::new())?;
    let samples = op.int("sampling_ratio", 0);
    let param = LayerParameter {
        roi_align_param: Some(RoiAlignParameter {
            pooled_h: Some(op.int("output_height", 1) as u32),
            pooled_w: Some(op.int("output_width", 1) as u32),
            spatial_scale: Some(op.float("spatial_scale", 1.0)),
            sampling_ratio: (samples > 0).then_some(samples as i32),
            ..RoiAlignParameter::default()
        }),
        ..layer("ROIAlign")
    };
    reader.add(&op.name, param, &[x, rois], &[op.y()?], Vec::new())
}
