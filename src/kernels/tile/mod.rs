//! Where products touch memory and the processor: the microkernels, and blocks of a matrix that threads fill side by
//! side. The only unsafe code of products and convolutions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod foreign;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod wide;
mod words;

use std::sync::OnceLock;

pub(super) use block::{Block, for_each_block};
pub(super) use foreign::multiply as matrixmultiply;
pub use peak::peak;
pub(super) use words::Kind;

/// Floats of the largest tile.
pub(super) const TILE: usize = 512;
/// Floats of the longest vector.
pub(super) const MOST_LANES: usize = 16;
/// Rows or vectors of the largest tile.
pub(super) const MOST: usize = 12;

/// The instruction set in use. A value for one exists only where the processor has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    Portable(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

/// The name of the instruction set that products are computed with.
pub fn instruction_set() -> &'static str {
    match Path::best() {
        Path::Portable(_) => "portable",
        #[cfg(target_arch = "x86_64")]
        Path::Avx2(_) => "avx2",
        #[cfg(target_arch = "x86_64")]
        Path::Avx512(_) => "avx512",
        #[cfg(target_arch = "aarch64")]
        Path::Neon(_) => "neon",
    }
}

/// Work that is compiled once for each instruction set, see [`Path::run`].
pub(super) trait Job {
    /// What it gives.
    type Out;
    /// Does it. Has to be `#[inline(always)]`, and so has what it calls in loops: only what is inlined is compiled for
    /// the instruction set of `tile`.
    fn run<T: Tile>(self, tile: T) -> Self::Out;
}

impl Path {
    /// The fastest on this processor.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Path> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().next().unwrap_or(Self::PORTABLE))
    }

    const PORTABLE: Self = Self::Portable(portable::Portable);

    /// What this processor can run, the fastest first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let own = [
            avx512::Avx512::new().map(Self::Avx512),
            avx2::Avx2::new().map(Self::Avx2),
        ];
        #[cfg(target_arch = "aarch64")]
        let own = [neon::Neon::new().map(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let own: [Option<Self>; 0] = [];
        own.into_iter().flatten().chain([Self::PORTABLE])
    }

    /// Runs a job with this instruction set.
    pub(super) fn run<J: Job>(self, job: J) -> J::Out {
        match self {
            Self::Portable(tile) => job.run(tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(tile) => tile.run(job),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(tile) => tile.run(job),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(tile) => tile.run(job),
        }
    }

    /// Rows of a tile.
    pub(super) fn rows(self) -> usize {
        struct Rows;
        impl Job for Rows {
            type Out = usize;
            #[inline(always)]
            fn run<T: Tile>(self, _: T) -> usize {
                T::ROWS
            }
        }
        self.run(Rows)
    }
}

/// Where the operands of a sum lie, relative to its base: one offset for each step.
#[derive(Clone, Copy)]
pub(super) struct Taps<'a> {
    offsets: &'a [usize],
    /// Not below any of them.
    reach: usize,
}

impl<'a> Taps<'a> {
    pub(super) fn new(offsets: &'a [usize]) -> Self {
        let reach = offsets.iter().copied().max().unwrap_or(0);
        Self { offsets, reach }
    }

    /// Whether `len` floats at every tap from `base` on lie in `b`.
    fn inside(self, base: usize, len: usize, b: &[f32]) -> bool {
        let end = base
            .checked_add(self.reach)
            .and_then(|n| n.checked_add(len));
        end.is_some_and(|end| end <= b.len())
    }
}

/// What becomes of a sum on its way to memory: y = act(old + sum + bias + residual).
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// y already holds part of the sum.
    pub(super) add: bool,
    /// Added.
    pub(super) bias: f32,
    /// Factor of negative results; 1 leaves them.
    pub(super) slope: f32,
}

impl Finish {
    /// The definition that vectors follow: adding 0 turns -0 into 0 where there is a slope, as Caffe's
    /// max(x, 0) + slope · min(x, 0) does; a NaN stays one.
    #[inline(always)]
    pub(super) fn one(self, sum: f32, old: f32, residual: f32) -> f32 {
        let sum = if self.add { old + sum } else { sum };
        let y = sum + self.bias + residual;
        if self.slope == 1.0 || y > 0.0 {
            y
        } else {
            self.slope * y + 0.0
        }
    }
}

/// Sizes of [`Tile::dot_at`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Dots {
    /// Rows of a.
    pub(super) rows: usize,
    /// Distance between them.
    pub(super) lda: usize,
    /// Floats of a run.
    pub(super) len: usize,
    /// Runs of each row and tap.
    pub(super) count: usize,
    /// Distance between a's runs.
    pub(super) a_apart: usize,
    /// Distance between b's runs.
    pub(super) b_apart: usize,
}

impl Dots {
    /// Whether all of a and b lie in the slices.
    fn inside(&self, a: &[f32], b: &[f32], taps: Taps<'_>) -> bool {
        let end = |last: usize, apart: usize, start: Option<usize>| {
            last.checked_mul(apart)?
                .checked_add(start?)?
                .checked_add(self.len)
        };
        let Some(last) = self.count.checked_sub(1) else {
            return true;
        };
        let a_end = end(last, self.a_apart, (self.rows - 1).checked_mul(self.lda));
        let b_end = end(last, self.b_apart, Some(taps.reach));
        a_end.is_some_and(|end| end <= a.len()) && b_end.is_some_and(|end| end <= b.len())
    }
}

/// A microkernel: sums of products kept in registers.
pub(super) trait Tile: Copy + Send + Sync {
    /// Rows of a tile at most, and the distance between the steps of packed rows.
    const ROWS: usize;
    /// Floats of one vector.
    const LANES: usize;
    /// Columns of a tile at most.
    const COLS: usize;
    /// Sums that fit into registers: rows · vectors of [`Tile::multiply_at`] and [`Tile::dot_at`].
    const SUMS: usize;

    /// out\[i · COLS + j\] = Σ over p of a\[p · ROWS + i\] · b\[p · ldb + j\], in order of p, for `rows` i and `vectors`
    /// whole vectors of j; the rest of `out` is left.
    fn multiply(
        self,
        dims: (usize, usize, usize),
        a: &[f32],
        b: &[f32],
        ldb: usize,
        out: &mut [f32; TILE],
    );

    /// out\[(i · vectors + v) · LANES + l\] = Σ over p of a\[p · ROWS + i\] · b\[bases\[v\] + taps\[p\] + l\], in order of p,
    /// for `rows` i and as many vectors as there are bases. rows · vectors must not exceed SUMS, vectors not 8.
    fn multiply_at(
        self,
        rows: usize,
        a: &[f32],
        b: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        out: &mut [f32; TILE],
    );

    /// to\[p · stride + v · LANES + l\] = b\[bases\[v\] + taps\[p\] + l\].
    fn pack_at(self, b: &[f32], bases: &[usize], taps: Taps<'_>, to: &mut [f32], stride: usize);

    /// [`Tile::pack_at`] for vectors whose halves lie apart, with a base for each half.
    #[inline(always)]
    fn pack_halves_at(
        self,
        b: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        to: &mut [f32],
        stride: usize,
    ) {
        let half = Self::LANES / 2;
        for (to, tap) in to.chunks_mut(stride).zip(taps.offsets) {
            for (to, base) in to.chunks_exact_mut(half).zip(bases) {
                to.copy_from_slice(&b[base + tap..][..half]);
            }
        }
    }

    /// out\[t · COLS + j\] = Σ over runs r and q < len of a\[bases\[r\] + taps\[t\] + q\] · b\[(r · len + q) · COLS + j\], in that
    /// order, for as many t as there are taps, at most ROWS, and `vectors` whole vectors of j; the rest of `out` is left.
    fn outer_at(
        self,
        dims: (usize, usize),
        a: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        b: &[f32],
        out: &mut [f32; TILE],
    );

    /// out\[i · taps + t\] = Σ over n < count and q < len of a\[n · a_apart + i · lda + q\] · b\[n · b_apart + taps\[t\] + q\],
    /// in a fixed order. `len` is a multiple of LANES; rows · taps must not exceed SUMS.
    fn dot_at(self, dims: Dots, a: &[f32], b: &[f32], taps: Taps<'_>, out: &mut [f32; TILE]);

    /// One vector.
    type V: Copy;

    /// The first LANES floats.
    fn load(self, from: &[f32]) -> Self::V;

    /// Writes the first LANES floats.
    fn store(self, v: Self::V, to: &mut [f32]);

    /// The first floats of a vector where there are fewer than LANES, and zeros.
    fn load_part(self, from: &[f32]) -> Self::V;

    /// Writes the first floats, at most LANES: as many as there is room for.
    fn store_part(self, v: Self::V, to: &mut [f32]);

    /// f in each lane.
    fn all(self, f: f32) -> Self::V;

    /// v where v > 0, else slope · v, as [`Finish`] has it.
    fn slope(self, v: Self::V, slope: f32) -> Self::V;

    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;

    /// a - b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;

    /// f · a + b, rounded once where the processor can.
    fn scale_add(self, f: f32, a: Self::V, b: Self::V) -> Self::V;

    /// Every `M`-th of M · LANES floats: element l of result r is from\[l · M + r\].
    #[inline(always)]
    fn split<const M: usize>(self, from: &[f32]) -> [Self::V; M] {
        let from = &from[..M * Self::LANES];
        std::array::from_fn(|r| {
            let mut part = [0.0; MOST_LANES];
            let every = from[r..].iter().step_by(M);
            part.iter_mut()
                .zip(every)
                .for_each(|(to, from)| *to = *from);
            self.load(&part)
        })
    }

    /// The inverse of [`Tile::split`].
    #[inline(always)]
    fn join<const M: usize>(self, parts: [Self::V; M], to: &mut [f32]) {
        let to = &mut to[..M * Self::LANES];
        for (r, part) in parts.into_iter().enumerate() {
            let mut from = [0.0; MOST_LANES];
            self.store(part, &mut from);
            let every = to[r..].iter_mut().step_by(M);
            every.zip(&from).for_each(|(to, from)| *to = *from);
        }
    }

    /// out\[i · COLS + j\] = Σ over p of a\[p · ROWS + i\] · b\[p · COLS + j\], the products of words, in order of p, for `rows`
    /// i and `vectors` whole vectors of j, a word to a lane; over as many p as a and b both hold. See [`words`].
    fn multiply_words(
        self,
        kind: Kind,
        dims: (usize, usize),
        words: (&[u32], &[u32]),
        out: &mut [u32; TILE],
    );

    /// to\[i\] = act(.. + from\[lane + i\] + ..), see [`Finish`]. `residual` has the length of `to`, and lane + that length
    /// is at most LANES.
    fn put(self, from: &[f32], lane: usize, to: &mut [f32], residual: Option<&[f32]>, end: Finish);

    /// [`Tile::put`] of a vector at hand, from its first lane on; `to` may have fewer floats.
    #[inline(always)]
    fn finish(self, v: Self::V, to: &mut [f32], residual: Option<&[f32]>, end: Finish) {
        if to.len() == Self::LANES {
            let old = end.add.then(|| self.load(to));
            let residual = residual.map(|r| self.load(r));
            let y = self.finished(v, old, residual, end);
            self.store(y, to);
        } else {
            let old = end.add.then(|| self.load_part(to));
            let residual = residual.map(|r| self.load_part(&r[..to.len()]));
            let y = self.finished(v, old, residual, end);
            self.store_part(y, to);
        }
    }

    /// [`Finish::one`] of every lane.
    #[inline(always)]
    fn finished(
        self,
        sum: Self::V,
        old: Option<Self::V>,
        residual: Option<Self::V>,
        end: Finish,
    ) -> Self::V {
        let sum = old.map_or(sum, |old| self.add(old, sum));
        let y = self.add(sum, self.all(end.bias));
        let y = residual.map_or(y, |r| self.add(y, r));
        if end.slope == 1.0 {
            y
        } else {
            self.slope(y, end.slope)
        }
    }

    /// to\[p · stride + i\] = from\[i · ld + p\] for all p below `len` and i below `rows`, at most 8; the other i of 8 get
    /// any value.
    fn turn(self, from: &[f32], ld: usize, dims: (usize, usize), to: &mut [f32], stride: usize);
}

/// to\[p · stride + i\] = from\[i · ld + p\] for any number of rows, a part at a time that stays in the first cache while it
/// is written. From the last rows on: eight at a time may reach into the next step, which is written after it.
#[inline(always)]
pub(super) fn turn<T: Tile>(
    tile: T,
    from: &[f32],
    ld: usize,
    (rows, len): (usize, usize),
    to: &mut [f32],
    stride: usize,
) {
    for p in (0..len).step_by(64) {
        for i in (0..rows).step_by(8).rev() {
            let dims = (8.min(rows - i), 64.min(len - p));
            let to = &mut to[p * stride + i..];
            tile.turn(&from[i * ld + p..], ld, dims, to, stride);
        }
    }
}

/// The size of a part where `len` is cut into as few parts as `most` allows, all but the last equal and multiples of
/// `unit`.
pub(super) fn even_parts(len: usize, most: usize, unit: usize) -> usize {
    len.div_ceil(len.div_ceil(most)).next_multiple_of(unit)
}
