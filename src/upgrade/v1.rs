//! V1 to current: `layers` with a type from an enum to `layer` with a type by name.

use prost_reflect::{DynamicMessage, ReflectMessage as _};

use crate::{
    error::{Error, ErrorKind, Result},
    schema::{
        self, LayerParameter, NetParameter, ParamSpec, V1LayerParameter,
        v1_layer_parameter::LayerType,
    },
};

/// Fields of V1 that mean something else in the current layer, or nothing.
const NOT_COPIED: [&str; 3] = ["type", "param", "layer"];

/// Turns all `layers` into `layer`s.
pub(super) fn net(net: &mut NetParameter) -> Result<()> {
    let old = std::mem::take(&mut net.layers);
    net.layer = old.into_iter().map(layer).collect::<Result<_>>()?;
    Ok(())
}

fn layer(mut old: V1LayerParameter) -> Result<LayerParameter> {
    // Weights can be large: they are moved, the rest is copied by the fields' names.
    let blobs = std::mem::take(&mut old.blobs);
    let mut new: LayerParameter = copy_alike(&old)?;
    new.blobs = blobs;
    new.r#type = old.r#type.map(name).transpose()?;
    for (at, name) in old.param.into_iter().enumerate() {
        param(&mut new, at).name = Some(name);
    }
    for (at, mode) in old.blob_share_mode.into_iter().enumerate() {
        // The two enums have the same numbers.
        param(&mut new, at).share_mode = Some(mode);
    }
    for (at, rate) in old.blobs_lr.into_iter().enumerate() {
        param(&mut new, at).lr_mult = Some(rate);
    }
    for (at, decay) in old.weight_decay.into_iter().enumerate() {
        param(&mut new, at).decay_mult = Some(decay);
    }
    Ok(new)
}

/// The `param` of a blob, made where there are fewer.
fn param(layer: &mut LayerParameter, at: usize) -> &mut ParamSpec {
    if layer.param.len() <= at {
        layer.param.resize_with(at + 1, ParamSpec::default);
    }
    &mut layer.param[at]
}

/// Fields that have the same name in both messages have the same type in both.
fn copy_alike(old: &V1LayerParameter) -> Result<LayerParameter> {
    let mut from = DynamicMessage::new(schema::descriptor("V1LayerParameter"));
    let mut to = DynamicMessage::new(schema::descriptor("LayerParameter"));
    let damaged = |error| {
        Error::new(
            ErrorKind::Schema,
            format!("layer '{}': {error}", old.name()),
        )
    };
    from.transcode_from(old).map_err(damaged)?;
    for field in to.descriptor().fields() {
        if !NOT_COPIED.contains(&field.name())
            && from.has_field_by_name(field.name())
            && let Some(value) = from.get_field_by_name(field.name())
        {
            to.set_field(&field, value.into_owned());
        }
    }
    to.transcode_to().map_err(damaged)
}

/// The current name of a V1 type.
fn name(number: i32) -> Result<String> {
    let Ok(kind) = LayerType::try_from(number) else {
        let message = format!("{number} is no type of a V1 layer");
        return Err(Error::new(ErrorKind::Schema, message)
            .help("write the layer in the current form: layer { type: \"...\" }"));
    };
    let name = match kind {
        LayerType::None => "",
        LayerType::Absval => "AbsVal",
        LayerType::Accuracy => "Accuracy",
        LayerType::Argmax => "ArgMax",
        LayerType::Bnll => "BNLL",
        LayerType::Concat => "Concat",
        LayerType::ContrastiveLoss => "ContrastiveLoss",
        LayerType::Convolution => "Convolution",
        LayerType::Data => "Data",
        LayerType::Deconvolution => "Deconvolution",
        LayerType::Dropout => "Dropout",
        LayerType::DummyData => "DummyData",
        LayerType::EuclideanLoss => "EuclideanLoss",
        LayerType::Eltwise => "Eltwise",
        LayerType::Exp => "Exp",
        LayerType::Flatten => "Flatten",
        LayerType::Hdf5Data => "HDF5Data",
        LayerType::Hdf5Output => "HDF5Output",
        LayerType::HingeLoss => "HingeLoss",
        LayerType::Im2col => "Im2col",
        LayerType::ImageData => "ImageData",
        LayerType::InfogainLoss => "InfogainLoss",
        LayerType::InnerProduct => "InnerProduct",
        LayerType::Lrn => "LRN",
        LayerType::MemoryData => "MemoryData",
        LayerType::MultinomialLogisticLoss => "MultinomialLogisticLoss",
        LayerType::Mvn => "MVN",
        LayerType::Pooling => "Pooling",
        LayerType::Power => "Power",
        LayerType::Relu => "ReLU",
        LayerType::Sigmoid => "Sigmoid",
        LayerType::SigmoidCrossEntropyLoss => "SigmoidCrossEntropyLoss",
        LayerType::Silence => "Silence",
        LayerType::Slice => "Slice",
        LayerType::Softmax => "Softmax",
        LayerType::SoftmaxLoss => "SoftmaxWithLoss",
        LayerType::Split => "Split",
        LayerType::Tanh => "TanH",
        LayerType::Threshold => "Threshold",
        LayerType::WindowData => "WindowData",
    };
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{BlobProto, ConvolutionParameter};

    #[test]
    fn a_layer_keeps_what_it_says() {
        let old = V1LayerParameter {
            name: Some("c".into()),
            r#type: Some(LayerType::Convolution.into()),
            bottom: vec!["x".into()],
            top: vec!["y".into()],
            blobs: vec![BlobProto {
                data: vec![1.0, 2.0],
                ..BlobProto::default()
            }],
            param: vec!["w".into()],
            blob_share_mode: vec![1],
            blobs_lr: vec![1.0, 2.0],
            weight_decay: vec![0.5],
            loss_weight: vec![3.0],
            convolution_param: Some(ConvolutionParameter {
                num_output: Some(7),
                ..ConvolutionParameter::default()
            }),
            ..V1LayerParameter::default()
        };
        let new = layer(old).unwrap();
        assert_eq!((new.name(), new.r#type()), ("c", "Convolution"));
        assert_eq!(
            (&new.bottom[..], &new.top[..]),
            (&["x".into()][..], &["y".into()][..])
        );
        assert_eq!(new.blobs[0].data, [1.0, 2.0]);
        assert_eq!(new.loss_weight, [3.0]);
        assert_eq!(new.convolution_param.unwrap().num_output(), 7);
        assert_eq!(new.param.len(), 2);
        assert_eq!(new.param[0].name(), "w");
        assert_eq!(new.param[0].share_mode, Some(1));
        assert_eq!(
            (new.param[0].lr_mult, new.param[0].decay_mult),
            (Some(1.0), Some(0.5))
        );
        assert_eq!(
            (new.param[1].lr_mult, new.param[1].decay_mult),
            (Some(2.0), None)
        );
    }

    #[test]
    fn fields_of_one_name_have_one_type() {
        let new = schema::descriptor("LayerParameter");
        for old in schema::descriptor("V1LayerParameter").fields() {
            if NOT_COPIED.contains(&old.name()) {
                continue;
            }
            if let Some(new) = new.get_field_by_name(old.name()) {
                assert_eq!(old.kind(), new.kind(), "{}", old.name());
                assert_eq!(old.is_list(), new.is_list(), "{}", old.name());
            } else {
                let special = ["blob_share_mode", "blobs_lr", "weight_decay"];
                assert!(special.contains(&old.name()), "{} is lost", old.name());
            }
        }
    }

    #[test]
    fn unknown_types_are_refused() {
        assert!(name(4).is_ok());
        assert!(name(99).is_err());
    }
}
