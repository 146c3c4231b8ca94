//! The text of a net that is deployed: layers that are kept stand as they were written, with their comments.

use super::{Deployed, Piece};
use crate::{
    events::Silent,
    load::{self, LoadOptions, NetFile},
    schema::{LayerParameter, NetParameter},
    text::{Block, Field, Span, print},
};

/// The text of a net made from `file`. Where text that was kept would not say what the net says, it is printed anew.
pub fn render(deployed: &Deployed, file: &NetFile) -> String {
    let net = deployed.net();
    kept(deployed, file)
        .filter(|text| {
            let read = load::net_from_text("deploy", text, LoadOptions::default(), &mut Silent);
            read.is_ok_and(|read| read.net == net)
        })
        .unwrap_or_else(|| print("NetParameter", &net))
}

fn kept(deployed: &Deployed, file: &NetFile) -> Option<String> {
    let document = file.document()?;
    let source = document.source().text();
    let mut out = String::new();
    let named = document.root.fields.iter().find(|f| f.name == "name");
    // What stands above everything is about the net.
    let first = document.root.fields.first()?;
    let head = comments(source.get(..first.name_span.start)?);
    if named.is_some_and(|n| n.name_span == first.name_span) {
        out += &head;
    }
    if deployed.name.is_some() {
        out += &print("NetParameter", &NetParameter {
            name: deployed.name.clone(),
            ..NetParameter::default()
        });
    }
    for Piece { layer, origin } in &deployed.pieces {
        let own = origin.and_then(|at| file.text_of(at).map(|(field, block)| (at, field, block)));
        match own {
            Some((at, field, block)) => {
                let text = own_text(source, document.root.fields.as_slice(), field, block)?;
                let as_written = without_rules(&file.net.layer.get(at)?.clone());
                if as_written == *layer {
                    out += &text;
                } else {
                    out += &printed(layer);
                }
            }
            None => out += &printed(layer),
        }
    }
    Some(out)
}

fn without_rules(layer: &LayerParameter) -> LayerParameter {
    let mut layer = layer.clone();
    layer.include.clear();
    layer.exclude.clear();
    layer
}

fn printed(layer: &LayerParameter) -> String {
    let net = NetParameter {
        layer: vec![layer.clone()],
        ..NetParameter::default()
    };
    print("NetParameter", &net)
}

/// The lines of comments in what stands between fields.
fn comments(between: &str) -> String {
    let lines = between.lines().map(str::trim_end);
    let lines = lines.filter(|line| line.trim_start().starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A layer as it was written, with the comments before it and behind it in its line, but without rules of inclusion.
fn own_text(source: &str, fields: &[Field], field: &Field, block: &Block) -> Option<String> {
    let before = fields
        .iter()
        .map(|f| f.value.span().end)
        .filter(|&end| end <= field.name_span.start)
        .max()
        .unwrap_or(0);
    let between = source.get(before..field.name_span.start)?;
    // The rest of the line before belongs to what ends there.
    let own = match before {
        0 => between,
        _ => between.split_once('\n').map_or("", |(_, rest)| rest),
    };
    let mut out = comments(own);
    let start = field.name_span.start;
    let mut at = start;
    let rules = block.fields.iter().filter(|f| matches!(f.name.as_str(), "include" | "exclude"));
    for rule in rules {
        let cut = whole_lines(source, Span {
            start: rule.name_span.start,
            end: rule.value.span().end,
        });
        out += source.get(at..cut.start)?;
        at = cut.end;
    }
    out += source.get(at..block.span.end)?;
    let rest = source.get(block.span.end..)?;
    let line = rest.split('\n').next().unwrap_or_default();
    if line.trim_start().starts_with('#') {
        out += line.trim_end();
    }
    out.push('\n');
    Some(out)
}

/// A stretch with the lines that hold nothing else.
fn whole_lines(source: &str, span: Span) -> Span {
    let (before, behind) = (&source[..span.start], &source[span.end..]);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line_end = behind.find('\n').map_or(source.len(), |i| span.end + i + 1);
    let alone = source[line_start..span.start].trim().is_empty()
        && source[span.end..line_end].trim().is_empty();
    match alone {
        true => Span {
            start: line_start,
            end: line_end,
        },
        false => {
            // One space goes too.
            let space = before.ends_with(' ');
            Span {
                start: span.start - usize::from(space),
                end: span.end,
            }
        }
    }
}
