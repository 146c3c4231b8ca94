//! One walk over some records of a data layer: all that the audits need to know of them.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::Arc,
};

use super::super::wiring::Feed;
use crate::{
    error::{Error, Result},
    feed::{
        datum::{self, Color, Pixels, Sample},
        files::Folder,
        hdf5::Rows,
        list::{Form, List, ListSource},
        lmdb::LmdbSource,
        open_database,
        source::{Record, Source},
    },
    schema::{DataParameter, data_parameter::Db},
};

/// Stretches that records are taken from, where not all are.
const STRETCHES: u64 = 10;
/// Records in memory at a time.
const CHUNK: usize = 64;
/// Different label values that are told apart.
const MOST_VALUES: usize = 1 << 14;
/// Records that may fail to decode before the walk ends.
const MOST_UNREADABLE: usize = 5;

/// What was met of one label value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Met {
    /// Pixels, or labels.
    pub(super) pixels: u64,
    /// Records that hold it.
    pub(super) records: u64,
    /// The first record that does.
    pub(super) key: String,
    /// Column and row there, in a map.
    pub(super) at: Option<[usize; 2]>,
}

/// Labels, one a record or one a pixel.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    /// One a pixel.
    pub(super) maps: bool,
    /// By value.
    pub(super) values: BTreeMap<i64, Met>,
    /// The first that is no whole number: its record and itself.
    pub(super) fraction: Option<(String, f32)>,
}

/// Sums over the pixels of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    count: u64,
    sum: f64,
    squares: f64,
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Channel {
    const EMPTY: Self = Self {
        count: 0,
        sum: 0.0,
        squares: 0.0,
        low: f32::INFINITY,
        high: f32::NEG_INFINITY,
    };

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    pub(super) fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.squares / self.count.max(1) as f64 - mean * mean)
            .max(0.0)
            .sqrt()
    }
}

/// A record that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) key: String,
    /// Of its size and pixels.
    pub(super) hash: u64,
    /// Its label, where it has one of its own.
    pub(super) label: Option<i64>,
    /// All its values are one.
    pub(super) flat: bool,
    /// Behind a gap.
    pub(super) starts: bool,
}

/// What a walk brought.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The database or list, as named.
    pub(super) source: String,
    /// Records in all, where that is known.
    pub(super) total: Option<u64>,
    /// Of the pictures; empty where the layer brings labels only.
    pub(super) records: Vec<Seen>,
    /// Records looked at, those that do not decode included.
    pub(super) looked: u64,
    /// Every record was.
    pub(super) whole: bool,
    /// Of the pictures.
    pub(super) channels: Vec<Channel>,
    /// Sizes of the pictures: how many, and the first.
    pub(super) sizes: BTreeMap<[usize; 3], (u64, String)>,
    pub(super) labels: Labels,
    /// Records that do not decode.
    pub(super) unreadable: Vec<(String, Error)>,
    /// The first record with a value that is not finite.
    pub(super) not_finite: Option<String>,
    /// Each pass has an order of its own.
    pub(super) shuffled: bool,
    /// Samples of a batch.
    pub(super) batch: usize,
}

impl Survey {
    /// "400 records", "1000 of 60000 records".
    pub(super) fn extent(&self) -> String {
        match self.total {
            _ if self.whole => format!("all {} records", self.looked),
            Some(total) => format!("{} of {total} records", self.looked),
            None => format!("the first {} records", self.looked),
        }
    }

    fn picture(&mut self, key: &str, sample: &Sample<'_>, label: Option<i64>, starts: bool) {
        let mut hasher = DefaultHasher::new();
        sample.dims().hash(&mut hasher);
        let plane = sample.height * sample.width;
        let flat = match &sample.pixels {
            Pixels::U8(bytes) => {
                bytes.hash(&mut hasher);
                self.fit(sample.channels);
                for (channel, bytes) in self.channels.iter_mut().zip(bytes.chunks(plane.max(1))) {
                    add_bytes(channel, bytes.iter().copied());
                }
                bytes.windows(2).all(|pair| pair[0] == pair[1])
            }
            Pixels::Rgb(bytes) => {
                bytes.hash(&mut hasher);
                self.fit(3);
                for (c, channel) in self.channels.iter_mut().enumerate().take(3) {
                    // Stored as red, green, blue; a net gets blue, green, red.
                    add_bytes(channel, bytes.iter().skip(2 - c).step_by(3).copied());
                }
                bytes.windows(4).all(|pixels| pixels[0] == pixels[3])
            }
            Pixels::F32(values) => self.floats(key, values, sample.channels, &mut hasher),
        };
        let size = self.sizes.entry(sample.dims());
        size.or_insert_with(|| (0, key.to_owned())).0 += 1;
        self.records.push(Seen {
            key: key.to_owned(),
            hash: hasher.finish(),
            label,
            flat,
            starts,
        });
    }

    /// Counts a picture of floats; whether all are one.
    fn floats(
        &mut self,
        key: &str,
        values: &[f32],
        channels: usize,
        hasher: &mut DefaultHasher,
    ) -> bool {
        self.fit(channels);
        let plane = values.len().checked_div(channels).unwrap_or(0).max(1);
        for (channel, values) in self.channels.iter_mut().zip(values.chunks(plane)) {
            for &v in values {
                v.to_bits().hash(hasher);
                add(channel, v, 1);
            }
        }
        if self.not_finite.is_none() && values.iter().any(|v| !v.is_finite()) {
            self.not_finite = Some(key.to_owned());
        }
        values.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn fit(&mut self, channels: usize) {
        if self.channels.len() < channels {
            self.channels.resize(channels, Channel::EMPTY);
        }
    }

    fn map(&mut self, key: &str, values: &[f32], width: usize) {
        self.labels.maps |= values.len() > 1;
        let mut counts: BTreeMap<i64, (u64, usize)> = BTreeMap::new();
        for (i, &value) in values.iter().enumerate() {
            match whole(value) {
                Some(label) => counts.entry(label).or_insert((0, i)).0 += 1,
                None => {
                    let fraction = &mut self.labels.fraction;
                    fraction.get_or_insert_with(|| (key.to_owned(), value));
                }
            }
        }
        let many = values.len() > 1;
        for (label, (pixels, first)) in counts {
            self.label(key, label, pixels, many.then(|| position(first, width)));
        }
    }

    fn label(&mut self, key: &str, label: i64, pixels: u64, at: Option<[usize; 2]>) {
        let values = &mut self.labels.values;
        if values.len() >= MOST_VALUES && !values.contains_key(&label) {
            return;
        }
        let met = values.entry(label).or_insert_with(|| Met {
            pixels: 0,
            records: 0,
            key: key.to_owned(),
            at,
        });
        met.pixels += pixels;
        met.records += 1;
    }
}

fn position(index: usize, width: usize) -> [usize; 2] {
    [index % width.max(1), index / width.max(1)]
}

/// A label as a whole number.
fn whole(value: f32) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 1e9).then_some(value as i64)
}

fn add(channel: &mut Channel, value: f32, times: u64) {
    if value.is_finite() && times > 0 {
        channel.count += times;
        channel.sum += f64::from(value) * times as f64;
        channel.squares += f64::from(value).powi(2) * times as f64;
        channel.low = channel.low.min(value);
        channel.high = channel.high.max(value);
    }
}

fn add_bytes(channel: &mut Channel, bytes: impl Iterator<Item = u8>) {
    let mut counts = [0u64; 256];
    for byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    for (value, &times) in (0u8..=255).zip(&counts) {
        add(channel, f32::from(value), times);
    }
}

/// Looks at up to `most` records of a data layer. `None` for a kind of layer whose records are not looked at.
///
/// # Errors
/// Where the source cannot be opened or read.
pub(super) fn survey(root: &Path, feed: &Feed, most: u64) -> Result<Option<Survey>> {
    let layer = &feed.param;
    match layer.r#type() {
        "Data" => {
            let param = layer.data_param.clone().unwrap_or_default();
            let mut survey = Survey {
                source: param.source().to_owned(),
                batch: usize::try_from(param.batch_size()).unwrap_or(0),
                ..Survey::default()
            };
            let (mut source, total) = open(root, &param)?;
            survey.total = total;
            let pictures = feed.images.is_some();
            let mut look = |survey: &mut Survey, record: &Record<'_>, starts: bool| {
                let key = record.key.escape_ascii().to_string();
                let color = if pictures {
                    Color::AsStored
                } else {
                    Color::Labels
                };
                match datum::decode(record.value, color) {
                    Err(error) => survey.unreadable.push((key, error)),
                    Ok(sample) if pictures => {
                        let label = feed.labels.map(|_| i64::from(sample.label));
                        survey.picture(&key, &sample, label, starts);
                        if let Some(label) = label {
                            survey.label(&key, label, 1, None);
                        }
                    }
                    Ok(sample) => survey.map(&key, &sample.floats(), sample.width),
                }
            };
            walk(&mut *source, &mut survey, most, &mut look)?;
            Ok(Some(survey))
        }
        "ImageData" => {
            let param = layer.image_data_param.clone().unwrap_or_default();
            let mut survey = Survey {
                source: param.source().to_owned(),
                batch: usize::try_from(param.batch_size()).unwrap_or(0),
                shuffled: param.shuffle(),
                ..Survey::default()
            };
            let list = Arc::new(List::read(root, param.source(), Form::Label)?);
            survey.total = u64::try_from(list.len()).ok();
            let folder = Folder::new(root, param.root_folder());
            let color = match param.is_color() {
                true => Color::Color,
                false => Color::Gray,
            };
            let mut look = |survey: &mut Survey, record: &Record<'_>, starts: bool| {
                let Ok(entry) = list.entry(record) else {
                    return;
                };
                let key = list.path(entry);
                match folder.sample(key, color, Vec::new()) {
                    Err(error) => survey.unreadable.push((key.to_owned(), error)),
                    Ok(sample) => {
                        let label = i64::from(entry.label);
                        survey.picture(key, &sample, Some(label), starts);
                        survey.label(key, label, 1, None);
                    }
                }
            };
            let mut source = ListSource::new(list.clone(), false, 0, 0);
            walk(&mut source, &mut survey, most, &mut look)?;
            Ok(Some(survey))
        }
        "HDF5Data" => hdf5(root, feed, most).map(Some),
        _ => Ok(None),
    }
}

/// A database, and how many records it has, where it says so.
pub(super) fn open(root: &Path, param: &DataParameter) -> Result<(Box<dyn Source>, Option<u64>)> {
    let backend = param.backend.and_then(|b| Db::try_from(b).ok());
    if backend != Some(Db::Leveldb)
        && let Ok(source) = LmdbSource::open(root, param.source())
    {
        let total = source.records();
        return Ok((Box::new(source), Some(total)));
    }
    Ok((open_database(root, param.source(), backend)?, None))
}

/// Hands up to `most` records over, in stretches over all of them where their number is known.
fn walk(
    source: &mut dyn Source,
    survey: &mut Survey,
    most: u64,
    look: &mut dyn FnMut(&mut Survey, &Record<'_>, bool),
) -> Result<()> {
    let mut first: Option<Vec<u8>> = None;
    let stretches = match survey.total {
        Some(total) if total > most => {
            let each = (most / STRETCHES).max(1);
            let starts = (0..STRETCHES).map(|i| i * (total - each) / (STRETCHES - 1).max(1));
            starts.map(|start| (start, each)).collect()
        }
        Some(total) => {
            survey.whole = true;
            vec![(0, total)]
        }
        None => vec![(0, most)],
    };
    for (start, count) in stretches {
        source.seek(start)?;
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        let mut starts = true;
        while left > 0 && !survey.whole_by_round(&first) {
            let mut round = false;
            source.read(left.min(CHUNK), &mut |records| {
                for record in records {
                    if survey.total.is_none() {
                        match &first {
                            None => first = Some(record.key.to_vec()),
                            Some(key) if key == record.key => {
                                round = true;
                                return Ok(());
                            }
                            Some(_) => {}
                        }
                    }
                    survey.looked += 1;
                    look(survey, record, starts);
                    starts = false;
                }
                Ok(())
            })?;
            left -= left.min(CHUNK);
            if round {
                survey.whole = true;
                survey.total = Some(survey.looked);
                return Ok(());
            }
            if survey.unreadable.len() >= MOST_UNREADABLE {
                survey.whole = false;
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Survey {
    fn whole_by_round(&self, first: &Option<Vec<u8>>) -> bool {
        first.is_some() && self.whole
    }
}

fn hdf5(root: &Path, feed: &Feed, most: u64) -> Result<Survey> {
    let layer = &feed.param;
    let param = layer.hdf5_data_param.clone().unwrap_or_default();
    let mut rows = Rows::open(root, param.source(), &layer.top, None)?;
    let total = rows.count();
    let mut survey = Survey {
        source: param.source().to_owned(),
        batch: usize::try_from(param.batch_size()).unwrap_or(0),
        shuffled: param.shuffle(),
        total: Some(total),
        looked: total.min(most),
        whole: total <= most,
        ..Survey::default()
    };
    let shapes: Vec<Vec<usize>> = rows.shapes().iter().map(|s| s.dims().to_vec()).collect();
    let mut tops: Vec<Vec<f32>> = vec![Vec::new(); layer.top.len()];
    for row in 0..survey.looked {
        rows.read(1, &mut tops)?;
        let key = format!("row {row}");
        let label = feed.labels.and_then(|top| {
            let values = tops.get(top)?;
            survey.map(&key, values, shapes.get(top)?.last().copied().unwrap_or(1));
            match values.as_slice() {
                [one] => whole(*one),
                _ => None,
            }
        });
        if let Some(top) = feed.images {
            let dims = &shapes[top];
            let channels = if dims.len() > 1 { dims[0] } else { 1 };
            let mut hasher = DefaultHasher::new();
            let flat = survey.floats(&key, &tops[top], channels, &mut hasher);
            survey.records.push(Seen {
                key,
                hash: hasher.finish(),
                label,
                flat: flat && tops[top].len() > 1,
                starts: row == 0,
            });
        }
    }
    Ok(survey)
}
