//! [`Document`] to message, walking its blocks beside the schema's descriptors. Knows no field by name.

use std::collections::HashMap;

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Decoded,
};

use crate::error::{Error, ErrorKind, Result};

use super::{
    Options, Source, Warning,
    ast::{Block, Document, Field, Span, Value},
    nearest::{Nearest, nearest},
    scalar::{self, Refusal},
};

/// Decodes a document as a message of the type; also what was skipped.
pub(super) fn message(
    document: &Document,
    descriptor: MessageDescriptor,
    options: Options,
) -> Result<(DynamicMessage, Vec<Warning>)> {
    let mut decoder = Decoder {
        source: &document.source,
        options,
        warnings: Vec::new(),
        seen: HashMap::new(),
    };
    decoder.other_type(&document.root, &descriptor)?;
    let top = Span { start: 0, end: 0 };
    let message = decoder.block(&document.root, descriptor, top)?;
    Ok((message, decoder.warnings))
}

struct Decoder<'a> {
    source: &'a Source,
    options: Options,
    warnings: Vec<Warning>,
    /// Index of the warning of each message, so that what comes up often is told once.
    seen: HashMap<String, usize>,
}

impl Decoder<'_> {
    fn block(
        &mut self,
        block: &Block,
        descriptor: MessageDescriptor,
        name_span: Span,
    ) -> Result<DynamicMessage> {
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut first: HashMap<u32, Span> = HashMap::new();
        for field in &block.fields {
            let Some(known) = descriptor.get_field_by_name(&field.name) else {
                self.unknown(field, &descriptor)?;
                continue;
            };
            if !known.is_list() {
                if let Some(&before) = first.get(&known.number()) {
                    return Err(self.repeated(field, &descriptor, before));
                }
                first.insert(known.number(), field.name_span);
            }
            match &field.value {
                Value::List(list) if known.is_list() => {
                    for item in &list.items {
                        self.set(&mut message, field, &known, item)?;
                    }
                }
                value => self.set(&mut message, field, &known, value)?,
            }
        }
        for known in descriptor.fields() {
            if known.cardinality() == Cardinality::Required && !message.has_field(&known) {
                return Err(self.missing(&descriptor, known.name(), name_span));
            }
        }
        Ok(message)
    }

    /// Decodes one value and stores it in the message, unless it is to be skipped.
    fn set(
        &mut self,
        message: &mut DynamicMessage,
        field: &Field,
        known: &FieldDescriptor,
        value: &Value,
    ) -> Result<()> {
        let decoded = match (known.kind(), value) {
            (Kind::Message(inner), Value::Block(block)) => {
                Decoded::Message(self.block(block, inner, field.name_span)?)
            }
            (Kind::Message(inner), other) => {
                let wanted = inner.name();
                let error = self.schema(
                    other.span(),
                    format!("'{}' takes a {wanted} in braces", field.name),
                );
                return Err(error.help(format!("write {} {{ ... }}", field.name)));
            }
            (kind, Value::Scalar(scalar)) => match scalar::decode(&field.name, &kind, scalar) {
                Ok(decoded) => decoded,
                Err(refusal) => return self.refused(scalar.span, refusal),
            },
            (kind, other) => {
                let noun = scalar::noun(&kind);
                let (found, help) = match other {
                    Value::Block(_) => ("a block", format!("write {}: and {noun}", field.name)),
                    _ if known.is_list() => ("a list in a list", "write one list".into()),
                    _ => ("a list", format!("'{}' can be given only once", field.name)),
                };
                let message = format!("'{}' takes {noun}, not {found}", field.name);
                let refusal = Refusal {
                    skippable: scalar::is_hint(&field.name),
                    ..Refusal::new(message, Some(help))
                };
                return self.refused(other.span(), refusal);
            }
        };
        if known.is_list() {
            if let Decoded::List(list) = message.get_field_mut(known) {
                list.push(decoded);
            }
        } else {
            message.set_field(known, decoded);
        }
        Ok(())
    }

    fn schema(&self, span: Span, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Schema, message).at(self.source.place(span))
    }

    fn refused(&mut self, span: Span, refusal: Refusal) -> Result<()> {
        if refusal.skippable && !self.options.strict {
            let message = format!("{}; it is skipped", refusal.message);
            self.warn(span, message, refusal.help);
            return Ok(());
        }
        let error = self.schema(span, refusal.message);
        Err(match refusal.help {
            Some(help) => error.help(help),
            None => error,
        })
    }

    /// An error for a slip of the fingers, a warning for a field of a fork.
    fn unknown(&mut self, field: &Field, descriptor: &MessageDescriptor) -> Result<()> {
        let names: Vec<FieldDescriptor> = descriptor.fields().collect();
        let near = nearest(&field.name, names.iter().map(FieldDescriptor::name));
        let message = format!("unknown field '{}' in {}", field.name, descriptor.name());
        match near {
            Nearest::Miss(name) => Err(self
                .schema(field.name_span, message)
                .help(format!("did you mean '{name}'?"))),
            Nearest::Similar(name) if self.options.strict => Err(self
                .schema(field.name_span, message)
                .help(format!("the nearest known name is '{name}'"))),
            _ if self.options.strict => Err(self.schema(field.name_span, message)),
            Nearest::Similar(name) => {
                let help = format!("the nearest known name is '{name}'");
                self.warn(field.name_span, format!("{message} is skipped"), Some(help));
                Ok(())
            }
            Nearest::None => {
                let help = home(&field.name, descriptor);
                self.warn(field.name_span, format!("{message} is skipped"), help);
                Ok(())
            }
        }
    }

    fn warn(&mut self, span: Span, message: String, help: Option<String>) {
        if let Some(before) = self
            .seen
            .get(&message)
            .and_then(|&at| self.warnings.get_mut(at))
        {
            before.times += 1;
            return;
        }
        self.seen.insert(message.clone(), self.warnings.len());
        self.warnings.push(Warning {
            message,
            help,
            place: self.source.place(span),
            times: 1,
        });
    }

    fn repeated(&self, field: &Field, descriptor: &MessageDescriptor, before: Span) -> Error {
        let message = format!(
            "'{}' is given twice in one {}",
            field.name,
            descriptor.name()
        );
        let line = self.source.line(before.start);
        self.schema(field.name_span, message).help(format!(
            "it can be given only once; the first is on line {line}"
        ))
    }

    fn missing(&self, descriptor: &MessageDescriptor, name: &str, span: Span) -> Error {
        self.schema(span, format!("{} needs '{name}'", descriptor.name()))
            .help(format!("add {name}: and its value inside"))
    }

    /// A solver file given as a net, or the reverse: every field would be unknown, which says less than this.
    fn other_type(&self, root: &Block, descriptor: &MessageDescriptor) -> Result<()> {
        let Some(field) = root.fields.first() else {
            return Ok(());
        };
        let knows = |of: &MessageDescriptor| {
            root.fields
                .iter()
                .filter(|field| of.get_field_by_name(&field.name).is_some())
                .count()
        };
        let ours = knows(descriptor);
        let files = [("NetParameter", "a net"), ("SolverParameter", "a solver")];
        let pool = descriptor.parent_pool();
        let wanted = files.iter().find(|(name, _)| *name == descriptor.name());
        let other = files.iter().find(|(name, _)| *name != descriptor.name());
        if let (Some((_, wanted)), Some((name, other))) = (wanted, other)
            && let Some(other_type) = pool.get_message_by_name(&format!("caffe.{name}"))
            && knows(&other_type) > ours.saturating_mul(2)
        {
            return Err(self
                .schema(field.name_span, format!("this is {other}, not {wanted}"))
                .help(format!("{wanted} is wanted here")));
        }
        Ok(())
    }
}

/// For a field in the wrong block: the block of this message, if there is one, that has a field of the name.
fn home(name: &str, descriptor: &MessageDescriptor) -> Option<String> {
    let homes: Vec<String> = descriptor
        .fields()
        .filter(|field| match field.kind() {
            Kind::Message(inner) => inner.get_field_by_name(name).is_some(),
            _ => false,
        })
        .map(|field| format!("'{}'", field.name()))
        .collect();
    match homes.as_slice() {
        [] => None,
        [one] => Some(format!("{one} has a field of this name")),
        _ if homes.len() <= 4 => Some(format!("{} have a field of this name", homes.join(", "))),
        _ => Some("fields of this name belong inside of a layer's own '..._param'".into()),
    }
}
