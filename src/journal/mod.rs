//! The record of a run: one JSON object a line, written while it goes on and read back later.
//!
//! A [`Journal`] is an observer that turns events into [`Line`]s and hands them to [`Sink`]s: the folder of the run
//! ([`RunFolder`]), a file of lines alone ([`LineFile`]), event files for TensorBoard ([`TensorBoard`]). [`read`] brings
//! a record back. What cannot be written is a word of warning, and the run goes on.

mod clock;
pub mod figures;
mod folder;
mod forms;
pub mod line;
mod read;
mod tensorboard;
mod writer;

pub(crate) use clock::date;
pub use clock::utc;
pub use folder::{LINES, LineFile, PICTURES, RunFolder};
pub use line::Line;
pub use read::{Limits, Record, read, read_from};
pub use tensorboard::TensorBoard;
pub use writer::{Journal, Picture, Sink};
