//! Plain Rust, for any processor: short enough to be the reference of the others.

use super::{Dots, Finish, Kind, TILE, Taps, Tile, words};

const ROWS: usize = 4;
const LANES: usize = 4;
const COLS: usize = 8;
const SUMS: usize = 8;

/// What every processor can run.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Portable;

impl Tile for Portable {
    const ROWS: usize = ROWS;
    const LANES: usize = LANES;
    const COLS: usize = COLS;
    const SUMS: usize = SUMS;

    type V = [f32; LANES];

    fn load(self, from: &[f32]) -> [f32; LANES] {
        std::array::from_fn(|l| from[l])
    }

    fn store(self, v: [f32; LANES], to: &mut [f32]) {
        to[..LANES].copy_from_slice(&v);
    }

    fn load_part(self, from: &[f32]) -> [f32; LANES] {
        std::array::from_fn(|l| from.get(l).copied().unwrap_or(0.0))
    }

    fn store_part(self, v: [f32; LANES], to: &mut [f32]) {
        to.copy_from_slice(&v[..to.len()]);
    }

    fn all(self, f: f32) -> [f32; LANES] {
        [f; LANES]
    }

    fn slope(self, v: [f32; LANES], slope: f32) -> [f32; LANES] {
        v.map(|y| if y > 0.0 { y } else { slope * y + 0.0 })
    }

    fn add(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|l| a[l] + b[l])
    }

    fn sub(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|l| a[l] - b[l])
    }

    fn scale_add(self, f: f32, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|l| f * a[l] + b[l])
    }

    fn multiply(
        self,
        (rows, vectors, k): (usize, usize, usize),
        a: &[f32],
        b: &[f32],
        ldb: usize,
        out: &mut [f32; TILE],
    ) {
        let width = vectors * LANES;
        let mut sums = [[0.0; COLS]; ROWS];
        for (p, a) in a.chunks_exact(ROWS).take(k).enumerate() {
            let b = &b[p * ldb..][..width];
            for (sums, a) in sums.iter_mut().zip(a) {
                sums.iter_mut().zip(b).for_each(|(s, b)| *s += a * b);
            }
        }
        for (sums, out) in sums[..rows].iter().zip(out.chunks_exact_mut(COLS)) {
            out[..width].copy_from_slice(&sums[..width]);
        }
    }

    fn multiply_at(
        self,
        rows: usize,
        a: &[f32],
        b: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        out: &mut [f32; TILE],
    ) {
        assert!(rows * bases.len() <= SUMS);
        for (i, out) in out
            .chunks_exact_mut(bases.len() * LANES)
            .take(rows)
            .enumerate()
        {
            for (out, base) in out.chunks_exact_mut(LANES).zip(bases) {
                let mut sums = [0.0; LANES];
                for (a, tap) in a.chunks_exact(ROWS).zip(taps.offsets) {
                    let b = &b[base + tap..][..LANES];
                    sums.iter_mut().zip(b).for_each(|(s, b)| *s += a[i] * b);
                }
                out.copy_from_slice(&sums);
            }
        }
    }

    fn pack_at(self, b: &[f32], bases: &[usize], taps: Taps<'_>, to: &mut [f32], stride: usize) {
        for (to, tap) in to.chunks_mut(stride).zip(taps.offsets) {
            for (to, base) in to.chunks_exact_mut(LANES).zip(bases) {
                to.copy_from_slice(&b[base + tap..][..LANES]);
            }
        }
    }

    fn outer_at(
        self,
        (len, vectors): (usize, usize),
        a: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        b: &[f32],
        out: &mut [f32; TILE],
    ) {
        for (out, tap) in out.chunks_exact_mut(COLS).zip(taps.offsets) {
            let mut sums = [0.0; COLS];
            for (base, b) in bases.iter().zip(b.chunks_exact(len * COLS)) {
                let a = &a[base + tap..][..len];
                for (a, b) in a.iter().zip(b.chunks_exact(COLS)) {
                    sums.iter_mut().zip(b).for_each(|(s, b)| *s += a * b);
                }
            }
            out[..vectors * LANES].copy_from_slice(&sums[..vectors * LANES]);
        }
    }

    fn dot_at(self, dims: Dots, a: &[f32], b: &[f32], taps: Taps<'_>, out: &mut [f32; TILE]) {
        let count = taps.offsets.len();
        assert!(dims.rows * count <= SUMS);
        for (i, out) in out.chunks_exact_mut(count).take(dims.rows).enumerate() {
            for (out, tap) in out.iter_mut().zip(taps.offsets) {
                let mut sums = [0.0; LANES];
                for n in 0..dims.count {
                    let a = &a[n * dims.a_apart + i * dims.lda..][..dims.len];
                    let b = &b[n * dims.b_apart + tap..][..dims.len];
                    for (a, b) in a
                        .as_chunks::<LANES>()
                        .0
                        .iter()
                        .zip(b.as_chunks::<LANES>().0)
                    {
                        (0..LANES).for_each(|l| sums[l] += a[l] * b[l]);
                    }
                }
                *out = sums.iter().sum();
            }
        }
    }

    fn multiply_words(
        self,
        kind: Kind,
        (rows, vectors): (usize, usize),
        words: (&[u32], &[u32]),
        out: &mut [u32; TILE],
    ) {
        words::multiply::<ROWS, COLS>(kind, (rows, vectors * LANES), words, out);
    }

    fn put(self, from: &[f32], lane: usize, to: &mut [f32], residual: Option<&[f32]>, end: Finish) {
        for (i, to) in to.iter_mut().enumerate() {
            let residual = residual.map_or(0.0, |r| r[i]);
            *to = end.one(from[lane + i], *to, residual);
        }
    }

    fn turn(
        self,
        from: &[f32],
        ld: usize,
        (rows, len): (usize, usize),
        to: &mut [f32],
        stride: usize,
    ) {
        for p in 0..len {
            for (i, to) in to[p * stride..][..rows].iter_mut().enumerate() {
                *to = from[i * ld + p];
            }
        }
    }
}
