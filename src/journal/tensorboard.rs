//! Event files for TensorBoard: a record is its length, the length's checksum, an `Event`, the event's checksum.
//!
//! Tags: `train/loss`, `train/rate`, `train/<blob>`, `test/<blob>` (`test1/…` of further test nets),
//! `metrics/<scores>/<figure>`, `weights/<parameter>` and `blobs/<blob>` as histograms, `norms/<parameter>/…`,
//! `times/<layer>/…`, and pictures by blob and sample.

use std::{
    fs::{self, File, OpenOptions},
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;

use super::{Line, Picture, Sink, line};
use crate::{
    error::{Error, Result},
    model_io::crc32c,
};

mod event {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        rustdoc::all,
        reason = "made by prost-build from proto/event.proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/tensorboard.rs"));
}

use event::{
    Event, Histogram, Summary,
    event::What,
    summary::{Image, Value, value},
};

/// Writes an event file into a log directory.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: File,
    /// When the run began, since 1970; lines count from there.
    start: Duration,
    /// The iteration of the last loss, which several kinds of line tell.
    told: Option<u64>,
}

impl TensorBoard {
    /// Makes a new event file in a directory, which is made too.
    ///
    /// # Errors
    /// `Io` where it cannot be written.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|e| Error::io("make", directory, &e))?;
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (seconds, process) = (start.as_secs(), std::process::id());
        let mut number = 0;
        let (path, file) = loop {
            // TensorBoard knows its files by the word in the middle, and reads them in the order of their names.
            let name = format!("events.out.tfevents.{seconds:010}.cortado.{process}.{number}");
            let path = directory.join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => {
                    number += 1;
                }
                Err(e) => return Err(Error::io("make", &path, &e)),
            }
        };
        let mut made = Self {
            path,
            file,
            start,
            told: None,
        };
        made.put(0.0, 0, What::FileVersion("brain.Event:2".to_owned()))?;
        Ok(made)
    }

    fn put(&mut self, t: f64, step: u64, what: What) -> Result<()> {
        let event = Event {
            wall_time: self.start.as_secs_f64() + t,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(what),
        };
        self.file
            .write_all(&framed(&event.encode_to_vec()))
            .map_err(|e| Error::io("write", &self.path, &e))
    }

    fn values(&mut self, t: f64, step: u64, values: Vec<Value>) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.put(t, step, What::Summary(Summary { value: values }))
    }
}

/// A record as TensorFlow frames it.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend(length);
    record.extend(crc32c::masked(&[&length]).to_le_bytes());
    record.extend(bytes);
    record.extend(crc32c::masked(&[bytes]).to_le_bytes());
    record
}

/// A scalar, where there is one.
fn scalar(tag: String, x: Option<f64>) -> Option<Value> {
    let value = Some(value::Value::SimpleValue(x? as f32));
    Some(Value { tag, value })
}

/// One tag for each output blob: the mean where a blob has several values.
fn outputs(group: &str, outputs: &[line::Output]) -> Vec<Value> {
    let blobs = outputs.chunk_by(|a, b| a.blob == b.blob);
    blobs
        .filter_map(|values| {
            let sum: Option<f64> = values.iter().map(|o| o.value).sum();
            let mean = sum.map(|sum| sum / values.len() as f64);
            scalar(format!("{group}/{}", values.first()?.blob), mean)
        })
        .collect()
}

fn histogram(tag: String, bins: &line::Bins, mean: Option<f64>, deviation: Option<f64>) -> Value {
    let num: u64 = bins.counts.iter().sum();
    let num = num as f64;
    let (mean, deviation) = (mean.unwrap_or(0.0), deviation.unwrap_or(0.0));
    let width = (bins.high - bins.low) / bins.counts.len().max(1) as f64;
    // A first, empty bucket says where the second one begins.
    let edges = (0..=bins.counts.len()).map(|i| bins.low + width * i as f64);
    let histogram = Histogram {
        min: bins.low,
        max: bins.high,
        num,
        sum: mean * num,
        sum_squares: (mean * mean + deviation * deviation) * num,
        bucket_limit: edges.collect(),
        bucket: std::iter::once(0.0)
            .chain(bins.counts.iter().map(|&n| n as f64))
            .collect(),
    };
    Value {
        tag,
        value: Some(value::Value::Histo(histogram)),
    }
}

/// A picture with the size that its file tells; `None` where it is no PNG.
fn image(tag: String, png: &[u8]) -> Option<Value> {
    let reader = png::Decoder::new(Cursor::new(png)).read_info().ok()?;
    let info = reader.info();
    let image = Image {
        height: i32::try_from(info.height).ok()?,
        width: i32::try_from(info.width).ok()?,
        colorspace: i32::try_from(info.color_type.samples()).ok()?,
        encoded_image_string: png.to_vec(),
    };
    Some(Value {
        tag,
        value: Some(value::Value::Image(image)),
    })
}

fn metrics(heads: &[line::Head], detections: &[line::Detections]) -> Vec<Value> {
    let mut values = Vec::new();
    for head in heads {
        let mut tell = |figure: &str, x: Option<f64>| {
            values.extend(scalar(format!("metrics/{}/{figure}", head.scores), x));
        };
        tell("accuracy", head.accuracy);
        tell("constant", head.constant.map(|c| c.accuracy));
        tell("mean_iou", head.mean_iou);
        tell("mean_recall", head.mean_recall);
        for &(k, share) in &head.top_k {
            tell(&format!("top_{k}"), Some(share));
        }
        let name = |c: usize| head.names.get(c).cloned().unwrap_or_else(|| c.to_string());
        for (figure, each) in [
            ("recall", &head.recall),
            ("precision", &head.precision),
            ("iou", &head.iou),
        ] {
            // Of a thousand classes nobody wants three thousand curves.
            for (c, &x) in each.iter().enumerate().take(50) {
                tell(&format!("{figure}/{}", name(c)), x);
            }
        }
    }
    for found in detections {
        values.extend(scalar(
            format!("metrics/{}/mean_ap", found.blob),
            found.mean,
        ));
        for &(class, x) in &found.average_precision {
            values.extend(scalar(format!("metrics/{}/ap/{class}", found.blob), x));
        }
    }
    values
}

fn vitals(layers: &[line::Layer]) -> Vec<Value> {
    let mut values = Vec::new();
    for layer in layers {
        for (pass, time) in [
            ("forward_ms", layer.forward_ms),
            ("backward_ms", layer.backward_ms),
        ] {
            values.extend(scalar(format!("times/{}/{pass}", layer.name), time));
        }
        for blob in &layer.blobs {
            let tag = format!("blobs/{}", blob.name);
            values.push(histogram(tag, &blob.histogram, blob.mean, blob.deviation));
        }
        for param in &layer.params {
            let (bins, tag) = (&param.histogram, format!("weights/{}", param.name));
            values.push(histogram(tag, bins, param.mean, param.deviation));
            for (figure, x) in [
                ("weight", param.norm),
                ("gradient", param.gradient),
                ("update", param.update),
            ] {
                values.extend(scalar(format!("norms/{}/{figure}", param.name), x));
            }
        }
    }
    values
}

impl Sink for TensorBoard {
    fn write(&mut self, line: &Line, pictures: &[Picture<'_>]) -> Result<()> {
        match line {
            Line::Run { .. } => {
                self.told = None;
                self.start = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Ok(())
            }
            Line::Step {
                t,
                iteration,
                loss,
                rate,
            }
            | Line::Train {
                t,
                iteration,
                loss,
                rate,
                ..
            } => {
                let mut values = Vec::new();
                if self.told.is_none_or(|told| told < *iteration) {
                    self.told = Some(*iteration);
                    values.extend(scalar("train/loss".to_owned(), *loss));
                    values.extend(scalar("train/rate".to_owned(), *rate));
                }
                if let Line::Train { outputs: all, .. } = line {
                    // What the net calls its loss is the loss before it is smoothed.
                    let named = outputs("train/outputs", all);
                    values.extend(named);
                }
                self.values(*t, *iteration, values)
            }
            Line::Test {
                t,
                iteration,
                net,
                outputs: all,
            } => {
                let group = match net {
                    0 => "test".to_owned(),
                    n => format!("test{n}"),
                };
                self.values(*t, *iteration, outputs(&group, all))
            }
            Line::Metrics {
                t,
                iteration,
                heads,
                detections,
                ..
            } => self.values(*t, *iteration, metrics(heads, detections)),
            Line::Vitals {
                t,
                iteration,
                layers,
            } => self.values(*t, *iteration, vitals(layers)),
            Line::Picture {
                t,
                iteration,
                role,
                blob,
                sample,
                channel,
                ..
            } => {
                let of = channel.map_or_else(|| role.clone(), |c| c.to_string());
                let tag = format!("{blob}/sample {sample}/{of}");
                let values = pictures.iter().filter_map(|p| image(tag.clone(), p.png));
                let values = values.collect();
                self.values(*t, *iteration, values)
            }
            Line::Worst { t, iteration, .. } => {
                let values = pictures.iter().enumerate();
                let values = values.filter_map(|(i, p)| image(format!("worst/{i}"), p.png));
                let values = values.collect();
                self.values(*t, *iteration, values)
            }
            _ => Ok(()),
        }
    }

    fn takes_pictures(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C bit by bit, and TensorFlow's mask: nothing shared with what writes.
    fn checksum(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
            }
        }
        let crc = !crc;
        crc.rotate_right(15).wrapping_add(0xA282_EAD8)
    }

    fn events(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let word = |b: &[u8]| u32::from_le_bytes(b.try_into().unwrap());
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(checksum(&bytes[..8]), word(&bytes[8..12]));
            let event = &bytes[12..12 + length];
            assert_eq!(checksum(event), word(&bytes[12 + length..16 + length]));
            events.push(Event::decode(event).unwrap());
            bytes = &bytes[16 + length..];
        }
        events
    }

    #[test]
    fn records_are_framed() {
        assert_eq!(checksum(b""), 0xA282_EAD8);
        let record = framed(b"abc");
        assert_eq!(record[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record[8..12], checksum(&record[..8]).to_le_bytes());
        assert_eq!(record[12..15], *b"abc");
        assert_eq!(record[15..], checksum(b"abc").to_le_bytes());
    }

    #[test]
    fn lines_become_events() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(dir.path()).unwrap();
        let step = |iteration| Line::Step {
            t: 0.5,
            iteration,
            loss: Some(0.25),
            rate: None,
        };
        board.write(&step(3), &[]).unwrap();
        board.write(&step(3), &[]).unwrap();
        let mut png = Vec::new();
        image::RgbImage::new(3, 2)
            .write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)
            .unwrap();
        let picture = Line::Picture {
            t: 1.0,
            iteration: 4,
            role: "map".into(),
            blob: "conv".into(),
            sample: 1,
            key: "k".into(),
            channel: Some(2),
            caption: String::new(),
            file: None,
            png: None,
            low: None,
            high: None,
        };
        let pictures = [
            Picture {
                name: "x.png",
                png: &png,
            },
            Picture {
                name: "y.png",
                png: b"no picture",
            },
        ];
        board.write(&picture, &pictures).unwrap();
        let events = events(&fs::read(&board.path).unwrap());
        assert_eq!(events.len(), 3);
        assert_eq!(
            events[0].what,
            Some(What::FileVersion("brain.Event:2".into()))
        );
        let Some(What::Summary(summary)) = &events[1].what else {
            panic!("{:?}", events[1])
        };
        assert_eq!(summary.value.len(), 1);
        assert_eq!(summary.value[0].tag, "train/loss");
        assert_eq!(events[1].step, 3);
        let Some(What::Summary(summary)) = &events[2].what else {
            panic!("{:?}", events[2])
        };
        assert_eq!(summary.value.len(), 1);
        assert_eq!(summary.value[0].tag, "conv/sample 1/2");
        let Some(value::Value::Image(image)) = &summary.value[0].value else {
            panic!("{:?}", summary.value[0])
        };
        assert_eq!((image.width, image.height, image.colorspace), (3, 2, 3));
    }

    #[test]
    fn a_histogram_begins_where_its_values_do() {
        let bins = line::Bins {
            low: -1.0,
            high: 1.0,
            counts: vec![3, 1],
        };
        let made = histogram("x".into(), &bins, Some(0.5), Some(0.0));
        let Some(value::Value::Histo(histogram)) = made.value else {
            panic!("no histogram")
        };
        assert_eq!(histogram.bucket_limit, [-1.0, 0.0, 1.0]);
        assert_eq!(histogram.bucket, [0.0, 3.0, 1.0]);
        assert_eq!((histogram.num, histogram.sum), (4.0, 2.0));
    }
}
