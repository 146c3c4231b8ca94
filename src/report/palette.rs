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
    if value.is_nan() {
        return [128; 3];
    }
    let at = value.clamp(0.0, 1.0) * (HEAT.len() - 1) as f32;
    let low = (at as usize).min(HEAT.len() - 2);
    blend(HEAT[low], HEAT[low + 1], at - low as f32)
}

/// The colour of a class; colours repeat after the eighth, without black.
pub fn class(class: usize) -> Rgb {
    match class {
        0 => CLASSES[0],
        n => CLASSES[1 + (n - 1) % (CLASSES.len() - 1)],
    }
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
    fn classes_have_colours_without_end() {
        assert_eq!(class(0), [0; 3]);
        assert_eq!(class(8), class(1));
        assert_ne!(class(700), class(0));
    }
}
