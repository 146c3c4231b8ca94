//! Work cut for threads: whole units, as many bytes a piece as pay for a thread's wake-up.
//!
//! A kernel whose results do not depend on where it is cut hands its slices to [`each`]. Reductions cut themselves, in
//! shapes that depend on sizes alone.

/// Up to so many bytes a second thread costs more than it brings: all stays on the calling thread.
const SERIAL: usize = 1 << 18;
/// Bytes that one piece moves at least.
const PIECE: usize = 1 << 16;
/// Pieces for each thread at most: enough that a thread that comes late leaves little to wait for.
const PER_THREAD: usize = 4;

/// What can be cut in two, so many units from the start.
pub trait Cut: Sized + Send {
    /// The first `units` and the rest.
    fn cut(self, units: usize) -> (Self, Self);
}

/// A slice in units of so many elements.
#[derive(Debug)]
pub struct Units<S>(pub S, pub usize);

impl<T: Sync> Cut for Units<&[T]> {
    fn cut(self, units: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at((units * self.1).min(self.0.len()));
        (Self(head, self.1), Self(tail, self.1))
    }
}

impl<T: Send> Cut for Units<&mut [T]> {
    fn cut(self, units: usize) -> (Self, Self) {
        let at = (units * self.1).min(self.0.len());
        let (head, tail) = self.0.split_at_mut(at);
        (Self(head, self.1), Self(tail, self.1))
    }
}

macro_rules! tuples {
    ($($($part:ident)+;)+) => {$(
        impl<$($part: Cut),+> Cut for ($($part,)+) {
            #[allow(non_snake_case, reason = "parts are named as their types")]
            fn cut(self, units: usize) -> (Self, Self) {
                let ($($part,)+) = self;
                $(let $part = $part.cut(units);)+
                (($($part.0,)+), ($($part.1,)+))
            }
        }
    )+};
}
tuples! { A B; A B C; A B C D; A B C D E; }

/// Calls `f` with pieces of `parts`, which have `units` units, and with the number of each piece's first unit; in parallel
/// where it pays. A unit takes the time of moving `bytes` bytes.
pub fn each<P: Cut>(parts: P, units: usize, bytes: usize, f: impl Fn(usize, P) + Sync) {
    let bytes = bytes.max(1);
    let threads = rayon::current_num_threads();
    if threads == 1 || units.saturating_mul(bytes) <= SERIAL {
        return f(0, parts);
    }
    let piece = units.div_ceil(threads * PER_THREAD);
    halves(parts, 0, units, piece.max(PIECE.div_ceil(bytes)), &f);
}

fn halves<P: Cut>(
    parts: P,
    first: usize,
    units: usize,
    most: usize,
    f: &(impl Fn(usize, P) + Sync),
) {
    if units <= most {
        return f(first, parts);
    }
    let half = units.div_ceil(most).div_ceil(2) * most;
    let (head, tail) = parts.cut(half);
    rayon::join(
        || halves(head, first, half, most, f),
        || halves(tail, first + half, units - half, most, f),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::same_bits;

    #[test]
    fn every_unit_comes_once_with_its_number() {
        for units in [0, 1, 5, 1000, 100_003] {
            let x: Vec<f32> = (0..units * 3).map(|i| i as f32).collect();
            let got = same_bits("cut", || {
                let mut y = vec![0.0; units];
                let parts = (Units(&x[..], 3), Units(&mut y[..], 1));
                each(parts, units, 64, |first, (x, y)| {
                    for (i, y) in y.0.iter_mut().enumerate() {
                        *y += (first + i) as f32 + x.0[3 * i];
                    }
                });
                y
            });
            assert!((0..units).all(|i| got[i] == 4.0 * i as f32));
        }
    }
}
