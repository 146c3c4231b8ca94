//! `geometry_param`: the image as seen from another side, nearer or farther.
//!
//! Beyond its edge the image goes on as `pad_mode` says (in the fork for its own size on every side, then black). A
//! rectangle around its middle, up to `zoom_factor` of each side smaller or larger than the image, is drawn on it; the picture of that rectangle
//! leans by up to `persp_factor` of a side to the left or right and up or down. Boxes go along, and with the mirrored
//! border their mirror images do; what sticks out too far (less than 3/4 of it seen) is dropped.
//!
//! Coordinates are rounded to 1/32 pixel before pixels are mixed, as in OpenCV's `warpPerspective`: equal to it but for
//! ±2 on smooth images, as far as its own versions differ. Label maps take the nearest pixel.

use rand::RngExt as _;

use super::{Picture, between, border::Border, happens, probability};
use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::GeometryParameter,
};

/// What a `geometry_param` asks for.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    probability: f32,
    horizontal: bool,
    vertical: bool,
    zoom_in: bool,
    zoom_out: bool,
    zoom: f32,
    lean: f32,
    border: Border,
}

type Point = [f64; 2];

/// A map of the plane that keeps lines straight: rows of a 3×3 matrix.
type Matrix = [f64; 9];

/// One change of view.
#[derive(Clone, Debug)]
pub(crate) struct Warp {
    height: usize,
    width: usize,
    border: Border,
    /// From the new image's pixels to those of the old one, which is 3 × 3 images large.
    back: Matrix,
    forth: Matrix,
}

impl Geometry {
    pub(super) fn new(param: &GeometryParameter) -> Result<Self> {
        let factor = |name: &str, value: f32| {
            if (0.0..0.5).contains(&value) {
                return Ok(value);
            }
            let field = format!("transform_param.geometry_param.{name}");
            let why = format!("{value} is out of range; it goes from 0 to below 0.5");
            Err(Error::param(&field, why))
        };
        let all = param.all_effects();
        Ok(Self {
            probability: probability("transform_param.geometry_param.prob", param.prob())?,
            horizontal: param.persp_horizontal() || all,
            vertical: param.persp_vertical() || all,
            zoom_in: param.zoom_in() || all,
            zoom_out: param.zoom_out() || all,
            zoom: factor("zoom_factor", param.zoom_factor())?,
            lean: factor("persp_factor", param.persp_factor())?,
            border: Border::new(
                "transform_param.geometry_param.pad_mode",
                param.pad_mode().into(),
            )?,
        })
    }

    /// A change of view for an image of this size, where it is changed at all.
    pub(super) fn draw(&self, height: usize, width: usize, rng: &mut Rng) -> Option<Warp> {
        if !happens(self.probability, rng) {
            return None;
        }
        let coin = |rng: &mut Rng| rng.random_range(0..2u32) == 1;
        let (rows, columns) = (height as f32, width as f32);
        let (mut left, mut right) = (columns, 2.0 * columns - 1.0);
        let (mut top, mut bottom) = (rows, 2.0 * rows - 1.0);
        if self.zoom_in || self.zoom_out {
            let inward = match (self.zoom_in, self.zoom_out) {
                (true, true) => coin(rng),
                (inward, _) => inward,
            };
            let mut edge = |side: f32| {
                let by = side * self.zoom * if inward { 1.0 } else { -1.0 };
                side + between(0.0, by, rng)
            };
            left = edge(columns);
            top = edge(rows);
            right = 3.0 * columns - left;
            bottom = 3.0 * rows - top;
        }
        let seen = [[left, top], [right, top], [right, bottom], [left, bottom]];
        let (right, bottom) = (columns - 1.0, rows - 1.0);
        let mut shown = [[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]];
        if self.horizontal {
            let from_right = coin(rng);
            let by = between(0.0, rows * self.lean, rng);
            let (up, down) = if from_right { (0, 3) } else { (1, 2) };
            shown[up][1] = by;
            shown[down][1] = rows - by;
        }
        if self.vertical {
            let from_above = coin(rng);
            let by = between(0.0, columns * self.lean, rng);
            let (left, right) = if from_above { (3, 2) } else { (0, 1) };
            shown[left][0] = by;
            shown[right][0] = columns - by;
        }
        let wide = |quad: [[f32; 2]; 4]| quad.map(|p| p.map(f64::from));
        Warp::between(height, width, self.border, wide(seen), wide(shown))
    }
}

impl Warp {
    /// The change that takes the corners `seen`, of the image among its continuations, to `shown`. `None` where no such
    /// change exists: an image of one pixel has no corners.
    fn between(
        height: usize,
        width: usize,
        border: Border,
        seen: [Point; 4],
        shown: [Point; 4],
    ) -> Option<Self> {
        Some(Self {
            height,
            width,
            border,
            back: perspective(shown, seen)?,
            forth: perspective(seen, shown)?,
        })
    }

    /// The byte `c` of the pixel at `x`, `y` of 3 × 3 images, and beyond.
    fn fetch(&self, picture: &Picture, x: isize, y: isize, c: usize) -> i32 {
        let (h, w) = (picture.height as isize, picture.width as isize);
        let row = self.border.place(y - h, picture.height);
        let column = self.border.place(x - w, picture.width);
        match (row, column) {
            (Some(y), Some(x)) => {
                i32::from(picture.pixels[(y * picture.width + x) * picture.channels + c])
            }
            _ => 0,
        }
    }

    /// The place in the old image, times `scale`, of each new pixel.
    fn places(&self, scale: f64) -> impl Iterator<Item = (isize, isize)> + '_ {
        // No place worth a look is farther away.
        let round = move |v: f64| v.clamp(-1e9, 1e9).round_ties_even() as isize;
        let m = &self.back;
        (0..self.height).flat_map(move |y| {
            (0..self.width).map(move |x| {
                let (x, y) = (x as f64, y as f64);
                let depth = m[6] * x + m[7] * y + m[8];
                let w = if depth == 0.0 { 0.0 } else { scale / depth };
                (
                    round((m[0] * x + m[1] * y + m[2]) * w),
                    round((m[3] * x + m[4] * y + m[5]) * w),
                )
            })
        })
    }

    /// The new view.
    pub(super) fn apply(&self, picture: &Picture) -> Picture {
        let mut out = Picture {
            pixels: Vec::with_capacity(picture.pixels.len()),
            ..*picture
        };
        for (x, y) in self.places(32.0) {
            let ([x, a], [y, b]) = ([x >> 5, x & 31], [y >> 5, y & 31]);
            let (a, b) = (a as i32, b as i32);
            for c in 0..picture.channels {
                let at = |dx, dy| self.fetch(picture, x + dx, y + dy, c);
                let upper = (32 - a) * at(0, 0) + a * at(1, 0);
                let lower = (32 - a) * at(0, 1) + a * at(1, 1);
                let sum = (32 - b) * upper + b * lower;
                out.pixels.push(((sum + 512) >> 10) as u8);
            }
        }
        out
    }

    /// The new view of a label map.
    pub(super) fn apply_nearest(&self, map: &Picture) -> Picture {
        let mut out = Picture {
            pixels: Vec::with_capacity(map.pixels.len()),
            ..*map
        };
        for (x, y) in self.places(1.0) {
            for c in 0..map.channels {
                out.pixels.push(self.fetch(map, x, y, c) as u8);
            }
        }
        out
    }

    /// What of a box `[xmin, ymin, xmax, ymax]`, in fractions, is seen: itself, and its mirror images.
    pub(crate) fn boxes(&self, of: [f32; 4]) -> Vec<[f32; 4]> {
        let copies: &[i32] = match self.border {
            Border::Mirrored => &[0, 1, 2],
            _ => &[1],
        };
        let along = |low: f32, high: f32, copy: i32| {
            let (low, high) = if copy == 1 {
                (low, high)
            } else {
                (1.0 - high, 1.0 - low)
            };
            [low, high].map(|v| f64::from(v) + f64::from(copy))
        };
        let (rows, columns) = (self.height as f64, self.width as f64);
        let mut seen = Vec::new();
        for &i in copies {
            for &j in copies {
                let xs = along(of[0], of[2], i).map(|x| x * columns);
                let ys = along(of[1], of[3], j).map(|y| y * rows);
                let corners = [
                    [xs[0], ys[0]],
                    [xs[1], ys[0]],
                    [xs[0], ys[1]],
                    [xs[1], ys[1]],
                ];
                let corners = corners.map(|p| project(&self.forth, p));
                let span = |axis: usize, side: f64| {
                    let values = corners.map(|p| (p[axis] / side) as f32);
                    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                    (
                        low,
                        values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                    )
                };
                let ((xmin, xmax), (ymin, ymax)) = (span(0, columns), span(1, rows));
                let [a, b, c, d] = [xmin, ymin, xmax, ymax].map(|v| v.clamp(0.0, 1.0));
                let area = (xmax - xmin) * (ymax - ymin);
                let left = (c - a) * (d - b);
                if left > 0.0 && left > 0.75 * area {
                    seen.push([a, b, c, d]);
                }
            }
        }
        seen
    }
}

fn project(m: &Matrix, [x, y]: Point) -> Point {
    let w = m[6] * x + m[7] * y + m[8];
    [
        (m[0] * x + m[1] * y + m[2]) / w,
        (m[3] * x + m[4] * y + m[5]) / w,
    ]
}

/// The map that takes four points to four others: eight linear equations, by elimination with pivots.
fn perspective(from: [Point; 4], to: [Point; 4]) -> Option<Matrix> {
    let mut rows = [[0.0; 9]; 8];
    for (i, ([x, y], [u, v])) in from.into_iter().zip(to).enumerate() {
        rows[i] = [x, y, 1.0, 0.0, 0.0, 0.0, -x * u, -y * u, u];
        rows[i + 4] = [0.0, 0.0, 0.0, x, y, 1.0, -x * v, -y * v, v];
    }
    for column in 0..8 {
        let pivot =
            (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        if rows[pivot][column].abs() < 1e-12 {
            return None;
        }
        rows.swap(column, pivot);
        let head = rows[column].map(|v| v / rows[column][column]);
        rows[column] = head;
        for (i, row) in rows.iter_mut().enumerate() {
            let factor = row[column];
            if i != column && factor != 0.0 {
                row.iter_mut().zip(head).for_each(|(v, h)| *v -= factor * h);
            }
        }
    }
    let mut matrix = [1.0; 9];
    for (m, row) in matrix.iter_mut().zip(rows) {
        *m = row[8];
    }
    matrix.iter().all(|v| v.is_finite()).then_some(matrix)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rng::{Use, stream};

    /// The warp between two quadrangles, for the recorded case.
    pub(crate) fn between(
        (height, width): (usize, usize),
        pad_mode: i32,
        seen: [Point; 4],
        shown: [Point; 4],
    ) -> Warp {
        let border = Border::new("pad_mode", pad_mode).unwrap();
        Warp::between(height, width, border, seen, shown).unwrap()
    }

    fn identity(height: usize, width: usize) -> Warp {
        let (h, w) = (height as f64, width as f64);
        let shown = [
            [0.0, 0.0],
            [w - 1.0, 0.0],
            [w - 1.0, h - 1.0],
            [0.0, h - 1.0],
        ];
        let seen = shown.map(|[x, y]| [x + w, y + h]);
        between((height, width), 2, seen, shown)
    }

    #[test]
    fn the_middle_of_nine_is_the_image() {
        let picture = Picture {
            channels: 2,
            height: 3,
            width: 4,
            pixels: (0..24).collect(),
        };
        let warp = identity(3, 4);
        assert_eq!(warp.apply(&picture), picture);
        assert_eq!(warp.apply_nearest(&picture), picture);
        let boxes = warp.boxes([0.25, 0.5, 0.75, 1.0]);
        assert_eq!(boxes.len(), 1, "{boxes:?}");
        for (got, want) in boxes[0].iter().zip([0.25, 0.5, 0.75, 1.0]) {
            assert!((got - want).abs() < 1e-5, "{boxes:?}");
        }
    }

    #[test]
    fn labels_keep_their_values_and_boxes_stay_inside() {
        let geometry = Geometry::new(&GeometryParameter {
            prob: Some(1.0),
            all_effects: Some(true),
            ..Default::default()
        })
        .unwrap();
        let map = Picture {
            channels: 1,
            height: 12,
            width: 17,
            pixels: (0..12 * 17).map(|i| [3, 200, 255][i % 3]).collect(),
        };
        let mut moved = 0;
        for when in 0..100 {
            let mut rng = stream(1, Use::Transform, 0, when);
            let warp = geometry.draw(12, 17, &mut rng).unwrap();
            let out = warp.apply_nearest(&map);
            assert!(out.pixels.iter().all(|p| [3, 200, 255].contains(p)));
            moved += usize::from(out != map);
            for b in warp.boxes([0.1, 0.2, 0.4, 0.9]) {
                assert!(b.iter().all(|v| (0.0..=1.0).contains(v)), "{b:?}");
                assert!(b[0] < b[2] && b[1] < b[3], "{b:?}");
            }
        }
        assert!(moved > 90, "{moved}");
        // A single pixel, and a line of them, have few corners to move.
        for (height, width) in [(1, 1), (1, 5), (5, 1)] {
            for when in 0..50 {
                let line = Picture {
                    channels: 1,
                    height,
                    width,
                    pixels: vec![9; height * width],
                };
                let warp = geometry.draw(height, width, &mut stream(1, Use::Other, 0, when));
                if let Some(warp) = warp {
                    assert_eq!(warp.apply(&line), line);
                }
            }
        }
    }

    #[test]
    fn errors() {
        for value in [0.5, -0.1, f32::NAN] {
            let param = GeometryParameter {
                persp_factor: Some(value),
                ..Default::default()
            };
            let error = Geometry::new(&param).unwrap_err();
            assert_eq!(
                error.field(),
                Some("transform_param.geometry_param.persp_factor")
            );
        }
    }
}
