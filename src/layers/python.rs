//! Layers of type `Python`: those that trained nets ask for are here natively, under the module and class that the net
//! names. Their options are a text that the class reads, mostly a dictionary in Python's or YAML's spelling.

use super::{common, detection};
use crate::{
    error::{Error, ErrorKind, Result},
    layer::{LayerDef, LayerType},
    schema::LayerParameter,
};

/// Module and class of a Python layer, and the type that stands in. That type sees the layer's message as it is: see
/// [`is_python`].
const STAND_INS: &[(&str, &str, &LayerType)] = &[
    ("rpn.proposal_layer", "ProposalLayer", &detection::PROPOSAL),
    (
        "spatial_dropout",
        "SpatialDropoutLayer",
        &common::SPATIAL_DROPOUT,
    ),
];

/// Where the options are, for errors.
pub(super) const PARAM_STR: &str = "python_param.param_str";

/// The type that stands in for a layer of type `Python`.
///
/// # Errors
/// `Unsupported`, with module and class, where none does.
pub(super) fn stand_in(param: &LayerParameter) -> Result<&'static LayerType> {
    let param = param.python_param.clone().unwrap_or_default();
    let (module, layer) = (param.module(), param.layer());
    let found = STAND_INS
        .iter()
        .find(|&&(m, l, _)| (m, l) == (module, layer));
    found.map(|&(.., kind)| kind).ok_or_else(|| {
        let names: Vec<String> = STAND_INS.iter().map(|(m, l, _)| format!("{m}.{l}")).collect();
        Error::new(
            ErrorKind::Unsupported,
            format!("the Python layer '{layer}' of module '{module}' is code of its own, and none is run here"),
        )
        .help(format!(
            "replace it by layers of the catalogue; known by name are {}",
            names.join(", ")
        ))
    })
}

/// Whether a layer is built in place of a Python layer.
pub(super) fn is_python(def: &LayerDef) -> bool {
    def.param.r#type() == "Python"
}

/// The options of a Python layer: names and values, in order.
#[derive(Debug)]
pub(super) struct Options(Vec<(String, String)>);

/// Reads `param_str`: `{'phase': 'TEST', 'p': '0.1'}` or, without braces, `'feat_stride': 16`; values are numbers, words,
/// quoted text, or lists of them in brackets, which stay one text.
///
/// # Errors
/// `Param` where it is no such thing.
pub(super) fn options(def: &LayerDef) -> Result<Options> {
    let param = def.param.python_param.clone().unwrap_or_default();
    parse(param.param_str()).map_err(|why| def.invalid(PARAM_STR, why))
}

fn parse(text: &str) -> Result<Options, String> {
    let text = text.trim();
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest
            .strip_suffix('}')
            .ok_or("begins with { and does not end with }")?,
        None => text,
    };
    let pairs = split(inner, &[',', '\n'])?;
    let pairs = pairs.into_iter().filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| match &split(pair, &[':'])?[..] {
            [name, value] => Ok((bare(name).to_owned(), bare(value).to_owned())),
            _ => Err(format!("'{}' is no name, colon and value", pair.trim())),
        })
        .collect::<Result<_, _>>()
        .map(Options)
}

/// The parts between separators that stand neither in quotes nor in brackets.
fn split<'t>(text: &'t str, separators: &[char]) -> Result<Vec<&'t str>, String> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quote, mut depth) = (None, 0usize);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(' | '{') => depth += 1,
            (None, ']' | ')' | '}') => {
                depth = depth.checked_sub(1).ok_or("closes a bracket twice")?;
            }
            (None, c) if depth == 0 && separators.contains(&c) => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    if quote.is_some() || depth > 0 {
        return Err("leaves a quote or bracket open".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// Without space and quotes around it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    for quote in ['\'', '"'] {
        let inside = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
        if let Some(inside) = inside {
            return inside;
        }
    }
    text
}

impl Options {
    /// The value of a name, as it is written, without quotes.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| &value[..])
    }

    /// The value of a name as a number.
    ///
    /// # Errors
    /// `Param` where it is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<f32>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text
            .trim()
            .parse()
            .map_err(|_| Error::param(PARAM_STR, format!("'{name}' is '{text}', no number")))?;
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_of_both_spellings() {
        let read = |text: &str| parse(text).unwrap().0;
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let want = vec![pair("phase", "TEST"), pair("p", "0.1")];
        for text in [
            "{'phase': 'TEST', 'p': '0.1'}",
            " { \"phase\" : 'TEST' ,'p':0.1, } ",
            "'phase': TEST\n'p': 0.1\n",
            "phase: TEST, p: 0.1",
        ] {
            assert_eq!(read(text), want, "{text}");
        }
        assert_eq!(
            read("'feat_stride': 16\n'scales': [8, 16]")[1],
            pair("scales", "[8, 16]")
        );
        assert_eq!(read("{'a': 'x: {y}, z'}"), [pair("a", "x: {y}, z")]);
        assert!(read("").is_empty() && read("{}").is_empty());
        assert_eq!(read("'ä': 'ö'"), [pair("ä", "ö")]);
    }

    #[test]
    fn what_is_no_dictionary_is_an_error() {
        for text in [
            "{", "{'a': 1", "a", "a: b: c", "'a: 1", "a: [1", "a: 1]", "{}}", "'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
