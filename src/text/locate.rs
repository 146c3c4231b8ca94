//! Where in a text a later error is: from a layer's index or name and a field's path to a [`Place`].

use crate::error::Place;

use super::ast::{Block, Document, Field, ScalarKind, Span, Value};

/// One step of a path into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into the field of this name; into its first value where it has several.
    Field(&'a str),
    /// After `Field`: into this one of its values, from 0.
    Index(usize),
}

impl<'a> Step<'a> {
    /// The steps of a path as errors spell it: `convolution_param.stride[1]`. Whatever is no number in brackets is
    /// skipped.
    pub fn path(path: &'a str) -> Vec<Self> {
        let mut steps = Vec::new();
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let (name, index) = part.split_once('[').unwrap_or((part, ""));
            steps.push(Step::Field(name));
            steps.extend(index.trim_end_matches(']').parse().ok().map(Step::Index));
        }
        steps
    }
}

impl Document {
    /// The place of what a path leads to; `None` where the text does not spell it out, as with a default.
    pub fn place(&self, path: &[Step<'_>]) -> Option<Place> {
        let (span, rest) = deepest(&self.root, path)?;
        rest.is_empty().then(|| self.place_of(span))
    }

    /// The place of a layer, by its index among the text's `layer`s (or `layers`), and of a field in it:
    /// `convolution_param.group`. Where the text does not spell the field out, the nearest that it does: the parameter
    /// block, or the layer. A layer is shown by the line of its name.
    pub fn layer_place(&self, index: usize, field: Option<&str>) -> Option<Place> {
        let (field_of, layer) = self.layers().nth(index)?;
        let path = field.map(Step::path).unwrap_or_default();
        let span = deepest(layer, &path)
            .map(|(span, _)| span)
            .or_else(|| Some(occurrences(layer, "name").next()?.1.span()))
            .unwrap_or(field_of.name_span);
        Some(self.place_of(span))
    }

    /// Like [`Document::layer_place`] for the first layer of this name. Names may repeat, as of a TRAIN and a TEST data
    /// layer; prefer the index where it is known.
    pub fn layer_place_by_name(&self, name: &str, field: Option<&str>) -> Option<Place> {
        let named = |layer: &Block| {
            occurrences(layer, "name").any(|(_, value)| match value {
                Value::Scalar(scalar) => scalar.kind == ScalarKind::Text(name.into()),
                _ => false,
            })
        };
        let index = self.layers().position(|(_, layer)| named(layer))?;
        self.layer_place(index, field)
    }

    /// A layer's field and block, by its index among the text's `layer`s (or `layers`).
    pub fn layer(&self, index: usize) -> Option<(&Field, &Block)> {
        self.layers().nth(index)
    }

    /// The `layer` blocks, or, in a text that has none, the `layers` blocks.
    fn layers(&self) -> impl Iterator<Item = (&Field, &Block)> {
        let current = self.root.fields.iter().any(|field| field.name == "layer");
        let name = if current { "layer" } else { "layers" };
        occurrences(&self.root, name).filter_map(|(field, value)| match value {
            Value::Block(block) => Some((field, block)),
            _ => None,
        })
    }
}

impl Block {
    /// Every value of a field: those of each mention, and of a list each item. The field comes with each.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a Field, &'a Value)> {
        occurrences(self, name)
    }
}

/// Every value of a field: those of each mention, and of a list each item.
fn occurrences<'a>(block: &'a Block, name: &str) -> impl Iterator<Item = (&'a Field, &'a Value)> {
    let name = name.to_owned();
    let mentions = block.fields.iter().filter(move |field| field.name == name);
    mentions.flat_map(|field| {
        let values = match &field.value {
            Value::List(list) => list.items.as_slice(),
            value => std::slice::from_ref(value),
        };
        values.iter().map(move |value| (field, value))
    })
}

/// The stretch of the last step that the text spells out, and the steps it does not; `None` if not even the first.
fn deepest<'p, 'a>(block: &Block, path: &'p [Step<'a>]) -> Option<(Span, &'p [Step<'a>])> {
    let [Step::Field(name), rest @ ..] = path else {
        return None;
    };
    let (index, rest) = match rest {
        [Step::Index(index), rest @ ..] => (*index, rest),
        _ => (0, rest),
    };
    let (field, value) = occurrences(block, name).nth(index)?;
    let span = match (&field.value, value) {
        (Value::List(_), item) => item.span(),
        (_, Value::Block(_)) => field.name_span,
        (_, value) => Span {
            start: field.name_span.start,
            end: value.span().end,
        },
    };
    match value {
        Value::Block(inner) if !rest.is_empty() => {
            Some(deepest(inner, rest).unwrap_or((span, rest)))
        }
        _ => Some((span, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, parse::document};
    use super::*;

    const NET: &str = "\
name: 'net'
layer { name: 'a' top: 'x' }
layer {
  type: 'Convolution'
  name: 'b'
  convolution_param { group: 2 stride: [1, 2] pad: 3 pad: 4 }
}
layer { top: 'z' }
";

    fn show(place: Option<Place>) -> String {
        match place {
            Some(Place::Text {
                line,
                column,
                excerpt,
                width,
                ..
            }) => {
                let text: String = excerpt.chars().skip(column - 1).take(width).collect();
                format!("{line}:{text}")
            }
            _ => "none".into(),
        }
    }

    fn net() -> Document {
        document(&Source::new("net", NET)).unwrap()
    }

    #[test]
    fn paths_lead_to_what_is_written() {
        let net = net();
        let at = |path: &str| show(net.place(&Step::path(path)));
        assert_eq!(at("name"), "1:name: 'net'");
        assert_eq!(at("layer[1].convolution_param.group"), "6:group: 2");
        assert_eq!(at("layer[1].convolution_param.stride[1]"), "6:2");
        assert_eq!(at("layer[1].convolution_param.pad[1]"), "6:pad: 4");
        assert_eq!(at("layer[1].convolution_param"), "6:convolution_param");
        assert_eq!(at("layer[1].convolution_param.axis"), "none");
        assert_eq!(at("layer[9]"), "none");
        assert_eq!(at(""), "none");
    }

    #[test]
    fn layers_are_found_by_index_and_name() {
        let net = net();
        let at = |index, field| show(net.layer_place(index, field));
        assert_eq!(at(0, None), "2:'a'");
        assert_eq!(at(1, Some("convolution_param.group")), "6:group: 2");
        assert_eq!(at(1, Some("convolution_param.axis")), "6:convolution_param");
        assert_eq!(at(1, Some("pooling_param.pad")), "5:'b'");
        assert_eq!(at(2, None), "8:layer");
        assert_eq!(at(3, None), "none");
        let named = |name, field| show(net.layer_place_by_name(name, field));
        assert_eq!(named("b", Some("type")), "4:type: 'Convolution'");
        assert_eq!(named("c", None), "none");
    }

    #[test]
    fn old_layers_are_layers_too() {
        let net = document(&Source::new("net", "layers { name: 'q' }")).unwrap();
        assert_eq!(show(net.layer_place(0, None)), "1:'q'");
    }
}
