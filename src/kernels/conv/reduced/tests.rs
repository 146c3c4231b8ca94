use super::{
    super::{plain, tests::*},
    *,
};
use crate::kernels::{narrow::rounded, testing::*};

const BOTH: [Reduction; 2] = [
    Reduction::Bf16,
    Reduction::Int8 {
        low: -0.9,
        high: 1.0,
    },
];

/// Every instruction set gives what the direct loop gives for rounded inputs and weights, and the same bits.
#[test]
fn agrees_with_the_direct_loop() {
    for (name, s, batch) in cases() {
        let (x, w) = (noise(batch * s.in_len(), 1), noise(s.weights_len(), 2));
        let (bias, residual) = (noise(s.out_channels, 3), noise(batch * s.out_len(), 4));
        for reduction in BOTH {
            let rx = rounded::inputs(&x, reduction);
            let rw = rounded::weights(&w, s.col_rows(), reduction);
            let want = plain::forward(&s, &rx, &rw, &bias);
            let mut more: Vec<f32> = want.iter().zip(&residual).map(|(y, r)| y + r).collect();
            more.iter_mut().for_each(|y| *y = y.max(0.0));
            let mut first: Option<Vec<f32>> = None;
            for path in Path::all() {
                let what = format!("{name}, {path:?}, {reduction:?}");
                let conv = Reduced::with_path(path, &s, reduction);
                let packed = conv.pack(&w);
                let mut end = Epilogue {
                    bias: Some(&bias),
                    ..Epilogue::default()
                };
                let mut y = vec![f32::NAN; batch * s.out_len()];
                conv.forward(&x, &packed, end, &mut y);
                assert_close(&y, &want, 3e-4, &what);
                assert_eq!(&y, first.get_or_insert_with(|| y.clone()), "{what}");
                end.act = Act::Relu(0.0);
                end.residual = Residual::Other(&residual);
                y.fill(f32::NAN);
                conv.forward(&x, &packed, end, &mut y);
                assert_close(&y, &more, 3e-4, &what);
                end.residual = Residual::Output;
                y.copy_from_slice(&residual);
                conv.forward(&x, &packed, end, &mut y);
                assert_close(&y, &more, 3e-4, &what);
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let same = [&[1, 1][..], &[1, 1], &[1, 1]];
    for (s, batch) in [
        (shape((30, 70, 1), &[23, 19], &[3, 3], same), 1),
        (shape((8, 40, 2), &[12, 12], &[3, 3], same), 9),
        (
            shape((64, 64, 1), &[24, 24], &[1, 1], [&[1, 1], &[0, 0], &[1, 1]]),
            2,
        ),
    ] {
        let (x, w) = (noise(batch * s.in_len(), 1), noise(s.weights_len(), 3));
        for reduction in BOTH {
            same_bits("reduced convolution", || {
                let conv = Reduced::new(&s, reduction).unwrap();
                let mut y = vec![f32::NAN; batch * s.out_len()];
                conv.forward(&x, &conv.pack(&w), Epilogue::default(), &mut y);
                y
            });
        }
    }
}

/// Buffers hold anything: what is no number in one image must not leak into the next.
#[test]
fn nothing_is_read_that_was_not_written() {
    for (name, s, batch) in cases() {
        let (x, w) = (vec![1.0; batch * s.in_len()], vec![1.0; s.weights_len()]);
        for path in Path::all() {
            let conv = Reduced::with_path(path, &s, Reduction::Bf16);
            let packed = conv.pack(&w);
            let mut y = vec![f32::NAN; batch * s.out_len()];
            let infinite = vec![f32::INFINITY; x.len()];
            conv.forward(&infinite, &packed, Epilogue::default(), &mut y);
            conv.forward(&x, &packed, Epilogue::default(), &mut y);
            assert!(y.iter().all(|v| v.is_finite()), "{name}, {path:?}");
        }
    }
}

#[test]
fn what_may_overflow_is_refused() {
    let s = shape((8000, 4, 1), &[3, 3], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]);
    let error = Reduced::new(&s, BOTH[1]).err().unwrap();
    assert!(error.contains("72000 products"), "{error}");
    assert!(Reduced::new(&s, BOTH[0]).is_ok());
}
