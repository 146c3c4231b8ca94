//! Fields that moved or were renamed while the layers stayed as they are.

use std::path::Path;

use crate::{
    error::{Error, ErrorKind, Result},
    schema::{
        BlobShape, InputParameter, LayerParameter, NetParameter, SolverParameter,
        TransformationParameter, V1LayerParameter, solver_parameter::SolverType,
        v1_layer_parameter::LayerType,
    },
};

/// Sizes that each `input` takes from `input_dim`.
const DIMS: usize = 4;

/// `input`, with `input_shape` or `input_dim`, becomes a layer "input" at the front; true if it does. Inputs without
/// shapes, as old stored weights have them, are dropped.
pub(super) fn inputs(net: &mut NetParameter, notes: &mut Vec<String>) -> Result<bool> {
    if net.input.is_empty() {
        return Ok(false);
    }
    let names = std::mem::take(&mut net.input);
    let shapes = std::mem::take(&mut net.input_shape);
    let dims = std::mem::take(&mut net.input_dim);
    let shape: Vec<BlobShape> = if !shapes.is_empty() {
        if shapes.len() < names.len() {
            return Err(too_few(names.len(), shapes.len(), "input_shape", 1));
        }
        shapes.into_iter().take(names.len()).collect()
    } else if !dims.is_empty() {
        if dims.len() / DIMS < names.len() {
            return Err(too_few(names.len(), dims.len(), "input_dim", DIMS));
        }
        let shapes = dims.chunks_exact(DIMS).take(names.len());
        shapes
            .map(|dims| BlobShape {
                dim: dims.iter().map(|&dim| dim.into()).collect(),
            })
            .collect()
    } else {
        notes.push("'input' without 'input_shape' or 'input_dim' is dropped".into());
        return Ok(false);
    };
    let layer = LayerParameter {
        name: Some("input".into()),
        r#type: Some("Input".into()),
        top: names,
        input_param: Some(InputParameter { shape }),
        ..LayerParameter::default()
    };
    net.layer.insert(0, layer);
    Ok(true)
}

fn too_few(inputs: usize, given: usize, field: &str, each: usize) -> Error {
    let each = match each {
        1 => format!("give one {field} for each input"),
        each => format!("give {each} times {field} for each input: num, channels, height, width"),
    };
    let message = format!("{inputs} 'input' in the net, but {given} '{field}'");
    Error::new(ErrorKind::Schema, message).help(each)
}

/// A BatchNorm that declares its three blobs' `param`s: they are statistics, which the solver must not touch.
pub(super) fn batch_norms(net: &mut NetParameter) {
    for layer in &mut net.layer {
        if layer.r#type() == "BatchNorm" && layer.param.len() == 3 {
            for param in &mut layer.param {
                param.lr_mult = Some(0.0);
                param.decay_mult = Some(0.0);
            }
        }
    }
}

/// Takes the four fields of transformation out of a data parameter, if there is one.
macro_rules! take_transform {
    ($param:expr) => {
        $param.as_mut().map(|param| TransformationParameter {
            scale: param.scale.take(),
            mean_file: param.mean_file.take(),
            crop_size: param.crop_size.take(),
            mirror: param.mirror.take(),
            ..TransformationParameter::default()
        })
    };
}

fn merge(layer: &mut V1LayerParameter, old: TransformationParameter) {
    if old == TransformationParameter::default() {
        return;
    }
    let new = layer.transform_param.get_or_insert_default();
    new.scale = old.scale.or(new.scale);
    new.mean_file = old.mean_file.or_else(|| new.mean_file.take());
    new.crop_size = old.crop_size.or(new.crop_size);
    new.mirror = old.mirror.or(new.mirror);
}

/// In V1 layers `scale`, `mean_file`, `crop_size` and `mirror` once stood in the parameter of the data layer itself.
pub(super) fn data_transforms(net: &mut NetParameter) {
    for layer in &mut net.layers {
        let old = match layer.r#type() {
            LayerType::Data => take_transform!(layer.data_param),
            LayerType::ImageData => take_transform!(layer.image_data_param),
            LayerType::WindowData => take_transform!(layer.window_data_param),
            _ => None,
        };
        merge(layer, old.unwrap_or_default());
    }
}

/// In a current net Caffe's data layers do not read those four fields. So they are not moved, which would train another
/// net than Caffe does; but whoever wrote them should know.
pub(super) fn ignored_transforms(net: &NetParameter, notes: &mut Vec<String>) {
    for layer in &net.layer {
        let old = [
            ("data_param", take_transform!(layer.data_param.clone())),
            (
                "image_data_param",
                take_transform!(layer.image_data_param.clone()),
            ),
            (
                "window_data_param",
                take_transform!(layer.window_data_param.clone()),
            ),
        ];
        for (param, old) in old
            .iter()
            .filter_map(|(name, old)| Some((name, old.as_ref()?)))
        {
            let fields = [
                ("scale", old.scale.is_some()),
                ("mean_file", old.mean_file.is_some()),
                ("crop_size", old.crop_size.is_some()),
                ("mirror", old.mirror.is_some()),
            ];
            // WindowData alone reads one of them: its own factor.
            let read = |field: &str| *param == "window_data_param" && field == "scale";
            for (field, _) in fields.iter().filter(|(field, set)| *set && !read(field)) {
                notes.push(format!(
                    "layer '{}': {param}.{field} has no effect; write it in transform_param",
                    layer.name()
                ));
            }
        }
    }
}

/// `solver_type: ADAM` becomes `type: "Adam"`.
pub(super) fn solver_type(solver: &mut SolverParameter) -> Result<()> {
    let Some(number) = solver.solver_type.take() else {
        return Ok(());
    };
    if solver.r#type.is_some() {
        return Err(
            Error::new(ErrorKind::Schema, "'type' and 'solver_type' are both set")
                .help("remove 'solver_type', the old form"),
        );
    }
    let name = match SolverType::try_from(number) {
        Ok(SolverType::Sgd) => "SGD",
        Ok(SolverType::Nesterov) => "Nesterov",
        Ok(SolverType::Adagrad) => "AdaGrad",
        Ok(SolverType::Rmsprop) => "RMSProp",
        Ok(SolverType::Adadelta) => "AdaDelta",
        Ok(SolverType::Adam) => "Adam",
        Err(_) => {
            let message = format!("{number} is no value of 'solver_type'");
            return Err(Error::new(ErrorKind::Schema, message).help("set 'type' instead"));
        }
    };
    solver.r#type = Some(name.into());
    Ok(())
}

/// Sets the default of `snapshot_prefix`, or puts a name behind it where it is a directory.
pub(super) fn snapshot_prefix(solver: &mut SolverParameter, file: &Path, directory: bool) {
    let prefix = match &solver.snapshot_prefix {
        None => file.with_extension(""),
        Some(prefix) if directory => Path::new(prefix).join(file.file_stem().unwrap_or_default()),
        Some(_) => return,
    };
    solver.snapshot_prefix = Some(prefix.to_string_lossy().into_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{DataParameter, ParamSpec};

    #[test]
    fn inputs_become_a_layer_at_the_front() {
        let mut net = NetParameter {
            input: vec!["a".into(), "b".into()],
            input_dim: vec![1, 3, 4, 5, 6, 7, 8, 9],
            layer: vec![LayerParameter::default()],
            ..NetParameter::default()
        };
        assert!(inputs(&mut net, &mut Vec::new()).unwrap());
        let input = &net.layer[0];
        assert_eq!((input.name(), input.r#type()), ("input", "Input"));
        assert_eq!(input.top, ["a", "b"]);
        let shapes = &input.input_param.as_ref().unwrap().shape;
        assert_eq!(shapes[0].dim, [1, 3, 4, 5]);
        assert_eq!(shapes[1].dim, [6, 7, 8, 9]);
        assert_eq!(net.layer.len(), 2);
        assert!(net.input.is_empty() && net.input_dim.is_empty());
    }

    #[test]
    fn inputs_want_shapes_that_suffice() {
        let with = |shapes: usize, dims: usize| NetParameter {
            input: vec!["a".into(), "b".into()],
            input_shape: vec![BlobShape { dim: vec![2, 3] }; shapes],
            input_dim: vec![1; dims],
            ..NetParameter::default()
        };
        let run = |mut net| inputs(&mut net, &mut Vec::new()).map_err(|e| e.message().to_owned());
        assert_eq!(run(with(2, 0)), Ok(true));
        assert_eq!(run(with(0, 0)), Ok(false));
        assert_eq!(
            run(with(1, 0)),
            Err("2 'input' in the net, but 1 'input_shape'".into())
        );
        assert_eq!(
            run(with(0, 7)),
            Err("2 'input' in the net, but 7 'input_dim'".into())
        );
    }

    #[test]
    fn statistics_of_batch_norm_are_not_learned() {
        let layer = |kind: &str, params: usize| LayerParameter {
            r#type: Some(kind.into()),
            param: vec![ParamSpec::default(); params],
            ..LayerParameter::default()
        };
        let mut net = NetParameter {
            layer: vec![
                layer("BatchNorm", 3),
                layer("BatchNorm", 2),
                layer("Scale", 3),
            ],
            ..NetParameter::default()
        };
        batch_norms(&mut net);
        let rates = |layer: usize| {
            (
                net.layer[layer].param[1].lr_mult,
                net.layer[layer].param[1].decay_mult,
            )
        };
        assert_eq!(rates(0), (Some(0.0), Some(0.0)));
        assert_eq!(rates(1), (None, None));
        assert_eq!(rates(2), (None, None));
    }

    #[test]
    fn transformations_leave_the_data_layer_in_v1_only() {
        let data = DataParameter {
            crop_size: Some(5),
            source: Some("s".into()),
            ..DataParameter::default()
        };
        let mut net = NetParameter {
            layers: vec![V1LayerParameter {
                r#type: Some(LayerType::Data.into()),
                data_param: Some(data.clone()),
                ..V1LayerParameter::default()
            }],
            ..NetParameter::default()
        };
        data_transforms(&mut net);
        let layer = &net.layers[0];
        assert_eq!(layer.transform_param.as_ref().unwrap().crop_size, Some(5));
        assert_eq!(layer.data_param.as_ref().unwrap().crop_size, None);
        assert_eq!(layer.data_param.as_ref().unwrap().source(), "s");

        let mut notes = Vec::new();
        let net = NetParameter {
            layer: vec![LayerParameter {
                name: Some("d".into()),
                data_param: Some(data),
                ..LayerParameter::default()
            }],
            ..NetParameter::default()
        };
        ignored_transforms(&net, &mut notes);
        assert_eq!(
            notes,
            ["layer 'd': data_param.crop_size has no effect; write it in transform_param"]
        );
    }

    #[test]
    fn solver_types_get_names() {
        let mut solver = SolverParameter {
            solver_type: Some(SolverType::Adam.into()),
            ..SolverParameter::default()
        };
        solver_type(&mut solver).unwrap();
        assert_eq!((solver.r#type(), solver.solver_type), ("Adam", None));
        solver.solver_type = Some(0);
        assert!(solver_type(&mut solver).is_err());
        solver.r#type = None;
        solver.solver_type = Some(99);
        assert!(solver_type(&mut solver).is_err());
    }

    #[test]
    fn prefixes_come_from_the_solvers_file() {
        let with = |prefix: Option<&str>, directory| {
            let mut solver = SolverParameter {
                snapshot_prefix: prefix.map(Into::into),
                ..SolverParameter::default()
            };
            snapshot_prefix(&mut solver, Path::new("a/b.prototxt"), directory);
            solver.snapshot_prefix().to_owned()
        };
        assert_eq!(with(None, false), "a/b");
        assert_eq!(with(Some("c/d"), false), "c/d");
        assert_eq!(with(Some("c/d"), true), "c/d/b");
    }
}
