//! A picture to paint on: anti-aliased ellipses, gradients and noise on linear floats, channels 0 to 1.

use rand::RngExt as _;

use crate::rng::Rng;

/// Red, green, blue, 0 to 1.
pub(super) type Color = [f32; 3];

/// `a` to `b` as `t` goes from 0 to 1.
pub(super) fn mix(a: Color, b: Color, t: f32) -> Color {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// `color` brighter (above 1) or darker (below).
pub(super) fn shade(color: Color, factor: f32) -> Color {
    color.map(|c| c * factor)
}

/// An ellipse in pixels; `angle` turns it clockwise on the screen, in radians.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ellipse {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) rx: f32,
    pub(super) ry: f32,
    pub(super) angle: f32,
}

impl Ellipse {
    /// About how far a point lies outside the edge, in pixels; negative inside.
    pub(super) fn distance(&self, x: f32, y: f32) -> f32 {
        let (sin, cos) = self.angle.sin_cos();
        let (dx, dy) = (x - self.x, y - self.y);
        let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let (a, b) = (u / self.rx, v / self.ry);
        let f = (a * a + b * b).sqrt();
        let slope = ((a / self.rx).powi(2) + (b / self.ry).powi(2)).sqrt();
        if slope <= f32::EPSILON {
            return -self.rx.min(self.ry);
        }
        (f - 1.0) * f / slope
    }

    /// Whether a point lies inside.
    pub(super) fn contains(&self, x: f32, y: f32) -> bool {
        self.distance(x, y) <= 0.0
    }
}

/// The picture.
pub(super) struct Canvas {
    size: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    /// A square of `size` pixels a side, all of one colour.
    pub(super) fn new(size: usize, color: Color) -> Self {
        Self {
            size,
            pixels: vec![color; size * size],
        }
    }

    /// Changes every pixel by its centre and its colour.
    pub(super) fn map(&mut self, f: impl Fn(f32, f32, Color) -> Color) {
        for (y, row) in self.pixels.chunks_exact_mut(self.size).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = f(x as f32 + 0.5, y as f32 + 0.5, *pixel);
            }
        }
    }

    /// Paints an ellipse whose edge fades over `soft` pixels (1 is a plain smooth edge), `opacity` 0 to 1.
    pub(super) fn ellipse(&mut self, e: &Ellipse, color: Color, soft: f32, opacity: f32) {
        self.map(|x, y, under| {
            let cover = (0.5 - e.distance(x, y) / soft).clamp(0.0, 1.0);
            mix(under, color, cover * opacity)
        });
    }

    /// Adds even noise of this amplitude to every value.
    pub(super) fn noise(&mut self, amplitude: f32, rng: &mut Rng) {
        for value in self.pixels.iter_mut().flatten() {
            *value += amplitude * (rng.random::<f32>() * 2.0 - 1.0);
        }
    }

    /// Bytes, rows of red, green, blue.
    pub(super) fn to_rgb(&self) -> Vec<u8> {
        let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
        self.pixels.iter().flatten().map(|&v| byte(v)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISC: Ellipse = Ellipse {
        x: 4.0,
        y: 4.0,
        rx: 3.0,
        ry: 1.5,
        angle: 0.0,
    };

    #[test]
    fn distance_is_zero_on_the_edge_and_negative_inside() {
        assert!(DISC.distance(7.0, 4.0).abs() < 1e-5);
        assert!(DISC.distance(4.0, 5.5).abs() < 1e-5);
        assert!((DISC.distance(8.0, 4.0) - 1.0).abs() < 0.4);
        assert!(DISC.contains(4.0, 4.0) && !DISC.contains(4.0, 6.0));
        let turned = Ellipse {
            angle: std::f32::consts::FRAC_PI_2,
            ..DISC
        };
        assert!(turned.contains(4.0, 6.5) && !turned.contains(6.5, 4.0));
    }

    #[test]
    fn an_edge_is_smooth() {
        let mut canvas = Canvas::new(8, [0.0; 3]);
        canvas.ellipse(&DISC, [1.0; 3], 1.0, 1.0);
        let rgb = canvas.to_rgb();
        let at = |x: usize, y: usize| rgb[(y * 8 + x) * 3];
        assert_eq!((at(4, 4), at(0, 0)), (255, 0));
        assert!((1..255).contains(&at(4, 5)), "{}", at(4, 5));
    }
}
