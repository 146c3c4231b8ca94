//! Nets that bring their own data from files: their blobs follow the files, and the numbers do not depend on threads.

use cortado::{
    events::Silent,
    feed::lmdb::LmdbWriter,
    load::{self, LoadOptions},
    net::{Keep, Net, NetOptions},
    params::Params,
    schema::{
        AnnotatedDatum, Annotation, AnnotationGroup, Datum, NormalizedBBox,
        annotated_datum::AnnotationType,
    },
    tensor::Shape,
    threads,
};
use prost::Message as _;

use crate::support::fixtures;

fn net(text: &str, root: &std::path::Path) -> (Net, Params) {
    let file = load::net_from_text("test", text, LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let options = NetOptions {
        root: root.to_owned(),
        seed: 5,
        backward: true,
        keep: Keep::All,
        ..NetOptions::default()
    };
    let net =
        Net::new(&file.net, &mut params, &options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    (net, params)
}

/// Image files through augmentations, a convolution and a loss: forward and backward, the same bits for any threads.
#[test]
fn a_net_learns_from_listed_images() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for (label, name) in [
        (0, "baseline.jpg"),
        (1, "rgb8.png"),
        (2, "rgb.bmp"),
        (1, "progressive.jpg"),
    ] {
        list.push_str(&format!("{name} {label}\n"));
    }
    std::fs::write(dir.path().join("list.txt"), list).unwrap();
    let images = fixtures().join("feed/images");
    let text = format!(
        "layer {{ name: 'data' type: 'ImageData' top: 'data' top: 'label'
           image_data_param {{ source: 'list.txt' root_folder: '{}/' batch_size: 6 shuffle: true
             new_height: 24 new_width: 24 }}
           transform_param {{ mirror: true crop_size: 20 mean_value: 104 mean_value: 117 mean_value: 123
             distort_param {{ prob: 0.5 all_effects: true brightness_delta: 32 hue_delta: 18
               contrast_lower: 0.5 contrast_upper: 1.5 saturation_lower: 0.5 saturation_upper: 1.5 }}
             geometry_param {{ prob: 0.5 }} rotate: true }} }}
         layer {{ name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'
           convolution_param {{ num_output: 3 kernel_size: 20 weight_filler {{ type: 'xavier' }} }} }}
         layer {{ name: 'loss' type: 'SoftmaxWithLoss' bottom: 'conv' bottom: 'label' top: 'loss' }}",
        images.display()
    );
    let run = |count| {
        threads::with_threads(count, || {
            let (mut net, mut params) = net(&text, dir.path());
            let mut seen = Vec::new();
            for _ in 0..4 {
                let loss = net.forward(&mut params).unwrap();
                assert!(loss.is_finite());
                net.backward(&mut params).unwrap();
                seen.push((loss.to_bits(), net.blob("data").unwrap().data.to_vec()));
            }
            seen
        })
        .unwrap()
    };
    let one = run(1);
    assert!(one[0] != one[1]);
    assert!(one == run(3));
}

/// The number of boxes changes from batch to batch, and the net's shapes with it.
#[test]
fn shapes_follow_the_boxes() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LmdbWriter::create(&dir.path().join("db")).unwrap();
    for (key, boxes) in ["0", "1", "2"].into_iter().zip([2, 0, 5]) {
        let annotation = (0..boxes)
            .map(|instance| Annotation {
                instance_id: Some(instance),
                bbox: Some(NormalizedBBox {
                    xmin: Some(0.25),
                    ymin: Some(0.25),
                    xmax: Some(0.5),
                    ymax: Some(0.75),
                    ..Default::default()
                }),
            })
            .collect();
        let record = AnnotatedDatum {
            datum: Some(Datum {
                channels: Some(3),
                height: Some(4),
                width: Some(4),
                data: Some(vec![9; 48]),
                ..Default::default()
            }),
            r#type: Some(AnnotationType::Bbox.into()),
            annotation_group: vec![AnnotationGroup {
                group_label: Some(7),
                annotation,
            }],
        };
        writer.put(key.as_bytes(), &record.encode_to_vec()).unwrap();
    }
    writer.finish().unwrap();
    let text = "layer { name: 'data' type: 'AnnotatedData' top: 'data' top: 'label'
                  data_param { source: 'db' backend: LMDB batch_size: 1 } }
                layer { name: 'twice' type: 'Power' bottom: 'label' top: 'twice' power_param { scale: 2 } }";
    let (mut net, mut params) = net(text, dir.path());
    for boxes in [2usize, 0, 5, 2, 0] {
        net.forward(&mut params).unwrap();
        let twice = net.blob("twice").unwrap();
        assert_eq!(*twice.shape, Shape::from([1, 1, boxes.max(1), 8]));
        let class = if boxes == 0 { -2.0 } else { 14.0 };
        assert_eq!(twice.data[1], class);
    }
}

/// MemoryData's tops are inputs of the net.
#[test]
fn arrays_in_memory_are_set() {
    let text = "layer { name: 'data' type: 'MemoryData' top: 'data' top: 'label'
                  memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } }
                layer { name: 'twice' type: 'Power' bottom: 'data' top: 'twice' power_param { scale: 2 } }";
    let (mut net, mut params) = net(text, std::path::Path::new(""));
    assert_eq!(net.inputs(), ["data", "label"]);
    let array = cortado::tensor::Tensor::new([2, 1, 1, 3], (0u8..6).map(f32::from).collect());
    net.set_input("data", &array.unwrap()).unwrap();
    net.forward(&mut params).unwrap();
    assert_eq!(
        net.blob("twice").unwrap().data,
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    );
}
