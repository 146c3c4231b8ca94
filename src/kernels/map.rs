//! One value from one, element by element, in parallel.
//!
//! Closures that capture numbers should do so by value (`move`): behind a reference, the loop must reckon with its own
//! writes changing them, and is not vectorised. Short slices stay on the calling thread. Every result depends on its own element alone, so threads cannot change it.

use super::{
    cut::{self, Units},
    simd::wide,
};

/// y\[i\] = f(x\[i\]).
pub fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    zip_into(y, x, move |_, x| f(x));
}

/// y\[i\] = f(y\[i\]).
pub fn map_in_place(y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    let units = y.len();
    cut::each(Units(y, 1), units, 8, |_, y| run(y.0, &f));
}

/// y\[i\] = f(y\[i\], x\[i\]).
pub fn zip_into(y: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    assert_eq!(x.len(), y.len());
    cut::each((Units(y, 1), Units(x, 1)), x.len(), 12, |_, (y, x)| {
        run_zip(y.0, x.0, &f);
    });
}

/// y\[i\] = f(a\[i\], b\[i\]).
pub fn zip2(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    zip2_into(y, a, b, move |_, a, b| f(a, b));
}

/// y\[i\] = f(y\[i\], a\[i\], b\[i\]).
pub fn zip2_into(y: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32 + Sync) {
    assert!(a.len() == y.len() && b.len() == y.len());
    let parts = (Units(y, 1), Units(a, 1), Units(b, 1));
    cut::each(parts, a.len(), 16, |_, (y, a, b)| {
        run_zip2(y.0, a.0, b.0, &f)
    });
}

wide! {
    /// [`map_in_place`] on the calling thread.
    pub(super) fn run<F: Fn(f32) -> f32>(y: &mut [f32], f: &F) {
        y.iter_mut().for_each(|y| *y = f(*y));
    }

    /// [`zip_into`] on the calling thread.
    pub(super) fn run_zip<F: Fn(f32, f32) -> f32>(y: &mut [f32], x: &[f32], f: &F) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*y, *x));
    }

    /// [`zip2_into`] on the calling thread.
    pub(super) fn run_zip2<F: Fn(f32, f32, f32) -> f32>(y: &mut [f32], a: &[f32], b: &[f32], f: &F) {
        let from = a.iter().zip(b);
        y.iter_mut().zip(from).for_each(|(y, (a, b))| *y = f(*y, *a, *b));
    }
}

/// y\[i\] = x\[i\].
pub fn copy(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    cut::each((Units(y, 1), Units(x, 1)), x.len(), 8, |_, (y, x)| {
        y.0.copy_from_slice(x.0);
    });
}

/// y\[i\] = value.
pub fn fill(y: &mut [f32], value: f32) {
    let units = y.len();
    cut::each(Units(y, 1), units, 4, |_, y| y.0.fill(value));
}

/// y = a · x + y.
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    zip_into(y, x, move |y, x| a * x + y);
}

/// y = a · x + b · y.
pub fn axpby(a: f32, x: &[f32], b: f32, y: &mut [f32]) {
    zip_into(y, x, move |y, x| a * x + b * y);
}

/// y = a · y.
pub fn scal(a: f32, y: &mut [f32]) {
    map_in_place(y, move |y| a * y);
}

/// y = y + x.
pub fn add(x: &[f32], y: &mut [f32]) {
    zip_into(y, x, |y, x| y + x);
}

/// y = y · x.
pub fn mul(x: &[f32], y: &mut [f32]) {
    zip_into(y, x, |y, x| y * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

    #[test]
    fn long_and_short_slices_agree_with_one_element_at_a_time() {
        for n in [0, 1, 7, 8, 9, 31, 1 << 15, (1 << 15) + 1, 100_003] {
            let (a, b, c) = (noise(n, 1), noise(n, 2), noise(n, 3));
            let mut y = c.clone();
            zip2_into(&mut y, &a, &b, |y, a, b| y + a * b);
            assert!((0..n).all(|i| y[i] == c[i] + a[i] * b[i]));
            zip2(&a, &b, &mut y, |a, b| a - b);
            assert!((0..n).all(|i| y[i] == a[i] - b[i]));
            map(&a, &mut y, f32::abs);
            assert!((0..n).all(|i| y[i] == a[i].abs()));
        }
    }

    #[test]
    fn vector_operations() {
        let x = [1.0, 2.0, 3.0];
        let after = |f: &dyn Fn(&mut [f32])| {
            let mut y = [10.0, 20.0, 30.0];
            f(&mut y);
            y
        };
        assert_eq!(after(&|y| axpy(2.0, &x, y)), [12.0, 24.0, 36.0]);
        assert_eq!(after(&|y| axpby(2.0, &x, 0.5, y)), [7.0, 14.0, 21.0]);
        assert_eq!(after(&|y| scal(0.5, y)), [5.0, 10.0, 15.0]);
        assert_eq!(after(&|y| add(&x, y)), [11.0, 22.0, 33.0]);
        assert_eq!(after(&|y| mul(&x, y)), [10.0, 40.0, 90.0]);
        assert_eq!(after(&|y| copy(&x, y)), x);
        assert_eq!(after(&|y| fill(y, 4.0)), [4.0; 3]);
    }
}
