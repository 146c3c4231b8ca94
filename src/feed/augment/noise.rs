//! `noise_param`: what cameras, codecs and artists do to images.
//!
//! Each chosen effect happens with `prob`, drawn one by one; without a `prob` it always happens, as in the fork that has
//! switches alone, but `all_effects` without `prob` is nothing, as in the other. In this order: decolorize (gray, in as
//! many channels), gauss_blur (7 × 7, sigma 1.5), hist_eq, clahe (8 × 8 tiles, limit 4), jpeg (a quality from 1 to 100;
//! always, where given and `prob` is not 0), erode (a cross of 5 pixels), posterize (4 levels), inverse, saltpepper,
//! convert_to_hsv, convert_to_lab. Those about colour leave images alone that have not three channels.

use image::{ExtendedColorType, ImageEncoder as _, codecs::jpeg::JpegEncoder};
use rand::RngExt as _;

use super::{Picture, by_channel, byte, color, equalize, happens, neighbours, probability};
use crate::{
    error::{Error, Result},
    feed::{datum::Color, image as codec},
    rng::Rng,
    schema::NoiseParameter,
};

/// What a `noise_param` asks for.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    probability: f32,
    decolorize: bool,
    blur: bool,
    equalize: bool,
    clahe: bool,
    jpeg: Option<u8>,
    erode: bool,
    posterize: bool,
    inverse: bool,
    salt: Option<Salt>,
    hsv: bool,
    lab: bool,
}

/// Pixels that lose their value.
#[derive(Clone, Debug)]
struct Salt {
    fraction: f32,
    values: Vec<f32>,
}

impl Noise {
    pub(super) fn new(param: &NoiseParameter) -> Result<Self> {
        let all = param.all_effects();
        let common = param.prob.unwrap_or(if all { 0.0 } else { 1.0 });
        let jpeg = param.jpeg();
        if jpeg > 100.0 || jpeg.is_nan() {
            return Err(Error::param(
                "transform_param.noise_param.jpeg",
                format!("{jpeg} is no quality; it goes from 1 to 100, and negative means none"),
            ));
        }
        let salt = param.saltpepper_param.clone().unwrap_or_default();
        Ok(Self {
            probability: probability("transform_param.noise_param.prob", common)?,
            decolorize: param.decolorize() || all,
            blur: param.gauss_blur() || all,
            equalize: param.hist_eq() || all,
            clahe: param.clahe() || all,
            jpeg: (jpeg > 0.0).then(|| byte(jpeg).max(1)),
            erode: param.erode() || all,
            posterize: param.posterize() || all,
            inverse: param.inverse() || all,
            salt: (param.saltpepper() || all)
                .then(|| {
                    Ok::<_, Error>(Salt {
                        fraction: probability(
                            "transform_param.noise_param.saltpepper_param.fraction",
                            salt.fraction(),
                        )?,
                        values: salt.value.clone(),
                    })
                })
                .transpose()?,
            hsv: param.convert_to_hsv() || all,
            lab: param.convert_to_lab() || all,
        })
    }

    pub(super) fn apply(&self, mut picture: Picture, rng: &mut Rng) -> Result<Picture> {
        let chosen = |effect: bool, rng: &mut Rng| effect && happens(self.probability, rng);
        if chosen(self.decolorize, rng) {
            each(&mut picture, |rgb| [color::to_gray(rgb); 3]);
        }
        if chosen(self.blur, rng) {
            picture = neighbours::blur(&picture);
        }
        if chosen(self.equalize, rng) {
            equalize::equalize(&mut picture);
        }
        if chosen(self.clahe, rng) {
            equalize::clahe(&mut picture);
        }
        if let Some(quality) = self.jpeg
            && self.probability > 0.0
            && picture.channels == 3
        {
            picture = through_jpeg(&picture, quality)?;
        }
        if chosen(self.erode, rng) {
            picture = neighbours::erode(&picture);
        }
        if chosen(self.posterize, rng) {
            picture.map(|_| std::array::from_fn(|i| (i / 64 * 64 + 32) as u8));
        }
        if chosen(self.inverse, rng) {
            picture.pixels.iter_mut().for_each(|v| *v = !*v);
        }
        if let Some(salt) = &self.salt
            && happens(self.probability, rng)
        {
            salt.apply(&mut picture, rng)?;
        }
        if chosen(self.hsv, rng) {
            // Colour planes are stored blue, green, red, and so hue, saturation, value from back to front.
            each(&mut picture, |rgb| reversed(color::to_hsv(rgb)));
        }
        if chosen(self.lab, rng) {
            each(&mut picture, |rgb| reversed(color::to_lab(rgb)));
        }
        Ok(picture)
    }
}

impl Salt {
    /// Without a `value`, pixels become black or white.
    fn apply(&self, picture: &mut Picture, rng: &mut Rng) -> Result<()> {
        let n = picture.channels;
        let area = picture.height * picture.width;
        let field = "transform_param.noise_param.saltpepper_param.value";
        let values = by_channel(field, &self.values, n)?;
        let values: Vec<u8> = values.iter().map(|&v| byte(v)).collect();
        for _ in 0..(self.fraction * area as f32).floor() as usize {
            let at = rng.random_range(0..area) * n;
            let pixel = &mut picture.pixels[at..at + n];
            if self.values.is_empty() {
                pixel.fill(if rng.random_range(0..2u32) == 1 {
                    255
                } else {
                    0
                });
            } else {
                pixel.copy_from_slice(&values);
            }
        }
        Ok(())
    }
}

fn reversed([a, b, c]: [u8; 3]) -> [u8; 3] {
    [c, b, a]
}

fn each(picture: &mut Picture, f: impl Fn([u8; 3]) -> [u8; 3]) {
    if picture.channels == 3 {
        for pixel in picture.pixels.as_chunks_mut::<3>().0 {
            *pixel = f(*pixel);
        }
    }
}

/// Compressed and decompressed again.
fn through_jpeg(picture: &Picture, quality: u8) -> Result<Picture> {
    let (Ok(width @ 1..=0xFFFF), Ok(height @ 1..=0xFFFF)) =
        (u32::try_from(picture.width), u32::try_from(picture.height))
    else {
        return Err(Error::data(format!(
            "an image of {}x{} is too large for noise_param.jpeg",
            picture.height, picture.width
        )));
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(&picture.pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|e| Error::data(format!("noise_param.jpeg: {e}")))?;
    let decoded = codec::decode(&bytes, Color::AsStored, Vec::new())?;
    Ok(Picture {
        pixels: decoded.pixels,
        ..*picture
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rng::{Use, stream},
        schema::SaltPepperParameter,
    };

    fn picture() -> Picture {
        Picture {
            channels: 3,
            height: 16,
            width: 16,
            pixels: (0..768).map(|i| (i * i / 100) as u8).collect(),
        }
    }

    fn run(param: &NoiseParameter, when: u64) -> Picture {
        let noise = Noise::new(param).unwrap();
        let mut rng = stream(1, Use::Transform, 0, when);
        noise.apply(picture(), &mut rng).unwrap()
    }

    #[test]
    fn a_switch_without_prob_always_works() {
        let param = NoiseParameter {
            inverse: Some(true),
            ..Default::default()
        };
        let inverse: Vec<u8> = picture().pixels.iter().map(|v| 255 - v).collect();
        assert!((0..20).all(|when| run(&param, when).pixels == inverse));
        let param = NoiseParameter {
            prob: Some(0.3),
            ..param
        };
        let changed = (0..1000)
            .filter(|&when| run(&param, when).pixels == inverse)
            .count();
        assert!((240..360).contains(&changed), "{changed}");
        let all = NoiseParameter {
            all_effects: Some(true),
            ..Default::default()
        };
        assert_eq!(run(&all, 1), picture());
    }

    #[test]
    fn every_effect_keeps_the_size() {
        let all = NoiseParameter {
            all_effects: Some(true),
            prob: Some(0.5),
            jpeg: Some(40.0),
            saltpepper_param: Some(SaltPepperParameter {
                fraction: Some(0.1),
                value: vec![],
            }),
            ..Default::default()
        };
        for when in 0..50 {
            let out = run(&all, when);
            assert_eq!(out.pixels.len(), 768);
            assert_eq!(out, run(&all, when));
        }
    }

    #[test]
    fn salt_is_as_much_as_told() {
        let param = NoiseParameter {
            saltpepper: Some(true),
            saltpepper_param: Some(SaltPepperParameter {
                fraction: Some(0.125),
                value: vec![10.0, 20.0, 30.0],
            }),
            ..Default::default()
        };
        let out = run(&param, 3);
        let salted = (out.pixels.as_chunks::<3>().0.iter())
            .filter(|p| **p == [30, 20, 10])
            .count();
        // 32 draws, of which some hit the same pixel.
        assert!((22..=32).contains(&salted), "{salted}");
    }

    #[test]
    fn errors() {
        let field = |param: NoiseParameter| {
            let error = Noise::new(&param).unwrap_err();
            error.field().unwrap().to_owned()
        };
        assert!(
            field(NoiseParameter {
                jpeg: Some(101.0),
                ..Default::default()
            })
            .ends_with("noise_param.jpeg")
        );
        assert!(
            field(NoiseParameter {
                prob: Some(-1.0),
                ..Default::default()
            })
            .ends_with("noise_param.prob")
        );
    }
}
