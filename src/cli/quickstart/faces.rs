//! Drawn faces with their region maps: a data set that needs no download and no photograph.
//!
//! A face is a few dozen ellipses in varied place, size, turn, colour and light, before a background that tries to
//! look like parts of a face. Face `n` of a seed is always the same, however many are drawn and on however many
//! threads.

use rand::RngExt as _;
use rayon::prelude::*;

use super::canvas::{Canvas, Color, Ellipse, mix, shade};
use crate::rng::{self, Rng, Use};

/// Names of the classes, by number. Left and right are the picture's, as one sees it.
pub const CLASSES: [&str; 5] = ["ground", "left eye", "right eye", "nose", "mouth"];

/// Pixels to one cell of a map, each way.
pub const CELL: usize = 4;

/// One drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// Pixels a side.
    pub size: usize,
    /// `size` rows of `size` pixels of red, green, blue.
    pub rgb: Vec<u8>,
    /// The class of each cell: `size / 4` rows, rounded up, of as many cells.
    pub map: Vec<u8>,
}

impl Face {
    /// Cells a side of the map.
    pub fn cells(&self) -> usize {
        self.size.div_ceil(CELL)
    }

    /// The pixels as Caffe stores them: all blue, all green, all red.
    pub fn bgr_planes(&self) -> Vec<u8> {
        (0..3)
            .rev()
            .flat_map(|c| self.rgb.iter().skip(c).step_by(3).copied())
            .collect()
    }
}

/// Draws faces `first..first + count` of a seed.
pub fn draw(seed: u64, first: usize, count: usize, size: usize) -> Vec<Face> {
    (first..first + count)
        .into_par_iter()
        .map(|number| {
            let mut rng = rng::stream(seed, Use::Other, 0xFACE, number as u64);
            face(&mut rng, size)
        })
        .collect()
}

fn between(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

fn any_color(rng: &mut Rng) -> Color {
    std::array::from_fn(|_| between(rng, 0.05, 0.95))
}

/// Places things on a face: its middle, its half height in pixels, its turn.
#[derive(Clone, Copy)]
struct Frame {
    x: f32,
    y: f32,
    unit: f32,
    turn: f32,
}

impl Frame {
    /// The ellipse at `(u, v)` of the face, right and down from its middle, with radii `a` and `b`, turned by `angle`;
    /// lengths in half heights of the head.
    fn at(&self, u: f32, v: f32, a: f32, b: f32, angle: f32) -> Ellipse {
        let (sin, cos) = self.turn.sin_cos();
        Ellipse {
            x: self.x + (u * cos - v * sin) * self.unit,
            y: self.y + (u * sin + v * cos) * self.unit,
            rx: a * self.unit,
            ry: b * self.unit,
            angle: self.turn + angle,
        }
    }
}

fn face(rng: &mut Rng, size: usize) -> Face {
    let side = size as f32;
    let mut canvas = background(rng, size);
    let unit = side * between(rng, 0.34, 0.44);
    let slack = side * 0.5 - unit * 0.85;
    let frame = Frame {
        x: side * 0.5 + between(rng, -1.0, 1.0) * slack,
        y: side * 0.5 + between(rng, -1.0, 1.0) * (side * 0.52 - unit).max(0.0),
        unit,
        turn: between(rng, -0.35, 0.35),
    };
    let skin = skin(rng);
    head(&mut canvas, rng, &frame, skin);
    let regions = features(&mut canvas, rng, &frame, skin);
    light(&mut canvas, rng, side);
    let amplitude = between(rng, 0.01, 0.05);
    canvas.noise(amplitude, rng);
    Face {
        size,
        rgb: canvas.to_rgb(),
        map: region_map(&regions, size),
    }
}

fn background(rng: &mut Rng, size: usize) -> Canvas {
    let side = size as f32;
    let (from, to) = (any_color(rng), any_color(rng));
    let angle = between(rng, 0.0, std::f32::consts::TAU);
    let (sin, cos) = angle.sin_cos();
    let mut canvas = Canvas::new(size, from);
    canvas.map(|x, y, _| {
        let t = 0.5 + ((x / side - 0.5) * cos + (y / side - 0.5) * sin) / 1.42;
        mix(from, to, t)
    });
    // Round things, among them some that could be an eye or a mouth if they were on a face.
    for _ in 0..rng.random_range(4..11) {
        let large = between(rng, 0.03, 0.22);
        let blob = Ellipse {
            x: between(rng, 0.0, side),
            y: between(rng, 0.0, side),
            rx: large * side,
            ry: large * side * between(rng, 0.3, 1.0),
            angle: between(rng, -1.6, 1.6),
        };
        let color = match rng.random_range(0..4) {
            0 => skin(rng),
            1 => [0.6, 0.2, 0.2],
            2 => [0.08, 0.07, 0.07],
            _ => any_color(rng),
        };
        let (soft, opacity) = (between(rng, 1.0, 3.0), between(rng, 0.5, 1.0));
        canvas.ellipse(&blob, color, soft, opacity);
    }
    canvas
}

fn skin(rng: &mut Rng) -> Color {
    const TONES: [Color; 5] = [
        [0.97, 0.84, 0.75],
        [0.91, 0.72, 0.58],
        [0.78, 0.58, 0.43],
        [0.58, 0.40, 0.28],
        [0.36, 0.24, 0.17],
    ];
    let at = between(rng, 0.0, 3.999);
    let low = at as usize;
    let tone = mix(TONES[low], TONES[low + 1], at.fract());
    tone.map(|c| c * between(rng, 0.95, 1.05))
}

/// Hair, neck, ears and the bare head.
fn head(canvas: &mut Canvas, rng: &mut Rng, f: &Frame, skin: Color) {
    const HAIR: [Color; 5] = [
        [0.08, 0.06, 0.05],
        [0.25, 0.15, 0.09],
        [0.45, 0.28, 0.14],
        [0.75, 0.60, 0.35],
        [0.60, 0.58, 0.56],
    ];
    let width = between(rng, 0.70, 0.80);
    let hair = HAIR[rng.random_range(0..HAIR.len())];
    canvas.ellipse(&f.at(0.0, 1.1, 0.34, 0.6, 0.0), shade(skin, 0.75), 1.0, 1.0);
    let long = between(rng, 0.0, 0.35);
    canvas.ellipse(
        &f.at(0.0, long - 0.18, width * 1.13, 0.97 + long * 0.6, 0.0),
        hair,
        1.5,
        1.0,
    );
    for side in [-1.0, 1.0] {
        let ear = f.at(side * width, 0.0, 0.1, 0.2, 0.0);
        canvas.ellipse(&ear, shade(skin, 0.85), 1.0, 1.0);
    }
    let top = between(rng, 0.04, 0.16);
    let bare = f.at(0.0, top, width, 1.0 - top, 0.0);
    canvas.ellipse(&bare, skin, 1.2, 1.0);
    // Cheeks, and a shadow on one side.
    let flush = mix(skin, [0.85, 0.4, 0.35], 0.5);
    for side in [-1.0, 1.0] {
        canvas.ellipse(
            &f.at(side * 0.42, 0.28, 0.2, 0.15, 0.0),
            flush,
            4.0,
            between(rng, 0.0, 0.5),
        );
    }
    let side = if rng.random::<bool>() { 0.6 } else { -0.6 };
    let shadow = f.at(side, 0.1, 0.25, 0.8, 0.0);
    let depth = between(rng, 0.0, 0.5);
    let soft = f.unit * 0.5;
    canvas.map(|x, y, under| {
        let on_head = (0.5 - bare.distance(x, y)).clamp(0.0, 1.0);
        let cover = (0.5 - shadow.distance(x, y) / soft).clamp(0.0, 1.0);
        shade(under, 1.0 - depth * on_head * cover)
    });
}

/// Paints eyes, nose and mouth; returns what each class covers, from class 1 on.
fn features(canvas: &mut Canvas, rng: &mut Rng, f: &Frame, skin: Color) -> [Ellipse; 4] {
    let eye_v = between(rng, -0.20, -0.08);
    let apart = between(rng, 0.28, 0.35);
    let eyes = [-1.0, 1.0].map(|side| {
        (
            side * (apart + between(rng, -0.02, 0.02)),
            eye_v + between(rng, -0.02, 0.02),
        )
    });
    let iris = [
        [0.25, 0.15, 0.08],
        [0.2, 0.35, 0.55],
        [0.25, 0.4, 0.25],
        [0.1, 0.07, 0.05],
    ][rng.random_range(0..4)];
    let brow = shade(mix(skin, [0.1, 0.07, 0.05], between(rng, 0.5, 0.9)), 0.8);
    let (open, gaze) = (between(rng, 0.06, 0.11), between(rng, -0.06, 0.06));
    let (lift, mood) = (between(rng, 0.2, 0.26), between(rng, -0.15, 0.3));
    for (u, v) in eyes {
        canvas.ellipse(&f.at(u, v, 0.2, 0.14, 0.0), shade(skin, 0.8), 2.0, 0.7);
        canvas.ellipse(&f.at(u, v, 0.17, open, 0.0), [0.95, 0.95, 0.93], 1.0, 1.0);
        canvas.ellipse(&f.at(u + gaze, v, 0.085, open, 0.0), iris, 1.0, 1.0);
        canvas.ellipse(&f.at(u + gaze, v, 0.045, 0.045, 0.0), [0.02; 3], 1.0, 1.0);
        let slope = mood * u.signum();
        canvas.ellipse(&f.at(u, v - lift, 0.19, 0.035, slope), brow, 1.0, 0.9);
    }

    let nose_v = between(rng, 0.14, 0.22);
    let wide = between(rng, 0.11, 0.15);
    canvas.ellipse(
        &f.at(0.05, nose_v - 0.1, 0.07, 0.25, 0.0),
        shade(skin, 0.82),
        2.0,
        0.8,
    );
    canvas.ellipse(
        &f.at(-0.02, nose_v - 0.1, 0.05, 0.25, 0.0),
        shade(skin, 1.15),
        1.5,
        0.7,
    );
    canvas.ellipse(
        &f.at(0.0, nose_v + 0.1, wide, 0.08, 0.0),
        shade(skin, 0.78),
        1.5,
        0.8,
    );
    for side in [-1.0, 1.0] {
        let nostril = f.at(side * 0.06, nose_v + 0.13, 0.035, 0.025, 0.0);
        canvas.ellipse(&nostril, shade(skin, 0.3), 1.0, 0.9);
    }

    let mouth_v = between(rng, 0.54, 0.62);
    let mouth_u = between(rng, -0.04, 0.04);
    let (half, thick) = (between(rng, 0.22, 0.3), between(rng, 0.07, 0.11));
    let lips = mix(
        skin,
        [0.7, between(rng, 0.1, 0.25), 0.22],
        between(rng, 0.4, 0.9),
    );
    canvas.ellipse(&f.at(mouth_u, mouth_v, half, thick, 0.0), lips, 1.0, 1.0);
    let teeth = rng.random::<f32>() < 0.3;
    let (gap, inside) = if teeth {
        (0.05, [0.95, 0.93, 0.9])
    } else {
        (0.02, shade(lips, 0.4))
    };
    canvas.ellipse(
        &f.at(mouth_u, mouth_v, half * 0.85, gap, 0.0),
        inside,
        1.0,
        0.9,
    );

    [
        f.at(eyes[0].0, eyes[0].1, 0.23, 0.155, 0.0),
        f.at(eyes[1].0, eyes[1].1, 0.23, 0.155, 0.0),
        f.at(0.0, nose_v, wide + 0.03, 0.24, 0.0),
        f.at(mouth_u, mouth_v, half + 0.04, thick + 0.045, 0.0),
    ]
}

/// Brightness, contrast, tint, and light from one side.
fn light(canvas: &mut Canvas, rng: &mut Rng, side: f32) {
    let (gain, offset) = (between(rng, 0.7, 1.15), between(rng, -0.08, 0.08));
    let tint: Color = std::array::from_fn(|_| between(rng, 0.92, 1.08));
    let (sin, cos) = between(rng, 0.0, std::f32::consts::TAU).sin_cos();
    let slope = between(rng, 0.0, 0.4);
    canvas.map(|x, y, color| {
        let t = (x / side - 0.5) * cos + (y / side - 0.5) * sin;
        let factor = gain * (1.0 + slope * t);
        std::array::from_fn(|i| color[i] * factor * tint[i] + offset)
    });
}

/// The class of each cell: a region where it covers more of the cell than any other does and than the ground.
fn region_map(regions: &[Ellipse; 4], size: usize) -> Vec<u8> {
    /// Points that are asked in each cell, each way.
    const POINTS: usize = 8;
    let cells = size.div_ceil(CELL);
    let step = CELL as f32 / POINTS as f32;
    let mut map = Vec::with_capacity(cells * cells);
    for cell in 0..cells * cells {
        let (left, top) = ((cell % cells * CELL) as f32, (cell / cells * CELL) as f32);
        let mut votes = [0usize; CLASSES.len()];
        for point in 0..POINTS * POINTS {
            let x = left + ((point % POINTS) as f32 + 0.5) * step;
            let y = top + ((point / POINTS) as f32 + 0.5) * step;
            let class = regions
                .iter()
                .position(|r| r.contains(x, y))
                .map_or(0, |r| r + 1);
            votes[class] += 1;
        }
        let best = (1..votes.len()).fold(0, |best, class| {
            if votes[class] > votes[best] {
                class
            } else {
                best
            }
        });
        map.push(best as u8);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_its_faces_however_many_are_drawn() {
        let many = draw(7, 0, 4, 48);
        assert_eq!(draw(7, 2, 1, 48)[0], many[2]);
        assert_ne!(many[0], many[1]);
        assert_ne!(draw(8, 0, 1, 48)[0], many[0]);
    }

    #[test]
    fn most_of_a_map_is_ground_and_each_region_is_there() {
        let faces = draw(1, 0, 60, 48);
        let mut counts = [0usize; CLASSES.len()];
        let mut whole = 0;
        for face in &faces {
            assert_eq!(face.map.len(), 144);
            assert_eq!(face.rgb.len(), 48 * 48 * 3);
            for &class in &face.map {
                counts[usize::from(class)] += 1;
            }
            whole += usize::from((1..5).all(|c| face.map.contains(&c)));
        }
        let ground = counts[0] as f64 / (60.0 * 144.0);
        assert!((0.925..0.945).contains(&ground), "{ground} {counts:?}");
        assert!(whole >= 57, "{whole} of 60 faces have every region");
    }

    #[test]
    fn left_is_left_and_the_mouth_is_below() {
        for face in draw(3, 0, 20, 48) {
            let middle = |class: u8| {
                let cells: Vec<usize> = (0..144).filter(|&i| face.map[i] == class).collect();
                let n = cells.len() as f32;
                let sum = |f: fn(usize) -> usize| cells.iter().map(|&i| f(i)).sum::<usize>() as f32;
                (sum(|i| i % 12) / n, sum(|i| i / 12) / n)
            };
            let [left, right, _, mouth] = [1, 2, 3, 4].map(middle);
            if left.0.is_nan() || right.0.is_nan() || mouth.0.is_nan() {
                continue;
            }
            assert!(left.0 < right.0);
            assert!(mouth.1 > left.1.min(right.1));
        }
    }

    #[test]
    fn planes_are_blue_green_red() {
        let face = Face {
            size: 1,
            rgb: vec![1, 2, 3],
            map: vec![0],
        };
        assert_eq!(face.bgr_planes(), [3, 2, 1]);
    }

    #[test]
    fn other_sizes_have_maps_of_a_quarter_rounded_up() {
        let face = &draw(1, 0, 1, 50)[0];
        assert_eq!((face.cells(), face.map.len()), (13, 169));
    }
}
