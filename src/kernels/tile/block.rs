//! C cut into a grid of blocks that several threads fill at once.

use std::{marker::PhantomData, ops::Range};

use rayon::prelude::*;

/// A rectangle of C, exclusively borrowed.
pub(in crate::kernels) struct Block<'c> {
    start: *mut f32,
    ldc: usize,
    /// Rows of C.
    pub(in crate::kernels) rows: Range<usize>,
    /// Columns of C.
    pub(in crate::kernels) cols: Range<usize>,
    borrow: PhantomData<&'c mut [f32]>,
}

impl<'c> Block<'c> {
    /// All of an m×n matrix without gaps.
    pub(in crate::kernels) fn whole(c: &'c mut [f32], m: usize, n: usize) -> Self {
        assert!(m.checked_mul(n).is_some_and(|len| len <= c.len()));
        Block {
            start: c.as_mut_ptr(),
            ldc: n,
            rows: 0..m,
            cols: 0..n,
            borrow: PhantomData,
        }
    }

    /// The `i`-th row of the block.
    #[allow(unsafe_code, reason = "blocks side by side share no slice of C")]
    pub(in crate::kernels) fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows.len());
        // SAFETY: `for_each_block` has checked that every row of its grid lies within C and that no two rows or
        // blocks overlap, and hands each block out once; `&mut self` keeps its rows apart from each other.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.ldc), self.cols.len()) }
    }

    /// block · beta; 0 does not read.
    pub(in crate::kernels) fn scale(&mut self, beta: f32) {
        for i in 0..self.rows.len() {
            let row = self.row(i);
            if beta == 0.0 {
                row.fill(0.0);
            } else {
                row.iter_mut().for_each(|c| *c *= beta);
            }
        }
    }

    /// Distance between the rows of C.
    pub(in crate::kernels) fn ldc(&self) -> usize {
        self.ldc
    }

    /// Asks for the line at `col` of a row, and the next, before they are needed: C is often in no cache when its first
    /// tile is written.
    #[inline(always)]
    #[allow(unsafe_code, reason = "a hint takes a pointer")]
    pub(in crate::kernels) fn prefetch(&mut self, i: usize, col: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let row = self.row(i);
            let last = row.len() - 1;
            for at in [col.min(last), (col + 16).min(last), (col + 31).min(last)] {
                // SAFETY: a hint reads nothing, and the address is inside the block.
                unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const row[at]).cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (i, col);
    }

    /// First element and distance between rows, for a kernel that walks the block itself. It may touch only
    /// `rows.len()` rows of `cols.len()` elements.
    pub(super) fn as_mut_ptr(&mut self) -> (*mut f32, usize) {
        (self.start, self.ldc)
    }
}

#[allow(unsafe_code, reason = "a block is a borrowed part of a slice")]
// SAFETY: it borrows its elements exclusively, as a `&mut [f32]` does.
unsafe impl Send for Block<'_> {}

struct Start(*mut f32);

#[allow(unsafe_code, reason = "the address is shared, the elements are not")]
// SAFETY: only `for_each_block` uses it, to derive disjoint blocks.
unsafe impl Sync for Start {}

impl Start {
    #[allow(unsafe_code, reason = "the offset is inside C")]
    fn block<'c>(&self, ldc: usize, rows: Range<usize>, cols: Range<usize>) -> Block<'c> {
        Block {
            // SAFETY: rows and cols are not empty and inside the grid that `for_each_block` has checked against C.
            start: unsafe { self.0.add(rows.start * ldc + cols.start) },
            ldc,
            rows,
            cols,
            borrow: PhantomData,
        }
    }
}

/// Calls `f` once for each block of `size` (rows, columns; smaller at the ends) of the m×n matrix `c`, in parallel.
pub(in crate::kernels) fn for_each_block(
    c: &mut [f32],
    (m, n, ldc): (usize, usize, usize),
    (rows, cols): (usize, usize),
    f: impl Fn(Block<'_>) + Sync,
) {
    if m == 0 || n == 0 {
        return;
    }
    let needed = (m - 1).checked_mul(ldc).and_then(|len| len.checked_add(n));
    assert!(rows > 0 && cols > 0 && ldc >= n && needed.is_some_and(|len| len <= c.len()));
    let (down, across) = (m.div_ceil(rows), n.div_ceil(cols));
    let start = Start(c.as_mut_ptr());
    let start = &start;
    let run = |i: usize| {
        let (y, x) = (i / across * rows, i % across * cols);
        f(start.block(ldc, y..m.min(y + rows), x..n.min(x + cols)));
    };
    if down * across == 1 {
        run(0);
    } else {
        (0..down * across)
            .into_par_iter()
            .with_max_len(1)
            .for_each(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_visited_once_and_gaps_never() {
        let (m, n, ldc) = (5, 7, 9);
        let mut c = vec![0.0; (m - 1) * ldc + n];
        for_each_block(&mut c, (m, n, ldc), (2, 3), |mut block| {
            for i in 0..block.rows.len() {
                let (row, cols) = (block.rows.start + i, block.cols.clone());
                for (c, col) in block.row(i).iter_mut().zip(cols) {
                    *c += (row * n + col + 1) as f32;
                }
            }
        });
        for (i, c) in c.iter().enumerate() {
            let (row, col) = (i / ldc, i % ldc);
            let want = if col < n { row * n + col + 1 } else { 0 };
            assert_eq!(*c, want as f32, "element {i}");
        }
    }
}
