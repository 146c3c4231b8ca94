//! AnnotatedData: batches of images with boxes in them from a database, as SSD is trained on.
//!
//! Shapes: the first top \[batch_size, channels, height, width\] as the images come out, the second \[1, 1, N, 8\] with a
//! row for each of the batch's boxes: number of the image in the batch, class, instance, xmin, ymin, xmax, ymax (fractions
//! of the image as it comes out), difficult; without any box N is 1 and the row is -1. Of records without a type of
//! annotation the second top is their labels \[batch_size\]. No bottom, no gradient.
//!
//! Records are AnnotatedDatum messages, read as Data reads its own (`data_param`). In this order: `distort_param`,
//! `expand_param`, `geometry_param`, one of the cut-outs that the `batch_sampler`s find, `resize_param`, `noise_param`,
//! crop, `rotate`, mirror, mean, scale. A box stays if it meets `emit_constraint` in each cut; what sticks out is clipped.
//! `label_map_file` is read, and a class that it does not know is an error.
//!
//! Departures: between the steps images are not compressed to JPEG again; a sampler's constraint has to be met by one box
//! in all its parts; `rotate` turns what the net sees, after the crop, so it has to be square; a change of view is drawn
//! once for an image, not for each of its classes.

use super::{
    fed::{Fed, batch_size, check_ahead},
    records,
};
use crate::{
    error::Result,
    feed::annotated::Annotated,
    layer::{Arity, LayerDef, LayerType, Role},
};

pub(super) const TYPE: LayerType =
    LayerType::new("AnnotatedData", |def| Ok(Box::new(annotated_data(def)?)))
        .arity(Arity::Exact(0), Arity::Range(1, 2))
        .role(Role::Data);

fn annotated_data(def: &LayerDef) -> Result<Fed<Annotated>> {
    let param = def.param.data_param.clone().unwrap_or_default();
    records::check(def, &param)?;
    let batch = batch_size(def, "data_param.batch_size", param.batch_size())?;
    check_ahead(def, "data_param.prefetch", param.prefetch())?;
    let annotated = def.param.annotated_data_param.clone().unwrap_or_default();
    let transform = def.param.transform_param.clone().unwrap_or_default();
    let recipe = Annotated::new(&annotated, &transform, def.is_train(), &def.root)?;
    let (root, prefetch) = (def.root.clone(), param.prefetch());
    Fed::new(def, batch, prefetch, recipe, move || {
        records::open(&root, &param)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use prost::Message as _;

    use super::*;
    use crate::{
        error::ErrorKind,
        feed::lmdb::LmdbWriter,
        layer::Layer as _,
        layers::data::testing::def,
        schema::{
            AnnotatedDatum, Annotation, AnnotationGroup, Datum, NormalizedBBox,
            annotated_datum::AnnotationType,
        },
        tensor::Shape,
    };

    /// Records of 8x8 pixels: the first with two boxes of class 3 and one of class 5, the second with none.
    fn database(root: &Path) {
        let annotation = |instance, [xmin, ymin, xmax, ymax]: [f32; 4]| Annotation {
            instance_id: Some(instance),
            bbox: Some(NormalizedBBox {
                xmin: Some(xmin),
                ymin: Some(ymin),
                xmax: Some(xmax),
                ymax: Some(ymax),
                difficult: Some(instance == 1),
                ..Default::default()
            }),
        };
        let groups = vec![
            AnnotationGroup {
                group_label: Some(3),
                annotation: vec![
                    annotation(0, [0.0, 0.0, 0.5, 0.5]),
                    annotation(1, [0.5, 0.5, 1.0, 1.0]),
                ],
            },
            AnnotationGroup {
                group_label: Some(5),
                annotation: vec![annotation(0, [0.25, 0.0, 0.75, 1.0])],
            },
        ];
        let mut writer = LmdbWriter::create(&root.join("db")).unwrap();
        for (key, annotation_group) in [("0", groups), ("1", vec![])] {
            let record = AnnotatedDatum {
                datum: Some(Datum {
                    channels: Some(3),
                    height: Some(8),
                    width: Some(8),
                    data: Some((0..192).collect()),
                    label: Some(4),
                    ..Default::default()
                }),
                r#type: Some(AnnotationType::Bbox.into()),
                annotation_group,
            };
            writer.put(key.as_bytes(), &record.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
    }

    fn layer(root: &Path, batch: usize, fields: &str) -> Result<Fed<Annotated>> {
        let data = format!("data_param {{ source: 'db' batch_size: {batch} backend: LMDB }}");
        annotated_data(&def(root, 2, &format!("{data} {fields}")))
    }

    #[test]
    fn rows_of_a_batch() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        let mut layer_of_two = layer(dir.path(), 2, "").unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        let shapes = layer_of_two.pull(&mut tops).unwrap();
        let want = [Shape::from([2, 3, 8, 8]), Shape::from([1, 1, 3, 8])];
        assert_eq!(shapes.as_deref(), Some(&want[..]));
        let rows = [
            [0.0, 3.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0],
            [0.0, 3.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0],
            [0.0, 5.0, 0.0, 0.25, 0.0, 0.75, 1.0, 0.0],
        ];
        assert_eq!(tops[1], rows.concat());
        let mut single = layer(dir.path(), 1, "").unwrap();
        single.pull(&mut tops).unwrap();
        assert_eq!(tops[1].len(), 24);
        let shapes = single.pull(&mut tops).unwrap().unwrap();
        assert_eq!(shapes[1], Shape::from([1, 1, 1, 8]));
        assert_eq!(tops[1], [-1.0; 8]);
    }

    #[test]
    fn crops_move_and_drop_boxes() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        // The middle quarter of the image, in the phase of testing.
        let mut def = def(
            dir.path(),
            2,
            "data_param { source: 'db' batch_size: 2 backend: LMDB }
             transform_param { crop_size: 4 mirror: true emit_constraint { emit_type: CENTER } }",
        );
        def.phase = crate::schema::Phase::Test;
        let mut layer = annotated_data(&def).unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        for _ in 0..10 {
            layer.pull(&mut tops).unwrap();
            // The first two centres lie on the crop's corners, and count.
            let boxes: Vec<[f32; 5]> = tops[1]
                .chunks(8)
                .map(|r| [r[1], r[3], r[4], r[5], r[6]])
                .collect();
            assert_eq!(boxes.len(), 3, "{boxes:?}");
            assert_eq!(boxes[2], [5.0, 0.0, 0.0, 1.0, 1.0]);
            let mirrored = boxes[0] == [3.0, 0.5, 0.0, 1.0, 0.5];
            assert!(
                mirrored || boxes[0] == [3.0, 0.0, 0.0, 0.5, 0.5],
                "{boxes:?}"
            );
        }
    }

    #[test]
    fn everything_at_once_stays_in_bounds_for_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        let fields = "annotated_data_param {
                batch_sampler { sampler { min_scale: 0.4 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
                    sample_constraint { min_jaccard_overlap: 0.3 } max_sample: 1 max_trials: 50 }
                batch_sampler { max_sample: 1 max_trials: 1 } }
            transform_param { mirror: true rotate: true mean_value: 100
                distort_param { brightness_prob: 0.5 brightness_delta: 32 hue_prob: 0.5 hue_delta: 18
                    contrast_prob: 0.5 contrast_lower: 0.5 contrast_upper: 1.5
                    saturation_prob: 0.5 saturation_lower: 0.5 saturation_upper: 1.5 random_order_prob: 0.1 }
                expand_param { prob: 0.5 max_expand_ratio: 4 }
                geometry_param { prob: 0.3 all_effects: true }
                noise_param { prob: 0.2 all_effects: true }
                resize_param { height: 12 width: 12 resize_mode: WARP interp_mode: LINEAR interp_mode: AREA
                    interp_mode: NEAREST interp_mode: CUBIC interp_mode: LANCZOS4 }
                emit_constraint { emit_type: CENTER } }";
        let run = |threads| {
            crate::threads::with_threads(threads, || {
                let mut layer = layer(dir.path(), 16, fields).unwrap();
                let mut all = Vec::new();
                for _ in 0..4 {
                    let mut tops = vec![Vec::new(), Vec::new()];
                    layer.pull(&mut tops).unwrap();
                    all.push(tops);
                }
                all
            })
            .unwrap()
        };
        let one = run(1);
        let mut boxes = 0;
        for tops in &one {
            assert_eq!(tops[0].len(), 16 * 3 * 144);
            for row in tops[1].chunks(8).filter(|row| row[0] >= 0.0) {
                boxes += 1;
                assert!(row[0] < 16.0 && [3.0, 5.0].contains(&row[1]));
                assert!(row[3..7].iter().all(|v| (0.0..=1.0).contains(v)), "{row:?}");
                assert!(row[3] < row[5] && row[4] < row[6], "{row:?}");
            }
        }
        assert!(boxes > 40, "{boxes}");
        assert_eq!(one, run(3));
    }

    #[test]
    fn errors() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        fs::write(
            dir.path().join("map"),
            "item { name: 'a' label: 3 display_name: 'a' }",
        )
        .unwrap();
        let fails = |fields: &str, kind, part: &str| {
            let error = layer(dir.path(), 1, fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error} has no {part}");
        };
        fails(
            "annotated_data_param { label_map_file: 'map' }",
            ErrorKind::Data,
            "class 5 is not in the label map 'map'",
        );
        fails(
            "annotated_data_param { label_map_file: 'none' }",
            ErrorKind::Io,
            "none",
        );
        fails(
            "annotated_data_param { batch_sampler { sampler { min_scale: 2 } } }",
            ErrorKind::Param,
            "min_scale",
        );
        fails(
            "transform_param { resize_param { height: 4000000000 width: 4000000000 } }",
            ErrorKind::Shape,
            "",
        );
        let error = annotated_data(&def(dir.path(), 2, "data_param { source: 'db' }"));
        assert!(error.err().unwrap().message().contains("batch_size"));
    }
}
