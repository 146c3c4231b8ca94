//! A small net that learns to say where pixels are bright, with its databases.

use std::{fs, path::Path};

use cortado::{feed::lmdb::LmdbWriter, schema::Datum};
use prost::Message as _;

const NET: &str = r#"name: "halves"
layer { name: "images" type: "Data" top: "data" transform_param { scale: 0.01 }
  data_param { source: "images" batch_size: 2 backend: LMDB } }
layer { name: "maps" type: "Data" top: "label" data_param { source: "maps" batch_size: 2 backend: LMDB } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#;

/// Writes the net, its databases of six records, and a solver with these fields besides.
pub(crate) fn write(root: &Path, fields: &str) {
    for (name, channels) in [("images", 3), ("maps", 1)] {
        let mut writer = LmdbWriter::create(&root.join(name)).unwrap();
        for i in 0..6u8 {
            let bright = |at: usize| u8::from(at % 8 >= 4);
            let pixel = |at: usize| bright(at) * if channels == 1 { 1 } else { 200 + i };
            let datum = Datum {
                channels: Some(channels),
                height: Some(8),
                width: Some(8),
                data: Some((0..channels as usize * 64).map(pixel).collect()),
                label: Some(i.into()),
                ..Datum::default()
            };
            let key = format!("rec{i}");
            writer.put(key.as_bytes(), &datum.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
    }
    fs::write(root.join("net.prototxt"), NET).unwrap();
    let solver = format!(
        "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' random_seed: 1 test_iter: 3 snapshot_prefix: 'snap' {fields}"
    );
    fs::write(root.join("solver.prototxt"), solver).unwrap();
}
