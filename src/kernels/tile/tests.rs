use super::*;
use crate::kernels::testing::{assert_close, noise};

/// What a microkernel is asked, for every size it has.
struct Sizes;

impl Job for Sizes {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        multiply_at(tile);
        outer_at(tile);
        dot_at(tile);
        put(tile);
        split_and_join::<T, 2>(tile);
        split_and_join::<T, 4>(tile);
    }
}

fn multiply_at<T: Tile>(tile: T) {
    for rows in 1..=T::ROWS {
        for vectors in 1..=8.min(T::SUMS / rows) {
            for k in [0, 1, 7] {
                let a = noise(k * T::ROWS, 1);
                let b = noise(400, 2);
                let bases: Vec<usize> = (0..vectors).map(|v| 17 * v + v % 3).collect();
                let taps: Vec<usize> = (0..k).map(|p| p * 37 % 101).collect();
                let mut out = [f32::NAN; TILE];
                tile.multiply_at(rows, &a, &b, &bases, Taps::new(&taps), &mut out);
                for (i, out) in out.chunks(vectors * T::LANES).take(rows).enumerate() {
                    for (j, got) in out.iter().enumerate() {
                        let (base, lane) = (bases[j / T::LANES], j % T::LANES);
                        let want = (0..k).map(|p| a[p * T::ROWS + i] * b[base + taps[p] + lane]);
                        assert_close(&[*got], &[want.sum()], 1e-5, "multiply_at");
                    }
                }
            }
        }
    }
}

fn outer_at<T: Tile>(tile: T) {
    for taps in 1..=T::ROWS {
        for vectors in 1..=T::COLS / T::LANES {
            for (len, runs) in [(1, 1), (7, 3), (16, 2), (3, 0)] {
                let (a, b) = (noise(400, 1), noise(len * runs * T::COLS, 2));
                let bases: Vec<usize> = (0..runs).map(|r| 31 * r + 2).collect();
                let offsets: Vec<usize> = (0..taps).map(|t| t * 37 % 101).collect();
                let mut out = [f32::NAN; TILE];
                let taps = Taps::new(&offsets);
                tile.outer_at((len, vectors), &a, &bases, taps, &b, &mut out);
                for (t, out) in out.chunks(T::COLS).take(offsets.len()).enumerate() {
                    for (j, got) in out.iter().take(vectors * T::LANES).enumerate() {
                        let steps = (0..runs).flat_map(|r| (0..len).map(move |q| (r, q)));
                        let products = steps.map(|(r, q)| {
                            a[bases[r] + offsets[t] + q] * b[(r * len + q) * T::COLS + j]
                        });
                        assert_close(&[*got], &[products.sum()], 1e-5, "outer_at");
                    }
                }
            }
        }
    }
}

fn dot_at<T: Tile>(tile: T) {
    for rows in 1..=6.min(T::SUMS) {
        for taps in 1..=MOST.min(T::SUMS / rows) {
            for (len, count) in [(0, 1), (T::LANES, 3), (5 * T::LANES, 1)] {
                let dims = Dots {
                    rows,
                    lda: len + 3,
                    len,
                    count,
                    a_apart: rows * (len + 3),
                    b_apart: len + 1,
                };
                let a = noise(count * dims.a_apart, 1);
                let b = noise(count * dims.b_apart + 50, 2);
                let offsets: Vec<usize> = (0..taps).map(|t| t * 7 % 50).collect();
                let mut out = [f32::NAN; TILE];
                tile.dot_at(dims, &a, &b, Taps::new(&offsets), &mut out);
                for i in 0..rows {
                    for t in 0..taps {
                        let mut want = 0.0;
                        for n in 0..count {
                            let a = &a[n * dims.a_apart + i * dims.lda..][..len];
                            let b = &b[n * dims.b_apart + offsets[t]..][..len];
                            want += a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                        }
                        assert_close(&[out[i * taps + t]], &[want], 1e-5, "dot_at");
                    }
                }
            }
        }
    }
}

fn put<T: Tile>(tile: T) {
    let (from, residual) = (noise(T::LANES, 1), noise(T::LANES, 2));
    for lane in 0..T::LANES {
        for len in 0..=T::LANES - lane {
            for (add, bias, slope) in [(false, 0.0, 1.0), (true, 0.5, 0.0), (false, 0.1, 0.25)] {
                for residual in [None, Some(&residual[..len])] {
                    let end = Finish { add, bias, slope };
                    let before = noise(len + 2, 3);
                    let mut got = before.clone();
                    tile.put(&from, lane, &mut got[1..=len], residual, end);
                    let mut want = before.clone();
                    for i in 0..len {
                        let residual = residual.map_or(0.0, |r| r[i]);
                        want[i + 1] = end.one(from[lane + i], before[i + 1], residual);
                    }
                    assert_close(&got, &want, 1e-6, "put");
                    if lane == 0 {
                        let mut got = before.clone();
                        tile.finish(tile.load(&from), &mut got[1..=len], residual, end);
                        assert_close(&got, &want, 1e-6, "finish");
                    }
                }
            }
        }
    }
}

fn split_and_join<T: Tile, const M: usize>(tile: T) {
    let from = noise(M * T::LANES, 1);
    let parts: [T::V; M] = tile.split(&from);
    for (r, part) in parts.into_iter().enumerate() {
        let mut got = vec![f32::NAN; T::LANES];
        tile.store(part, &mut got);
        let want: Vec<f32> = from[r..].iter().step_by(M).copied().collect();
        assert_eq!(got, want, "part {r} of {M}");
    }
    let mut back = vec![f32::NAN; from.len()];
    tile.join(parts, &mut back);
    assert_eq!(back, from);
    let (a, b) = (tile.load(&from), tile.load(&from[T::LANES..]));
    let mut got = [f32::NAN; 16];
    tile.store(
        tile.scale_add(3.0, tile.sub(a, b), tile.add(a, b)),
        &mut got,
    );
    let pairs = from.iter().zip(&from[T::LANES..]);
    let want: Vec<f32> = pairs
        .map(|(a, b)| 3.0 * (a - b) + (a + b))
        .take(T::LANES)
        .collect();
    assert_close(&got[..T::LANES], &want, 1e-6, "arithmetic");
}

#[test]
fn every_size_of_every_instruction_set_agrees_with_the_formula() {
    for path in Path::all() {
        path.run(Sizes);
    }
}

#[test]
fn not_a_number_stays_one_and_zero_is_positive() {
    struct Relu;
    impl Job for Relu {
        type Out = [f32; 4];
        #[inline(always)]
        fn run<T: Tile>(self, tile: T) -> [f32; 4] {
            let mut from = [0.0; 16];
            from[..4].copy_from_slice(&[f32::NAN, -0.0, -1.0, f32::INFINITY]);
            let (mut to, end) = (
                [0.0; 4],
                Finish {
                    add: false,
                    bias: 0.0,
                    slope: 0.0,
                },
            );
            tile.put(&from, 0, &mut to, None, end);
            to
        }
    }
    for path in Path::all() {
        let y = path.run(Relu);
        assert!(y[0].is_nan() && y[3] == f32::INFINITY, "{path:?}: {y:?}");
        assert_eq!([y[1].to_bits(), y[2].to_bits()], [0, 0], "{path:?}");
    }
}

#[test]
#[should_panic(expected = "beyond the field")]
fn a_vector_beyond_the_field_is_refused() {
    struct Beyond;
    impl Job for Beyond {
        type Out = ();
        #[inline(always)]
        fn run<T: Tile>(self, tile: T) {
            let (a, b) = ([1.0; 64], [1.0; 64]);
            let taps = Taps::new(&[0, 9]);
            tile.multiply_at(1, &a, &b, &[56], taps, &mut [0.0; TILE]);
        }
    }
    let own = Path::all().find(|path| !matches!(path, Path::Portable(_)));
    own.expect("beyond the field: no tile to ask").run(Beyond);
}

#[cfg(target_arch = "aarch64")]
#[test]
fn arm_has_neon() {
    assert!(matches!(Path::best(), Path::Neon(_)));
}
