//! Where records come from: a cursor over key and value that never ends.

use crate::error::{Place, Result};

/// One record, borrowed from its source.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number, counted over all passes: record 0 of the second pass over 100 records is number 100.
    pub number: u64,
    /// Its key in the database.
    pub key: &'a [u8],
    /// Its bytes.
    pub value: &'a [u8],
}

/// A sequence of records in an order of its own, that of their keys in a database, which starts again at its end.
pub trait Source: Send {
    /// The source as the user named it.
    fn name(&self) -> &str;

    /// Number of the next record, counted over all passes.
    fn position(&self) -> u64;

    /// Makes `record`, counted over all passes, the next one.
    ///
    /// # Errors
    /// Where the source cannot be read.
    fn seek(&mut self, record: u64) -> Result<()>;

    /// How many records a pass has; `None` where it never ends. May read all keys, and leaves the position as it is.
    ///
    /// # Errors
    /// Where the source cannot be read.
    fn count(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Lends the next `count` records to `f` and goes on behind them; where `f` fails, stays where it was.
    ///
    /// # Errors
    /// Where the source cannot be read, or the error of `f`.
    fn read(&mut self, count: usize, f: &mut dyn FnMut(&[Record<'_>]) -> Result<()>) -> Result<()>;
}

/// Records that are numbers only: what they stand for, the recipe knows.
#[derive(Clone, Debug)]
pub struct Counter {
    name: String,
    position: u64,
}

impl Counter {
    /// Called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            position: 0,
        }
    }
}

impl Source for Counter {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn seek(&mut self, record: u64) -> Result<()> {
        self.position = record;
        Ok(())
    }

    fn read(&mut self, count: usize, f: &mut dyn FnMut(&[Record<'_>]) -> Result<()>) -> Result<()> {
        let batch: Vec<Record<'_>> = (self.position..)
            .take(count)
            .map(|number| Record {
                number,
                key: b"",
                value: b"",
            })
            .collect();
        f(&batch)?;
        self.position = batch.last().map_or(self.position, |last| last.number + 1);
        Ok(())
    }
}

/// The place of a record, for errors.
pub(crate) fn place(source: &str, key: &[u8]) -> Place {
    Place::Record {
        source: source.to_owned(),
        key: key.escape_ascii().to_string(),
    }
}
