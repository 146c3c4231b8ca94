//! Batches made ahead of time by a thread of their own.
//!
//! A fixed number of batches goes round: filled by the thread, swapped with the consumer's buffers, returned. What a
//! batch holds depends on record numbers only, never on timing.

use std::{
    cell::Cell,
    mem, slice,
    sync::{
        OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rayon::prelude::*;
use smallvec::SmallVec;

use super::{
    datum::size,
    recipe::{Out, Part, Parts, Recipe},
    source::{Record, Source},
};
use crate::{
    error::{Error, Result},
    rng::{Rng, Use, stream},
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

/// One filled batch: the values and shapes of its tops.
#[derive(Default)]
struct Batch {
    tops: Vec<Vec<f32>>,
    shapes: Vec<Shape>,
}

/// Delivers batches that a thread makes ahead; dropping it ends the thread.
pub struct Prefetcher {
    ready: Option<Receiver<Result<Batch>>>,
    used: Option<SyncSender<Batch>>,
    worker: Option<JoinHandle<()>>,
    shapes: Vec<Shape>,
    batch_size: usize,
    records: u64,
}

/// The shapes of the tops of a batch, as the next record of `source` comes out. The source is as it was before.
///
/// # Errors
/// As [`Source::read`], [`Recipe::load`] and [`Recipe::parts`].
pub fn first_shapes(
    source: &mut dyn Source,
    recipe: &impl Recipe,
    options: &Options,
) -> Result<Vec<Shape>> {
    let start = source.position();
    let name = source.name().to_owned();
    let mut parts = Parts::new();
    source.read(1, &mut |records| {
        for record in records {
            let mut rng = rng(options, record);
            parts = recipe
                .load(record, Vec::new(), &mut rng)
                .and_then(|loaded| recipe.parts(&loaded))
                .map_err(|e| e.at(recipe.place(&name, record)))?;
        }
        Ok(())
    })?;
    source.seek(start)?;
    shapes(options.batch_size, &parts, 0)
}

fn shapes(batch: usize, parts: &[Part], rows: usize) -> Result<Vec<Shape>> {
    parts.iter().map(|part| part.shape(batch, rows)).collect()
}

/// The random stream of a record.
fn rng(options: &Options, record: &Record<'_>) -> Rng {
    stream(options.seed, Use::Transform, options.layer, record.number)
}

impl Prefetcher {
    /// Reads the first record for its shape, then starts the thread.
    ///
    /// # Errors
    /// `Param` for a batch size of 0; else as [`first_shapes`].
    pub fn new(mut source: Box<dyn Source>, recipe: impl Recipe, options: Options) -> Result<Self> {
        if options.batch_size == 0 {
            return Err(
                Error::param("data_param.batch_size", "a batch needs at least 1 record")
                    .help("set data_param { batch_size: ... }"),
            );
        }
        source.seek(options.start_record)?;
        let shapes = first_shapes(&mut *source, &recipe, &options)?;

        let threads = match options.threads {
            0 => threads::count(),
            n => n,
        };
        let depth = options.depth.max(1);
        let (send_ready, ready) = sync_channel(depth);
        let (used, receive_used) = sync_channel(depth);
        let maker = Maker {
            name: source.name().to_owned(),
            recipe,
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
            shapes,
            batch_size: options.batch_size,
            records: options.start_record,
        })
    }

    /// Shape of the first top of the batch delivered last, or of the first one before that.
    pub fn shape(&self) -> &Shape {
        &self.shapes[0]
    }

    /// Shapes of all tops, likewise.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Records delivered since the start of the run; what a resumed run starts with.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// [`next_tops`](Self::next_tops) for data and labels; the new shape of the data is returned where it is another
    /// than before.
    ///
    /// # Errors
    /// As there.
    pub fn next(
        &mut self,
        data: &mut Vec<f32>,
        labels: Option<&mut Vec<f32>>,
    ) -> Result<Option<Shape>> {
        let before = self.shape().clone();
        match labels {
            None => self.next_tops(slice::from_mut(data))?,
            Some(labels) => {
                let mut tops = [mem::take(data), mem::take(labels)];
                let result = self.next_tops(&mut tops);
                [*data, *labels] = tops;
                result?
            }
        };
        Ok((*self.shape() != before).then(|| self.shape().clone()))
    }

    /// Swaps the next batch into these tops, the first of the recipe's; waits if none is ready. True where a shape is
    /// another than before.
    ///
    /// # Errors
    /// What went wrong while the batch was made. It ends the feeding: later calls fail, too.
    pub fn next_tops(&mut self, tops: &mut [Vec<f32>]) -> Result<bool> {
        let stopped = || Error::data("no more batches: reading data has stopped after an error");
        let ready = self.ready.as_ref().ok_or_else(stopped)?;
        let mut batch = ready.recv().map_err(|_| stopped())??;
        for (top, made) in tops.iter_mut().zip(&mut batch.tops) {
            mem::swap(top, made);
        }
        let shapes = mem::take(&mut batch.shapes);
        if let Some(used) = &self.used {
            // It fails only where the thread has ended after an error, which comes with a later batch.
            let _ = used.send(batch);
        }
        self.records += u64::try_from(self.batch_size).unwrap_or(0);
        let changed = shapes != self.shapes;
        self.shapes = shapes;
        Ok(changed)
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

/// The thread: `depth` batches go round, made when first needed.
fn work(
    mut source: Box<dyn Source>,
    maker: &Maker<impl Recipe>,
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
struct Maker<R> {
    name: String,
    recipe: R,
    options: Options,
    /// The threads that help, from when they are first worth it.
    crew: OnceLock<Option<Crew>>,
}

thread_local! {
    /// The memory of the image decoded last, kept from record to record.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<R: Recipe> Maker<R> {
    fn fill(&self, records: &[Record<'_>], batch: &mut Batch) -> Result<()> {
        let Some((first, others)) = records.split_first() else {
            return Ok(());
        };
        let mut first_rng = rng(&self.options, first);
        let loaded = self.load(first, &mut first_rng)?;
        let parts = self.parts(first, &loaded)?;
        let costly = self.recipe.is_costly(&loaded);
        batch.tops.resize_with(parts.len(), Vec::new);
        let mut total = 0;
        for (part, top) in parts.iter().zip(&mut batch.tops) {
            let shape = part.shape(records.len(), 0)?;
            if *part != Part::Rows {
                total += shape.count();
                top.resize(shape.count(), 0.0);
            }
        }
        // Counts of parts do not overflow, since those of their tops do not.
        let count = parts.first().map_or(0, |part| part.count());
        let mut cuts: SmallVec<[_; 3]> = (parts.iter().zip(&mut batch.tops))
            .map(|(part, top)| top.chunks_exact_mut(part.count().max(1)))
            .collect();
        let mut outs: Vec<Out<'_>> = records
            .iter()
            .map(|_| {
                let values = cuts.iter_mut().zip(&parts).map(|(cut, part)| match part {
                    Part::Rows => Default::default(),
                    _ => cut.next().unwrap_or_default(),
                });
                Out {
                    values: values.collect(),
                    rows: Vec::new(),
                }
            })
            .collect();
        drop(cuts);
        let mut slots = outs.iter_mut();
        if let Some(out) = slots.next() {
            self.put(first, loaded, out, &mut first_rng)?;
        }
        let finish = |(record, out): (&Record<'_>, &mut Out<'_>)| {
            let mut rng = rng(&self.options, record);
            let loaded = self.load(record, &mut rng)?;
            self.same_size(first, &parts, record, &loaded)?;
            self.put(record, loaded, out, &mut rng)
        };
        let pieces = if costly {
            1
        } else if total >= WORTH_SHARING {
            WORTH_HANDING_OVER.div_ceil(count.max(1))
        } else {
            usize::MAX
        };
        let crew = (others.len() > pieces).then(|| self.crew()).flatten();
        match crew {
            None => others.iter().zip(slots).try_for_each(finish)?,
            Some(crew) => {
                // Of several errors the first record's counts.
                let slots: Vec<_> = others.iter().zip(slots).collect();
                let results: Vec<Result<()>> = crew.run(|| {
                    let slots = slots.into_par_iter().with_min_len(pieces);
                    slots.map(finish).collect()
                });
                results.into_iter().collect::<Result<()>>()?;
            }
        }
        let rows: Vec<_> = outs.into_iter().map(|out| out.rows).collect();
        let total = rows.iter().map(Vec::len).sum();
        batch.shapes = shapes(records.len(), &parts, total)?;
        for (part, top) in parts.iter().zip(&mut batch.tops) {
            if *part == Part::Rows {
                gather(&rows, top);
            }
        }
        Ok(())
    }

    /// The threads that help, if more than one is to work. Where the system refuses them, one has to do.
    fn crew(&self) -> Option<&Crew> {
        let of = || (self.options.threads > 1).then(|| Crew::of(self.options.threads));
        self.crew.get_or_init(|| of()?.ok()).as_ref()
    }

    fn load<'a>(&self, record: &Record<'a>, rng: &mut Rng) -> Result<R::Loaded<'a>> {
        self.recipe
            .load(record, SPARE.take(), rng)
            .map_err(|e| e.at(self.recipe.place(&self.name, record)))
    }

    fn parts(&self, record: &Record<'_>, loaded: &R::Loaded<'_>) -> Result<Parts> {
        self.recipe
            .parts(loaded)
            .map_err(|e| e.at(self.recipe.place(&self.name, record)))
    }

    fn put(
        &self,
        record: &Record<'_>,
        loaded: R::Loaded<'_>,
        out: &mut Out<'_>,
        rng: &mut Rng,
    ) -> Result<()> {
        let spare = self
            .recipe
            .put(loaded, out, rng)
            .map_err(|e| e.at(self.recipe.place(&self.name, record)))?;
        if spare.capacity() <= MOST_SPARE {
            SPARE.set(spare);
        }
        Ok(())
    }

    fn same_size(
        &self,
        first: &Record<'_>,
        parts: &[Part],
        record: &Record<'_>,
        loaded: &R::Loaded<'_>,
    ) -> Result<()> {
        let here = self.parts(record, loaded)?;
        if here[..] == *parts {
            return Ok(());
        }
        let different = here.iter().zip(parts).find(|(a, b)| a != b);
        let [here, there] = match different {
            Some((&Part::Planes(here), &Part::Planes(there))) => [here, there].map(size),
            _ => [
                "another kind of annotation".to_owned(),
                "one kind".to_owned(),
            ],
        };
        Err(Error::data(format!(
            "record {} comes out as {here}, but its batch began with {there} (record {}, '{}')",
            record.number,
            first.number,
            first.key.escape_ascii()
        ))
        .at(self.recipe.place(&self.name, record))
        .help(
            "make all images of a database the same size, cut them with transform_param.crop_size, or set batch_size: 1",
        ))
    }
}

/// The rows of all records, each with the number of its record in the batch before it.
fn gather(rows: &[Vec<super::recipe::Row>], top: &mut Vec<f32>) {
    top.clear();
    let mut item = 0.0;
    for of_record in rows {
        for row in of_record {
            top.push(item);
            top.extend_from_slice(row);
        }
        item += 1.0;
    }
    if top.is_empty() {
        top.resize(8, -1.0);
    }
}

#[cfg(test)]
mod tests;
