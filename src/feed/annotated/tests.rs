use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    error::ErrorKind,
    rng::{Use, stream},
    schema::{AnnotatedDatum, Annotation, Datum, NormalizedBBox},
};

fn recipe() -> Annotated {
    let param = AnnotatedDataParameter::default();
    let transform = TransformationParameter::default();
    Annotated::new(&param, &transform, true, Path::new("")).unwrap()
}

fn record() -> AnnotatedDatum {
    AnnotatedDatum {
        datum: Some(Datum {
            channels: Some(1),
            height: Some(2),
            width: Some(2),
            data: Some(vec![1, 2, 3, 4]),
            label: Some(-3),
            ..Default::default()
        }),
        r#type: None,
        annotation_group: vec![AnnotationGroup {
            group_label: Some(1),
            annotation: vec![Annotation {
                instance_id: None,
                bbox: Some(NormalizedBBox {
                    xmax: Some(1.0),
                    ymax: Some(1.0),
                    ..Default::default()
                }),
            }],
        }],
    }
}

fn load<'a>(recipe: &Annotated, bytes: &'a [u8]) -> Result<LoadedAnnotated<'a>> {
    let record = Record {
        number: 0,
        key: b"k",
        value: bytes,
    };
    recipe.load(&record, Vec::new(), &mut stream(1, Use::Transform, 0, 0))
}

#[test]
fn a_record_without_a_type_gives_its_label() {
    let bytes = record().encode_to_vec();
    let recipe = recipe();
    let loaded = load(&recipe, &bytes).unwrap();
    assert!(loaded.objects.is_none());
    assert_eq!(recipe.parts(&loaded).unwrap()[1], Part::Number);
    let boxes = Annotated {
        boxes: true,
        ..recipe
    };
    let loaded = load(&boxes, &bytes).unwrap();
    assert_eq!(loaded.objects.map(|o| o.len()), Some(1));
}

#[test]
fn what_does_not_fit_is_named() {
    let mut damaged = record();
    damaged.annotation_group[0].annotation[0]
        .bbox
        .as_mut()
        .unwrap()
        .xmin = Some(f32::NAN);
    damaged.r#type = Some(0);
    let bytes = damaged.encode_to_vec();
    let error = load(&recipe(), &bytes).err().unwrap();
    assert!(error.message().contains("no number"), "{error}");

    damaged.r#type = Some(1);
    let bytes = damaged.encode_to_vec();
    let error = load(&recipe(), &bytes).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    // A plain Datum has a number where an AnnotatedDatum has a message.
    let bytes = record().datum.unwrap().encode_to_vec();
    let error = load(&recipe(), &bytes).err().unwrap();
    assert!(error.help_text().unwrap().contains("AnnotatedDatum"));
}

#[test]
fn turned_and_mirrored() {
    let frame = Frame {
        xmin: 0.0,
        ymin: 0.25,
        xmax: 0.5,
        ymax: 0.5,
    };
    let window = |turns, mirror| Window {
        height: 4,
        width: 4,
        top: 0,
        left: 0,
        turns,
        mirror,
    };
    let turned = laid_down(frame, &window(1, false));
    let sides = [turned.xmin, turned.ymin, turned.xmax, turned.ymax];
    assert_eq!(sides, [0.5, 0.0, 0.75, 0.5]);
    assert_eq!(laid_down(frame, &window(4, false)), frame);
    let twice = laid_down(laid_down(frame, &window(0, true)), &window(0, true));
    assert_eq!(twice, frame);
}

proptest! {
    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&recipe(), &bytes);
    }

    #[test]
    fn any_damaged_record_is_loaded_or_refused(at in 0usize..80, value: u8, cut in 0usize..40) {
        let mut record = record();
        record.r#type = Some(0);
        let mut bytes = record.encode_to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let recipe = recipe();
        if let Ok(loaded) = load(&recipe, &bytes) {
            let _ = recipe.parts(&loaded);
        }
    }
}
