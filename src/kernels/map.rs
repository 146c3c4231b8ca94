//! One value from one, element by element, in parallel.
//!
//! Slices are cut into fixed pieces, and short ones stay on the calling thread. Every result depends on its own
//! element alone, so threads cannot change it.

use rayon::prelude::*;

/// Elements that one task handles.
const PIECE: usize = 1 << 14;
/// Up to here a second thread costs more than it brings.
const SERIAL: usize = 1 << 15;

/// y\[i\] = f(x\[i\]).
pub fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    zip_into(y, x, |_, x| f(x));
}

/// y\[i\] = f(y\[i\]).
pub fn map_in_place(y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    let run = |y: &mut [f32]| y.iter_mut().for_each(|y| *y = f(*y));
    if y.len() <= SERIAL {
        run(y);
    } else {
        y.par_chunks_mut(PIECE).for_each(run);
    }
}

/// y\[i\] = f(y\[i\], x\[i\]).
pub fn zip_into(y: &mut [f32], x: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    assert_eq!(x.len(), y.len());
    let run = |(y, x): (&mut [f32], &[f32])| y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*y, *x));
    if y.len() <= SERIAL {
        run((y, x));
    } else {
        y.par_chunks_mut(PIECE)
            .zip(x.par_chunks(PIECE))
            .for_each(run);
    }
}

/// y\[i\] = f(a\[i\], b\[i\]).
pub fn zip2(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    zip2_into(y, a, b, |_, a, b| f(a, b));
}

/// y\[i\] = f(y\[i\], a\[i\], b\[i\]).
pub fn zip2_into(y: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32 + Sync) {
    assert!(a.len() == y.len() && b.len() == y.len());
    let run = |((y, a), b): ((&mut [f32], &[f32]), &[f32])| {
        y.iter_mut()
            .zip(a)
            .zip(b)
            .for_each(|((y, a), b)| *y = f(*y, *a, *b));
    };
    if y.len() <= SERIAL {
        run(((y, a), b));
    } else {
        y.par_chunks_mut(PIECE)
            .zip(a.par_chunks(PIECE))
            .zip(b.par_chunks(PIECE))
            .for_each(run);
    }
}

/// y\[i\] = x\[i\].
pub fn copy(x: &[f32], y: &mut [f32]) {
    map(x, y, |x| x);
}

/// y\[i\] = value.
pub fn fill(y: &mut [f32], value: f32) {
    map_in_place(y, |_| value);
}

/// y = a · x + y.
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    zip_into(y, x, |y, x| a * x + y);
}

/// y = a · x + b · y.
pub fn axpby(a: f32, x: &[f32], b: f32, y: &mut [f32]) {
    zip_into(y, x, |y, x| a * x + b * y);
}

/// y = a · y.
pub fn scal(a: f32, y: &mut [f32]) {
    map_in_place(y, |y| a * y);
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
        for n in [0, 1, 7, SERIAL, SERIAL + 1, 3 * PIECE + 5] {
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
