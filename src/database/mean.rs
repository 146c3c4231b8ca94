//! `compute_image_mean`: the mean of all records, pixel by pixel.

use rayon::prelude::*;

use super::Watch;
use crate::{
    error::{Error, Result},
    feed::{
        database::Database,
        datum::{Color, Pixels, Sample},
        record::Stored,
    },
    tensor::Tensor,
};

/// A mean image.
#[derive(Debug)]
pub struct Mean {
    /// 1 x channels x height x width.
    pub image: Tensor,
    /// Records that it is of.
    pub records: u64,
    /// Whether records were files of images.
    pub encoded: bool,
}

impl Mean {
    /// The mean of each channel, summed as Caffe sums: in single precision, pixel after pixel.
    pub fn channels(&self) -> Vec<f32> {
        let dims = self.image.shape.dims();
        let area: usize = dims.iter().skip(2).product();
        let planes = self.image.data.chunks_exact(area.max(1));
        planes
            .map(|plane| plane.iter().fold(0.0f32, |sum, v| sum + v) / area as f32)
            .collect()
    }
}

/// Sums of pixels: whole numbers of bytes, else floats.
struct Sums {
    dims: [usize; 3],
    bytes: Vec<u64>,
    floats: Vec<f64>,
}

impl Sums {
    /// Adds samples in their order, each pixel by one thread.
    fn add(&mut self, samples: &[Sample<'_>]) {
        /// Pixels that one thread takes.
        const PART: usize = 1 << 14;
        let [channels, height, width] = self.dims;
        let area = height * width;
        let bytes = self.bytes.par_chunks_mut(PART);
        let floats = self.floats.par_chunks_mut(PART);
        bytes
            .zip(floats)
            .enumerate()
            .for_each(|(part, (bytes, floats))| {
                let from = part * PART;
                for sample in samples {
                    match &sample.pixels {
                        Pixels::U8(pixels) => {
                            let pixels = pixels.iter().skip(from);
                            bytes
                                .iter_mut()
                                .zip(pixels)
                                .for_each(|(s, &p)| *s += u64::from(p));
                        }
                        Pixels::Rgb(pixels) => {
                            for (i, sum) in bytes.iter_mut().enumerate() {
                                let (c, at) = ((from + i) / area, (from + i) % area);
                                let pixel = pixels.get(at * channels + channels - 1 - c);
                                *sum += u64::from(pixel.copied().unwrap_or(0));
                            }
                        }
                        Pixels::F32(values) => {
                            let values = values.iter().skip(from);
                            floats
                                .iter_mut()
                                .zip(values)
                                .for_each(|(s, &v)| *s += f64::from(v));
                        }
                    }
                }
            });
    }
}

/// The mean of a database's records, which are all of one size.
///
/// # Errors
/// `Data`, with the record, where one cannot be read or has another size.
pub fn mean(database: &mut Database, watch: &mut dyn Watch) -> Result<Mean> {
    let chunk = 8 * crate::threads::count().max(1);
    let mut sums: Option<Sums> = None;
    let mut count = 0u64;
    let mut encoded = false;
    loop {
        let records = database.take(chunk)?;
        if records.is_empty() {
            break;
        }
        let samples: Vec<Result<(Sample<'_>, bool)>> = records
            .par_iter()
            .map(|(_, value)| {
                let record = Stored::read(value)?;
                Ok((record.sample(Color::AsStored)?, record.encoded()))
            })
            .collect();
        let mut right = Vec::with_capacity(samples.len());
        for (sample, (key, _)) in samples.into_iter().zip(&records) {
            let (sample, file) = sample.map_err(|e| e.at(database.place(key)))?;
            encoded |= file;
            let dims = sample.dims();
            let sums = sums.get_or_insert_with(|| {
                let count = dims.iter().product();
                Sums {
                    dims,
                    bytes: vec![0; count],
                    floats: vec![0.0; count],
                }
            });
            if sums.dims != dims {
                let size = |[c, h, w]: [usize; 3]| format!("{c}x{h}x{w}");
                return Err(Error::data(format!(
                    "the record is {}, and those before it are {}: their mean has no meaning",
                    size(dims),
                    size(sums.dims)
                ))
                .help("make the database again with --resize_height and --resize_width")
                .at(database.place(key)));
            }
            right.push(sample);
        }
        if let Some(sums) = &mut sums {
            sums.add(&right);
        }
        count += u64::try_from(records.len()).unwrap_or(0);
        watch.done(count)?;
    }
    let Some(Sums {
        dims: [channels, height, width],
        bytes,
        floats,
    }) = sums
    else {
        return Err(Error::data("the database has no records"));
    };
    let data = bytes
        .iter()
        .zip(&floats)
        .map(|(&bytes, &floats)| ((bytes as f64 + floats) / count as f64) as f32)
        .collect();
    Ok(Mean {
        image: Tensor::new([1, channels, height, width], data)?,
        records: count,
        encoded,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::Message as _;

    use super::*;
    use crate::{
        feed::database::DatabaseWriter,
        schema::{Datum, data_parameter::Db},
    };

    fn database(dir: &Path, records: &[Datum]) -> Database {
        let path = dir.join("db");
        let mut writer = DatabaseWriter::create(&path, Db::Lmdb).unwrap();
        for (i, datum) in records.iter().enumerate() {
            let key = format!("{i:08}");
            writer.put(key.as_bytes(), &datum.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
        Database::open(&path).unwrap()
    }

    fn raw(data: &[u8], channels: i32) -> Datum {
        Datum {
            channels: Some(channels),
            height: Some(1),
            width: Some(2),
            data: Some(data.to_vec()),
            ..Datum::default()
        }
    }

    #[test]
    fn bytes_floats_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let records = [raw(&[1, 2, 3, 4], 2), raw(&[2, 4, 6, 255], 2)];
        let mean = super::mean(&mut database(dir.path(), &records), &mut ()).unwrap();
        assert_eq!(mean.image.shape.dims(), [1, 2, 1, 2]);
        assert_eq!(mean.image.data, [1.5, 3.0, 4.5, 129.5]);
        assert_eq!(mean.channels(), [2.25, 67.0]);

        let dir = tempfile::tempdir().unwrap();
        let mut floats = raw(&[], 1);
        floats.float_data = vec![0.5, -1.0];
        let mean = super::mean(&mut database(dir.path(), &[floats]), &mut ()).unwrap();
        assert_eq!(mean.image.data, [0.5, -1.0]);

        let dir = tempfile::tempdir().unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed/images/rgb8.png");
        let encoded = Datum {
            data: Some(std::fs::read(&file).unwrap()),
            encoded: Some(true),
            ..Datum::default()
        };
        let mean = super::mean(
            &mut database(dir.path(), std::slice::from_ref(&encoded)),
            &mut (),
        )
        .unwrap();
        assert!(mean.encoded);
        let bytes = encoded.encode_to_vec();
        let sample = Stored::read(&bytes)
            .unwrap()
            .sample(Color::AsStored)
            .unwrap();
        assert_eq!(mean.image.data, sample.floats());
    }

    #[test]
    fn another_size_is_told_with_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let records = [raw(&[1, 2], 1), raw(&[1, 2, 3, 4], 2)];
        let error = super::mean(&mut database(dir.path(), &records), &mut ()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("2x1x2") && text.contains("00000001"),
            "{text}"
        );
    }
}
