//! What the layers have in common that bring records: a source, a recipe, and the thread that runs ahead.

use std::sync::Arc;

use crate::{
    error::Result,
    feed::{
        prefetch::{Options, Prefetcher, first_shapes},
        recipe::{Out, Parts, Recipe},
        source::{Record, Source},
    },
    layer::{Layer, LayerDef, Rng},
    tensor::Shape,
};

/// More batches than this in memory are a mistake.
const MOST_AHEAD: u32 = 1 << 12;

/// Batches that Caffe makes ahead where nobody says how many.
pub(super) const AHEAD: u32 = 4;

/// Fails unless so many batches ahead make sense.
pub(super) fn check_ahead(def: &LayerDef, field: &str, prefetch: u32) -> Result<()> {
    if prefetch <= MOST_AHEAD {
        return Ok(());
    }
    let why = format!("{prefetch} batches ahead are too many; {MOST_AHEAD} is the most");
    Err(def.invalid(field, why))
}

/// A field that must not be 0, as a number of records.
pub(super) fn batch_size(def: &LayerDef, field: &str, told: u32) -> Result<usize> {
    match told {
        0 => Err(def.invalid(field, "must be at least 1")),
        n => Ok(n as usize),
    }
}

type Open = Box<dyn Fn() -> Result<Box<dyn Source>> + Send>;

/// A layer of [`crate::layer::Role::Data`].
pub(super) struct Fed<R: Recipe> {
    recipe: Shared<R>,
    open: Open,
    options: Options,
    /// Tops that the net asks for.
    tops: usize,
    /// Shapes as last told.
    shapes: Vec<Shape>,
    /// Records delivered; the truth while no thread runs.
    position: u64,
    /// The source until a thread takes it.
    source: Option<Box<dyn Source>>,
    running: Option<Prefetcher>,
}

impl<R: Recipe> Fed<R> {
    /// Opens the source and reads its first record for the shapes.
    pub(super) fn new(
        def: &LayerDef,
        batch_size: usize,
        prefetch: u32,
        recipe: R,
        open: impl Fn() -> Result<Box<dyn Source>> + Send + 'static,
    ) -> Result<Self> {
        let options = Options {
            batch_size,
            depth: prefetch as usize,
            seed: def.seed,
            layer: def.index,
            start_record: 0,
            threads: 0,
        };
        let recipe = Shared(Arc::new(recipe));
        let mut source = open()?;
        let tops = def.param.top.len();
        let mut shapes = first_shapes(&mut *source, &recipe, &options)?;
        shapes.truncate(tops);
        Ok(Self {
            recipe,
            open: Box::new(open),
            options,
            tops,
            shapes,
            position: 0,
            source: Some(source),
            running: None,
        })
    }

    /// The thread, started now if need be.
    fn running(&mut self) -> Result<&mut Prefetcher> {
        let prefetcher = match self.running.take() {
            Some(prefetcher) => prefetcher,
            None => {
                let source = match self.source.take() {
                    Some(source) => source,
                    None => (self.open)()?,
                };
                let options = Options {
                    start_record: self.position,
                    ..self.options
                };
                Prefetcher::new(source, self.recipe.clone(), options)?
            }
        };
        Ok(self.running.insert(prefetcher))
    }

    /// Whether the thread has been started.
    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl<R: Recipe> Layer for Fed<R> {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(self.shapes.clone())
    }

    /// Never called: a layer of [`crate::layer::Role::Data`] is pulled.
    fn forward(&mut self, _: &mut crate::layer::Forward<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self, tops: &mut [Vec<f32>]) -> Result<Option<Vec<Shape>>> {
        let wanted = self.tops;
        let prefetcher = self.running()?;
        prefetcher.next_tops(tops)?;
        let records = prefetcher.records();
        let shapes: Vec<Shape> = prefetcher.shapes().iter().take(wanted).cloned().collect();
        self.position = records;
        if shapes == self.shapes {
            return Ok(None);
        }
        self.shapes.clone_from(&shapes);
        Ok(Some(shapes))
    }

    fn position(&self) -> Option<u64> {
        Some(self.position)
    }

    fn records(&mut self) -> Result<Option<u64>> {
        match &mut self.source {
            Some(source) => source.count(),
            None => (self.open)()?.count(),
        }
    }

    fn seek(&mut self, records: u64) -> Result<()> {
        if records != self.position {
            // Whatever the thread made ahead is of no use.
            self.running = None;
            self.position = records;
        }
        Ok(())
    }
}

/// A recipe that the layer keeps while the thread uses it.
struct Shared<R>(Arc<R>);

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Recipe> Recipe for Shared<R> {
    type Loaded<'a> = R::Loaded<'a>;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        self.0.load(record, spare, rng)
    }

    fn parts(&self, loaded: &Self::Loaded<'_>) -> Result<Parts> {
        self.0.parts(loaded)
    }

    fn is_costly(&self, loaded: &Self::Loaded<'_>) -> bool {
        self.0.is_costly(loaded)
    }

    fn put(&self, loaded: Self::Loaded<'_>, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>> {
        self.0.put(loaded, out, rng)
    }

    fn place(&self, source: &str, record: &Record<'_>) -> crate::error::Place {
        self.0.place(source, record)
    }
}
