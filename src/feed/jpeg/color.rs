//! From components to pixels: colour enlarged to the size of brightness, YCbCr to RGB.

use super::Component;

/// The component's samples alone.
pub(super) fn gray(one: &Component, width: usize, height: usize) -> Option<Vec<u8>> {
    if one.width < width || one.height < height {
        return None;
    }
    let mut pixels = Vec::with_capacity(width * height);
    for row in one.plane.chunks_exact(8 * one.blocks_wide).take(height) {
        pixels.extend_from_slice(row.get(..width)?);
    }
    Some(pixels)
}

/// Three components as red, green, blue of each pixel together.
pub(super) fn colors(
    parts: &[Component],
    width: usize,
    height: usize,
    rgb: bool,
) -> Option<Vec<u8>> {
    let most_h = parts.iter().map(|c| c.h).max()?;
    let most_v = parts.iter().map(|c| c.v).max()?;
    let grow: Vec<Grow> = parts
        .iter()
        .map(|c| Grow::of(c, most_h, most_v))
        .collect::<Option<_>>()?;
    let mut rows = vec![Vec::new(); parts.len()];
    let mut pixels = vec![0; 3 * width * height];
    for (y, out) in pixels.chunks_exact_mut(3 * width).enumerate() {
        for ((part, grow), row) in parts.iter().zip(&grow).zip(&mut rows) {
            grow.row(part, y, row);
        }
        let [a, b, c] = &rows[..] else {
            return None;
        };
        let (a, b, c) = (a.get(..width)?, b.get(..width)?, c.get(..width)?);
        let (out, _) = out.as_chunks_mut::<3>();
        let each = out.iter_mut().zip(a).zip(b).zip(c);
        if rgb {
            each.for_each(|(((out, &r), &g), &b)| *out = [r, g, b]);
        } else {
            each.for_each(|(((out, &y), &cb), &cr)| *out = to_rgb(y, cb, cr));
        }
    }
    Some(pixels)
}

/// Weights of 16 bits, each product rounded where libjpeg rounds it.
#[inline]
fn to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let r = y + ((91881 * cr + HALF) >> 16);
    let g = y + ((-22554 * cb - 46802 * cr + HALF) >> 16);
    let b = y + ((116_130 * cb + HALF) >> 16);
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

/// How a component gets the picture's full number of samples.
#[derive(Clone, Copy)]
enum Grow {
    /// It has it.
    No,
    /// Twice as wide, by a triangle over neighbours.
    Wide,
    /// Twice as high.
    High,
    /// Twice in both directions.
    Both,
    /// Each sample so often.
    Repeat(usize, usize),
}

impl Grow {
    fn of(c: &Component, most_h: usize, most_v: usize) -> Option<Self> {
        if !most_h.is_multiple_of(c.h) || !most_v.is_multiple_of(c.v) {
            return None;
        }
        // The triangle needs a sample between two edges.
        let fancy = c.width > 2;
        Some(match (most_h / c.h, most_v / c.v) {
            (1, 1) => Self::No,
            (2, 1) if fancy => Self::Wide,
            (1, 2) => Self::High,
            (2, 2) if fancy => Self::Both,
            (h, v) => Self::Repeat(h, v),
        })
    }

    /// Row `y` of the picture, at least as wide as that.
    fn row(self, c: &Component, y: usize, to: &mut Vec<u8>) {
        let stride = 8 * c.blocks_wide;
        let row = |at: usize| {
            let at = at.min(c.height - 1);
            c.plane
                .get(at * stride..at * stride + c.width)
                .unwrap_or_default()
        };
        // The row that it lies in, and the nearer one of the rows beside that; at the edge the row itself.
        let near = y / 2;
        let far = match y % 2 {
            0 => near.saturating_sub(1),
            _ => near + 1,
        };
        to.clear();
        match self {
            Self::No => to.extend_from_slice(row(y)),
            Self::Wide => wide(row(y), to),
            Self::High => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                let pairs = row(near).iter().zip(row(far));
                to.extend(pairs.map(|(&a, &b)| quarter(3 * u16::from(a) + u16::from(b) + bias)));
            }
            Self::Both => both(row(near), row(far), to),
            Self::Repeat(h, v) => {
                for &sample in row(y / v) {
                    to.extend(std::iter::repeat_n(sample, h));
                }
            }
        }
    }
}

fn quarter(sum: u16) -> u8 {
    (sum >> 2) as u8
}

/// Three parts of the nearer sample, one of the other: rounded down to the left and up to the right.
fn wide(row: &[u8], to: &mut Vec<u8>) {
    let (Some(&first), Some(&last)) = (row.first(), row.last()) else {
        return;
    };
    to.resize(2 * row.len(), 0);
    let mix = |near: u8, far: u8, bias| quarter(3 * u16::from(near) + u16::from(far) + bias);
    for (i, pair) in row.windows(2).enumerate() {
        to[2 * i + 1] = mix(pair[0], pair[1], 2);
        to[2 * i + 2] = mix(pair[1], pair[0], 1);
    }
    to[0] = first;
    to[2 * row.len() - 1] = last;
}

/// The same in both directions, rounded once.
fn both(near: &[u8], far: &[u8], to: &mut Vec<u8>) {
    let sum = |(&a, &b): (&u8, &u8)| 3 * u16::from(a) + u16::from(b);
    let n = near.len();
    to.resize(2 * n, 0);
    let mut sums = near.iter().zip(far).map(sum);
    let Some(mut before) = sums.next() else {
        return;
    };
    let sixteenth = |sum: u16| (sum >> 4) as u8;
    to[0] = sixteenth(4 * before + 8);
    for (i, now) in sums.enumerate() {
        to[2 * i + 1] = sixteenth(3 * before + now + 7);
        to[2 * i + 2] = sixteenth(3 * now + before + 8);
        before = now;
    }
    to[2 * n - 1] = sixteenth(4 * before + 7);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_by_hand() {
        assert_eq!(to_rgb(128, 128, 128), [128; 3]);
        // 1.402 * 127 = 178.05, 0.714 * 127 = 90.7.
        assert_eq!(to_rgb(76, 128, 255), [254, 0, 76]);
        assert_eq!(to_rgb(100, 228, 128), [100, 66, 255]);
    }

    #[test]
    fn triangles() {
        let mut to = Vec::new();
        wide(&[10, 20, 40], &mut to);
        // (30 + 20 + 2) / 4, (60 + 10 + 1) / 4, (60 + 40 + 2) / 4, (120 + 20 + 1) / 4
        assert_eq!(to, [10, 13, 17, 25, 35, 40]);
        to.clear();
        both(&[10, 20, 40], &[10, 20, 40], &mut to);
        // sums 40, 80, 160
        assert_eq!(to, [10, 12, 18, 25, 35, 40]);
    }
}
