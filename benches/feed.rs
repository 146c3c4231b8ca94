//! Records per second that a data layer can deliver: read, decoded, transformed and batched, on one thread and on more.

use std::{
    f32::consts::TAU,
    path::Path,
    time::{Duration, Instant},
};

use cortado::{
    feed::{
        lmdb::{LmdbSource, LmdbWriter},
        prefetch::{Options, Prefetcher},
        transform::Transformer,
    },
    kernels::gemm::{Gemm, gemm},
    schema::{Datum, TransformationParameter},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::{ExtendedColorType, ImageEncoder as _, codecs::jpeg::JpegEncoder};
use prost::Message as _;

/// Records of a database: more than the caches hold, few enough to be made in a moment.
const RECORDS: u32 = 512;

/// Name, side, whether stored as JPEG, crop (0 for none), batch.
const CASES: &[(&str, u32, bool, u32, usize)] = &[
    ("jpeg_3x256x256_crop_227", 256, true, 227, 64),
    ("jpeg_3x256x256_crop_227", 256, true, 227, 256),
    ("raw_3x256x256_crop_227", 256, false, 227, 64),
    ("raw_3x96x96", 96, false, 0, 64),
    ("raw_3x96x96", 96, false, 0, 256),
    ("raw_3x28x28", 28, false, 0, 64),
];

/// Something like a photograph, red, green and blue together: smooth shapes, an edge, a little noise.
fn picture(side: u32, seed: u32) -> Vec<u8> {
    let mut noise = seed.wrapping_mul(2_654_435_761) | 1;
    let mut pixels = Vec::with_capacity((3 * side * side) as usize);
    for y in 0..side {
        for x in 0..side {
            let (u, v) = (x as f32 / side as f32, y as f32 / side as f32);
            let turn = seed as f32 * 0.37;
            let edge = if (u - 0.5).hypot(v - 0.5) < 0.3 {
                50.0
            } else {
                0.0
            };
            for c in 0..3 {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                let wave = (TAU * (3.0 * u + 2.0 * v * c as f32) + turn).sin() * 40.0
                    + (TAU * (17.0 * v - 9.0 * u) + turn).sin() * 15.0;
                pixels.push((110.0 + wave + edge + (noise % 17) as f32) as u8);
            }
        }
    }
    pixels
}

fn database(dir: &Path, side: u32, jpeg: bool) {
    let mut writer =
        LmdbWriter::create(&dir.join("db")).expect("a temporary folder can be written");
    for i in 0..RECORDS {
        let pixels = picture(side, i);
        let mut datum = Datum {
            label: Some(1),
            ..Datum::default()
        };
        if jpeg {
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, 90)
                .write_image(&pixels, side, side, ExtendedColorType::Rgb8)
                .expect("a picture can be encoded");
            datum.encoded = Some(true);
            datum.data = Some(bytes);
        } else {
            datum.channels = Some(3);
            (datum.height, datum.width) = (Some(side as i32), Some(side as i32));
            datum.data = Some(pixels);
        }
        writer
            .put(format!("{i:08}").as_bytes(), &datum.encode_to_vec())
            .expect("a record fits");
    }
    writer.finish().expect("a temporary folder can be written");
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("feed");
    group.sample_size(20);
    for &(name, side, jpeg, crop, batch) in CASES {
        let dir = tempfile::tempdir().expect("there is room for a temporary folder");
        database(dir.path(), side, jpeg);
        let param = TransformationParameter {
            mirror: Some(crop > 0),
            crop_size: Some(crop),
            mean_value: vec![104.0, 117.0, 123.0],
            ..TransformationParameter::default()
        };
        group.throughput(Throughput::Elements(batch as u64));
        for threads in [1, 2] {
            let source = LmdbSource::open(dir.path(), "db").expect("the database was just written");
            let transformer = Transformer::new(&param, true, dir.path()).expect("sound options");
            let options = Options {
                batch_size: batch,
                depth: 2,
                seed: 1,
                layer: 0,
                start_record: 0,
                threads,
            };
            let mut feed =
                Prefetcher::new(Box::new(source), transformer, options).expect("sound records");
            let (mut data, mut labels) = (Vec::new(), Vec::new());
            group.bench_function(format!("{name}/batch_{batch}/threads_{threads}"), |b| {
                b.iter(|| {
                    feed.next(&mut data, Some(&mut labels))
                        .expect("sound records")
                });
            });
        }
    }
    group.finish();
}

/// How long a net waits for its batch, while the net itself keeps every core busy: 2048³ multiply-adds a step.
fn wait(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("there is room for a temporary folder");
    database(dir.path(), 256, true);
    let param = TransformationParameter {
        mirror: Some(true),
        crop_size: Some(227),
        mean_value: vec![104.0, 117.0, 123.0],
        ..TransformationParameter::default()
    };
    let source = LmdbSource::open(dir.path(), "db").expect("the database was just written");
    let transformer = Transformer::new(&param, true, dir.path()).expect("sound options");
    let options = Options {
        batch_size: 64,
        depth: 4,
        seed: 1,
        layer: 0,
        start_record: 0,
        threads: 0,
    };
    let mut feed = Prefetcher::new(Box::new(source), transformer, options).expect("sound records");
    let (mut data, mut labels) = (Vec::new(), Vec::new());
    const N: usize = 2048;
    let (a, b, mut y) = (vec![0.5; N * N], vec![0.5; N * N], vec![0.0; N * N]);
    let mut group = c.benchmark_group("feed_wait");
    group.sample_size(10);
    group.bench_function("jpeg_3x256x256_crop_227/batch_64", |bench| {
        bench.iter_custom(|rounds| {
            let mut waited = Duration::ZERO;
            for _ in 0..rounds {
                gemm(&Gemm::new(N, N, N), &a, &b, &mut y);
                let computed = Instant::now();
                feed.next(&mut data, Some(&mut labels))
                    .expect("sound records");
                waited += computed.elapsed();
            }
            waited
        });
    });
    group.finish();
}

criterion_group!(feeds, benches, wait);
criterion_main!(feeds);
