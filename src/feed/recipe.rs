//! What a data layer makes of its records.

use smallvec::SmallVec;

use super::{
    datum::{Pixels, Sample, decode_with},
    source::{Record, place},
    transform::Transformer,
};
use crate::{
    error::{Place, Result},
    rng::Rng,
    tensor::Shape,
};

/// The part of a top that one record makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One number: the top is `[batch]`.
    Number,
    /// So many channels, rows and columns: the top is `[batch, channels, height, width]`.
    Planes([usize; 3]),
    /// Any number of [`Row`]s: the top is `[1, 1, rows of the batch, 8]`, with one row of -1 where there is none.
    Rows,
}

impl Part {
    /// Values that a record makes, rows aside.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Number => 1,
            Self::Planes(dims) => dims.iter().product(),
            Self::Rows => 0,
        }
    }

    /// The shape of the top of a batch, for this many rows.
    pub(super) fn shape(self, batch: usize, rows: usize) -> Result<Shape> {
        match self {
            Self::Number => Shape::checked(&[batch]),
            Self::Planes([c, h, w]) => Shape::checked(&[batch, c, h, w]),
            Self::Rows => Shape::checked(&[1, 1, rows.max(1), 8]),
        }
    }
}

/// The parts of all tops; the first is the image's planes.
pub type Parts = SmallVec<[Part; 3]>;

/// A row of annotations without the number of its image: class, instance, xmin, ymin, xmax, ymax, difficult.
pub type Row = [f32; 7];

/// Room for what a record makes.
pub struct Out<'a> {
    /// For each part its values, none for [`Part::Rows`].
    pub values: SmallVec<[&'a mut [f32]; 3]>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// How a record becomes its parts of a batch, in two steps: the first settles the sizes, the second writes. Called by
/// several threads; draws from the record's own random stream alone.
pub trait Recipe: Send + Sync + 'static {
    /// A record between the steps.
    type Loaded<'a>;

    /// Reads and decodes; `spare` is memory of an earlier image that may be used.
    ///
    /// # Errors
    /// Where the record is damaged.
    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>>;

    /// The size of everything.
    ///
    /// # Errors
    /// Where options and sizes do not fit.
    fn parts(&self, loaded: &Self::Loaded<'_>) -> Result<Parts>;

    /// Whether records like this one are so much work that each is worth a thread.
    fn is_costly(&self, loaded: &Self::Loaded<'_>) -> bool {
        let _ = loaded;
        true
    }

    /// Writes; returns memory for the next image.
    ///
    /// # Errors
    /// As [`parts`](Self::parts).
    fn put(&self, loaded: Self::Loaded<'_>, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>>;

    /// Where an error in this record of `source` is.
    fn place(&self, source: &str, record: &Record<'_>) -> Place {
        place(source, record.key)
    }
}

/// Records are samples; the second top is their labels.
impl Recipe for Transformer {
    type Loaded<'a> = Sample<'a>;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        self.prepare(decode_with(record.value, self.color(), spare)?, rng)
    }

    fn parts(&self, sample: &Sample<'_>) -> Result<Parts> {
        let dims = self.output_dims(sample.dims())?;
        Ok([Part::Planes(dims), Part::Number].into_iter().collect())
    }

    fn is_costly(&self, sample: &Sample<'_>) -> bool {
        matches!(
            sample.pixels,
            Pixels::Rgb(_) | Pixels::U8(std::borrow::Cow::Owned(_))
        )
    }

    fn put(&self, sample: Sample<'_>, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>> {
        put_sample(self, sample, out, rng)
    }
}

/// Writes a sample to the first top and its label to the second.
pub(super) fn put_sample(
    transformer: &Transformer,
    sample: Sample<'_>,
    out: &mut Out<'_>,
    rng: &mut Rng,
) -> Result<Vec<u8>> {
    if let [data, label] = &mut *out.values {
        transformer.apply(&sample, data, rng)?;
        label.fill(number(sample.label));
    }
    Ok(sample.spare())
}

/// A label as Caffe has it.
#[allow(
    clippy::as_conversions,
    reason = "a label becomes a float in Caffe, too; beyond 2^24 both round"
)]
pub(super) fn number(label: i32) -> f32 {
    label as f32
}
