//! The one error type: what kind, why, where, and the way out.
//!
//! A layer says only what is wrong; whoever knows more (the executor the layer's name, the text room the line)
//! adds a [`Place`] on the way up.

use std::{fmt, io, path::Path};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an [`Error`]; a caller can match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not protobuf text format.
    Syntax,
    /// The text names a field, an enum value or a type that the schema does not have, or has otherwise.
    Schema,
    /// Layers do not fit together: unknown bottom, two producers, wrong arity.
    Graph,
    /// Shapes do not fit.
    Shape,
    /// A parameter of a layer or solver has a value that makes no sense.
    Param,
    /// Stored weights do not fit the net.
    Weights,
    /// A record, a label or an image is not what the net needs.
    Data,
    /// A binary file is cut short, foreign or damaged.
    Format,
    /// The operating system refused.
    Io,
    /// Known, but not available here.
    Unsupported,
    /// Training met a value that is not finite.
    Diverged,
}

/// Where an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A spot in a text file; lines and columns count from 1, columns in characters.
    Text {
        /// The file as the user named it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The whole line, without its end.
        excerpt: String,
        /// How many characters the caret underlines, at least 1.
        width: usize,
    },
    /// A layer of a net.
    Layer {
        /// Its `name`.
        name: String,
        /// Its `type`.
        kind: String,
        /// Its bottoms with their shapes: `data [10, 3, 96, 96]`.
        bottoms: Vec<String>,
    },
    /// A file as a whole.
    File(String),
    /// A record of a database.
    Record {
        /// The database as the user named it.
        source: String,
        /// The record's key, printable.
        key: String,
    },
}

/// What went wrong. `Display` prints the whole story over one or more lines, without a trailing newline.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
    field: Option<String>,
    places: Vec<Place>,
}

impl Error {
    /// An error of this kind. `message` says what is wrong in one sentence without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            help: None,
            field: None,
            places: Vec::new(),
        }
    }

    /// Shapes do not fit.
    pub fn shape(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Shape, message)
    }

    /// A parameter has a value that makes no sense; `field` is its path in the prototxt: `pooling_param.stride`.
    pub fn param(field: &str, why: impl fmt::Display) -> Self {
        let mut error = Self::new(ErrorKind::Param, format!("{field}: {why}"));
        error.field = Some(field.to_owned());
        error
    }

    /// A record, label or image is not what the net needs.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// A binary file is cut short, foreign or damaged.
    pub fn format(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format, message)
    }

    /// Known, but not available here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// The operating system refused to do `what` ("open", "write") with `path`.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(
            ErrorKind::Io,
            format!("cannot {what} '{}': {error}", path.display()),
        )
    }

    /// Adds the way out: an imperative sentence.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a place; the innermost is added first.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, without place and help.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The way out, where one is known.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The field that is to blame, as a path from the layer: `pooling_param.stride`.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Where it is, innermost first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

/// An arrow to the spot, over one or more lines, without a trailing newline; a text is shown with a caret under it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text {
                file,
                line,
                column,
                excerpt,
                width,
            } => {
                let gutter = line.to_string().len();
                let (excerpt, column_shown) = clip(excerpt, *column);
                let carets = "^".repeat((*width).clamp(1, 60));
                write!(
                    f,
                    "{:gutter$}--> {file}:{line}:{column}\n{:gutter$} |\n{line} | {excerpt}\n{:gutter$} | {:indent$}{carets}",
                    "",
                    "",
                    "",
                    "",
                    indent = column_shown.saturating_sub(1),
                )
            }
            Self::Layer {
                name,
                kind,
                bottoms,
            } => {
                write!(f, "  --> layer '{name}' ({kind})")?;
                if bottoms.is_empty() {
                    return Ok(());
                }
                write!(f, ", bottoms {}", bottoms.join(", "))
            }
            Self::File(file) => write!(f, "  --> {file}"),
            Self::Record { source, key } => write!(f, "  --> {source}, record '{key}'"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for place in &self.places {
            write!(f, "\n{place}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Cuts a long line to a window around `column` and makes it safe to print; returns it with the column moved.
fn clip(line: &str, column: usize) -> (String, usize) {
    const BEFORE: usize = 60;
    const WIDTH: usize = 120;
    let start = column.saturating_sub(1 + BEFORE);
    let mut text: String = line
        .chars()
        .skip(start)
        .take(WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut shown = column - start;
    if start > 0 {
        text.insert_str(0, "... ");
        shown += 4;
    }
    if line.chars().count() > start + WIDTH {
        text.push_str(" ...");
    }
    (text, shown)
}
