//! What a database holds, counted.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use rayon::prelude::*;

use super::Watch;
use crate::{
    error::Result,
    feed::{
        database::Database,
        datum::{Color, Pixels, Sample},
        record::Stored,
    },
};

/// Records that hold the same data.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicate {
    /// Key of the first.
    pub first: String,
    /// Key of the other.
    pub second: String,
    /// Whether their labels differ, too.
    pub labels_differ: bool,
}

/// Counts over a database.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records.
    pub records: u64,
    /// Of these, `AnnotatedDatum`s.
    pub annotated: u64,
    /// Bytes of all records.
    pub bytes: u64,
    /// Records by how they are stored: raw, float, JPEG, PNG, BMP.
    pub encodings: BTreeMap<&'static str, u64>,
    /// Records by channels, height and width.
    pub shapes: BTreeMap<[usize; 3], u64>,
    /// Records by label.
    pub labels: BTreeMap<i32, u64>,
    /// Boxes by class, of annotated records.
    pub boxes: BTreeMap<i32, u64>,
    /// Values of records of one channel of bytes, where that is what all are: a database of label maps, perhaps.
    pub values: Option<Vec<u64>>,
    /// Mean of each channel, as far as all records have as many.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel.
    pub deviation: Vec<f64>,
    /// Least and largest value.
    pub range: Option<[f32; 2]>,
    /// Records beyond the first of those that hold the same data.
    pub duplicates: u64,
    /// The first of them.
    pub first_duplicates: Vec<Duplicate>,
    /// Records that cannot be read.
    pub unreadable: u64,
    /// The first of them: the whole error.
    pub first_unreadable: Vec<String>,
}

/// What one record adds.
struct One {
    encoding: &'static str,
    annotated: bool,
    dims: [usize; 3],
    label: i32,
    boxes: Vec<i32>,
    /// Of each channel: sum, sum of squares, values.
    channels: Vec<[f64; 2]>,
    range: [f32; 2],
    values: Option<Box<[u64; 256]>>,
    hash: u128,
}

/// Names that are told at most.
const MOST: usize = 10;

/// Counts over all records. What cannot be read is counted, not an end.
///
/// # Errors
/// Where the database itself cannot be read.
pub fn stats(database: &mut Database, watch: &mut dyn Watch) -> Result<Stats> {
    let chunk = 8 * crate::threads::count().max(1);
    let mut all = Stats::default();
    let mut sums: Option<Vec<[f64; 2]>> = None;
    let mut counted = 0f64;
    let mut values = Some(vec![0u64; 256]);
    // By the hash of its data: number and label of a record.
    let mut seen: HashMap<u128, (u64, i32)> = HashMap::new();
    let mut doubles: Vec<(u64, Duplicate)> = Vec::new();
    loop {
        let records = database.take(chunk)?;
        if records.is_empty() {
            break;
        }
        let each: Vec<Result<One>> = records.par_iter().map(|(_, value)| one(value)).collect();
        for (one, (key, value)) in each.into_iter().zip(&records) {
            let number = all.records;
            all.records += 1;
            all.bytes += u64::try_from(value.len()).unwrap_or(0);
            let one = match one {
                Ok(one) => one,
                Err(e) => {
                    all.unreadable += 1;
                    if all.first_unreadable.len() < MOST {
                        let e = e.at(database.place(key));
                        all.first_unreadable.push(e.to_string());
                    }
                    continue;
                }
            };
            *all.encodings.entry(one.encoding).or_default() += 1;
            *all.shapes.entry(one.dims).or_default() += 1;
            *all.labels.entry(one.label).or_default() += 1;
            all.annotated += u64::from(one.annotated);
            for class in one.boxes {
                *all.boxes.entry(class).or_default() += 1;
            }
            let [low, high] = one.range;
            let [least, most] = all.range.unwrap_or(one.range);
            all.range = Some([least.min(low), most.max(high)]);
            // Each record counts alike, whatever its size.
            let sums = sums.get_or_insert_with(|| vec![[0.0; 2]; one.channels.len()]);
            if sums.len() == one.channels.len() {
                for (sum, one) in sums.iter_mut().zip(&one.channels) {
                    sum[0] += one[0];
                    sum[1] += one[1];
                }
                counted += 1.0;
            }
            values = match (values, one.values) {
                (Some(mut all), Some(one)) => {
                    all.iter_mut().zip(one.iter()).for_each(|(a, b)| *a += b);
                    Some(all)
                }
                _ => None,
            };
            match seen.get(&one.hash) {
                None => {
                    seen.insert(one.hash, (number, one.label));
                }
                Some(&(first, label)) => {
                    all.duplicates += 1;
                    if doubles.len() < MOST {
                        let duplicate = Duplicate {
                            first: String::new(),
                            second: database.text(key),
                            labels_differ: label != one.label,
                        };
                        doubles.push((first, duplicate));
                    }
                }
            }
        }
        watch.done(all.records)?;
    }
    if let Some(sums) = sums.filter(|_| counted > 0.0) {
        all.mean = sums.iter().map(|[sum, _]| sum / counted).collect();
        let deviation = |(&mean, [_, squares]): (&f64, &[f64; 2])| {
            (squares / counted - mean * mean).max(0.0).sqrt()
        };
        all.deviation = all.mean.iter().zip(&sums).map(deviation).collect();
    }
    all.values = values.filter(|_| all.records > all.unreadable);
    all.first_duplicates = named(database, doubles)?;
    Ok(all)
}

/// Duplicates with the keys of their firsts, which are looked up by their numbers.
fn named(database: &mut Database, mut doubles: Vec<(u64, Duplicate)>) -> Result<Vec<Duplicate>> {
    let Some(last) = doubles.iter().map(|(number, _)| *number).max() else {
        return Ok(Vec::new());
    };
    database.rewind()?;
    let integers = database.integer_keys();
    for number in 0..=last {
        let Some((key, _)) = database.next()? else {
            break;
        };
        for (_, double) in doubles.iter_mut().filter(|(first, _)| *first == number) {
            double.first = crate::feed::database::key_text(key, integers);
        }
    }
    Ok(doubles.into_iter().map(|(_, double)| double).collect())
}

fn one(value: &[u8]) -> Result<One> {
    let record = Stored::read(value)?;
    let sample = record.sample(Color::AsStored)?;
    let mut range = [f32::INFINITY, f32::NEG_INFINITY];
    let channels = channels(&sample, &mut range);
    let values = match &sample.pixels {
        Pixels::U8(bytes) if sample.channels == 1 => {
            let mut counts = Box::new([0; 256]);
            bytes.iter().for_each(|&b| counts[usize::from(b)] += 1);
            Some(counts)
        }
        _ => None,
    };
    let groups = record.annotations();
    let boxes = groups.unwrap_or_default().iter();
    Ok(One {
        encoding: record.encoding(),
        annotated: groups.is_some(),
        dims: sample.dims(),
        label: record.label(),
        boxes: boxes
            .flat_map(|group| group.annotation.iter().map(|_| group.group_label()))
            .collect(),
        channels,
        range,
        values,
        hash: hash(&record, &sample),
    })
}

/// Mean and mean square of each channel.
fn channels(sample: &Sample<'_>, range: &mut [f32; 2]) -> Vec<[f64; 2]> {
    let area = (sample.height * sample.width).max(1);
    let mut of = |values: &mut dyn Iterator<Item = f32>| {
        let mut sums = [0.0; 2];
        for value in values {
            *range = [range[0].min(value), range[1].max(value)];
            let value = f64::from(value);
            sums[0] += value;
            sums[1] += value * value;
        }
        sums.map(|sum| sum / area as f64)
    };
    match &sample.pixels {
        Pixels::U8(bytes) => {
            let planes = bytes.chunks(area);
            planes
                .map(|plane| of(&mut plane.iter().map(|&b| f32::from(b))))
                .collect()
        }
        Pixels::F32(values) => {
            let planes = values.chunks(area);
            planes.map(|plane| of(&mut plane.iter().copied())).collect()
        }
        Pixels::Rgb(bytes) => [2, 1, 0]
            .map(|c| {
                let plane = bytes.iter().skip(c).step_by(3);
                of(&mut plane.map(|&b| f32::from(b)))
            })
            .to_vec(),
    }
}

/// A name for a record's data: two hashes of 64 bits.
fn hash(record: &Stored<'_>, sample: &Sample<'_>) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        sample.dims().hash(&mut hasher);
        match &sample.pixels {
            Pixels::F32(values) => values.iter().for_each(|v| v.to_bits().hash(&mut hasher)),
            _ => record.data().hash(&mut hasher),
        }
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
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

    fn open(dir: &Path, records: &[(&str, Vec<u8>)]) -> Database {
        let path = dir.join("db");
        let mut writer = DatabaseWriter::create(&path, Db::Leveldb).unwrap();
        for (key, value) in records {
            writer.put(key.as_bytes(), value).unwrap();
        }
        writer.finish().unwrap();
        Database::open(&path).unwrap()
    }

    fn raw(channels: i32, data: &[u8], label: i32) -> Vec<u8> {
        Datum {
            channels: Some(channels),
            height: Some(1),
            width: Some(2),
            data: Some(data.to_vec()),
            label: Some(label),
            ..Datum::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn everything_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = open(
            dir.path(),
            &[
                ("a", raw(1, &[0, 4], 1)),
                ("b", raw(1, &[2, 2], 1)),
                ("c", raw(1, &[0, 4], 2)),
                ("d", b"no datum".to_vec()),
            ],
        );
        let stats = stats(&mut database, &mut ()).unwrap();
        assert_eq!(
            (stats.records, stats.unreadable, stats.duplicates),
            (4, 1, 1)
        );
        assert_eq!(stats.labels, BTreeMap::from([(1, 2), (2, 1)]));
        assert_eq!(stats.shapes, BTreeMap::from([([1, 1, 2], 3)]));
        assert_eq!(stats.encodings, BTreeMap::from([("raw", 3)]));
        assert_eq!(stats.mean, [2.0]);
        let variance = (4.0 * 4.0 + 0.0 + 0.0) / 6.0;
        assert!((stats.deviation[0] - f64::sqrt(variance)).abs() < 1e-9);
        assert_eq!(stats.range, Some([0.0, 4.0]));
        let values = stats.values.unwrap();
        assert_eq!((values[0], values[2], values[4]), (2, 2, 2));
        assert_eq!(
            stats.first_duplicates,
            [Duplicate {
                first: "a".into(),
                second: "c".into(),
                labels_differ: true
            }]
        );
        assert!(stats.first_unreadable[0].contains("record 'd'"));
    }

    #[test]
    fn colours_have_no_histogram_of_values() {
        let dir = tempfile::tempdir().unwrap();
        let stats = stats(
            &mut open(dir.path(), &[("a", raw(3, &[1, 1, 2, 2, 3, 3], 0))]),
            &mut (),
        );
        let stats = stats.unwrap();
        assert_eq!(stats.mean, [1.0, 2.0, 3.0]);
        assert!(stats.values.is_none());
    }
}
