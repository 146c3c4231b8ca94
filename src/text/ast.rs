//! What a text says before anyone knows what it means: fields, values and where they stand.

use crate::error::Place;

use super::Source;

/// A stretch of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// A text file taken apart. Offsets are into [`Source::text`].
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) source: Source,
    /// The fields outside of all brackets.
    pub root: Block,
}

/// Fields between brackets, or those of the whole file.
#[derive(Clone, Debug)]
pub struct Block {
    /// In the order of the text; a name may come up more than once.
    pub fields: Vec<Field>,
    /// With its brackets.
    pub span: Span,
}

/// `name: value` or `name { ... }`.
#[derive(Clone, Debug)]
pub struct Field {
    /// As written; an extension keeps its brackets: `[a.b]`.
    pub name: String,
    /// Where the name stands.
    pub name_span: Span,
    /// What stands behind it.
    pub value: Value,
}

/// The value of a field.
#[derive(Clone, Debug)]
pub enum Value {
    /// `{ ... }` or `< ... >`.
    Block(Block),
    /// `[a, b]`.
    List(List),
    /// `3`, `"three"`, `THREE`.
    Scalar(Scalar),
}

/// `[a, b]`, of scalars, of blocks, or empty.
#[derive(Clone, Debug)]
pub struct List {
    /// Never lists themselves, once decoded without an error.
    pub items: Vec<Value>,
    /// With its brackets.
    pub span: Span,
}

/// A value without parts.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// What it looks like; whether that suits the field is decided later.
    pub kind: ScalarKind,
    /// Where it stands.
    pub span: Span,
}

/// What a scalar looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// Starts with a digit, or a dot and a digit; not checked further. Without spaces behind the minus sign.
    Number(String),
    /// The bytes that the quotes stand for.
    Text(Vec<u8>),
    /// `true`, `MAX`, `-inf`.
    Word(String),
}

impl Value {
    /// Where the value stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Block(block) => block.span,
            Self::List(list) => list.span,
            Self::Scalar(scalar) => scalar.span,
        }
    }
}

impl Document {
    /// The text that this was read from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The place of a stretch of the text, for an error to point at.
    pub fn place_of(&self, span: Span) -> Place {
        self.source.place(span)
    }
}
