//! Binary nets of the forks, brought to the numbers of this schema.
//!
//! Forks gave one number to different fields, and one field different numbers. A layer's type tells which of its
//! messages a number means; where not even that does, in messages that the reference and a fork both extended, the reader
//! has to say whose file it is: [`Dialect`]. What has no meaning here is left out, so that what is left always decodes.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::descriptor;

/// A fork whose messages give a number another meaning than the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What the reader calls it.
    pub name: &'static str,
    /// Message, number in the fork's files, number here; 0 where it means nothing here.
    moved: &'static [(&'static str, u32, u32)],
}

/// All dialects, sorted by name. Files of forks that are not here need none.
pub const DIALECTS: &[Dialect] = &[
    Dialect {
        name: "intel",
        moved: &[("PoolingParameter", 13, 0)],
    },
    Dialect {
        name: "jolibrain",
        moved: &[("LossParameter", 5, 3)],
    },
    Dialect {
        name: "pytorch",
        moved: &[("PoolingParameter", 13, 15151)],
    },
    Dialect {
        name: "segnet",
        moved: &[("LossParameter", 3, 15152), ("LossParameter", 4, 15151)],
    },
    Dialect {
        name: "tsn",
        moved: &[
            ("ConvolutionParameter", 16, 18),
            ("ConvolutionParameter", 17, 0),
            ("PoolingParameter", 13, 0),
        ],
    },
];

/// The dialect of this name.
pub fn find(name: &str) -> Option<Dialect> {
    DIALECTS.iter().find(|d| d.name == name).copied()
}

/// A message that only some types of layers have: its number here, the types, its numbers elsewhere.
struct Owned {
    number: u32,
    types: &'static [&'static str],
    elsewhere: &'static [u32],
}

const fn owned(number: u32, types: &'static [&'static str], elsewhere: &'static [u32]) -> Owned {
    Owned {
        number,
        types,
        elsewhere,
    }
}

/// Numbers below mean the same in every fork.
const AGREED: u32 = 132;

const OWNED: &[Owned] = &[
    owned(45, &["BN"], &[43, 137, 152, 160, 200]),
    owned(46, &["DenseImageData"], &[138]),
    owned(132, &["SPP"], &[]),
    owned(133, &["Reshape"], &[]),
    owned(134, &["Log"], &[]),
    owned(135, &["Flatten"], &[]),
    owned(136, &["Reduction"], &[]),
    owned(137, &["Embed"], &[]),
    owned(138, &["Tile"], &[]),
    owned(139, &["BatchNorm"], &[]),
    owned(140, &["ELU"], &[]),
    owned(141, &["Bias"], &[]),
    owned(142, &["Scale"], &[]),
    owned(143, &["Input"], &[]),
    owned(144, &["Crop"], &[]),
    owned(145, &["Parameter"], &[]),
    owned(146, &["RNN", "LSTM", "LSTMUnit"], &[]),
    owned(147, &["Swish"], &[160]),
    owned(148, &["Clip"], &[]),
    owned(200, &["AnnotatedData"], &[]),
    owned(201, &["MultiBoxLoss"], &[]),
    owned(202, &["Permute"], &[173, 224]),
    owned(203, &["PriorBox"], &[165]),
    owned(204, &["DetectionOutput"], &[]),
    owned(205, &["DetectionEvaluate"], &[]),
    owned(206, &["Normalize"], &[170]),
    owned(207, &["VideoData"], &[]),
    owned(211, &["ReLU6"], &[]),
    owned(600, &["RegionLoss"], &[]),
    owned(601, &["YoloDetectionOutput"], &[]),
    owned(602, &["Yolov3DetectionOutput"], &[]),
    owned(603, &["Yolov3"], &[]),
    owned(8_266_711, &["ROIPooling"], &[48, 147, 150, 154, 204, 1201]),
    owned(8_266_712, &["SmoothL1Loss", "SmoothL1LossOHEM"], &[148]),
    owned(15151, &["PSROIPooling"], &[149, 153, 163, 220, 10001]),
    owned(15152, &["ROIAlign"], &[148, 154]),
    owned(15153, &["BoxAnnotatorOHEM"], &[150, 152]),
    owned(15154, &["Proposal"], &[219]),
    owned(15155, &["Upsample"], &[137, 147, 150, 152, 100_003]),
    owned(15156, &["Interp"], &[143, 153, 205]),
    owned(15157, &["SegAccuracy"], &[144]),
    owned(15158, &["ShuffleChannel"], &[145, 154]),
    owned(15159, &["Reorg"], &[147, 149]),
    owned(15160, &["Normalize"], &[214]),
    owned(15161, &["FocalLoss"], &[156]),
    owned(15162, &["DiceCoefLoss", "DiceLoss"], &[208]),
    owned(15163, &["CenterLoss"], &[147, 211]),
    owned(15164, &["MarginInnerProduct"], &[147, 232]),
    owned(15165, &["TripletLoss"], &[47, 203]),
    owned(15166, &["CtcLoss"], &[157]),
    owned(15167, &["ContinuationIndicator"], &[158]),
    owned(15180, &["SpatialDropout"], &[]),
    owned(15190, &["LabelsequenceAccuracy"], &[159]),
];

/// The number here of a field of a layer of this type; `None` where it has no meaning.
fn of_layer(kind: &str, number: u32) -> Option<u32> {
    let mut rows = OWNED.iter().filter(|o| o.types.contains(&kind));
    if let Some(row) = rows.find(|o| o.number == number || o.elsewhere.contains(&number)) {
        return Some(row.number);
    }
    let elsewhere = OWNED.iter().any(|o| o.number == number);
    (number < AGREED && !elsewhere).then_some(number)
}

/// A binary `NetParameter` of any fork as one of this schema. `None` where the bytes are no message, or end early.
pub fn net(bytes: &[u8], dialect: Option<Dialect>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    message(&descriptor("NetParameter"), bytes, dialect, &mut out)?;
    Some(out)
}

/// One field of a message.
struct Field<'a> {
    number: u32,
    wire: u32,
    /// What follows the key and, of wire type 2, the length.
    payload: &'a [u8],
}

/// Takes the next field off the front.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = varint(bytes)?;
    let (number, wire) = (u32::try_from(key >> 3).ok()?, (key & 7) as u32);
    let length = match wire {
        0 => {
            let mut rest = *bytes;
            varint(&mut rest)?;
            bytes.len() - rest.len()
        }
        1 => 8,
        2 => usize::try_from(varint(bytes)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (payload, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    (number > 0).then_some(Field {
        number,
        wire,
        payload,
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Writes the fields that have a meaning. The depth is that of the schema.
fn message(
    descriptor: &MessageDescriptor,
    mut bytes: &[u8],
    dialect: Option<Dialect>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let kind = match descriptor.name() {
        "LayerParameter" => Some(type_of(bytes)?),
        // Numbers may be large, and nothing in them is in dispute.
        "BlobProto" => {
            out.extend(bytes);
            return Some(());
        }
        _ => None,
    };
    while !bytes.is_empty() {
        let field = next(&mut bytes)?;
        let number = match &kind {
            Some(kind) => of_layer(kind, field.number),
            None => Some(field.number),
        };
        let moved = dialect.and_then(|d| {
            let rows = d.moved.iter();
            let mut rows = rows.filter(|(message, ..)| *message == descriptor.name());
            rows.find(|&&(_, from, _)| from == field.number)
        });
        let number = moved.map_or(number, |&(.., to)| Some(to));
        let known = number.and_then(|n| descriptor.get_field(n));
        let Some(known) = known.filter(|known| fits(known, field.wire)) else {
            continue;
        };
        write(&known, &field, dialect, out)?;
    }
    Some(())
}

fn type_of(mut layer: &[u8]) -> Option<String> {
    let mut kind = String::new();
    while !layer.is_empty() {
        let field = next(&mut layer)?;
        if (field.number, field.wire) == (2, 2) {
            kind = String::from_utf8_lossy(field.payload).into_owned();
        }
    }
    Some(kind)
}

/// Whether a field of this wire type can be one of the schema's.
fn fits(known: &FieldDescriptor, wire: u32) -> bool {
    let own = match known.kind() {
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    };
    wire == own || wire == 2 && known.is_list()
}

fn write(
    known: &FieldDescriptor,
    field: &Field<'_>,
    dialect: Option<Dialect>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut inner = Vec::new();
    let payload = match known.kind() {
        Kind::Message(descriptor) => {
            message(&descriptor, field.payload, dialect, &mut inner)?;
            &inner
        }
        // Names in other encodings than UTF-8 are names all the same.
        Kind::String => {
            inner.extend(String::from_utf8_lossy(field.payload).as_bytes());
            &inner
        }
        _ => field.payload,
    };
    put_varint(u64::from(known.number() << 3 | field.wire), out);
    if field.wire == 2 {
        put_varint(payload.len() as u64, out);
    }
    out.extend(payload);
    Some(())
}

fn put_varint(number: u64, out: &mut Vec<u8>) {
    let length = prost::encode_length_delimiter(usize::try_from(number).unwrap_or(usize::MAX), out);
    debug_assert!(length.is_ok(), "a vector grows");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::schema::{LayerParameter, LossParameter, NetParameter, PoolingParameter};

    /// A field of wire type 2.
    fn block(number: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(u64::from(number << 3 | 2), &mut out);
        put_varint(payload.len() as u64, &mut out);
        out.extend(payload);
        out
    }

    fn layer(kind: &str, fields: &[Vec<u8>]) -> LayerParameter {
        layer_of(kind, fields, None)
    }

    fn layer_of(kind: &str, fields: &[Vec<u8>], dialect: Option<Dialect>) -> LayerParameter {
        let body = [&[block(1, b"x"), block(2, kind.as_bytes())], fields].concat();
        let bytes = block(100, &body.concat());
        let bytes = net(&bytes, dialect).unwrap();
        NetParameter::decode(&bytes[..]).unwrap().layer.remove(0)
    }

    #[test]
    fn the_type_tells_what_a_number_means() {
        // 147 { 1: 7 } is pooled_h of one fork's ROIPooling, the beta of Swish (a float: the 7 is none), and a scale.
        let seven = [0x08, 7];
        let roi = layer("ROIPooling", &[block(147, &seven)]);
        assert_eq!(roi.roi_pooling_param.unwrap().pooled_h(), 7);
        let upsample = layer("Upsample", &[block(147, &seven)]);
        assert_eq!(upsample.upsample_param.unwrap().scale(), 7);
        let swish = layer("Swish", &[block(147, &seven)]);
        assert_eq!(swish.swish_param.unwrap().beta, None);
        let other = layer("Convolution", &[block(147, &seven), block(106, &seven)]);
        assert_eq!(other.swish_param, None);
        assert_eq!(other.convolution_param.unwrap().num_output(), 7);
    }

    #[test]
    fn a_dialect_tells_where_the_type_does_not() {
        // LossParameter 3: true, 4: 0.5.
        let mut loss = vec![0x18, 1, 0x25];
        loss.extend(0.5f32.to_le_bytes());
        let fields = [block(101, &loss)];
        let segnet = layer_of("SoftmaxWithLoss", &fields, find("segnet"));
        let wanted = LossParameter {
            weight_by_label_freqs: Some(true),
            class_weighting: vec![0.5],
            ..Default::default()
        };
        assert_eq!(segnet.loss_param, Some(wanted));
        let plain = layer("SoftmaxWithLoss", &fields).loss_param.unwrap();
        assert_eq!(
            (plain.normalization, plain.class_weighting.len()),
            (Some(1), 0)
        );
        let pooling = layer_of("Pooling", &[block(121, &[0x68, 0])], find("pytorch"));
        let wanted = PoolingParameter {
            ceil_mode: Some(false),
            ..Default::default()
        };
        assert_eq!(pooling.pooling_param, Some(wanted));
        assert!(DIALECTS.is_sorted_by_key(|d| d.name));
        assert_eq!(find("klingon"), None);
    }

    #[test]
    fn every_owned_number_is_a_field_and_agrees_with_its_row() {
        let layer = descriptor("LayerParameter");
        for row in OWNED {
            assert!(layer.get_field(row.number).is_some(), "{}", row.number);
        }
        // Whatever is above the agreed numbers has a row.
        for field in layer.fields().filter(|f| f.number() >= AGREED) {
            assert!(
                OWNED.iter().any(|o| o.number == field.number()),
                "{} has no types",
                field.name()
            );
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_decodes(bytes in prop::collection::vec(any::<u8>(), 0..60), wrap: bool) {
            let bytes = if wrap { block(100, &bytes) } else { bytes };
            for dialect in [None, find("tsn")] {
                if let Some(made) = net(&bytes, dialect) {
                    let decoded = NetParameter::decode(&made[..]);
                    // Only inside of a stored blob anything may stand.
                    let blob = decoded.as_ref().err().is_some_and(|e| e.to_string().contains("Blob"));
                    prop_assert!(decoded.is_ok() || blob, "{decoded:?}");
                }
            }
        }
    }
}
