//! Batches made ahead of time by a thread of their own.
//!
//! A fixed number of batches goes round: filled by the thread, swapped with the consumer's buffers, returned. What a
//! batch holds depends on record numbers only, never on timing.

use std::{
    cell::Cell,
    mem,
    sync::{
        OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rayon::prelude::*;

use super::{
    datum::{Pixels, Sample, decode, decode_with, size},
    source::{Record, Source, place},
    transform::Transformer,
};
use crate::{
    error::{Error, Result},
    rng::{Use, stream},
    tensor::Shape,
    threads::{self, Crew},
};

/// Values of a batch of raw pixels above which several threads make it: as many as one writes in about a quarter of a
/// millisecond. Below that a thread is done before another has woken up.
const WORTH_SHARING: usize = 1 << 20;

/// The least that is handed to another thread.
const WORTH_HANDING_OVER: usize = 1 << 17;

/// Bytes of a decoded image that a thread keeps for the next one.
const MOST_SPARE: usize = 64 << 20;

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Records in a batch, at least 1.
    pub batch_size: usize,
    /// Batches made ahead: `data_param.prefetch`; 0 counts as 1.
    pub depth: usize,
    /// The run's seed, for random crops and mirrors.
    pub seed: u64,
    /// Index of the data layer in its net, for the same.
    pub layer: u64,
    /// Records delivered before, in this run or the one it resumes.
    pub start_record: u64,
    /// Threads that decode and transform; 0 means as many as the caller's pool has. The numbers do not depend on it.
    pub threads: usize,
}

/// One filled batch.
#[derive(Default)]
struct Batch {
    dims: [usize; 3],
    data: Vec<f32>,
    labels: Vec<f32>,
}

/// Delivers batches that a thread makes ahead; dropping it ends the thread.
pub struct Prefetcher {
    ready: Option<Receiver<Result<Batch>>>,
    used: Option<SyncSender<Batch>>,
    worker: Option<JoinHandle<()>>,
    shape: Shape,
    batch_size: usize,
    records: u64,
}

impl Prefetcher {
    /// Reads the first record for its shape, then starts the thread.
    ///
    /// # Errors
    /// `Param` for a batch size of 0; else as [`Source::read`], [`decode`] and [`Transformer::output_dims`].
    pub fn new(
        mut source: Box<dyn Source>,
        transformer: Transformer,
        options: Options,
    ) -> Result<Self> {
        if options.batch_size == 0 {
            return Err(
                Error::param("data_param.batch_size", "a batch needs at least 1 record")
                    .help("set data_param { batch_size: ... }"),
            );
        }
        source.seek(options.start_record)?;
        let name = source.name().to_owned();
        let mut dims = [0; 3];
        source.read(1, &mut |records| {
            for record in records {
                dims = decode(record.value, transformer.color())
                    .and_then(|sample| transformer.output_dims(sample.dims()))
                    .map_err(|e| e.at(place(&name, record.key)))?;
            }
            Ok(())
        })?;
        source.seek(options.start_record)?;
        let shape = batch_shape(options.batch_size, dims)?;

        let threads = match options.threads {
            0 => threads::count(),
            n => n,
        };
        let depth = options.depth.max(1);
        let (send_ready, ready) = sync_channel(depth);
        let (used, receive_used) = sync_channel(depth);
        let maker = Maker {
            name,
            transformer,
            options: Options { threads, ..options },
            crew: OnceLock::new(),
        };
        let worker = thread::Builder::new()
            .name("prefetch".into())
            .spawn(move || {
                threads::roam();
                work(source, &maker, depth, &send_ready, &receive_used);
            })
            .map_err(|e| {
                Error::new(
                    crate::error::ErrorKind::Io,
                    format!("cannot start a thread to read data: {e}"),
                )
            })?;
        Ok(Self {
            ready: Some(ready),
            used: Some(used),
            worker: Some(worker),
            shape,
            batch_size: options.batch_size,
            records: options.start_record,
        })
    }

    /// Shape of the batch delivered last, or of the first one before that: `[batch, channels, height, width]`.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Records delivered since the start of the run; what a resumed run starts with.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Swaps the next batch into `data` and its labels into `labels`; waits if none is ready. The new shape is
    /// returned where it is another than before.
    ///
    /// # Errors
    /// What went wrong while the batch was made. It ends the feeding: later calls fail, too.
    pub fn next(
        &mut self,
        data: &mut Vec<f32>,
        labels: Option<&mut Vec<f32>>,
    ) -> Result<Option<Shape>> {
        let stopped = || Error::data("no more batches: reading data has stopped after an error");
        let ready = self.ready.as_ref().ok_or_else(stopped)?;
        let mut batch = ready.recv().map_err(|_| stopped())??;
        mem::swap(data, &mut batch.data);
        if let Some(labels) = labels {
            mem::swap(labels, &mut batch.labels);
        }
        let dims = batch.dims;
        if let Some(used) = &self.used {
            // It fails only where the thread has ended after an error, which comes with a later batch.
            let _ = used.send(batch);
        }
        self.records += u64::try_from(self.batch_size).unwrap_or(0);
        let shape = batch_shape(self.batch_size, dims)?;
        if shape == self.shape {
            return Ok(None);
        }
        self.shape = shape.clone();
        Ok(Some(shape))
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        // Without its channels the thread ends.
        self.ready = None;
        self.used = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn batch_shape(batch: usize, [c, h, w]: [usize; 3]) -> Result<Shape> {
    Shape::checked(&[batch, c, h, w])
}

/// The thread: `depth` batches go round, made when first needed.
fn work(
    mut source: Box<dyn Source>,
    maker: &Maker,
    depth: usize,
    ready: &SyncSender<Result<Batch>>,
    used: &Receiver<Batch>,
) {
    let mut made = 0;
    loop {
        let mut batch = if made < depth {
            made += 1;
            Batch::default()
        } else if let Ok(batch) = used.recv() {
            batch
        } else {
            return;
        };
        let result = source.read(maker.options.batch_size, &mut |records| {
            maker.fill(records, &mut batch)
        });
        let failed = result.is_err();
        if ready.send(result.map(|()| batch)).is_err() || failed {
            return;
        }
    }
}

/// Turns records into a batch.
struct Maker {
    name: String,
    transformer: Transformer,
    options: Options,
    /// The threads that help, from when they are first worth it.
    crew: OnceLock<Option<Crew>>,
}

thread_local! {
    /// The memory of the image decoded last, kept from record to record.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Maker {
    fn fill(&self, records: &[Record<'_>], batch: &mut Batch) -> Result<()> {
        let Some((first, others)) = records.split_first() else {
            return Ok(());
        };
        let sample = self.decode(first)?;
        let dims = self
            .transformer
            .output_dims(sample.dims())
            .map_err(|e| e.at(place(&self.name, first.key)))?;
        let encoded = matches!(
            sample.pixels,
            Pixels::Rgb(_) | Pixels::U8(std::borrow::Cow::Owned(_))
        );
        let shape = batch_shape(records.len(), dims)?;
        batch.dims = dims;
        batch.data.resize(shape.count(), 0.0);
        batch.labels.resize(records.len(), 0.0);
        let count: usize = dims.iter().product();
        let mut slots = batch
            .data
            .chunks_exact_mut(count)
            .zip(batch.labels.iter_mut());
        if let Some((out, label)) = slots.next() {
            *label = self.put(first, sample, out)?;
        }
        let finish = |(record, (out, label)): (&Record<'_>, (&mut [f32], &mut f32))| {
            let sample = self.decode(record)?;
            self.same_size(first, dims, record, &sample)?;
            *label = self.put(record, sample, out)?;
            Ok(())
        };
        let parts = if encoded {
            1
        } else if shape.count() >= WORTH_SHARING {
            WORTH_HANDING_OVER.div_ceil(count)
        } else {
            usize::MAX
        };
        let crew = (others.len() > parts).then(|| self.crew()).flatten();
        let Some(crew) = crew else {
            return others.iter().zip(slots).try_for_each(finish);
        };
        // Of several errors the first record's counts.
        let slots: Vec<_> = others.iter().zip(slots).collect();
        let results: Vec<Result<()>> = crew.run(|| {
            let slots = slots.into_par_iter().with_min_len(parts);
            slots.map(finish).collect()
        });
        results.into_iter().collect()
    }

    /// The threads that help, if more than one is to work. Where the system refuses them, one has to do.
    fn crew(&self) -> Option<&Crew> {
        let of = || (self.options.threads > 1).then(|| Crew::of(self.options.threads));
        self.crew.get_or_init(|| of()?.ok()).as_ref()
    }

    fn decode<'a>(&self, record: &Record<'a>) -> Result<Sample<'a>> {
        decode_with(record.value, self.transformer.color(), SPARE.take())
            .map_err(|e| e.at(place(&self.name, record.key)))
    }

    /// Writes the pixels; returns the label.
    fn put(&self, record: &Record<'_>, sample: Sample<'_>, out: &mut [f32]) -> Result<f32> {
        let Options { seed, layer, .. } = self.options;
        let mut rng = stream(seed, Use::Transform, layer, record.number);
        self.transformer
            .apply(&sample, out, &mut rng)
            .map_err(|e| e.at(place(&self.name, record.key)))?;
        let label = sample.label;
        let spare = sample.spare();
        if spare.capacity() <= MOST_SPARE {
            SPARE.set(spare);
        }
        #[allow(
            clippy::as_conversions,
            reason = "a label becomes a float in Caffe, too; beyond 2^24 both round"
        )]
        Ok(label as f32)
    }

    fn same_size(
        &self,
        first: &Record<'_>,
        dims: [usize; 3],
        record: &Record<'_>,
        sample: &Sample<'_>,
    ) -> Result<()> {
        let here = self
            .transformer
            .output_dims(sample.dims())
            .map_err(|e| e.at(place(&self.name, record.key)))?;
        if here == dims {
            return Ok(());
        }
        Err(Error::data(format!(
            "record {} comes out as {}, but its batch began with {} (record {}, '{}')",
            record.number,
            size(here),
            size(dims),
            first.number,
            first.key.escape_ascii()
        ))
        .at(place(&self.name, record.key))
        .help(
            "make all images of a database the same size, cut them with transform_param.crop_size, or set batch_size: 1",
        ))
    }
}

#[cfg(test)]
mod tests;
