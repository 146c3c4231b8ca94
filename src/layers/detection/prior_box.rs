//! PriorBox: around each place of a feature map, boxes of set sizes: for each `min_size` s a square of s, with a
//! `max_size` t one of √(s · t), then one of s·√r × s/√r for each `aspect_ratio` r (and 1/r with `flip`).
//!
//! Place (i, j) has its centre at ((j + offset) · step, (i + offset) · step) in pixels of the image; a step not given is
//! image over map. Boxes are told as fractions of the image's size, cut off at its edges with `clip`. No gradient.
//!
//! Shapes: bottoms are the map and the image, of which only heights and widths count (`img_size`, or `img_h` and `img_w`,
//! stand in for the image); top \[1, 2, height · width · boxes · 4\]: the boxes (xmin, ymin, xmax, ymax), behind them as
//! many `variance`s (default 0.1).
//! Source: Liu et al., SSD (2016), section 2.2. As in SSD's code, sizes are cut down to whole pixels.

use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    schema::PriorBoxParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("PriorBox", |def| Ok(Box::new(PriorBox::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .role(Role::Metric);

struct PriorBox {
    /// Width and height in pixels of the boxes of one place.
    sizes: Vec<(f32, f32)>,
    variance: [f32; 4],
    clip: bool,
    offset: f32,
    /// Width and height of the image, where not the second bottom's.
    image: Option<(f32, f32)>,
    step: Option<(f32, f32)>,
    /// Width and height of the map, and of the image.
    dims: ((usize, usize), (f32, f32)),
}

impl PriorBox {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.prior_box_param.clone().unwrap_or_default();
        let invalid =
            |field: &str, why: String| Err(def.invalid(&format!("prior_box_param.{field}"), why));
        let variance = match param.variance[..] {
            [] => [0.1; 4],
            [v] => [v; 4],
            [a, b, c, d] => [a, b, c, d],
            _ => {
                let n = param.variance.len();
                return invalid(
                    "variance",
                    format!("{n} are given; it must be none, 1 or 4"),
                );
            }
        };
        if let Some(v) = variance.iter().find(|&&v| v <= 0.0 || v.is_nan()) {
            return invalid("variance", format!("{v} is not above 0"));
        }
        let image = pair(
            def,
            [
                ("img_w", param.img_w),
                ("img_h", param.img_h),
                ("img_size", param.img_size),
            ]
            .map(|(name, size)| (name, size.map(|s| s as f32))),
        )?;
        let step = pair(
            def,
            [
                ("step_w", param.step_w),
                ("step_h", param.step_h),
                ("step", param.step),
            ],
        )?;
        Ok(Self {
            sizes: sizes(def, &param)?,
            variance,
            clip: param.clip(),
            offset: param.offset(),
            image,
            step,
            dims: ((0, 0), (1.0, 1.0)),
        })
    }
}

/// A width and a height: from two fields, or from one for both.
fn pair(
    def: &LayerDef,
    [width, height, both]: [(&str, Option<f32>); 3],
) -> Result<Option<(f32, f32)>> {
    let field = |name: &str| format!("prior_box_param.{name}");
    for (name, value) in [width, height, both] {
        if let Some(value) = value.filter(|v| !(*v > 0.0 && v.is_finite())) {
            return Err(def.invalid(&field(name), format!("{value} is not above 0")));
        }
    }
    match (width.1, height.1, both.1) {
        (Some(w), Some(h), None) => Ok(Some((w, h))),
        (None, None, both) => Ok(both.map(|b| (b, b))),
        (_, _, Some(_)) => Err(def.invalid(
            &field(both.0),
            format!(
                "stands for {} and {}, which are given too",
                width.0, height.0
            ),
        )),
        _ => Err(def.invalid(
            &field(width.0),
            format!(
                "{} and {} go together, only one is given",
                width.0, height.0
            ),
        )),
    }
}

/// Width and height of the boxes of one place, in their order.
fn sizes(def: &LayerDef, param: &PriorBoxParameter) -> Result<Vec<(f32, f32)>> {
    let invalid =
        |field: &str, why: String| Err(def.invalid(&format!("prior_box_param.{field}"), why));
    let mut ratios = vec![1.0f32];
    for &ratio in &param.aspect_ratio {
        if !(ratio > 0.0 && ratio.is_finite()) {
            return invalid("aspect_ratio", format!("{ratio} is not above 0"));
        }
        if ratios.iter().all(|other| (ratio - other).abs() >= 1e-6) {
            ratios.push(ratio);
            if param.flip() {
                ratios.push(1.0 / ratio);
            }
        }
    }
    if param.min_size.is_empty() {
        return invalid("min_size", "at least one size is needed".to_owned());
    }
    let (least, most) = (param.min_size.len(), param.max_size.len());
    if most != 0 && most != least {
        return invalid(
            "max_size",
            format!("{most} are given for {least} min_size; there must be none or as many"),
        );
    }
    let mut sizes = Vec::new();
    for (i, &size) in param.min_size.iter().enumerate() {
        if !(size >= 1.0 && size.is_finite()) {
            return invalid("min_size", format!("{size} is less than a pixel"));
        }
        let small = size.trunc();
        sizes.push((small, small));
        if let Some(&large) = param.max_size.get(i) {
            if !(large > size && large.is_finite()) {
                return invalid(
                    "max_size",
                    format!("{large} is not above the min_size, {size}"),
                );
            }
            let side = (small * large.trunc()).sqrt();
            sizes.push((side, side));
        }
        let others = ratios.iter().filter(|&&ratio| (ratio - 1.0).abs() >= 1e-6);
        sizes.extend(others.map(|ratio| (small * ratio.sqrt(), small / ratio.sqrt())));
    }
    Ok(sizes)
}

impl Layer for PriorBox {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let size = |shape: &Shape| (shape.legacy(3), shape.legacy(2));
        let (map, image) = (size(&bottoms[0]), size(&bottoms[1]));
        let too_long = bottoms.iter().find(|shape| shape.axes() > 4);
        if let Some(shape) = too_long {
            return Err(Error::shape(format!(
                "a bottom has shape {shape}; at most 4 axes have a height and a width"
            )));
        }
        let values = Shape::checked(&[map.0, map.1, self.sizes.len(), 4])?.count();
        if values == 0 {
            return Err(Error::shape(format!(
                "the feature map has shape {}: there is no place for a box",
                bottoms[0]
            )));
        }
        let image = self.image.unwrap_or((image.0 as f32, image.1 as f32));
        if image.0 * image.1 == 0.0 {
            return Err(Error::shape(format!(
                "the image has shape {}: boxes are fractions of its width and height",
                bottoms[1]
            ))
            .help("give prior_box_param.img_w and img_h"));
        }
        self.dims = (map, image);
        Ok(vec![Shape::checked(&[1, 2, values])?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let ((map_w, map_h), (image_w, image_h)) = self.dims;
        let (step_w, step_h) = self
            .step
            .unwrap_or((image_w / map_w as f32, image_h / map_h as f32));
        let top = &mut *io.tops[0].data;
        let (boxes, variances) = top.split_at_mut(top.len() / 2);
        let centers = (0..map_h).flat_map(|i| (0..map_w).map(move |j| (i, j)));
        for ((i, j), place) in centers.zip(boxes.chunks_exact_mut(4 * self.sizes.len())) {
            let x = (j as f32 + self.offset) * step_w;
            let y = (i as f32 + self.offset) * step_h;
            for (&(w, h), bbox) in self.sizes.iter().zip(place.chunks_exact_mut(4)) {
                bbox[0] = edge(x, -w, image_w);
                bbox[1] = edge(y, -h, image_h);
                bbox[2] = edge(x, w, image_w);
                bbox[3] = edge(y, h, image_h);
            }
        }
        if self.clip {
            boxes.iter_mut().for_each(|c| *c = c.clamp(0.0, 1.0));
        }
        for four in variances.chunks_exact_mut(4) {
            four.copy_from_slice(&self.variance);
        }
        Ok(())
    }
}

/// (center + side / 2) / size, rounded once.
fn edge(center: f32, side: f32, size: f32) -> f32 {
    ((f64::from(center) + f64::from(side) / 2.0) / f64::from(size)) as f32
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, assert_close, error_of, noise};

    fn bench(options: &str) -> Bench {
        let text = format!("type: 'PriorBox' prior_box_param {{ {options} }}");
        Bench::new(
            &text,
            &[noise(&[2, 3, 1, 2], 1), noise(&[2, 3, 100, 100], 2)],
        )
    }

    #[test]
    fn by_hand() {
        let mut bench = bench("min_size: 20 max_size: 80 aspect_ratio: 4");
        let y = bench.forward();
        // Centres (25, 50) and (75, 50); sides 20, 40, then 40 × 10 and 10 × 40.
        let want = [
            [0.15, 0.4, 0.35, 0.6],
            [0.05, 0.3, 0.45, 0.7],
            [0.05, 0.45, 0.45, 0.55],
            [0.2, 0.3, 0.3, 0.7],
            [0.65, 0.4, 0.85, 0.6],
        ];
        assert_close(&y[..20], want.as_flattened(), 1e-6);
        assert_eq!(y[32..], [0.1; 32]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 2, 32]);
    }

    #[test]
    fn options() {
        let variance = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2";
        let mut bench1 = bench(&format!(
            "min_size: 20 step: 10 offset: 0 clip: true {variance}"
        ));
        let y = bench1.forward();
        let want = [0.0, 0.0, 0.1, 0.1, 0.0, 0.0, 0.2, 0.1];
        assert_close(&y[..8], &want, 1e-6);
        assert_eq!(y[8..12], [0.1, 0.1, 0.2, 0.2]);
        // Ratios given twice or as 1 count once; sizes are whole pixels.
        let options = "min_size: 20.9 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2 aspect_ratio: 0.5 flip: false";
        let mut bench2 = bench(&format!("{options} img_h: 50 img_w: 200"));
        let y = bench2.forward();
        assert_eq!(y.len(), 2 * 2 * 3 * 4);
        assert_close(&y[..4], &[0.2, 0.3, 0.3, 0.7], 1e-6);
    }

    #[test]
    fn errors() {
        let shapes = [noise(&[1, 3, 2, 2], 1), noise(&[1, 3, 9, 9], 2)];
        for (options, field) in [
            ("", "min_size: at least one"),
            ("min_size: 0.5", "min_size: 0.5"),
            ("min_size: nan", "min_size"),
            ("min_size: 5 max_size: 5", "max_size: 5 is not above"),
            (
                "min_size: 5 max_size: 6 max_size: 7",
                "max_size: 2 are given",
            ),
            ("min_size: 5 aspect_ratio: 0", "aspect_ratio: 0"),
            ("min_size: 5 aspect_ratio: -2", "aspect_ratio: -2"),
            ("min_size: 5 variance: 0", "variance: 0 is"),
            (
                "min_size: 5 variance: 1 variance: 2",
                "variance: 2 are given",
            ),
            ("min_size: 5 step: 0", "step: 0"),
            ("min_size: 5 step: inf", "step: inf"),
            (
                "min_size: 5 step_h: 2",
                "step_w: step_w and step_h go together",
            ),
            (
                "min_size: 5 step: 3 step_h: 2 step_w: 2",
                "step: stands for",
            ),
            ("min_size: 5 img_size: 0", "img_size: 0"),
            ("min_size: 5 img_w: 4", "img_w: img_w and img_h go together"),
        ] {
            let text = format!("type: 'PriorBox' prior_box_param {{ {options} }}");
            let error = error_of(&text, &shapes);
            assert!(
                error.contains(&format!("prior_box_param.{field}")),
                "{error}"
            );
        }
        let text = "type: 'PriorBox' prior_box_param { min_size: 5 }";
        let error = error_of(text, &[noise(&[1, 3, 0, 2], 1), noise(&[1, 3, 9, 9], 2)]);
        assert!(error.contains("no place for a box"), "{error}");
        let error = error_of(text, &[noise(&[1, 3, 2, 2], 1), noise(&[1, 3, 0, 9], 2)]);
        assert!(
            error.contains("fractions of its width and height"),
            "{error}"
        );
        let error = error_of(text, &[noise(&[1; 5], 1), noise(&[1], 2)]);
        assert!(error.contains("at most 4 axes"), "{error}");
    }
}
