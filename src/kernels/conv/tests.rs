use super::{super::testing::*, *};

fn shape(
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
fn cases() -> Vec<(&'static str, ConvShape, usize)> {
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
            "no image",
            shape((1, 2, 1), &[4, 4], &[3, 3], [&[1, 1], &[1, 1], &[1, 1]]),
            0,
        ),
    ]
}

#[test]
fn the_strip_cases_have_several() {
    for (name, s, batch) in cases() {
        if name.starts_with("several strips") {
            assert!(Split::images(&s, batch).strips().count() > 1, "{name}");
        }
    }
}

#[test]
fn forward_agrees_with_the_direct_loop() {
    for (name, s, batch) in cases() {
        let (x, w) = (noise(batch * s.in_len(), 1), noise(s.weights_len(), 2));
        let bias = noise(s.out_channels, 3);
        let mut y = vec![f32::NAN; batch * s.out_len()];
        let mut workspace = vec![f32::NAN; forward_workspace_len(&s, batch)];
        forward(&s, &x, &w, (Some(&bias), Act::None), &mut y, &mut workspace);
        assert_close(&y, &plain::forward(&s, &x, &w, &bias), 1e-4, name);

        forward(&s, &x, &w, (None, Act::Relu(0.0)), &mut y, &mut workspace);
        let mut want = plain::forward(&s, &x, &w, &vec![0.0; s.out_channels]);
        want.iter_mut().for_each(|y| *y = y.max(0.0));
        assert_close(&y, &want, 1e-4, name);
    }
}

#[test]
fn backward_data_overwrites_with_what_the_direct_loop_says() {
    for (name, s, batch) in cases() {
        let (w, dy) = (noise(s.weights_len(), 2), noise(batch * s.out_len(), 4));
        let mut dx = vec![f32::NAN; batch * s.in_len()];
        let mut workspace = vec![f32::NAN; workspace_len(&s, batch)];
        backward_data(&s, &w, &dy, &mut dx, &mut workspace);
        assert_close(&dx, &plain::backward_data(&s, &w, &dy), 1e-4, name);
    }
}

#[test]
fn gradients_of_weights_and_bias_are_added() {
    for (name, s, batch) in cases() {
        let (x, dy) = (noise(batch * s.in_len(), 1), noise(batch * s.out_len(), 4));
        let (mut dw, mut db) = (noise(s.weights_len(), 5), noise(s.out_channels, 6));
        let mut want = plain::backward_weights(&s, &x, &dy);
        want.iter_mut().zip(&dw).for_each(|(w, d)| *w += d);
        let mut workspace = vec![f32::NAN; workspace_len(&s, batch)];
        backward_weights(&s, &x, &dy, &mut dw, &mut workspace);
        assert_close(&dw, &want, 3e-4, name);

        let mut want = db.clone();
        for (i, d) in dy.iter().enumerate() {
            want[i / s.out_spatial() % s.out_channels] += d;
        }
        backward_bias(&s, &dy, &mut db);
        assert_close(&db, &want, 3e-4, name);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let same = [&[1, 1][..], &[2, 2], &[1, 1]];
    for (s, batch) in [
        (shape((3, 32, 1), &[48, 48], &[5, 5], same), 5),
        (shape((32, 32, 2), &[12, 12], &[5, 5], same), 19),
        (
            shape((64, 64, 1), &[24, 24], &[1, 1], [&[1, 1], &[0, 0], &[1, 1]]),
            1,
        ),
    ] {
        let (x, dy) = (noise(batch * s.in_len(), 1), noise(batch * s.out_len(), 2));
        let (w, bias) = (noise(s.weights_len(), 3), noise(s.out_channels, 4));
        same_bits("convolution", || {
            let mut ws = vec![0.0; workspace_len(&s, batch)];
            let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
            let (mut dw, mut db) = (vec![0.0; w.len()], vec![0.0; bias.len()]);
            forward(&s, &x, &w, (Some(&bias), Act::None), &mut y, &mut ws);
            backward_data(&s, &w, &dy, &mut dx, &mut ws);
            backward_weights(&s, &x, &dy, &mut dw, &mut ws);
            backward_bias(&s, &dy, &mut db);
            [y, dx, dw, db].concat()
        });
    }
}
