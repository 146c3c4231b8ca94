//! Messages to text, laid out as protobuf does it, and so as Caffe's logs show it.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

use crate::schema;

use super::{escape::escape, number};

/// The text of a message, `message` being its name: only fields that are set, in the order of their numbers, two spaces
/// for each level. Reads back as the same message.
pub fn print<T: prost::Message>(message: &str, value: &T) -> String {
    let mut decoded = DynamicMessage::new(schema::descriptor(message));
    let mut out = String::new();
    // Fails only where `message` is not the name of `T`.
    if decoded.transcode_from(value).is_ok() {
        block(&mut out, &decoded, 0);
    }
    out
}

fn block(out: &mut String, message: &DynamicMessage, level: usize) {
    let mut fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    for field in fields.iter().filter(|field| message.has_field(field)) {
        match message.get_field(field).as_ref() {
            Value::List(items) => items.iter().for_each(|item| entry(out, field, item, level)),
            value => entry(out, field, value, level),
        }
    }
}

fn entry(out: &mut String, field: &FieldDescriptor, value: &Value, level: usize) {
    let indent = 2 * level;
    let name = field.name();
    // Writing to a string does not fail.
    if let Value::Message(message) = value {
        let _ = writeln!(out, "{:indent$}{name} {{", "");
        block(out, message, level + 1);
        let _ = writeln!(out, "{:indent$}}}", "");
    } else {
        let _ = writeln!(out, "{:indent$}{name}: {}", "", scalar(field, value));
    }
}

fn scalar(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => number::print_f32(*value),
        Value::F64(value) => number::print_f64(*value),
        Value::String(text) => format!("\"{}\"", escape(text.as_bytes())),
        Value::Bytes(bytes) => format!("\"{}\"", escape(bytes)),
        Value::EnumNumber(number) => {
            let known = match field.kind() {
                Kind::Enum(of) => of.get_value(*number),
                _ => None,
            };
            known.map_or_else(|| number.to_string(), |known| known.name().to_owned())
        }
        // The schema has no maps, and lists and messages do not come here.
        Value::Message(_) | Value::List(_) | Value::Map(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{
        BlobShape, FillerParameter, LayerParameter, NetParameter, NetState, Phase,
    };

    #[test]
    fn the_layout_of_a_log() {
        let net = NetParameter {
            name: Some("a \"b\"\n".into()),
            input_shape: vec![BlobShape { dim: vec![1, -2] }],
            state: Some(NetState {
                phase: Some(Phase::Train.into()),
                level: Some(0),
                stage: vec![String::new()],
            }),
            layer: vec![LayerParameter {
                loss_weight: vec![0.1, 2.0],
                ..LayerParameter::default()
            }],
            ..NetParameter::default()
        };
        let expected = r#"name: "a \"b\"\n"
state {
  phase: TRAIN
  level: 0
  stage: ""
}
input_shape {
  dim: 1
  dim: -2
}
layer {
  loss_weight: 0.1
  loss_weight: 2
}
"#;
        assert_eq!(print("NetParameter", &net), expected);
        assert_eq!(print("FillerParameter", &FillerParameter::default()), "");
    }
}
