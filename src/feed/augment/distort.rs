//! `distort_param`: brightness, contrast, saturation, hue and the order of channels, changed at random.
//!
//! Half of the images have their contrast changed after the brightness, the others at the end, before the channels
//! change places. Each effect has its own `..._prob`; without it, the switch of its name (or `all_effects`) gives it the
//! common `prob`. Saturation, hue and order are of images with three channels only. Values leave [0, 255] nowhere: each
//! step saturates.

use rand::{RngExt as _, seq::SliceRandom as _};

use super::{Picture, between, color, happens, probability, table};
use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::DistortionParameter,
};

/// What a `distort_param` asks for.
#[derive(Clone, Debug)]
pub(super) struct Distort {
    brightness: Effect,
    contrast: Effect,
    saturation: Effect,
    hue: Effect,
    order: f32,
}

/// How often, and by what from where to where.
#[derive(Clone, Copy, Debug)]
struct Effect {
    probability: f32,
    low: f32,
    high: f32,
}

impl Distort {
    pub(super) fn new(param: &DistortionParameter) -> Result<Self> {
        let chance = |name: &str, own: Option<f32>, switch: bool| {
            let common = if switch || param.all_effects() {
                param.prob()
            } else {
                0.0
            };
            let field = match own {
                Some(_) => format!("transform_param.distort_param.{name}_prob"),
                None => "transform_param.distort_param.prob".to_owned(),
            };
            probability(&field, own.unwrap_or(common))
        };
        let around = |name: &str, delta: f32, probability: f32| {
            if delta >= 0.0 && delta.is_finite() {
                return Ok(Effect {
                    probability,
                    low: -delta,
                    high: delta,
                });
            }
            let field = format!("transform_param.distort_param.{name}_delta");
            Err(Error::param(&field, "must not be negative"))
        };
        let span = |name: &str, low: f32, high: f32, probability: f32| {
            if probability == 0.0 || (0.0 <= low && low <= high && high.is_finite()) {
                return Ok(Effect {
                    probability,
                    low,
                    high,
                });
            }
            let field = format!("transform_param.distort_param.{name}_lower");
            let why = format!(
                "the factors from {low} to {high} are none; 0 <= {name}_lower <= {name}_upper is needed"
            );
            Err(Error::param(&field, why))
        };
        Ok(Self {
            brightness: around(
                "brightness",
                param.brightness_delta(),
                chance("brightness", param.brightness_prob, param.brightness())?,
            )?,
            contrast: span(
                "contrast",
                param.contrast_lower(),
                param.contrast_upper(),
                chance("contrast", param.contrast_prob, param.contrast())?,
            )?,
            saturation: span(
                "saturation",
                param.saturation_lower(),
                param.saturation_upper(),
                chance("saturation", param.saturation_prob, param.saturation())?,
            )?,
            hue: around(
                "hue",
                param.hue_delta(),
                chance("hue", param.hue_prob, param.hue())?,
            )?,
            order: chance(
                "random_order",
                param.random_order_prob,
                param.random_order(),
            )?,
        })
    }

    pub(super) fn apply(&self, picture: &mut Picture, rng: &mut Rng) {
        let early = rng.random_range(0..2u32) == 1;
        self.brightness.draw(rng, |delta| {
            picture.map(|_| table(|v| v + delta));
        });
        if early {
            self.contrast(picture, rng);
        }
        let colored = picture.channels == 3;
        self.saturation.draw(rng, |factor| {
            if colored {
                in_hsv(picture, |hsv| {
                    hsv[1] = super::byte(f32::from(hsv[1]) * factor)
                });
            }
        });
        self.hue.draw(rng, |delta| {
            if colored {
                in_hsv(picture, |hsv| {
                    hsv[0] = super::byte(f32::from(hsv[0]) + delta)
                });
            }
        });
        if !early {
            self.contrast(picture, rng);
        }
        if happens(self.order, rng) && colored {
            let mut order = [0, 1, 2];
            order.shuffle(rng);
            for pixel in picture.pixels.as_chunks_mut::<3>().0 {
                *pixel = order.map(|c| pixel[c]);
            }
        }
    }

    fn contrast(&self, picture: &mut Picture, rng: &mut Rng) {
        self.contrast.draw(rng, |factor| {
            picture.map(|_| table(|v| v * factor));
        });
    }
}

impl Effect {
    fn draw(self, rng: &mut Rng, f: impl FnOnce(f32)) {
        if happens(self.probability, rng) {
            f(between(self.low, self.high, rng));
        }
    }
}

fn in_hsv(picture: &mut Picture, change: impl Fn(&mut [u8; 3])) {
    for pixel in picture.pixels.as_chunks_mut::<3>().0 {
        let mut hsv = color::to_hsv(*pixel);
        change(&mut hsv);
        *pixel = color::from_hsv(hsv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Use, stream};

    fn gray() -> Picture {
        Picture {
            channels: 1,
            height: 1,
            width: 3,
            pixels: vec![0, 100, 250],
        }
    }

    fn run(param: &DistortionParameter, mut picture: Picture, when: u64) -> Vec<u8> {
        let distort = Distort::new(param).unwrap();
        distort.apply(&mut picture, &mut stream(1, Use::Transform, 0, when));
        picture.pixels
    }

    #[test]
    fn brightness_adds_and_saturates() {
        let param = DistortionParameter {
            brightness_prob: Some(1.0),
            brightness_delta: Some(32.0),
            ..Default::default()
        };
        let mut sum = 0.0;
        for when in 0..400 {
            let out = run(&param, gray(), when);
            let delta = f32::from(out[1]) - 100.0;
            assert!(delta.abs() <= 32.0);
            assert_eq!(out[0], super::super::byte(delta.max(0.0)));
            sum += delta;
        }
        // The mean of 400 draws from ±32: its spread is 18.5 / 20.
        assert!(sum.abs() / 400.0 < 4.0, "{sum}");
    }

    #[test]
    fn switches_share_one_probability_and_a_prob_wins() {
        let switched = DistortionParameter {
            prob: Some(0.25),
            contrast: Some(true),
            contrast_lower: Some(0.5),
            contrast_upper: Some(0.5),
            ..Default::default()
        };
        let changed = |param: &DistortionParameter| {
            (0..1000)
                .filter(|&when| run(param, gray(), when) == [0, 50, 125])
                .count()
        };
        assert!((200..300).contains(&changed(&switched)));
        let own = DistortionParameter {
            contrast_prob: Some(0.75),
            ..switched
        };
        assert!((700..800).contains(&changed(&own)));
    }

    #[test]
    fn order_keeps_the_values() {
        let param = DistortionParameter {
            random_order_prob: Some(1.0),
            ..Default::default()
        };
        let color = Picture {
            channels: 3,
            height: 1,
            width: 1,
            pixels: vec![1, 2, 3],
        };
        let mut seen = std::collections::BTreeSet::new();
        for when in 0..100 {
            let mut out = run(&param, color.clone(), when);
            seen.insert(out.clone());
            out.sort_unstable();
            assert_eq!(out, [1, 2, 3]);
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn errors() {
        let field = |set: fn(&mut DistortionParameter)| {
            let mut param = DistortionParameter::default();
            set(&mut param);
            let error = Distort::new(&param).unwrap_err();
            error.field().unwrap().to_owned()
        };
        let distort = |name: &str| format!("transform_param.distort_param.{name}");
        assert_eq!(field(|p| p.hue_prob = Some(1.5)), distort("hue_prob"));
        assert_eq!(field(|p| p.hue_delta = Some(-1.0)), distort("hue_delta"));
        assert_eq!(
            field(|p| {
                p.contrast_prob = Some(1.0);
                p.contrast_lower = Some(2.0);
            }),
            distort("contrast_lower")
        );
        assert_eq!(
            field(|p| {
                p.prob = Some(f32::NAN);
                p.all_effects = Some(true);
            }),
            distort("prob")
        );
    }
}
