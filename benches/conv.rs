//! Convolutions in multiply-adds per second (twice that in FLOP/s), each beside the bare matrix product it comes down to.

use cortado::kernels::{
    conv::{Conv, ConvParams, ConvShape, Epilogue, Filters},
    gemm::{Gemm, gemm},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Name, batch, input channels, output channels, groups, image side, kernel, stride, pad.
type Case = (
    &'static str,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
);

const CASES: &[Case] = &[
    ("conv1_5x5_3_32_of_48x48", 100, 3, 32, 1, 48, 5, 1, 2),
    ("conv2_5x5_32_64_of_24x24", 100, 32, 64, 1, 24, 5, 1, 2),
    ("conv_last_5x5_64_5_of_12x12", 100, 64, 5, 1, 12, 5, 1, 2),
    ("alexnet_conv1_stride_4", 8, 3, 96, 1, 227, 11, 4, 0),
    ("alexnet_conv2_groups", 8, 96, 256, 2, 27, 5, 1, 2),
    ("vgg_conv3_3x3_256", 1, 256, 256, 1, 56, 3, 1, 1),
    ("pointwise_256", 8, 256, 64, 1, 56, 1, 1, 0),
    ("depthwise_3x3_256", 8, 256, 256, 256, 28, 3, 1, 1),
];

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv");
    group.sample_size(20);
    for &(name, batch, cin, cout, groups, side, kernel, stride, pad) in CASES {
        let s = ConvShape::new(&ConvParams {
            in_channels: cin,
            out_channels: cout,
            groups,
            input: &[side; 2],
            kernel: &[kernel; 2],
            stride: &[stride; 2],
            pad: &[pad; 2],
            dilation: &[1; 2],
        })
        .expect("the table holds sound sizes");
        let mut x = vec![0.5f32; batch * s.in_len()];
        let mut y = vec![0.5f32; batch * s.out_len()];
        let mut w = vec![0.5f32; s.weights_len()];
        let bias = vec![0.5f32; cout];
        let conv = Conv::new(&s, batch);
        let mut ws = vec![0.0; conv.workspace_len()];
        let end = Epilogue {
            bias: Some(&bias),
            ..Epilogue::default()
        };
        group.throughput(Throughput::Elements((batch * s.multiply_adds()) as u64));

        let pixels: usize = s.output().iter().product();
        let (m, k) = (cout / groups, s.weights_len() / cout);
        let columns = vec![0.5f32; k * pixels];
        group.bench_function(format!("{name}/gemm_alone"), |b| {
            b.iter(|| {
                for y in y.chunks_exact_mut(m * pixels) {
                    gemm(&Gemm::new(m, pixels, k), &w, &columns, y);
                }
            });
        });
        group.bench_function(format!("{name}/forward"), |b| {
            b.iter(|| conv.forward(&x, Filters::Plain(&w), end, &mut y, &mut ws));
        });
        group.bench_function(format!("{name}/backward_weights"), |b| {
            b.iter(|| conv.backward_weights(&x, &y, (&mut w, None), &mut ws));
        });
        group.bench_function(format!("{name}/backward_data"), |b| {
            b.iter(|| conv.backward_data(&w, &y, &mut x, &mut ws));
        });
    }
    group.finish();
}

criterion_group!(convs, benches);
criterion_main!(convs);
