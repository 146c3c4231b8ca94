//! Whatever bytes a file has, reading it ends in a value or an error: the property that `fuzz/` looks at for longer.
//! Text, HDF5, LevelDB and LMDB have tests of their own.

use cortado::{
    feed::datum::{self, Color},
    model_io::{binaryproto, caffemodel, solverstate},
    schema::{
        BlobProto, BlobShape, Datum, LayerParameter, NetParameter, SolverState, SolverStateExtra,
        dialect,
    },
};
use image::{ExtendedColorType, ImageEncoder as _, codecs};
use proptest::prelude::*;
use prost::Message as _;

fn blob() -> BlobProto {
    BlobProto {
        shape: Some(BlobShape { dim: vec![2, 3] }),
        data: vec![0.5; 6],
        ..BlobProto::default()
    }
}

fn model() -> Vec<u8> {
    NetParameter {
        name: Some("n".into()),
        layer: vec![LayerParameter {
            name: Some("ip".into()),
            r#type: Some("InnerProduct".into()),
            blobs: vec![blob(), blob()],
            ..LayerParameter::default()
        }],
        ..NetParameter::default()
    }
    .encode_to_vec()
}

fn state() -> Vec<u8> {
    let state = SolverState {
        iter: Some(7),
        history: vec![blob()],
        ..SolverState::default()
    };
    let extra = SolverStateExtra::default();
    [state.encode_to_vec(), extra.encode_to_vec()].concat()
}

fn pictures() -> Vec<Vec<u8>> {
    let pixels: Vec<u8> = (0..5 * 4 * 3).map(|i| (i * 37) as u8).collect();
    let (mut png, mut jpeg) = (Vec::new(), Vec::new());
    codecs::png::PngEncoder::new(&mut png)
        .write_image(&pixels, 5, 4, ExtendedColorType::Rgb8)
        .unwrap();
    codecs::jpeg::JpegEncoder::new(&mut jpeg)
        .write_image(&pixels, 5, 4, ExtendedColorType::Rgb8)
        .unwrap();
    vec![png, jpeg]
}

fn record(encoded: bool, data: Vec<u8>) -> Vec<u8> {
    Datum {
        channels: Some(3),
        height: Some(4),
        width: Some(5),
        data: Some(data),
        label: Some(1),
        encoded: Some(encoded),
        ..Datum::default()
    }
    .encode_to_vec()
}

/// Some bytes changed, and the end cut off.
fn damage(bytes: &mut Vec<u8>, changes: &[(usize, u8)], cut: usize) {
    for &(at, value) in changes {
        let len = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at % len) {
            *byte = value;
        }
    }
    // Mostly the file stays whole, so that what lies behind the first check is reached, too.
    if cut.is_multiple_of(3) {
        bytes.truncate(cut % (bytes.len() + 1));
    }
}

fn changes() -> impl Strategy<Value = (Vec<(usize, u8)>, usize)> {
    (
        prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        any::<usize>(),
    )
}

proptest! {
    #[test]
    fn damaged_weights_are_safe((changes, cut) in changes()) {
        let mut bytes = model();
        damage(&mut bytes, &changes, cut);
        let _ = caffemodel::decode(&bytes);
        for dialect in dialect::DIALECTS {
            let _ = dialect::net(&bytes, Some(*dialect));
        }
    }

    #[test]
    fn damaged_states_and_means_are_safe((changes, cut) in changes()) {
        for mut bytes in [state(), blob().encode_to_vec()] {
            damage(&mut bytes, &changes, cut);
            let _ = solverstate::decode(&bytes);
            let _ = binaryproto::decode(&bytes);
        }
    }

    #[test]
    fn damaged_records_are_safe((changes, cut) in changes()) {
        let mut bytes = record(false, vec![7; 60]);
        damage(&mut bytes, &changes, cut);
        for color in [Color::AsStored, Color::Color, Color::Gray] {
            if let Ok(sample) = datum::decode(&bytes, color) {
                let [c, h, w] = sample.dims();
                prop_assert_eq!(sample.floats().len(), c * h * w);
            }
        }
    }

    #[test]
    fn damaged_pictures_are_safe((changes, cut) in changes()) {
        for mut picture in pictures() {
            damage(&mut picture, &changes, cut);
            let _ = datum::decode(&record(true, picture), Color::AsStored);
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = caffemodel::decode(&bytes);
        let _ = solverstate::decode(&bytes);
        let _ = binaryproto::decode(&bytes);
        let _ = datum::decode(&bytes, Color::AsStored);
        let _ = datum::decode(&record(true, bytes), Color::AsStored);
    }
}
