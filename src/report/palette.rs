//! Colours for values and for classes.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Blue for 0, by light blue, pale yellow and orange to red for 1: anchors at equal steps. Lightness rises to the
/// middle and falls after it, so that both ends stand out, and the two ends differ for every common kind of colour
/// blindness.
const HEAT: [Rgb; 7] = [
    [38, 56, 140],
    [69, 117, 180],
    [140, 190, 220],
    [255, 250, 190],
    [253, 174, 97],
    [235, 80, 50],
    [170, 10, 30],
];

/// Dark violet by green to yellow: as light as the value is high, also in print and for every eye. Anchors of
/// matplotlib's viridis, which is in the public domain (CC0).
const VIRIDIS: [Rgb; 7] = [
    [68, 1, 84],
    [68, 57, 131],
    [49, 104, 142],
    [33, 145, 140],
    [53, 183, 121],
    [144, 215, 67],
    [253, 231, 37],
];

/// Black by red and orange to white.
const FIRE: [Rgb; 5] = [
    [0, 0, 0],
    [130, 10, 40],
    [225, 75, 20],
    [252, 180, 60],
    [255, 255, 230],
];

const GREY: [Rgb; 2] = [[0, 0, 0], [255, 255, 255]];

/// Colours for values from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// Blue by pale yellow to red.
    #[default]
    Heat,
    /// Black to white.
    Grey,
    /// Dark violet by green to yellow.
    Viridis,
    /// Black by red and orange to white.
    Fire,
}

impl Palette {
    /// Each by the word that names it.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("heat", Self::Heat),
        ("grey", Self::Grey),
        ("gray", Self::Grey),
        ("viridis", Self::Viridis),
        ("fire", Self::Fire),
    ];

    /// The colour of a value from 0 to 1. Values outside are taken as the nearer end. NaN has a colour that is in no
    /// other place of the palette.
    pub fn color(self, value: f32) -> Rgb {
        let anchors: &[Rgb] = match self {
            Self::Heat => &HEAT,
            Self::Grey => &GREY,
            Self::Viridis => &VIRIDIS,
            Self::Fire => &FIRE,
        };
        if value.is_nan() {
            return match self {
                Self::Grey => [255, 0, 255],
                _ => [128; 3],
            };
        }
        let at = value.clamp(0.0, 1.0) * (anchors.len() - 1) as f32;
        let low = (at as usize).min(anchors.len() - 2);
        blend(anchors[low], anchors[low + 1], at - low as f32)
    }
}

/// One colour a class, black for class 0.
const CLASSES: [Rgb; 8] = [
    [0, 0, 0],
    [230, 60, 60],
    [60, 190, 90],
    [70, 120, 240],
    [245, 200, 50],
    [200, 90, 220],
    [60, 200, 210],
    [240, 140, 60],
];

/// The colour of a value from 0 (blue) to 1 (red). Values outside are taken as the nearer end; NaN is grey.
pub fn heat(value: f32) -> Rgb {
    Palette::Heat.color(value)
}

/// The colour of a class, black for class 0. After the eighth the hues go round in steps that come near no earlier
/// one, lighter and darker by turns.
pub fn class(class: usize) -> Rgb {
    if let Some(&color) = CLASSES.get(class) {
        return color;
    }
    // The golden section of the circle: however many there are, they lie well apart.
    let hue = (class as f64 * 0.618_033_988_749_895).fract() as f32 * 6.0;
    let light = [0.95, 0.6, 0.8][class % 3];
    let pale = [0.75, 0.9, 0.5][class / 3 % 3];
    std::array::from_fn(|i| {
        let near = (hue + [0.0, 4.0, 2.0][i]).rem_euclid(6.0);
        let full = ((near - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        ((1.0 - pale * (1.0 - full)) * light * 255.0).round() as u8
    })
}

/// `a` to `b` as `t` goes from 0 to 1.
pub fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| {
        let (a, b) = (f32::from(a[i]), f32::from(b[i]));
        (a + (b - a) * t).round().clamp(0.0, 255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_blue_to_red() {
        let [r, _, b] = heat(0.0);
        assert!(b > 2 * r);
        let [r, _, b] = heat(1.0);
        assert!(r > 2 * b);
        assert_eq!(heat(0.5), HEAT[3]);
        assert_eq!((heat(-3.0), heat(7.0)), (heat(0.0), heat(1.0)));
        assert_eq!(heat(f32::NAN), [128; 3]);
    }

    #[test]
    fn palettes_go_from_end_to_end() {
        for (name, palette) in Palette::NAMES {
            assert_ne!(palette.color(0.0), palette.color(1.0), "{name}");
            assert_eq!(palette.color(-1.0), palette.color(0.0), "{name}");
            let nan = palette.color(f32::NAN);
            assert!((0..=100).all(|i| palette.color(i as f32 / 100.0) != nan));
        }
        assert_eq!(Palette::Grey.color(0.5), [128; 3]);
    }

    #[test]
    fn classes_have_colours_without_end() {
        assert_eq!(class(0), [0; 3]);
        let mut colors: Vec<Rgb> = (0..150).map(class).collect();
        colors.sort_unstable();
        colors.dedup();
        assert_eq!(colors.len(), 150);
        class(usize::MAX);
    }
}
