//! One value by the type of its field.

use prost_reflect::{EnumDescriptor, Kind, Value as Decoded};

use super::{
    ast::{Scalar, ScalarKind},
    nearest::{Nearest, nearest},
    number,
};

/// Why a value does not suit its field.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// A value of a fork, in a field where Caffe's default does just as well.
    pub(super) skippable: bool,
}

impl Refusal {
    pub(super) fn new(message: String, help: Option<String>) -> Self {
        Self {
            message,
            help,
            skippable: false,
        }
    }
}

/// True for fields that choose hardware or a library, never what is computed: there the default does just as well as a
/// fork's value. (V1's layer types, too, are names that forks extend; but it is for whoever builds the layer to refuse a
/// layer without a known type.)
pub(super) fn is_hint(field: &str) -> bool {
    matches!(field, "engine" | "device_id")
}

/// What a field of this type takes, in words.
pub(super) fn noun(kind: &Kind) -> String {
    match kind {
        Kind::Double | Kind::Float => "a number".into(),
        Kind::Bool => "true or false".into(),
        Kind::String | Kind::Bytes => "a string".into(),
        Kind::Enum(of) => format!("one of {}", list(of)),
        Kind::Message(of) => format!("a {} in braces", of.name()),
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => {
            "a whole number that is not negative".into()
        }
        _ => "a whole number".into(),
    }
}

fn list(of: &EnumDescriptor) -> String {
    let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
    match names.as_slice() {
        names if names.len() > 12 => format!("the {} names of {}", names.len(), of.name()),
        [start @ .., last] if !start.is_empty() => format!("{} or {last}", start.join(", ")),
        _ => names.join(", "),
    }
}

/// The value of a field of this type.
pub(super) fn decode(field: &str, kind: &Kind, scalar: &Scalar) -> Result<Decoded, Refusal> {
    match (kind, &scalar.kind) {
        (Kind::String, ScalarKind::Text(bytes)) => match String::from_utf8(bytes.clone()) {
            Ok(text) => Ok(Decoded::String(text)),
            Err(_) => Err(Refusal::new(
                format!("the string of '{field}' is not UTF-8"),
                Some("its escapes must make whole characters; \\u writes one by its code".into()),
            )),
        },
        (Kind::Bytes, ScalarKind::Text(bytes)) => Ok(Decoded::Bytes(bytes.clone().into())),
        (Kind::Enum(of), ScalarKind::Word(word)) => match of.get_value_by_name(word) {
            Some(value) => Ok(Decoded::EnumNumber(value.number())),
            None => Err(unknown_name(field, of, word)),
        },
        (Kind::Enum(of), ScalarKind::Number(token)) => {
            let number = number::integer(token).and_then(|number| i32::try_from(number).ok());
            match number.and_then(|number| of.get_value(number)) {
                Some(value) => Ok(Decoded::EnumNumber(value.number())),
                None => Err(Refusal::new(
                    format!("{token} is no value of '{field}'"),
                    Some(format!("it takes {}", noun(kind))),
                )),
            }
        }
        (Kind::Bool, ScalarKind::Word(word)) => match word.as_str() {
            "true" | "True" | "t" => Ok(Decoded::Bool(true)),
            "false" | "False" | "f" => Ok(Decoded::Bool(false)),
            _ => Err(mismatch(field, kind, scalar)),
        },
        (Kind::Bool, ScalarKind::Number(token)) => match number::integer(token) {
            Some(0) => Ok(Decoded::Bool(false)),
            Some(1) => Ok(Decoded::Bool(true)),
            _ => Err(mismatch(field, kind, scalar)),
        },
        (Kind::Float | Kind::Double, ScalarKind::Number(token) | ScalarKind::Word(token)) => {
            match number::float(token) {
                Some(value) if *kind == Kind::Double => Ok(Decoded::F64(value)),
                Some(value) => Ok(Decoded::F32(number::narrow(value))),
                None => Err(mismatch(field, kind, scalar)),
            }
        }
        (Kind::String | Kind::Bytes, _) => Err(mismatch(field, kind, scalar)),
        (kind, ScalarKind::Number(token)) => match number::integer(token) {
            Some(value) => {
                whole(kind, value).ok_or_else(|| out_of_range(field, kind, token, value))
            }
            None => Err(mismatch(field, kind, scalar)),
        },
        _ => Err(mismatch(field, kind, scalar)),
    }
}

fn whole(kind: &Kind, value: i128) -> Option<Decoded> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => value.try_into().ok().map(Decoded::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => value.try_into().ok().map(Decoded::I64),
        Kind::Uint32 | Kind::Fixed32 => value.try_into().ok().map(Decoded::U32),
        Kind::Uint64 | Kind::Fixed64 => value.try_into().ok().map(Decoded::U64),
        _ => None,
    }
}

fn out_of_range(field: &str, kind: &Kind, token: &str, value: i128) -> Refusal {
    let (low, high): (i128, i128) = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (i32::MIN.into(), i32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        _ => return Refusal::new(format!("'{field}' takes {}, not {token}", noun(kind)), None),
    };
    let why = if value < low && low == 0 {
        "negative".to_owned()
    } else if value < low {
        "too small".to_owned()
    } else {
        "too large".to_owned()
    };
    Refusal::new(
        format!("{token} is {why} for '{field}'"),
        Some(format!("it takes whole numbers from {low} to {high}")),
    )
}

fn unknown_name(field: &str, of: &EnumDescriptor, word: &str) -> Refusal {
    let names: Vec<String> = of.values().map(|value| value.name().to_owned()).collect();
    let choice = format!("it takes {}", noun(&Kind::Enum(of.clone())));
    let near = nearest(word, names.iter().map(String::as_str));
    let message = format!("unknown value '{word}' of '{field}'");
    let help = match near {
        Nearest::Miss(name) | Nearest::Similar(name) => format!("did you mean '{name}'? {choice}"),
        Nearest::None => choice,
    };
    let mut refusal = Refusal::new(message, Some(help));
    // Elsewhere a default would quietly compute something else than was asked for.
    refusal.skippable =
        !matches!(near, Nearest::Miss(_)) && (is_hint(field) || of.name() == "LayerType");
    refusal
}

/// The value has the wrong look altogether; says what to write where that is plain.
fn mismatch(field: &str, kind: &Kind, scalar: &Scalar) -> Refusal {
    let text_kind = matches!(kind, Kind::String | Kind::Bytes);
    let (found, help) = match &scalar.kind {
        ScalarKind::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let bare = Scalar {
                kind: match text.chars().next() {
                    Some('0'..='9' | '.' | '-') => ScalarKind::Number(text.to_string()),
                    _ => ScalarKind::Word(text.to_string()),
                },
                span: scalar.span,
            };
            let fits = decode(field, kind, &bare).is_ok();
            let help = fits.then(|| format!("write it without quotes: {field}: {text}"));
            ("a string".to_owned(), help)
        }
        ScalarKind::Number(token) | ScalarKind::Word(token) if text_kind => {
            let help = format!("put it in quotes: {field}: \"{token}\"");
            (token.clone(), Some(help))
        }
        ScalarKind::Number(token) => number_help(field, kind, token),
        ScalarKind::Word(word) => {
            let meant = match word.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some("true"),
                "false" | "no" | "off" => Some("false"),
                _ => None,
            };
            let help = meant.filter(|_| *kind == Kind::Bool);
            let help = help.map(|meant| format!("write {field}: {meant}"));
            (format!("'{word}'"), help)
        }
    };
    Refusal::new(format!("'{field}' takes {}, not {found}", noun(kind)), help)
}

fn number_help(field: &str, kind: &Kind, token: &str) -> (String, Option<String>) {
    let decimal = || {
        let value = number::integer(token)?;
        Some(format!("it means {value}; write that in decimal"))
    };
    match (kind, number::float(token)) {
        (Kind::Bool, _) => (token.to_owned(), None),
        (Kind::Float | Kind::Double, _) => (format!("'{token}'"), decimal()),
        (_, Some(value)) => {
            let whole = value.fract() == 0.0 && value.abs() < 1e15;
            let help = whole.then(|| format!("write {field}: {value:.0}"));
            (token.to_owned(), help)
        }
        (_, None) => (
            format!("'{token}'"),
            token
                .trim_start_matches('-')
                .starts_with('0')
                .then(|| "a leading 0 means octal, 0x hexadecimal".into()),
        ),
    }
}
