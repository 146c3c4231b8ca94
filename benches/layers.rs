//! Layers that do little arithmetic, in bytes per second: what is read and written once, whatever a kernel really moves.
//! Each `memory` row copies as many bytes with the same threads; the table before the benchmarks gives every row's share
//! of it. Shapes: CIFAR-10 full with 100 images, AlexNet and GoogLeNet with 16, LeNet with 64, and awkward ones.

#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

use std::time::Instant;

use cortado::kernels::{
    channelwise,
    lrn::{self, Lrn},
    map,
    pool::{self, PoolShape},
    reduce, simd, softmax,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A row: its name, the bytes it has to move, and one run of it.
type Row = (String, usize, Box<dyn FnMut()>);

/// Values around 0, the same in every run.
fn noise(len: usize) -> Vec<f32> {
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 8 & 0xffff) as f32 / 32_768.0 - 1.0;
    (0..len).map(value).collect()
}

/// Name, planes, side, kernel, stride, pad.
const POOLS: &[(&str, usize, usize, usize, usize, usize)] = &[
    ("cifar_pool1_3s2", 3200, 32, 3, 2, 0),
    ("alexnet_pool1_3s2", 1536, 55, 3, 2, 0),
    ("googlenet_pool1_3s2", 1024, 112, 3, 2, 0),
    ("googlenet_inception3_3s1", 4096, 28, 3, 1, 1),
    ("googlenet_inception5_3s1", 13_312, 7, 3, 1, 1),
    ("lenet_pool1_2s2", 1280, 24, 2, 2, 0),
    ("awkward_5s3_of_37", 1000, 37, 5, 3, 2),
    ("global_7", 16_384, 7, 7, 1, 0),
];

/// Name, images, channels, side.
const LRNS: &[(&str, usize, usize, usize)] = &[
    ("cifar_norm1", 100, 32, 16),
    ("alexnet_norm1", 16, 96, 55),
    ("googlenet_norm2", 16, 192, 56),
    ("awkward_13x13x13", 7, 13, 13),
];

/// Name, values: the blobs between the layers.
const BLOBS: &[(&str, usize)] = &[
    ("lenet_ip1", 64 * 500),
    ("cifar_conv3", 100 * 64 * 64),
    ("alexnet_conv1", 16 * 96 * 55 * 55),
    ("awkward", 1_000_003),
];

/// Name, channels, inner, images.
const PLANES: &[(&str, usize, usize, usize)] = &[
    ("resnet_conv2", 64, 3136, 16),
    ("resnet_conv5", 512, 49, 16),
    ("lenet_ip1", 500, 1, 64),
];

fn pools(rows: &mut Vec<Row>) {
    for &(name, planes, side, kernel, stride, pad) in POOLS {
        let size = (side + 2 * pad - kernel).div_ceil(stride) + 1;
        let s = PoolShape {
            input: [side; 2],
            pooled: [size; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            pad: [pad; 2],
        };
        let (x, y) = (noise(planes * side * side), vec![0.0; planes * size * size]);
        let at = vec![0; y.len()];
        let (both, places) = (4 * (x.len() + y.len()), 4 * (x.len() + 2 * y.len()));
        let (a, mut b, mut c) = (x.clone(), y.clone(), at.clone());
        let run = move || pool::max_forward(&s, &a, &mut b, &mut c);
        rows.push((format!("max_train/{name}"), places, Box::new(run)));
        let (a, mut b) = (x.clone(), y.clone());
        let run = move || pool::max_forward(&s, &a, &mut b, &mut []);
        rows.push((format!("max_test/{name}"), both, Box::new(run)));
        let (mut a, b, mut c) = (x.clone(), y.clone(), at);
        pool::max_forward(&s, &a, &mut b.clone(), &mut c);
        let run = move || pool::max_backward(&s, &b, &c, &mut a);
        rows.push((format!("max_backward/{name}"), places, Box::new(run)));
        let (a, mut b) = (x.clone(), y.clone());
        let run = move || pool::average_forward(&s, &a, &mut b);
        rows.push((format!("average/{name}"), both, Box::new(run)));
        let (mut a, b) = (x, y);
        let run = move || pool::average_backward(&s, &b, &mut a);
        rows.push((format!("average_backward/{name}"), both, Box::new(run)));
    }
}

fn lrns(rows: &mut Vec<Row>) {
    for &(name, images, channels, side) in LRNS {
        let p = Lrn {
            size: 5,
            alpha: 1e-4,
            beta: 0.75,
            k: 1.0,
        };
        let (plane, dims) = ([side; 2], (channels, side * side));
        let x = noise(images * channels * side * side);
        let bytes = 4 * x.len();
        let (a, mut b) = (x.clone(), x.clone());
        let run = move || lrn::across_forward(&p, &a, dims, &mut b);
        rows.push((format!("lrn_across/{name}"), 2 * bytes, Box::new(run)));
        let (a, mut b) = (x.clone(), x.clone());
        let run = move || lrn::across_backward(&p, &a, dims, &a, &mut b);
        rows.push((
            format!("lrn_across_backward/{name}"),
            3 * bytes,
            Box::new(run),
        ));
        let p = Lrn { size: 3, ..p };
        let (a, mut b) = (x.clone(), x.clone());
        let run = move || lrn::within_forward(&p, &a, plane, &mut b);
        rows.push((format!("lrn_within/{name}"), 2 * bytes, Box::new(run)));
        let (a, mut b) = (x.clone(), x);
        let run = move || lrn::within_backward(&p, &a, plane, &a, &mut b);
        rows.push((
            format!("lrn_within_backward/{name}"),
            3 * bytes,
            Box::new(run),
        ));
    }
}

fn elementwise(rows: &mut Vec<Row>) {
    for &(name, len) in BLOBS {
        let (x, bytes) = (noise(len), 4 * len);
        let relu = |x: f32| x * if x > 0.0 { 1.0 } else { 0.0 };
        let mut a = x.clone();
        let run = move || map::map_in_place(&mut a, relu);
        rows.push((format!("relu_in_place/{name}"), 2 * bytes, Box::new(run)));
        let (a, mut b) = (x.clone(), x.clone());
        let mask = |d: f32, y: f32| d * if y > 0.0 { 1.0 } else { 0.0 };
        let run = move || map::zip_into(&mut b, &a, mask);
        rows.push((format!("relu_backward/{name}"), 3 * bytes, Box::new(run)));
        let (a, b, mut c) = (x.clone(), x.clone(), x.clone());
        let run = move || map::zip2(&a, &b, &mut c, |a, b| a + b);
        rows.push((format!("eltwise_sum/{name}"), 3 * bytes, Box::new(run)));
        let (a, mut b) = (x.clone(), x.clone());
        let run = move || map::map(&a, &mut b, simd::tanh);
        rows.push((format!("tanh/{name}"), 2 * bytes, Box::new(run)));
        let (a, mut b) = (
            x.iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>(),
            x.clone(),
        );
        let run = move || simd::slices::pow(&a, 1.3, &mut b);
        rows.push((format!("power_one_thread/{name}"), 2 * bytes, Box::new(run)));
        let a = x;
        let run = move || {
            std::hint::black_box(reduce::sumsq(&a));
        };
        rows.push((format!("sum_of_squares/{name}"), bytes, Box::new(run)));
    }
}

fn by_channel(rows: &mut Vec<Row>) {
    for &(name, channels, inner, images) in PLANES {
        let (x, dims) = (noise(images * channels * inner), (channels, inner));
        let bytes = 4 * x.len();
        let (a, mut mean, mut var) = (x.clone(), vec![0.0; channels], vec![0.0; channels]);
        let run = move || reduce::channel_moments(&a, dims, &mut mean, &mut var);
        rows.push((format!("batch_norm_moments/{name}"), bytes, Box::new(run)));
        let (a, b) = (x.clone(), x.clone());
        let (mut dot, mut sum) = (vec![0.0; channels], vec![0.0; channels]);
        let run = move || reduce::channel_dot_sum_add(&a, &b, dims, &mut dot, &mut sum);
        rows.push((format!("scale_gradients/{name}"), 2 * bytes, Box::new(run)));
        let (a, mut b) = (x.clone(), x);
        let run = move || channelwise::channel_map_to(&a, &mut b, dims, |c| move |x| x * c as f32);
        rows.push((format!("scale/{name}"), 2 * bytes, Box::new(run)));
    }
    for (name, channels, inner, images) in [
        ("lenet", 10, 1, 64),
        ("imagenet", 1000, 1, 16),
        ("segmentation_21_of_100x100", 21, 10_000, 4),
    ] {
        let (x, dims) = (noise(images * channels * inner), (channels, inner));
        let bytes = 4 * x.len();
        let (a, mut b) = (x.clone(), x.clone());
        let run = move || softmax::forward(&a, dims, &mut b);
        rows.push((format!("softmax/{name}"), 2 * bytes, Box::new(run)));
        let (a, b, mut c) = (x.clone(), x.clone(), x);
        let run = move || softmax::backward(&a, &b, dims, &mut c);
        rows.push((format!("softmax_backward/{name}"), 3 * bytes, Box::new(run)));
    }
}

fn memory(bytes: usize) -> impl FnMut() {
    let (a, mut b) = (noise(bytes / 8), noise(bytes / 8));
    move || map::copy(&a, &mut b)
}

/// The best of several runs, in seconds.
fn best(run: &mut dyn FnMut()) -> f64 {
    run();
    let mut time = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..10).map(|_| time()).fold(f64::INFINITY, f64::min)
}

fn benches(c: &mut Criterion) {
    let mut rows = Vec::new();
    pools(&mut rows);
    lrns(&mut rows);
    elementwise(&mut rows);
    by_channel(&mut rows);
    // On a thread of the pool, as a net runs.
    println!(
        "{:44} {:>9} {:>8} {:>8} {:>6}",
        "kernel", "ms", "GB/s", "memory", "share"
    );
    for (name, bytes, run) in &mut rows {
        let (time, copy) = (best(run), best(&mut memory(*bytes)));
        let speed = |time: f64| *bytes as f64 / time / 1e9;
        let (ms, share) = (time * 1e3, 100.0 * copy / time);
        println!(
            "{name:44} {ms:9.4} {:8.1} {:8.1} {share:5.0}%",
            speed(time),
            speed(copy)
        );
    }
    let mut group = c.benchmark_group("layers");
    group.sample_size(10);
    for bytes in [1 << 18, 1 << 22, 1 << 26] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut copy = memory(bytes);
        group.bench_function(format!("memory/{bytes}"), |b| b.iter(&mut copy));
    }
    for (name, bytes, run) in &mut rows {
        group.throughput(Throughput::Bytes(*bytes as u64));
        group.bench_function(&*name, |b| b.iter(&mut *run));
    }
    group.finish();
}

criterion_group!(layers, benches);
criterion_main!(layers);
