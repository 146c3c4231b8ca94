//! `LAYERS.md`, the page of supported layers: made from the catalogue, the head comments and the schema.
//!
//! With `CORTADO_UPDATE_EXPECTED` set the test writes the page; without, it asks that the page is as it would be written.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::Path,
};

use cortado::{layers, schema};
use prost_reflect::Kind;

use crate::{laws::stem, support::files};

const HEAD: &str = "# Layers

What cortado loads, runs and trains: every type, what it computes, and the options that it reads, with their defaults.
`x` is a bottom, `y` a top, `d` before a name its gradient; the head comment of each type's file has shapes, gradients
and departures from the reference. This page is made from the sources: `CORTADO_UPDATE_EXPECTED=1 cargo test --release
page` writes it anew.
";

/// Messages whose options a type reads through what it shares with others.
const SHARED: &[(&str, &str)] = &[
    ("ConvolutionDepthwise", "convolution_param"),
    ("DepthwiseConvolution", "convolution_param"),
    ("LSTM", "recurrent_param"),
    ("RNN", "recurrent_param"),
];

/// The sentence after `//! Type: `, as Markdown.
fn summary(source: &str) -> String {
    let head: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let head = head.join(" ");
    let (_, text) = head.split_once(": ").unwrap();
    let text: Vec<&str> = text.split("   ").map(str::trim).collect();
    text.join(" — ")
        .replace("\\[", "[")
        .replace("\\]", "]")
        .replace('|', "\\|")
}

/// The messages of options that a file reads, in the order of the schema.
fn messages(kind: &str, source: &str) -> Vec<String> {
    let code = source
        .find("#[cfg(test)]")
        .map_or(source, |end| &source[..end]);
    let words: BTreeSet<&str> = code
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.ends_with("_param"))
        .chain(
            SHARED
                .iter()
                .filter(|(name, _)| *name == kind)
                .map(|&(_, m)| m),
        )
        .collect();
    schema::descriptor("LayerParameter")
        .fields()
        .map(|field| field.name().to_owned())
        .filter(|name| words.contains(name.as_str()))
        .collect()
}

/// The options of one message: names with their defaults.
fn options(message: &str) -> String {
    let layer = schema::descriptor("LayerParameter");
    let field = layer.get_field_by_name(message).unwrap();
    let Kind::Message(descriptor) = field.kind() else {
        panic!("{message} is no message")
    };
    let mut options = Vec::new();
    for field in descriptor.fields() {
        let name = field.name();
        let proto = field.field_descriptor_proto();
        options.push(match &proto.default_value {
            Some(default) if !default.is_empty() => format!("`{name}` ({default})"),
            _ if field.is_list() => format!("`{name}`…"),
            _ => format!("`{name}`"),
        });
    }
    format!("`{message}`: {}", options.join(", "))
}

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/layers");
    let paths = files(&root, ".rs");
    let rows: Vec<(&str, &Path, String)> = layers::all()
        .map(|kind| {
            let name = stem(kind.name);
            let path = paths
                .iter()
                .find(|path| {
                    path.file_stem()
                        .is_some_and(|s| s.to_string_lossy() == name)
                })
                .unwrap_or_else(|| panic!("{} has no file", kind.name));
            (kind.name, &**path, fs::read_to_string(path).unwrap())
        })
        .collect();
    // What many types read is told once.
    let mut readers: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, _, source) in &rows {
        for message in messages(kind, source) {
            *readers.entry(message).or_default() += 1;
        }
    }
    let common = |message: &String| readers[message] > 2;
    let mut page = HEAD.to_owned();
    let mut family = String::new();
    for (kind, path, source) in &rows {
        let folder = path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy();
        if folder != family {
            family = folder.into_owned();
            let title = family[..1].to_uppercase() + &family[1..];
            write!(
                page,
                "\n## {title}\n\n| type | computes | options |\n| --- | --- | --- |\n"
            )
            .unwrap();
        }
        let read: Vec<String> = (messages(kind, source).iter())
            .map(|message| match common(message) {
                true => format!("[`{message}`](#options-that-several-types-read)"),
                false => options(message),
            })
            .collect();
        let file = path.file_name().unwrap().to_string_lossy();
        writeln!(
            page,
            "| [{kind}](src/layers/{family}/{file}) | {} | {} |",
            summary(source),
            read.join("; ")
        )
        .unwrap();
    }
    page += "\n## Options that several types read\n\n";
    for message in readers.keys().filter(|message| common(message)) {
        writeln!(page, "- {}", options(message)).unwrap();
    }
    page
}

#[test]
fn the_page_of_layers_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("LAYERS.md");
    let made = page();
    if env::var_os("CORTADO_UPDATE_EXPECTED").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let stands = fs::read_to_string(&path)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    assert!(
        stands == made,
        "LAYERS.md is out of date; CORTADO_UPDATE_EXPECTED=1 cargo test --release page writes it"
    );
}
