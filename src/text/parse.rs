//! Text to [`Document`], by `grammar/prototxt.pest`.

use pest::{Parser as _, iterators::Pair};

use crate::error::{Error, ErrorKind, Result};

use super::{
    Source,
    ast::{Block, Document, Field, List, Scalar, ScalarKind, Span, Value},
    brackets,
    escape::{self, BadEscape},
    syntax,
};

/// The parser that pest makes of the grammar, and its `Rule`s.
pub(super) mod grammar {
    #![allow(missing_docs, unreachable_pub, reason = "made by pest")]

    #[derive(pest_derive::Parser)]
    #[grammar = "grammar/prototxt.pest"]
    pub struct Grammar;
}
use grammar::{Grammar, Rule};

/// Takes a text apart.
///
/// # Errors
/// `Syntax`, with its place, where it is not protobuf text format.
pub fn document(source: &Source) -> Result<Document> {
    brackets::check(source)?;
    let mut pairs = Grammar::parse(Rule::document, source.text())
        .map_err(|error| syntax::explain(source, &error))?;
    let fields = pairs
        .next()
        .map(|pair| fields(source, pair))
        .transpose()?
        .unwrap_or_default();
    Ok(Document {
        source: source.clone(),
        root: Block {
            fields,
            span: Span {
                start: 0,
                end: source.text().len(),
            },
        },
    })
}

fn span(pair: &Pair<'_, Rule>) -> Span {
    let span = pair.as_span();
    Span {
        start: span.start(),
        end: span.end(),
    }
}

/// The fields inside of a document or a message.
fn fields(source: &Source, pair: Pair<'_, Rule>) -> Result<Vec<Field>> {
    pair.into_inner()
        .filter(|inner| inner.as_rule() == Rule::field)
        .map(|inner| field(source, inner))
        .collect()
}

fn field(source: &Source, pair: Pair<'_, Rule>) -> Result<Field> {
    let mut name = None;
    for inner in pair.into_inner() {
        match (inner.as_rule(), name.take()) {
            (Rule::name, _) => name = Some((inner.as_str().to_owned(), span(&inner))),
            (Rule::colon, kept) => name = kept,
            (_, Some((name, name_span))) => {
                let value = value(source, inner)?;
                return Ok(Field {
                    name,
                    name_span,
                    value,
                });
            }
            (_, None) => break,
        }
    }
    Err(foreign())
}

/// The grammar yields nothing else; should it ever, this is an error and no panic.
fn foreign() -> Error {
    Error::new(ErrorKind::Syntax, "the grammar and its reader disagree")
}

fn value(source: &Source, pair: Pair<'_, Rule>) -> Result<Value> {
    let mut span = span(&pair);
    let kind = match pair.as_rule() {
        Rule::message => {
            let fields = fields(source, pair)?;
            return Ok(Value::Block(Block { fields, span }));
        }
        Rule::list | Rule::messages => {
            let items = pair
                .into_inner()
                .filter(|inner| inner.as_rule() != Rule::end_list)
                .map(|inner| value(source, inner))
                .collect::<Result<_>>()?;
            return Ok(Value::List(List { items, span }));
        }
        Rule::string => {
            // The rule also takes the space behind its last part.
            let parts = pair.clone().into_inner();
            span.end = parts.last().map_or(span.end, |part| part.as_span().end());
            ScalarKind::Text(string(source, pair)?)
        }
        Rule::number => ScalarKind::Number(signed(pair)),
        Rule::word => ScalarKind::Word(signed(pair)),
        _ => return Err(foreign()),
    };
    Ok(Value::Scalar(Scalar { kind, span }))
}

/// A number or word with its sign, if any, moved next to it.
fn signed(pair: Pair<'_, Rule>) -> String {
    let sign = if pair.as_str().starts_with('-') {
        "-"
    } else {
        ""
    };
    let token = pair.into_inner().next().map_or("", |inner| inner.as_str());
    format!("{sign}{token}")
}

fn string(source: &Source, pair: Pair<'_, Rule>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in pair.into_inner() {
        let text = part.as_str();
        let inside = text.get(1..text.len() - 1).unwrap_or_default();
        escape::unescape(inside, &mut bytes).map_err(|bad| bad_escape(source, &part, &bad))?;
    }
    Ok(bytes)
}

fn bad_escape(source: &Source, part: &Pair<'_, Rule>, bad: &BadEscape) -> Error {
    let start = span(part).start + 1 + bad.start;
    let end = span(part).start + 1 + bad.end;
    let text = source.slice(start, end);
    Error::new(
        ErrorKind::Syntax,
        format!("'{text}' in a string: {}", bad.why),
    )
    .help("write \\\\ for a backslash; in paths, / works everywhere")
    .at(source.place(Span { start, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        document(&Source::new("a", text)).unwrap()
    }

    /// One line that shows the structure of a text.
    fn show(text: &str) -> String {
        fn block(block: &Block) -> String {
            let fields = block.fields.iter();
            let fields = fields.map(|field| format!("{}={}", field.name, value(&field.value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        fn value(of: &Value) -> String {
            match of {
                Value::Block(inner) => format!("{{{}}}", block(inner)),
                Value::List(list) => {
                    let items: Vec<_> = list.items.iter().map(value).collect();
                    format!("[{}]", items.join(","))
                }
                Value::Scalar(scalar) => match &scalar.kind {
                    ScalarKind::Text(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
                    ScalarKind::Number(token) | ScalarKind::Word(token) => token.clone(),
                },
            }
        }
        block(&read(text).root)
    }

    #[test]
    fn every_form_of_the_format() {
        assert_eq!(show(""), "");
        assert_eq!(show("# only\r\n# comments"), "");
        assert_eq!(
            show("a:1;b : TRUE,c:\"x\"'y' # z\n\"\""),
            "a=1 b=TRUE c=\"xy\""
        );
        assert_eq!(show("m{a:1}m:{}m<n{}>m:<>"), "m={a=1} m={} m={n={}} m={}");
        assert_eq!(
            show("l:[1,- 2] l:[] l:[{},<a:1>] l[{}]"),
            "l=[1,-2] l=[] l=[{},{a=1}] l=[{}]"
        );
        assert_eq!(
            show("x: -inf y: 1e-3f z: 0x1F w:.5 v:1."),
            "x=-inf y=1e-3f z=0x1F w=.5 v=1."
        );
        assert_eq!(
            show("[a.b] { c: 1 } [d.e/f.g]: 2"),
            "[a.b]={c=1} [d.e/f.g]=2"
        );
    }

    #[test]
    fn depth_at_the_limit_is_read_on_a_small_stack() {
        let text = format!("{}{}", "a{".repeat(64), "}".repeat(64));
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let handle = thread.spawn(move || show(&text).len()).unwrap();
        assert_eq!(handle.join().unwrap(), 64 * 4);
    }
}
