use super::{super::testing::*, *};

pub(super) fn shape(
    (in_channels, out_channels, groups): (usize, usize, usize),
    input: &[usize],
    kernel: &[usize],
    [stride, pad, dilation]: [&[usize]; 3],
) -> ConvShape {
    ConvShape::new(&ConvParams {
        in_channels,
        out_channels,
        groups,
        input,
        kernel,
        stride,
        pad,
        dilation,
    })
    .unwrap()
}

/// Name, shape, batch.
pub(super) fn cases() -> Vec<(&'static str, ConvShape, usize)> {
    vec![
        (
            "same 3x3",
            shape((2, 3, 1), &[5, 4], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            2,
        ),
        (
            "same 5x5, image smaller than the kernel",
            shape((1, 2, 1), &[2, 3], &[5, 5], [&[1, 1], &[2, 2], &[1, 1]]),
            3,
        ),
        (
            "no padding",
            shape((3, 4, 1), &[6, 7], &[3, 2], [&[1, 1], &[0, 0], &[1, 1]]),
            2,
        ),
        (
            "stride and uneven pad",
            shape((2, 5, 1), &[7, 9], &[3, 4], [&[2, 3], &[1, 2], &[1, 1]]),
            2,
        ),
        (
            "stride beyond the kernel",
            shape((2, 3, 1), &[11, 13], &[1, 2], [&[3, 4], &[0, 1], &[1, 1]]),
            2,
        ),
        (
            "pad beyond the kernel",
            shape((1, 2, 1), &[3, 3], &[2, 2], [&[1, 2], &[3, 4], &[1, 1]]),
            2,
        ),
        (
            "dilation, same size",
            shape((2, 2, 1), &[8, 9], &[3, 3], [&[1, 1], &[2, 3], &[2, 3]]),
            2,
        ),
        (
            "dilation and stride",
            shape((2, 2, 1), &[9, 11], &[3, 2], [&[2, 1], &[1, 0], &[2, 4]]),
            2,
        ),
        (
            "groups",
            shape((4, 6, 2), &[5, 6], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            3,
        ),
        (
            "depthwise",
            shape((5, 5, 5), &[6, 5], &[3, 3], [&[2, 2], &[1, 1], &[1, 1]]),
            2,
        ),
        (
            "depthwise, lines longer than vectors",
            shape((4, 4, 4), &[9, 37], &[3, 3], [&[1, 1], &[1, 2], &[1, 1]]),
            2,
        ),
        (
            "depthwise, stride, lines longer than vectors",
            shape((3, 3, 3), &[12, 70], &[3, 3], [&[2, 2], &[3, 0], &[1, 1]]),
            3,
        ),
        (
            "depthwise, no padding",
            shape((3, 3, 3), &[7, 16], &[3, 3], [&[1, 1], &[0, 0], &[1, 1]]),
            3,
        ),
        (
            "depthwise, another filter",
            shape((3, 3, 3), &[7, 16], &[3, 5], [&[1, 2], &[0, 1], &[1, 1]]),
            3,
        ),
        (
            "pointwise",
            shape((6, 7, 1), &[5, 3], &[1, 1], [&[1, 1], &[0, 0], &[1, 1]]),
            3,
        ),
        (
            "pointwise, groups",
            shape((6, 4, 2), &[5, 3], &[1, 1], [&[1, 1], &[0, 0], &[1, 1]]),
            3,
        ),
        (
            "1x1 with stride",
            shape((3, 2, 1), &[5, 4], &[1, 1], [&[2, 2], &[0, 0], &[1, 1]]),
            2,
        ),
        (
            "one axis",
            shape((2, 3, 1), &[13], &[4], [&[2], &[3], &[2]]),
            3,
        ),
        (
            "three axes",
            shape(
                (2, 3, 1),
                &[4, 5, 6],
                &[2, 3, 2],
                [&[1, 2, 1], &[1, 1, 0], &[2, 1, 3]],
            ),
            2,
        ),
        (
            "three axes, same size",
            shape(
                (1, 2, 1),
                &[3, 4, 5],
                &[3, 3, 3],
                [&[1; 3], &[1; 3], &[1; 3]],
            ),
            2,
        ),
        (
            "more images than runs",
            shape((1, 2, 1), &[4, 4], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            37,
        ),
        (
            "several strips, same size",
            shape((40, 3, 1), &[40, 41], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            1,
        ),
        (
            "several strips, stride",
            shape((16, 3, 1), &[60, 61], &[5, 5], [&[2, 1], &[1, 2], &[1, 1]]),
            2,
        ),
        (
            "several strips in one row",
            shape((60, 2, 1), &[1500], &[5], [&[1], &[2], &[1]]),
            1,
        ),
        (
            "several strips, three axes",
            shape(
                (10, 2, 1),
                &[9, 12, 13],
                &[3, 3, 3],
                [&[1; 3], &[1; 3], &[1; 3]],
            ),
            1,
        ),
        (
            "several images together",
            shape((9, 14, 1), &[3, 4], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            29,
        ),
        (
            "several images together, stride",
            shape((4, 3, 1), &[7, 6], &[3, 3], [&[2, 2], &[1, 1], &[1, 1]]),
            31,
        ),
        (
            "pointwise, an image of few pixels more than vectors",
            shape((30, 61, 1), &[7, 7], &[1, 1], [&[1, 1], &[0, 0], &[1, 1]]),
            1,
        ),
        (
            "deep",
            shape((67, 40, 1), &[6, 37], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            2,
        ),
        (
            "lines longer than a strip",
            shape((3, 10, 1), &[2, 1100], &[2, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            1,
        ),
        (
            "no image",
            shape((1, 2, 1), &[4, 4], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            0,
        ),
    ]
}

/// Every plan: each instruction set, alone and as one of many threads.
fn plans(s: &ConvShape, batch: usize) -> Vec<Conv> {
    let paths = Path::all().flat_map(|path| [(path, 1), (path, 5)]);
    paths
        .map(|(path, threads)| Conv::with_path(path, s, batch, threads))
        .collect()
}

fn with_bias(bias: &[f32]) -> Epilogue<'_> {
    Epilogue {
        bias: Some(bias),
        ..Epilogue::default()
    }
}

#[test]
fn forward_agrees_with_the_direct_loop() {
    for (name, s, batch) in cases() {
        let (x, w) = (noise(batch * s.in_len(), 1), noise(s.weights_len(), 2));
        let (bias, residual) = (noise(s.out_channels, 3), noise(batch * s.out_len(), 4));
        let want = plain::forward(&s, &x, &w, &bias);
        let mut more: Vec<f32> = want.iter().zip(&residual).map(|(y, r)| y + r).collect();
        more.iter_mut().for_each(|y| *y = y.max(0.0));
        for conv in plans(&s, batch) {
            let what = format!("{name}, {:?}, shared: {}", conv.path, conv.shared);
            let mut y = vec![f32::NAN; batch * s.out_len()];
            let mut ws = vec![f32::NAN; conv.forward_workspace_len(false)];
            conv.forward(&x, Filters::Plain(&w), with_bias(&bias), &mut y, &mut ws);
            assert_close(&y, &want, 1e-4, &what);

            let packed = conv.pack(&w);
            let mut ws = vec![f32::NAN; conv.forward_workspace_len(true)];
            let mut end = with_bias(&bias);
            end.act = Act::Relu(0.0);
            end.residual = Residual::Other(&residual);
            y.fill(f32::NAN);
            conv.forward(&x, Filters::Packed(&packed), end, &mut y, &mut ws);
            assert_close(&y, &more, 1e-4, &what);

            end.residual = Residual::Output;
            y.copy_from_slice(&residual);
            conv.forward(&x, Filters::Packed(&packed), end, &mut y, &mut ws);
            assert_close(&y, &more, 1e-4, &what);
        }
    }
}

#[test]
fn transformed_tiles_agree_with_the_direct_loop() {
    let same = [&[1, 1][..], &[1, 1], &[1, 1]];
    let cases = [
        (shape((3, 2, 1), &[4, 4], &[3, 3], same), 1),
        (shape((5, 13, 1), &[7, 9], &[3, 3], same), 3),
        (shape((4, 6, 2), &[14, 14], &[3, 3], same), 19),
        (shape((17, 26, 1), &[1, 70], &[3, 3], same), 2),
        (
            shape((8, 25, 1), &[33, 31], &[3, 3], [&[1, 1], &[0, 2], &[1, 1]]),
            1,
        ),
        (
            shape((2, 3, 1), &[3, 3], &[3, 3], [&[1, 1], &[0, 0], &[1, 1]]),
            7,
        ),
        (
            shape((2, 30, 1), &[5, 600], &[3, 3], [&[1, 1], &[3, 4], &[1, 1]]),
            1,
        ),
    ];
    for (s, batch) in cases {
        let (x, w) = (noise(batch * s.in_len(), 1), noise(s.weights_len(), 2));
        let (bias, residual) = (noise(s.out_channels, 3), noise(batch * s.out_len(), 4));
        let want = plain::forward(&s, &x, &w, &bias);
        let mut more: Vec<f32> = want.iter().zip(&residual).map(|(y, r)| y + r).collect();
        more.iter_mut().for_each(|y| *y = y.max(0.0));
        for conv in plans(&s, batch) {
            for m in [2, 4] {
                let what = format!("{s:?}, {m}, {:?}, shared: {}", conv.path, conv.shared);
                let packed = conv.pack_for(&w, Some(m));
                let mut conv =
                    Conv::with_path(conv.path, &s, batch, 1 + 4 * usize::from(conv.shared));
                conv.winograd = OnceLock::new();
                let mut y = vec![f32::NAN; batch * s.out_len()];
                let filters = Filters::Packed(&packed);
                conv.forward(&x, filters, with_bias(&bias), &mut y, &mut []);
                assert_close(&y, &want, 1e-4, &what);

                let mut end = with_bias(&bias);
                end.act = Act::Relu(0.0);
                end.residual = Residual::Other(&residual);
                y.fill(f32::NAN);
                conv.forward(&x, filters, end, &mut y, &mut []);
                assert_close(&y, &more, 1e-4, &what);

                end.residual = Residual::Output;
                y.copy_from_slice(&residual);
                conv.forward(&x, filters, end, &mut y, &mut []);
                assert_close(&y, &more, 1e-4, &what);
            }
        }
    }
}

#[test]
fn large_layers_are_transformed_and_small_ones_are_not() {
    let same = [&[1, 1][..], &[1, 1], &[1, 1]];
    let chosen = |channels, side: usize, batch| {
        let s = shape((channels, channels, 1), &[side, side], &[3, 3], same);
        let conv = Conv::with_path(Path::best(), &s, batch, 2);
        conv.pack(&vec![0.0; s.weights_len()]).winograd
    };
    assert_eq!(chosen(64, 56, 1), Some(4));
    assert_eq!(chosen(3, 56, 1), None);
    let strided = [&[2, 2][..], &[1, 1], &[1, 1]];
    let s = shape((64, 64, 1), &[56, 56], &[3, 3], strided);
    let conv = Conv::new(&s, 1);
    assert_eq!(conv.pack(&vec![0.0; s.weights_len()]).winograd, None);
}

#[test]
fn backward_data_overwrites_with_what_the_direct_loop_says() {
    for (name, s, batch) in cases() {
        let (w, dy) = (noise(s.weights_len(), 2), noise(batch * s.out_len(), 4));
        let want = plain::backward_data(&s, &w, &dy);
        for conv in plans(&s, batch) {
            let mut dx = vec![f32::NAN; batch * s.in_len()];
            let mut ws = vec![f32::NAN; conv.workspace_len()];
            conv.backward_data(&w, &dy, &mut dx, &mut ws);
            let what = format!("{name}, {:?}, shared: {}", conv.path, conv.shared);
            assert_close(&dx, &want, 1e-4, &what);
        }
    }
}

#[test]
fn gradients_of_weights_and_bias_are_added() {
    for (name, s, batch) in cases() {
        let (x, dy) = (noise(batch * s.in_len(), 1), noise(batch * s.out_len(), 4));
        let (before, bias) = (noise(s.weights_len(), 5), noise(s.out_channels, 6));
        let mut want_bias = bias.clone();
        for (i, d) in dy.iter().enumerate() {
            want_bias[i / s.out_spatial() % s.out_channels] += d;
        }
        let mut want = plain::backward_weights(&s, &x, &dy);
        want.iter_mut().zip(&before).for_each(|(w, d)| *w += d);
        for conv in plans(&s, batch) {
            let (mut dw, mut db, mut alone) = (before.clone(), bias.clone(), bias.clone());
            let mut ws = vec![f32::NAN; conv.workspace_len()];
            conv.backward_weights(&x, &dy, (&mut dw, Some(&mut db)), &mut ws);
            conv.backward_bias(&dy, &mut alone);
            let what = format!("{name}, {:?}", conv.path);
            assert_close(&dw, &want, 3e-4, &what);
            assert_close(&db, &want_bias, 3e-4, &what);
            assert_close(&alone, &want_bias, 3e-4, &what);
            conv.backward_weights(&x, &dy, (&mut before.clone(), None), &mut ws);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let same = [&[1, 1][..], &[2, 2], &[1, 1]];
    for (s, batch) in [
        (shape((3, 32, 1), &[48, 48], &[5, 5], same), 5),
        (shape((32, 32, 2), &[12, 12], &[5, 5], same), 19),
        (shape((30, 26, 1), &[6, 5], &[5, 5], same), 20),
        (
            shape((64, 64, 1), &[24, 24], &[1, 1], [&[1, 1], &[0, 0], &[1, 1]]),
            1,
        ),
        (
            shape((24, 50, 1), &[31, 17], &[3, 3], [&[2, 2], &[1, 1], &[1, 1]]),
            1,
        ),
        // Long sums over panels that threads share unevenly.
        (shape((64, 100, 1), &[6, 6], &[3, 3], same), 1),
    ] {
        let (x, dy) = (noise(batch * s.in_len(), 1), noise(batch * s.out_len(), 2));
        let (w, bias) = (noise(s.weights_len(), 3), noise(s.out_channels, 4));
        same_bits("convolution", || {
            let conv = Conv::new(&s, batch);
            let mut ws = vec![0.0; conv.workspace_len()];
            let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
            let (mut dw, mut db) = (vec![0.0; w.len()], vec![0.0; bias.len()]);
            conv.forward(&x, Filters::Plain(&w), with_bias(&bias), &mut y, &mut ws);
            conv.backward_data(&w, &dy, &mut dx, &mut ws);
            conv.backward_weights(&x, &dy, (&mut dw, Some(&mut db)), &mut ws);
            [y, dx, dw, db].concat()
        });
    }
}

/// What a pass is lent holds anything: values that are no numbers must not leak out of it.
#[test]
fn nothing_is_read_that_was_not_written() {
    for (name, s, batch) in cases() {
        let (x, w) = (vec![1.0; batch * s.in_len()], vec![1.0; s.weights_len()]);
        let dy = vec![1.0; batch * s.out_len()];
        for conv in plans(&s, batch) {
            // Leaves its buffers of this thread full of infinities.
            let mut ws = vec![f32::INFINITY; conv.workspace_len()];
            let infinite = vec![f32::INFINITY; x.len()];
            let mut y = vec![f32::NAN; dy.len()];
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            let mut db = vec![0.0; s.out_channels];
            conv.forward(
                &infinite,
                Filters::Plain(&w),
                Epilogue::default(),
                &mut y,
                &mut ws,
            );
            let infinite = vec![f32::INFINITY; dy.len()];
            conv.backward_weights(&x, &infinite, (&mut dw, Some(&mut db)), &mut ws);
            conv.forward(&x, Filters::Plain(&w), Epilogue::default(), &mut y, &mut ws);
            conv.backward_data(&w, &dy, &mut dx, &mut ws);
            dw.fill(0.0);
            db.fill(0.0);
            conv.backward_weights(&x, &dy, (&mut dw, Some(&mut db)), &mut ws);
            let sound = y
                .iter()
                .chain(&dx)
                .chain(&dw)
                .chain(&db)
                .all(|v| v.is_finite());
            assert!(sound, "{name}, {:?}", conv.path);
        }
    }
}
