//! Regions of interest: rows of an image's index and x1, y1, x2, y2.

use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        map,
    },
    layer::LayerDef,
    tensor::Shape,
};

/// One region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Roi {
    /// The image that it is in.
    pub(super) image: usize,
    /// x1, y1, x2, y2.
    pub(super) corners: [f32; 4],
}

/// How many regions a blob of this shape holds.
///
/// # Errors
/// `Shape` where it does not hold five values for each.
pub(super) fn count(rois: &Shape) -> Result<usize> {
    match rois.dims().first() {
        Some(&n) if rois.count_from(1) == 5 => Ok(n),
        _ => Err(Error::shape(format!(
            "the regions have shape {rois}; each needs five values, an image's index, x1, y1, x2 and y2: [R, 5]"
        ))),
    }
}

/// Takes the regions of a pass over so many images.
///
/// # Errors
/// `Data` where an index is none of the images.
pub(super) fn read(rows: &[f32], images: usize, rois: &mut Vec<Roi>) -> Result<()> {
    rois.clear();
    for (i, row) in rows.chunks_exact(5).enumerate() {
        let image = row[0] as usize;
        if image as f32 != row[0] || image >= images {
            return Err(Error::data(format!(
                "region {i} is of image {}, but the {images} images are counted from 0",
                row[0]
            )));
        }
        rois.push(Roi {
            image,
            corners: [row[1], row[2], row[3], row[4]],
        });
    }
    Ok(())
}

/// `Ok` for an extent of the top that is above 0.
///
/// # Errors
/// `Param` with the field's name.
pub(super) fn extent(def: &LayerDef, field: &str, value: u32) -> Result<usize> {
    match value {
        0 => Err(def.invalid(field, "is 0 or missing; it must be at least 1")),
        n => Ok(n as usize),
    }
}

/// `Ok` for a scale that is above 0.
///
/// # Errors
/// `Param` with the field's name.
pub(super) fn scale(def: &LayerDef, field: &str, value: f32) -> Result<f32> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        let error = def.invalid(field, format!("{value}; it must be above 0"));
        Err(error.help("it is 1 over the stride of the feature map, 0.0625 for a stride of 16"))
    }
}

/// Images, channels, height and width of the map that regions are cut from.
///
/// # Errors
/// `Shape` where it has other axes.
pub(super) fn map_dims(map: &Shape) -> Result<[usize; 4]> {
    match *map.dims() {
        [n, c, h, w] => Ok([n, c, h, w]),
        _ => Err(Error::shape(format!(
            "the feature map has shape {map}; it must be images × channels × height × width"
        ))),
    }
}

/// The gradient by a map of the extents `dims`: zeros, to which `add` adds for each region and each channel of its image,
/// told by their numbers, in the channel's plane. A region touches about so many `bytes` of a plane.
pub(super) fn scatter(
    rois: &[Roi],
    [images, channels, height, width]: [usize; 4],
    bytes: usize,
    dx: &mut [f32],
    add: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    map::fill(dx, 0.0);
    let plane = height * width;
    if plane == 0 {
        return;
    }
    let bytes = 4 * plane + bytes * rois.len() / images.max(1);
    cut::each(Units(dx, plane), images * channels, bytes, |first, dx| {
        for (unit, dx) in (first..).zip(dx.0.chunks_exact_mut(plane)) {
            let (image, channel) = (unit / channels, unit % channels);
            let all = rois.iter().enumerate();
            for (r, _) in all.filter(|(_, roi)| roi.image == image) {
                add(r, channel, dx);
            }
        }
    });
}

/// Sixty regions of two images, enough to keep several threads busy.
#[cfg(test)]
pub(super) fn many_rois() -> crate::tensor::Tensor {
    let row = |i: u8| {
        let at = f32::from(i);
        [f32::from(i % 2), at, 0.0, at + 20.0, 50.0]
    };
    let rows: Vec<f32> = (0..60).flat_map(row).collect();
    crate::layer::testing::tensor(&[60, 5], &rows)
}

/// From and to of the cells from `from` to `to`, as far as they are among `extent`.
pub(super) fn cells(from: f32, to: f32, extent: usize) -> (usize, usize) {
    // Not numbers come out as 0.
    let clip = |x: f32| (x.max(0.0) as usize).min(extent);
    (clip(from.floor()), clip(to.ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_checked() {
        let mut rois = Vec::new();
        read(&[1.0, 0.0, 1.0, 2.0, 3.0], 2, &mut rois).unwrap();
        let corners = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(rois, [Roi { image: 1, corners }]);
        for image in [2.0, -1.0, 0.5, f32::NAN, 1e30] {
            let error = read(&[image, 0.0, 0.0, 0.0, 0.0], 2, &mut rois).unwrap_err();
            assert!(error.to_string().contains("the 2 images"), "{error}");
        }
        assert_eq!(count(&[7, 5, 1, 1].into()).unwrap(), 7);
        assert!(count(&[7, 4].into()).is_err() && count(&[].into()).is_err());
    }

    #[test]
    fn cells_stay_inside() {
        assert_eq!(cells(1.5, 2.5, 9), (1, 3));
        assert_eq!(cells(-4.0, 1e30, 9), (0, 9));
        assert_eq!(cells(f32::NAN, f32::NEG_INFINITY, 9), (0, 0));
    }
}
