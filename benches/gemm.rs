//! Matrix products in multiply-adds per second (twice that in FLOP/s), over shapes that nets ask for.

use cortado::kernels::gemm::{Gemm, gemm};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Name, m, n, k, A transposed, B transposed.
const SHAPES: &[(&str, usize, usize, usize, bool, bool)] = &[
    ("square_256", 256, 256, 256, false, false),
    ("square_1024", 1024, 1024, 1024, false, false),
    ("conv1_5x5_3_32_of_48x48", 32, 2304, 75, false, false),
    ("conv2_5x5_32_64_of_24x24", 64, 576, 800, false, false),
    ("conv_last_5x5_64_5_of_12x12", 5, 144, 1600, false, false),
    ("alexnet_conv2_group", 128, 729, 1200, false, false),
    ("vgg_conv3_3x3_256", 256, 3136, 2304, false, false),
    ("fc_forward_batch_64", 64, 500, 800, false, true),
    ("fc_weights_batch_64", 500, 800, 64, true, false),
    ("fc_one_image", 1, 4096, 4096, false, true),
];

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    for &(name, m, n, k, trans_a, trans_b) in SHAPES {
        let mut g = Gemm::new(m, n, k);
        g = if trans_a { g.trans_a() } else { g };
        g = if trans_b { g.trans_b() } else { g };
        let (a, b, mut out) = (vec![0.5; m * k], vec![0.25; k * n], vec![0.0; m * n]);
        group.throughput(Throughput::Elements((m * n * k) as u64));
        group.bench_function(name, |bench| bench.iter(|| gemm(&g, &a, &b, &mut out)));
    }
    group.finish();
}

criterion_group!(gemms, benches);
criterion_main!(gemms);
