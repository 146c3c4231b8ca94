//! The text format from outside: fixtures, random input, and a folder of files from the wild.
//!
//! A fixture's expected text lies beside it; with `CORTADO_UPDATE_EXPECTED` set, the tests write it instead.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use cortado::{
    error::Error,
    schema::{self, NetParameter, SolverParameter},
    text::{self, Options, Source, Warning},
    upgrade,
};
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// What a file reads as: printed as read, printed in current form, and everything there is to say about it.
struct Read {
    printed: String,
    upgraded: Result<String, Error>,
    warnings: Vec<Warning>,
    notes: Vec<String>,
}

/// Reads a file as what its name says: a solver's where it says so, else a net's.
fn read(name: &str, bytes: &[u8], options: Options) -> Result<Read, Error> {
    let source = Source::new(name, bytes);
    if name.contains("solver") {
        let parsed = text::parse_with::<SolverParameter>("SolverParameter", &source, options)?;
        let printed = text::print("SolverParameter", &parsed.message);
        let solver = upgrade::solver(parsed.message, Path::new(name));
        Ok(Read {
            printed,
            upgraded: solver.map(|solver| text::print("SolverParameter", &solver)),
            warnings: parsed.warnings,
            notes: Vec::new(),
        })
    } else {
        let parsed = text::parse_with::<NetParameter>("NetParameter", &source, options)?;
        let printed = text::print("NetParameter", &parsed.message);
        let mut notes = Vec::new();
        let upgraded = upgrade::net(parsed.message).map(|upgraded| {
            notes = upgraded.notes;
            text::print("NetParameter", &upgraded.net)
        });
        Ok(Read {
            printed,
            upgraded,
            warnings: parsed.warnings,
            notes,
        })
    }
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/prototxt");
    files(&root.join(folder), &[".prototxt"])
}

fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings
            .iter()
            .any(|ending| path.to_string_lossy().ends_with(ending))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Compares with the text beside a fixture; returns what differs.
fn compare(path: &Path, actual: &str) -> Option<String> {
    let expected = path.with_extension("txt");
    if env::var_os("CORTADO_UPDATE_EXPECTED").is_some() {
        fs::write(&expected, actual).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&expected)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    (expected != actual).then(|| {
        let name = path.display();
        format!("{name}\n--- expected\n{expected}--- actual\n{actual}")
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn bad_files_are_refused_in_words_that_help() {
    let paths = fixtures("bad");
    assert!(paths.len() >= 20);
    let check = |path: &PathBuf| {
        let name = file_name(path);
        let Err(error) = read(&name, &fs::read(path).unwrap(), Options::default()) else {
            return Some(format!("{name} is read without an error"));
        };
        compare(path, &format!("{error}\n"))
    };
    let wrong: Vec<_> = paths.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_files_are_read_and_brought_up_to_date() {
    let check = |path: &PathBuf| {
        let name = file_name(path);
        let read = read(&name, &fs::read(path).unwrap(), Options::default()).unwrap();
        let mut actual = read.printed;
        match read.upgraded {
            Ok(upgraded) if upgraded == actual => {}
            Ok(upgraded) => actual += &format!("=== upgraded\n{upgraded}"),
            Err(error) => actual += &format!("=== error\n{error}\n"),
        }
        for note in read.notes {
            actual += &format!("=== note\n{note}\n");
        }
        for warning in read.warnings {
            actual += &format!("=== warning\n{warning}\n");
        }
        compare(path, &actual)
    };
    let wrong: Vec<_> = fixtures("good").iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn strict_refuses_what_forks_added() {
    let strict = Options { strict: true };
    let read = |text: &str| read("net", text.as_bytes(), strict).map(|read| read.printed);
    assert!(read("layer { name: 'x' }").is_ok());
    for text in [
        "item { }",
        "layer { cpm_transform_param { } }",
        "[a.b]: 1",
        "layer { convolution_param { engine: MKL2017 } }",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

/// Files of the corpus that no reader of Caffe's format takes.
const REFUSED: &[(&str, &str)] = &[
    (
        "chuanqi305+MobileNet-SSD/588e0bab-MobileNetSSD_train_template.prototxt",
        "a template with the placeholder cls3x for a number",
    ),
    (
        "chuanqi305+MobileNet-SSD/cb8b55cc-MobileNetSSD_deploy_template.prototxt",
        "a template with the placeholder cls3x for a number",
    ),
    (
        "chuanqi305+MobileNet-SSD/ee19a6cf-MobileNetSSD_test_template.prototxt",
        "a template with the placeholder cls3x for a number",
    ),
];

/// Reads every prototxt below the folder that `CORTADO_CORPUS` names; what it reads must print as text that reads the
/// same, before and after the upgrade. `CORTADO_CORPUS_WARNINGS` shows what is said about each.
#[test]
#[allow(clippy::print_stderr, reason = "to be read by whoever runs it")]
fn files_from_the_wild_are_read() {
    let Some(folder) = env::var_os("CORTADO_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: CORTADO_CORPUS names no folder of prototxts");
        return;
    };
    let paths = files(&folder, &[".prototxt", ".pt"]);
    assert!(!paths.is_empty(), "no prototxt in {}", folder.display());
    let mut wrong = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy();
        let name = name.replace('\\', "/");
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
        let result = read(&name, &fs::read(&path).unwrap(), Options::default());
        match (result, refused) {
            (Ok(_), Some((_, why))) => wrong.push(format!("{name} is read, though {why}")),
            (Err(error), None) => wrong.push(error.to_string()),
            (Err(_), Some(_)) => {}
            (Ok(first), None) => {
                if env::var_os("CORTADO_CORPUS_WARNINGS").is_some() {
                    first
                        .warnings
                        .iter()
                        .for_each(|warning| eprintln!("{warning}"));
                    first
                        .notes
                        .iter()
                        .for_each(|note| eprintln!("{name}: note: {note}"));
                }
                match first.upgraded {
                    Err(error) => wrong.push(format!("{name}: {error}")),
                    Ok(upgraded) => {
                        for text in [&first.printed, &upgraded] {
                            let again = read(&name, text.as_bytes(), Options { strict: true });
                            if again.map(|again| again.printed).ok().as_ref() != Some(text) {
                                wrong.push(format!("{name} is not read back as printed"));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} files:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Numbers that fill a random message, one after the other; zeros when they are used up.
struct Dice<'a>(&'a [u64], usize);

impl Dice<'_> {
    fn next(&mut self) -> u64 {
        self.1 += 1;
        self.0.get(self.1 - 1).copied().unwrap_or(0)
    }
}

/// A message with every required field and some of the others.
fn random_message(of: &MessageDescriptor, dice: &mut Dice<'_>, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let required = field.cardinality() == prost_reflect::Cardinality::Required;
        let is_message = matches!(field.kind(), Kind::Message(_));
        // Messages have many fields; a small share of each level keeps the whole small.
        if !required && (!dice.next().is_multiple_of(5) || is_message && depth == 0) {
            continue;
        }
        if field.is_list() {
            let count = 1 + dice.next() % 3;
            let items = (0..count).map(|_| random_value(&field, dice, depth));
            message.set_field(&field, Value::List(items.collect()));
        } else {
            let value = random_value(&field, dice, depth);
            message.set_field(&field, value);
        }
    }
    message
}

fn random_value(field: &FieldDescriptor, dice: &mut Dice<'_>, depth: usize) -> Value {
    let roll = dice.next();
    let bytes = roll.to_le_bytes();
    let [a, b, c, d, ..] = bytes;
    let low = u32::from_le_bytes([a, b, c, d]);
    match field.kind() {
        Kind::Bool => Value::Bool(roll.is_multiple_of(2)),
        Kind::Int32 => Value::I32(i32::from_le_bytes([a, b, c, d])),
        Kind::Int64 => Value::I64(i64::from_le_bytes(bytes)),
        Kind::Uint32 => Value::U32(low),
        Kind::Uint64 => Value::U64(roll),
        // Not a number is not equal to itself, which is all that this compares.
        Kind::Float => Value::F32(
            Some(f32::from_bits(low))
                .filter(|x| !x.is_nan())
                .unwrap_or(0.5),
        ),
        Kind::Double => Value::F64(
            Some(f64::from_bits(roll))
                .filter(|x| !x.is_nan())
                .unwrap_or(0.5),
        ),
        Kind::String => {
            let chars = [low, low >> 8, low >> 16, 0x4E00 | (low & 0xFF), low & 0x7F];
            Value::String(
                chars
                    .iter()
                    .filter_map(|&code| char::from_u32(code % 0x110000))
                    .collect(),
            )
        }
        Kind::Bytes => Value::Bytes(bytes.to_vec().into()),
        Kind::Enum(of) => {
            let values: Vec<i32> = of.values().map(|value| value.number()).collect();
            Value::EnumNumber(values[usize::from(a) % values.len()])
        }
        Kind::Message(of) => Value::Message(random_message(&of, dice, depth.saturating_sub(1))),
        other => panic!("the schema has no {other:?}"),
    }
}

/// Prints a random message of the type and reads it back.
fn survives<T: prost_reflect::prost::Message + Default + PartialEq>(
    name: &str,
    rolls: &[u64],
) -> Result<(), TestCaseError> {
    let random = random_message(&schema::descriptor(name), &mut Dice(rolls, 0), 3);
    let message: T = random.transcode_to().unwrap();
    let printed = text::print(name, &message);
    let source = Source::new("printed", &printed);
    let back = text::parse_with::<T>(name, &source, Options { strict: true });
    let back = back.map_err(|error| TestCaseError::fail(format!("{error}\n{printed}")))?;
    prop_assert_eq!(back.message.encode_to_vec(), message.encode_to_vec());
    prop_assert!(back.message == message);
    Ok(())
}

/// Reads and throws away: only panics count.
fn try_all(bytes: &[u8]) {
    for name in ["net", "solver"] {
        for strict in [false, true] {
            match read(name, bytes, Options { strict }) {
                Ok(read) => read
                    .warnings
                    .iter()
                    .for_each(|w| assert!(!w.to_string().is_empty())),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&bytes);
    }

    #[test]
    fn any_soup_of_tokens_is_safe(tokens in prop::collection::vec(
        prop::sample::select(vec![
            "layer", "layers", "name", "input_dim", "type", "pooling_param", "clip_param", "pool", "min", ":", ":", "{", "}",
            "<", ">", "[", "]", ",", ";", "\"a\"", "'\\n'", "\"", "'", "\\", "1", "-", "0x", "1e9", "99999999999", "MAX", "true",
            "inf", "#", "\n", "é", "\u{a0}", "\u{FEFF}", "\0", "\r",
        ]),
        0..60,
    ), glue in prop::sample::select(vec!["", " "])) {
        try_all(tokens.join(glue).as_bytes());
    }

    #[test]
    fn mutated_files_are_safe(
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..6),
    ) {
        let paths = fixtures("good");
        let mut bytes = fs::read(file.get(&paths)).unwrap();
        for (at, edit, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        try_all(&bytes);
    }

    #[test]
    fn nets_survive_printing(rolls in prop::collection::vec(any::<u64>(), 0..600)) {
        survives::<NetParameter>("NetParameter", &rolls)?;
    }

    #[test]
    fn layers_survive_printing(rolls in prop::collection::vec(any::<u64>(), 0..300)) {
        survives::<schema::LayerParameter>("LayerParameter", &rolls)?;
        survives::<schema::V1LayerParameter>("V1LayerParameter", &rolls)?;
        survives::<schema::Datum>("Datum", &rolls)?;
        survives::<schema::BlobProto>("BlobProto", &rolls)?;
    }

    #[test]
    fn solvers_survive_printing(rolls in prop::collection::vec(any::<u64>(), 0..300)) {
        survives::<SolverParameter>("SolverParameter", &rolls)?;
    }
}
