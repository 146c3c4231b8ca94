use std::path::Path;

use image::ImageEncoder as _;
use prost::Message as _;

use super::*;
use crate::{
    error::ErrorKind,
    feed::{
        lmdb::{LmdbSource, LmdbWriter},
        transform::Transformer,
    },
    schema::{Datum, TransformationParameter},
};

fn datum(height: i32, fill: u8) -> Datum {
    Datum {
        channels: Some(1),
        height: Some(height),
        width: Some(2),
        data: Some(vec![fill; usize::try_from(height * 2).unwrap()]),
        label: Some(fill.into()),
        ..Default::default()
    }
}

/// A database of these samples, opened.
fn source(dir: &Path, data: &[Datum]) -> Box<dyn Source> {
    let mut writer = LmdbWriter::create(&dir.join("db")).unwrap();
    for (i, datum) in data.iter().enumerate() {
        writer
            .put(format!("{i:08}").as_bytes(), &datum.encode_to_vec())
            .unwrap();
    }
    writer.finish().unwrap();
    open(dir)
}

fn open(dir: &Path) -> Box<dyn Source> {
    Box::new(LmdbSource::open(dir, "db").unwrap())
}

fn transformer(param: &TransformationParameter) -> Transformer {
    Transformer::new(param, true, Path::new("")).unwrap()
}

fn options(batch_size: usize, start_record: u64) -> Options {
    Options {
        batch_size,
        depth: 2,
        seed: 3,
        layer: 0,
        start_record,
        threads: 0,
    }
}

fn plain(source: Box<dyn Source>, batch_size: usize) -> Result<Prefetcher> {
    let param = TransformationParameter::default();
    Prefetcher::new(source, transformer(&param), options(batch_size, 0))
}

#[test]
fn batches_go_round_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let data: Vec<_> = (0..5).map(|i| datum(1, i)).collect();
    let mut feed = plain(source(dir.path(), &data), 2).unwrap();
    assert_eq!(*feed.shape(), Shape::from([2, 1, 1, 2]));
    let (mut data, mut labels) = (Vec::new(), Vec::new());
    for n in 0..20u16 {
        assert_eq!(feed.next(&mut data, Some(&mut labels)).unwrap(), None);
        let [a, b] = [2 * n, 2 * n + 1].map(|r| f32::from(r % 5));
        assert_eq!(labels, [a, b]);
        assert_eq!(data, [a, a, b, b]);
        assert_eq!(feed.records(), u64::from(2 * n + 2));
    }
}

#[test]
fn labels_may_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut feed = plain(source(dir.path(), &[datum(1, 4)]), 3).unwrap();
    let mut data = Vec::new();
    feed.next(&mut data, None).unwrap();
    assert_eq!(data, [4.0; 6]);
}

#[test]
fn buffers_are_swapped_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mut feed = plain(source(dir.path(), &[datum(1, 4)]), 3).unwrap();
    let mut data = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        feed.next(&mut data, None).unwrap();
        seen.insert(data.as_ptr());
    }
    // Two go round, the consumer holds a third; its first was empty.
    assert!(seen.len() <= 3, "{}", seen.len());
}

#[test]
fn a_resumed_run_draws_as_one_that_never_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<_> = (0..7)
        .map(|i| Datum {
            data: Some((0..16).map(|p| p + 20 * i).collect()),
            height: Some(8),
            ..datum(8, i)
        })
        .collect();
    let param = TransformationParameter {
        mirror: Some(true),
        crop_size: Some(2),
        ..Default::default()
    };
    let run = |source, start, skip: usize| {
        let mut feed = Prefetcher::new(source, transformer(&param), options(3, start)).unwrap();
        let mut batches = Vec::new();
        for _ in skip..12 {
            let mut data = Vec::new();
            feed.next(&mut data, None).unwrap();
            batches.push(data);
        }
        batches
    };
    let whole = run(source(dir.path(), &many), 0, 0);
    let rest = run(open(dir.path()), 15, 5);
    assert_eq!(whole[5..], rest);
    // The same records in another pass are drawn for anew.
    assert_ne!(whole[0], whole[7]);
}

#[test]
fn another_size_within_a_batch_is_an_error_that_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut data: Vec<_> = (0..6).map(|i| datum(3, i)).collect();
    data[4] = datum(5, 4);
    let mut feed = plain(source(dir.path(), &data), 3).unwrap();
    let mut out = Vec::new();
    feed.next(&mut out, None).unwrap();
    let error = feed.next(&mut out, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    for part in [
        "record 4 comes out as 1x5x2",
        "began with 1x3x2 (record 3, '00000003')",
        "--> db, record '00000004'",
    ] {
        assert!(text.contains(part), "{text} has no '{part}'");
    }
    assert_eq!(feed.records(), 3);
    let again = feed.next(&mut out, None).unwrap_err();
    assert!(again.message().contains("has stopped"), "{again}");
}

#[test]
fn batches_of_one_may_change_their_shape() {
    let dir = tempfile::tempdir().unwrap();
    let mut feed = plain(source(dir.path(), &[datum(3, 1), datum(5, 2)]), 1).unwrap();
    let mut out = Vec::new();
    assert_eq!(feed.next(&mut out, None).unwrap(), None);
    let changed = feed.next(&mut out, None).unwrap();
    assert_eq!(changed, Some(Shape::from([1, 1, 5, 2])));
    assert_eq!(out, [2.0; 10]);
    let changed = feed.next(&mut out, None).unwrap();
    assert_eq!(changed, Some(Shape::from([1, 1, 3, 2])));
    assert_eq!(out, [1.0; 6]);
}

#[test]
fn encoded_images_keep_their_order_and_the_first_error_counts() {
    let dir = tempfile::tempdir().unwrap();
    let png = |value: u8| {
        let mut bytes = Vec::new();
        image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(&[value; 12], 2, 2, image::ExtendedColorType::Rgb8)
            .unwrap();
        Datum {
            data: Some(bytes),
            encoded: Some(true),
            label: Some(value.into()),
            ..Default::default()
        }
    };
    let mut data: Vec<_> = (0..40).map(png).collect();
    data[35].data = Some(b"\x89PNG\r\n\x1a\n".to_vec());
    data[37].data = Some(b"GIF".to_vec());
    let mut feed = plain(source(dir.path(), &data), 20).unwrap();
    assert_eq!(*feed.shape(), Shape::from([20, 3, 2, 2]));
    let (mut out, mut labels) = (Vec::new(), Vec::new());
    feed.next(&mut out, Some(&mut labels)).unwrap();
    for (i, sample) in out.chunks(12).enumerate() {
        let value = f32::from(u8::try_from(i).unwrap());
        assert_eq!(labels[i], value);
        assert!(sample.iter().all(|&v| v == value));
    }
    let error = feed.next(&mut out, None).unwrap_err();
    assert!(error.to_string().contains("record '00000035'"), "{error}");
}

#[test]
fn any_number_of_threads_makes_the_same_batches() {
    let dir = tempfile::tempdir().unwrap();
    let image = |i: u8| {
        let pixels: Vec<u8> = (0..=u8::MAX)
            .cycle()
            .take(300)
            .map(|p| p.wrapping_mul(i + 3))
            .collect();
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut bytes)
            .write_image(&pixels, 10, 10, image::ExtendedColorType::Rgb8)
            .unwrap();
        Datum {
            data: Some(bytes),
            encoded: Some(true),
            label: Some(i.into()),
            ..Default::default()
        }
    };
    // Raw records large enough to be worth sharing.
    let raw = |i: u8| Datum {
        channels: Some(1),
        height: Some(512),
        width: Some(512),
        data: Some(
            (0..=u8::MAX)
                .cycle()
                .take(512 * 512)
                .map(|p| p ^ i)
                .collect(),
        ),
        ..Default::default()
    };
    let param = TransformationParameter {
        mirror: Some(true),
        crop_size: Some(9),
        ..Default::default()
    };
    let whole = TransformationParameter {
        mirror: Some(true),
        ..Default::default()
    };
    for (name, records, param) in [
        ("jpeg", (0..7).map(image).collect::<Vec<_>>(), param),
        ("raw", (0..7).map(raw).collect(), whole),
    ] {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let mut first = Some(source(&dir, &records));
        let mut run = |threads| {
            let source = first.take().unwrap_or_else(|| open(&dir));
            let options = Options {
                threads,
                ..options(6, 0)
            };
            let mut feed = Prefetcher::new(source, transformer(&param), options).unwrap();
            let mut sums = Vec::new();
            for _ in 0..5 {
                let (mut data, mut labels) = (Vec::new(), Vec::new());
                feed.next(&mut data, Some(&mut labels)).unwrap();
                sums.push((data, labels));
            }
            sums
        };
        let one = run(1);
        assert!(run(2) == one && run(5) == one, "{name}");
    }
}

#[test]
fn images_arrive_while_the_only_thread_of_the_pool_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&[5; 4], 2, 2, image::ExtendedColorType::L8)
        .unwrap();
    let datum = Datum {
        data: Some(bytes),
        encoded: Some(true),
        ..Default::default()
    };
    let source = source(dir.path(), &[datum]);
    let data = crate::threads::with_threads(1, || {
        let mut feed = plain(source, 8).unwrap();
        let mut data = Vec::new();
        feed.next(&mut data, None).unwrap();
        data
    });
    assert_eq!(data.unwrap(), [5.0; 32]);
}

#[test]
fn a_bad_first_record_is_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = datum(1, 0);
    bad.data = Some(vec![0; 3]);
    let error = plain(source(dir.path(), &[bad]), 1).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("1x1x2") && text.contains("record '00000000'"),
        "{text}"
    );
    let error = plain(open(dir.path()), 0).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Param);
}

#[test]
fn dropping_ends_the_thread_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Some(source(dir.path(), &[datum(1, 0)]));
    for n in 0..20 {
        let source = first.take().unwrap_or_else(|| open(dir.path()));
        let mut feed = plain(source, 2).unwrap();
        for _ in 0..n {
            feed.next(&mut Vec::new(), None).unwrap();
        }
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn the_recorded_databases_with_their_means() {
    let Ok(shared) = std::env::var("CORTADO_SHARED") else {
        eprintln!("skipped: CORTADO_SHARED is not set");
        return;
    };
    let run = Path::new(&shared).join("reference/runs/seed_sgd");
    for name in ["train_lmdb", "train_label_lmdb"] {
        let param = TransformationParameter {
            mean_file: (name == "train_lmdb").then(|| "mean.binaryproto".into()),
            ..Default::default()
        };
        let transformer = Transformer::new(&param, true, &run).unwrap();
        let source = LmdbSource::open(&run, name).unwrap();
        let len = source.records();
        let mut feed = Prefetcher::new(Box::new(source), transformer, options(1, 0)).unwrap();
        let mut sum = vec![0.0; feed.shape().count()];
        let mut data = Vec::new();
        for _ in 0..len {
            assert_eq!(feed.next(&mut data, None).unwrap(), None);
            sum.iter_mut().zip(&data).for_each(|(s, v)| *s += v);
        }
        if param.mean_file.is_some() {
            // What was averaged over these records leaves nothing on average.
            let n = f32::from(u16::try_from(len).unwrap());
            assert!(sum.iter().all(|s| (s / n).abs() < 1.0), "{sum:?}");
        }
    }
}
