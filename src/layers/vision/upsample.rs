//! Upsample: with two bottoms max-unpooling, y\[mask\[i\]\] = x\[i\] in each plane and 0 elsewhere, dx\[i\] = dy\[mask\[i\]\]; with one
//! the nearest neighbour, y\[h, w\] = x\[⌊h / s⌋, ⌊w / s⌋\], dx\[h, w\] = Σ dy over the s × s values that hold it.
//!
//! Shapes: x and the mask, Pooling's second top, \[N, C, H, W\]; y \[N, C, upsample_h, upsample_w\] where these are told, else
//! \[N, C, s H - pad_out_h, s W - pad_out_w\] with s = `scale`, 2 unless told, or `scale_h` and `scale_w`; `pad_out_h` and `pad_out_w`
//! count 1 and are for an s of 2 alone. Where several of x go to one place the last stays. A mask of -1, a window that held
//! nothing, puts x nowhere. With one bottom x has any number of axes, the last two grow by s, 1 unless told. The mask gets
//! no gradient, and backward reads neither data: positions are kept here. Of SegNet and ENet, and of MobileNet-YOLO.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType},
    schema::UpsampleParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Upsample", |def| Ok(Box::new(Upsample::new(def)?)))
        .arity(Arity::Range(1, 2), Arity::Exact(1))
        .stops(&[1]);

struct Upsample {
    param: UpsampleParameter,
    unpools: bool,
    /// Factors of height and width.
    scale: [usize; 2],
    /// Height and width of a plane of x, and of y.
    from: [usize; 2],
    to: [usize; 2],
    /// Where each of x goes in its plane; -1: nowhere.
    at: Vec<i32>,
}

impl Upsample {
    fn new(def: &LayerDef) -> Result<Self> {
        let p = def.param.upsample_param.unwrap_or_default();
        let unpools = def.param.bottom.len() > 1;
        let invalid =
            |field: &str, why: &str| Err(Error::param(&format!("upsample_param.{field}"), why));
        for (h, w, field) in [
            (p.scale_h, p.scale_w, "scale"),
            (p.upsample_h, p.upsample_w, "upsample"),
        ] {
            if h.is_some() != w.is_some() {
                return invalid(
                    &format!("{field}_h"),
                    &format!("{field}_h and {field}_w go together"),
                );
            }
        }
        if p.scale.is_some() && p.scale_h.is_some() {
            return invalid("scale", "scale_h and scale_w are given as well");
        }
        let one = p.scale.unwrap_or(if unpools { 2 } else { 1 });
        let scale = [p.scale_h.unwrap_or(one), p.scale_w.unwrap_or(one)];
        let told = p.upsample_h.is_some();
        if !told && scale.contains(&0) {
            return invalid("scale", "must be at least 1");
        }
        if told && (p.upsample_h == Some(0) || p.upsample_w == Some(0)) {
            return invalid("upsample_h", "the top must have a height and a width");
        }
        if told && !unpools {
            return Err(Error::param(
                "upsample_param.upsample_h",
                "a size is for unpooling, which needs Pooling's mask as second bottom",
            )
            .help("give scale, or the mask"));
        }
        for (pad, scale, field) in [
            (p.pad_out_h(), scale[0], "pad_out_h"),
            (p.pad_out_w(), scale[1], "pad_out_w"),
        ] {
            if pad && !told && (scale != 2 || !unpools) {
                return invalid(field, "is for unpooling by a scale of 2 alone");
            }
        }
        Ok(Self {
            param: p,
            unpools,
            scale: scale.map(|s| s as usize),
            from: [0; 2],
            to: [0; 2],
            at: Vec::new(),
        })
    }

    /// Height and width of the top.
    fn size(&self, [h, w]: [usize; 2]) -> Result<[usize; 2]> {
        let p = &self.param;
        if let (Some(h), Some(w)) = (p.upsample_h, p.upsample_w) {
            return Ok([h as usize, w as usize]);
        }
        let pad = [p.pad_out_h(), p.pad_out_w()].map(usize::from);
        let mut size = [0; 2];
        for (i, n) in [h, w].into_iter().enumerate() {
            let scaled = n.checked_mul(self.scale[i]);
            size[i] = scaled
                .and_then(|n| n.checked_sub(pad[i]))
                .ok_or_else(|| Error::shape(format!("a size of {n}, enlarged, is none")))?;
        }
        Ok(size)
    }

    /// The mask as positions.
    fn locate(&mut self, mask: &[f32]) -> Result<()> {
        let plane = self.to[0] * self.to[1];
        for (i, (at, &m)) in self.at.iter_mut().zip(mask).enumerate() {
            // A position is a whole number; -1 says that there was none.
            if !(m >= -1.0 && m < plane as f32) {
                return Err(Error::shape(format!(
                    "element {i} of the mask is {m}, but a plane of the top has {plane} values"
                ))
                .help("make the top as large as the bottom of the Pooling that made the mask: upsample_param.upsample_h and upsample_w"));
            }
            *at = m as i32;
        }
        Ok(())
    }
}

impl Layer for Upsample {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let [outer @ .., h, w] = x.dims() else {
            return Err(Error::shape(format!(
                "the bottom needs a height and a width, but it is {x}"
            )));
        };
        if let [_, mask] = bottoms
            && (mask != x || x.axes() != 4)
        {
            return Err(Error::shape(format!(
                "bottom and mask must have one shape of 4 axes (num, channels, height, width), but they are {x} and {mask}"
            )));
        }
        self.from = [*h, *w];
        let to = self.size(self.from)?;
        let top = Shape::checked(&[outer, &to[..]].concat())?;
        self.to = to;
        if self.unpools {
            self.at.resize(x.count(), -1);
        }
        Ok(vec![top])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        if y.is_empty() {
            return Ok(());
        }
        let [from, to] = [self.from, self.to].map(|[h, w]| h * w);
        let planes = y.len() / to;
        if self.unpools {
            self.locate(io.bottoms[1].data)?;
            let at = &self.at[..];
            cut::each(Units(y, to), planes, 8 * to, |first, y| {
                for (n, y) in (first..).zip(y.0.chunks_exact_mut(to)) {
                    y.fill(0.0);
                    let x = &x[n * from..][..from];
                    for (&x, &at) in x.iter().zip(&at[n * from..]) {
                        if let Ok(at) = usize::try_from(at) {
                            y[at] = x;
                        }
                    }
                }
            });
            return Ok(());
        }
        let ([sh, sw], [_, w], [h, wide]) = (self.scale, self.from, self.to);
        cut::each(Units(y, wide), planes * h, 8 * wide, |first, y| {
            for (row, y) in (first..).zip(y.0.chunks_exact_mut(wide)) {
                let x = &x[(row / h * (h / sh) + row % h / sh) * w..][..w];
                for (y, x) in y.chunks_exact_mut(sw).zip(x) {
                    y.fill(*x);
                }
            }
        });
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        let Some(dx) = io.bottom_diffs[0].as_mut().filter(|dx| !dx.data.is_empty()) else {
            return Ok(());
        };
        let dx = &mut *dx.data;
        let [from, to] = [self.from, self.to].map(|[h, w]| h * w);
        let planes = dx.len() / from;
        if self.unpools {
            let parts = (Units(dx, from), Units(&self.at[..], from));
            cut::each(parts, planes, 8 * from, |first, (dx, at)| {
                let planes = dx.0.chunks_exact_mut(from).zip(at.0.chunks_exact(from));
                for (n, (dx, at)) in (first..).zip(planes) {
                    let dy = &dy[n * to..][..to];
                    for (dx, &at) in dx.iter_mut().zip(at) {
                        *dx = usize::try_from(at).map_or(0.0, |at| dy[at]);
                    }
                }
            });
            return Ok(());
        }
        let ([sh, sw], [h, w]) = (self.scale, self.from);
        cut::each(Units(dx, w), planes * h, 8 * w * sh * sw, |first, dx| {
            for (row, dx) in (first..).zip(dx.0.chunks_exact_mut(w)) {
                dx.fill(0.0);
                for dy in dy[row * sh * sw * w..][..sh * sw * w].chunks_exact(sw * w) {
                    for (dx, dy) in dx.iter_mut().zip(dy.chunks_exact(sw)) {
                        *dx += dy.iter().sum::<f32>();
                    }
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    fn layer(options: &str) -> String {
        format!("type: 'Upsample' upsample_param {{ {options} }}")
    }

    #[test]
    fn values_go_back_where_they_came_from() {
        let x = tensor(&[1, 2, 1, 2], &[1., 2., 3., 4.]);
        let mask = tensor(&[1, 2, 1, 2], &[5., 2., 0., -1.]);
        let mut bench = Bench::new(&layer(""), &[x, mask]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 2, 2, 4]);
        let y = bench.forward();
        assert_eq!(y[..8], [0., 0., 2., 0., 0., 1., 0., 0.]);
        assert_eq!(y[8..], [3., 0., 0., 0., 0., 0., 0., 0.]);
        let dy: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let got = bench.backward(&dy, &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [5., 2., 8., 0.]);
    }

    #[test]
    fn neighbours_repeat() {
        let x = tensor(&[1, 2, 2], &[1., 2., 3., 4.]);
        let mut bench = Bench::new(&layer("scale_h: 1 scale_w: 2"), &[x]);
        assert_eq!(bench.forward(), [1., 1., 2., 2., 3., 3., 4., 4.]);
        let got = bench.backward(&[1., 2., 3., 4., 5., 6., 7., 8.], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [3., 7., 11., 15.]);
    }

    #[test]
    fn shapes() {
        let top = |options: &str| {
            let mask = tensor(&[1, 1, 3, 2], &[0.0; 6]);
            let bench = Bench::new(&layer(options), &[noise(&[1, 1, 3, 2], 1), mask]);
            bench.tops[0].shape.dims().to_vec()
        };
        assert_eq!(top("scale: 3"), [1, 1, 9, 6]);
        assert_eq!(top("scale: 2 pad_out_h: true"), [1, 1, 5, 4]);
        assert_eq!(
            top("scale: 2 upsample_w: 60 upsample_h: 45"),
            [1, 1, 45, 60]
        );
        let bench = Bench::new("type: 'Upsample'", &[noise(&[2, 3], 1)]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 3]);
    }

    #[test]
    fn gradients_and_threads() {
        let dims = [2, 3, 2, 3];
        let mask: Vec<f32> = (0..36).map(|i| (i * 7 % 24) as f32).collect();
        let bottoms = [noise(&dims, 1), tensor(&dims, &mask)];
        check_gradient(&layer("scale: 2"), &bottoms, &[0], &[]);
        check_gradient(&layer("scale: 3"), &bottoms[..1], &[0], &[]);
        let x = noise(&[5, 20, 30, 40], 1);
        let mut mask = x.clone();
        let plane = 4 * 30 * 40;
        for (i, m) in mask.data.iter_mut().enumerate() {
            *m = (i * 37 % plane) as f32;
        }
        check_threads(&layer("scale: 2"), &[x.clone(), mask], &[0]);
        check_threads(&layer("scale: 2"), &[x], &[0]);
    }

    #[test]
    fn errors() {
        let x = noise(&[1, 1, 2, 2], 1);
        let two = [x.clone(), tensor(&[1, 1, 2, 2], &[0., 1., 2., 16.])];
        let one = [x];
        let says = |options: &str, bottoms: &[_], part: &str| {
            let error = error_of(&layer(options), bottoms);
            assert!(error.contains(part), "{error}");
        };
        says("", &two, "element 3 of the mask is 16");
        says("scale_h: 2", &one, "upsample_param.scale_h");
        says(
            "upsample_h: 2",
            &two,
            "upsample_h and upsample_w go together",
        );
        says("scale: 2 scale_h: 2 scale_w: 2", &one, "given as well");
        says("scale: 0", &one, "upsample_param.scale: must be");
        says("upsample_h: 0 upsample_w: 4", &two, "a height and a width");
        says("upsample_h: 4 upsample_w: 4", &one, "the mask");
        says("scale: 3 pad_out_w: true", &two, "upsample_param.pad_out_w");
        says("scale: 4000000000", &one, "would hold more");
        says(
            "",
            &[noise(&[1, 1, 2, 2], 1), noise(&[1, 1, 2, 3], 1)],
            "one shape",
        );
        let mut nan = two;
        nan[1].data[0] = f32::NAN;
        says("", &nan, "is NaN");
        let error = error_of("type: 'Upsample'", &[noise(&[3], 1)]);
        assert!(error.contains("a height and a width"), "{error}");
    }
}
