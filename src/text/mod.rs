//! The text room: prototxt files to messages and back.
//!
//! bytes → [`Document`] with the place of everything (`parse`, by the grammar) → message (`decode`, by the schema's
//! descriptors). A `Document` stays useful afterwards: later errors find their line in it (`locate`). `print` is the way
//! back, in the layout of Caffe's logs.

mod ast;
mod brackets;
mod decode;
mod escape;
mod file;
mod locate;
mod nearest;
mod number;
mod parse;
mod print;
mod scalar;
mod source;
mod syntax;

use std::fmt;

use crate::{
    error::{Error, ErrorKind, Place, Result},
    schema,
};

pub use ast::{Block, Document, Field, List, Scalar, ScalarKind, Span, Value};
pub use file::read_file;
pub use locate::Step;
pub use parse::document;
pub use print::print;
pub use source::Source;

/// How [`parse_with`] takes what the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// An unknown field is an error, as in Caffe itself, instead of a warning.
    pub strict: bool,
}

/// A message read from text.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    /// What the text says.
    pub message: T,
    /// What was skipped, in the order of the text.
    pub warnings: Vec<Warning>,
    /// Where it says so.
    pub document: Document,
}

/// Something that was skipped. `Display` prints it like an error, over several lines.
#[derive(Clone, Debug)]
pub struct Warning {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The way out, where one is known.
    pub help: Option<String>,
    /// Where it came up first.
    pub place: Place,
    /// How often it came up; at least 1.
    pub times: usize,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self.times {
            0 | 1 => self.message.clone(),
            times => format!("{} ({times} times, first here)", self.message),
        };
        let mut error = Error::new(ErrorKind::Schema, message).at(self.place.clone());
        if let Some(help) = &self.help {
            error = error.help(help);
        }
        error.fmt(f)
    }
}

/// Reads a message of Caffe's schema, with the default [`Options`]; `message` names it: `"NetParameter"`.
///
/// # Errors
/// `Syntax` where the text is not protobuf text format; `Schema` where it does not fit the message. Both have the place
/// and, where one is near, the name that was likely meant.
pub fn parse<T: prost::Message + Default>(message: &str, source: &Source) -> Result<Parsed<T>> {
    parse_with(message, source, Options::default())
}

/// Like [`parse`], with options.
///
/// # Errors
/// As [`parse`].
pub fn parse_with<T: prost::Message + Default>(
    message: &str,
    source: &Source,
    options: Options,
) -> Result<Parsed<T>> {
    let document = parse::document(source)?;
    let (decoded, warnings) = decode::message(&document, schema::descriptor(message), options)?;
    let message = decoded.transcode_to().map_err(|error| {
        Error::new(
            ErrorKind::Schema,
            format!("cannot be read as {message}: {error}"),
        )
        .at(Place::File(source.name().to_owned()))
    })?;
    Ok(Parsed {
        message,
        warnings,
        document,
    })
}
