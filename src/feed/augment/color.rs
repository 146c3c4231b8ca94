//! Other colour spaces, by the rules of OpenCV's `cvtColor` for 8 bits. Pixels are red, green, blue.

/// Hue by half degrees, 0 to 179; saturation and value, 0 to 255.
pub(super) fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    const SHIFT: i32 = 12;
    let (r, g, b) = (i32::from(r), i32::from(g), i32::from(b));
    let value = r.max(g).max(b);
    let span = value - r.min(g).min(b);
    // Quotients are rounded to 1/4096 before they are multiplied.
    let over = |top: f64, below: i32| match below {
        0 => 0,
        n => (top * f64::from(1 << SHIFT) / f64::from(n)).round_ties_even() as i32,
    };
    let half = 1 << (SHIFT - 1);
    let saturation = (span * over(255.0, value) + half) >> SHIFT;
    let along = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * span
    } else {
        r - g + 4 * span
    };
    let hue = (along * over(180.0 / 6.0, span) + half) >> SHIFT;
    let hue = if hue < 0 { hue + 180 } else { hue };
    [hue, saturation, value].map(|v| v.clamp(0, 255) as u8)
}

/// The way back; a hue of 180 or more goes round.
pub(super) fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    let (s, v) = (f32::from(saturation) / 255.0, f32::from(value) / 255.0);
    let turn = (f32::from(hue) * (6.0 / 180.0)).rem_euclid(6.0);
    let sector = (turn.floor() as usize).min(5);
    let part = turn - turn.floor();
    let low = v * (1.0 - s);
    let falling = v * (1.0 - s * part);
    let rising = v * (1.0 - s * (1.0 - part));
    let rgb = match sector {
        0 => [v, rising, low],
        1 => [falling, v, low],
        2 => [low, v, rising],
        3 => [low, falling, v],
        4 => [rising, low, v],
        _ => [v, low, falling],
    };
    rgb.map(|x| super::byte(x * 255.0))
}

/// 0.299 R + 0.587 G + 0.114 B.
pub(super) fn to_gray([r, g, b]: [u8; 3]) -> u8 {
    ((9798 * u32::from(r) + 19235 * u32::from(g) + 3735 * u32::from(b) + (1 << 14)) >> 15) as u8
}

/// Luminance and the two differences of colour, from red and from blue.
pub(super) fn to_ycrcb([r, g, b]: [u8; 3]) -> [u8; 3] {
    const SHIFT: i32 = 14;
    let half = 1 << (SHIFT - 1);
    let (r, g, b) = (i32::from(r), i32::from(g), i32::from(b));
    let y = (4899 * r + 9617 * g + 1868 * b + half) >> SHIFT;
    let around = |d: i32, factor: i32| (d * factor + (128 << SHIFT) + half) >> SHIFT;
    [y, around(r - y, 11682), around(b - y, 9241)].map(|v| v.clamp(0, 255) as u8)
}

/// The way back.
pub(super) fn from_ycrcb([y, cr, cb]: [u8; 3]) -> [u8; 3] {
    const SHIFT: i32 = 14;
    let half = 1 << (SHIFT - 1);
    let (y, cr, cb) = (i32::from(y), i32::from(cr) - 128, i32::from(cb) - 128);
    let b = y + ((cb * 29049 + half) >> SHIFT);
    let g = y + ((cb * -5636 + cr * -11698 + half) >> SHIFT);
    let r = y + ((cr * 22987 + half) >> SHIFT);
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

/// CIE L*a*b* of sRGB, with white D65: L from 0 to 100, a and b around 0; rounded, and cut off at 0, which loses half of
/// the colours, as the fork that has this effect does.
pub(super) fn to_lab(rgb: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = rgb.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    });
    let x = (0.412_453 * r + 0.357_580 * g + 0.180_423 * b) / 0.950_456;
    let y = 0.212_671 * r + 0.715_160 * g + 0.072_169 * b;
    let z = (0.019_334 * r + 0.119_193 * g + 0.950_227 * b) / 1.088_754;
    let f = |t: f64| {
        if t > 0.008_856 {
            t.cbrt()
        } else {
            7.787 * t + 16.0 / 116.0
        }
    };
    let light = if y > 0.008_856 {
        116.0 * y.cbrt() - 16.0
    } else {
        903.3 * y
    };
    [light, 500.0 * (f(x) - f(y)), 200.0 * (f(y) - f(z))].map(|v| super::byte(v as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues() {
        for (rgb, hsv) in [
            ([255, 0, 0], [0, 255, 255]),
            ([0, 255, 0], [60, 255, 255]),
            ([0, 0, 255], [120, 255, 255]),
            ([255, 0, 255], [150, 255, 255]),
            ([90, 90, 90], [0, 0, 90]),
        ] {
            assert_eq!(to_hsv(rgb), hsv);
            assert_eq!(from_hsv(hsv), rgb);
        }
        assert_eq!(from_hsv([180, 255, 255]), [255, 0, 0]);
        assert_eq!(from_hsv([240, 255, 255]), from_hsv([60, 255, 255]));
    }

    #[test]
    fn there_and_back_is_near() {
        let mut state = 1u32;
        for _ in 0..5000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [r, g, b, _] = state.to_be_bytes();
            for back in [from_ycrcb(to_ycrcb([r, g, b])), from_hsv(to_hsv([r, g, b]))] {
                let far = back.iter().zip([r, g, b]).map(|(x, y)| x.abs_diff(y)).max();
                // A step of hue is worth up to 255 / 30 levels.
                assert!(far <= Some(5), "{:?} came back as {back:?}", [r, g, b]);
            }
        }
    }
}
