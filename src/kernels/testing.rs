//! What the kernels' tests share: data, comparison, and the law of threads.

/// `len` values in [-1, 1), the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Panics where the two differ by more than `tol`, absolutely for small values and relatively for large ones.
pub(crate) fn assert_close(got: &[f32], want: &[f32], tol: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tol * w.abs().max(1.0),
            "{what}: [{i}] is {g}, expected {w}"
        );
    }
}

/// Panics unless `f` gives the same bits with 1, 2 and 3 threads; returns them.
pub(crate) fn same_bits(what: &str, f: impl Fn() -> Vec<f32> + Sync) -> Vec<f32> {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(&f)
    };
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let one = run(1);
    for n in [2, 3] {
        let other = run(n);
        assert!(
            bits(&one) == bits(&other),
            "{what}: 1 and {n} threads differ"
        );
    }
    one
}
