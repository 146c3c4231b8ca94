//! V0 to V1: one flat `layer` message inside of each `layers`, with fields for every type of layer, and padding as a
//! layer of its own.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    schema::{
        self, NetParameter, V0LayerParameter, V1LayerParameter, v1_layer_parameter::LayerType,
    },
};

/// Where a V0 field goes: for layers of a type (any, if empty) to a parameter message and a field of it.
type Target = (&'static str, &'static str, &'static str);

const MOVES: &[(&str, &[Target])] = &[
    (
        "num_output",
        &[
            CONV_NUM_OUTPUT,
            ("innerproduct", "inner_product_param", "num_output"),
        ],
    ),
    (
        "biasterm",
        &[
            CONV_BIAS_TERM,
            ("innerproduct", "inner_product_param", "bias_term"),
        ],
    ),
    (
        "weight_filler",
        &[
            CONV_WEIGHTS,
            ("innerproduct", "inner_product_param", "weight_filler"),
        ],
    ),
    (
        "bias_filler",
        &[
            CONV_BIAS,
            ("innerproduct", "inner_product_param", "bias_filler"),
        ],
    ),
    (
        "pad",
        &[
            ("conv", "convolution_param", "pad"),
            ("pool", "pooling_param", "pad"),
        ],
    ),
    (
        "kernelsize",
        &[CONV_KERNEL, ("pool", "pooling_param", "kernel_size")],
    ),
    ("group", &[("conv", "convolution_param", "group")]),
    (
        "stride",
        &[
            ("conv", "convolution_param", "stride"),
            ("pool", "pooling_param", "stride"),
        ],
    ),
    ("pool", &[("pool", "pooling_param", "pool")]),
    (
        "dropout_ratio",
        &[("dropout", "dropout_param", "dropout_ratio")],
    ),
    ("local_size", &[("lrn", "lrn_param", "local_size")]),
    ("alpha", &[("lrn", "lrn_param", "alpha")]),
    ("beta", &[("lrn", "lrn_param", "beta")]),
    ("k", &[("lrn", "lrn_param", "k")]),
    (
        "source",
        &[
            ("data", "data_param", "source"),
            ("hdf5_data", "hdf5_data_param", "source"),
            ("images", "image_data_param", "source"),
            ("window_data", "window_data_param", "source"),
            ("infogain_loss", "infogain_loss_param", "source"),
        ],
    ),
    ("scale", &[("", "transform_param", "scale")]),
    ("meanfile", &[("", "transform_param", "mean_file")]),
    ("cropsize", &[("", "transform_param", "crop_size")]),
    ("mirror", &[("", "transform_param", "mirror")]),
    (
        "batchsize",
        &[
            ("data", "data_param", "batch_size"),
            ("hdf5_data", "hdf5_data_param", "batch_size"),
            ("images", "image_data_param", "batch_size"),
            ("window_data", "window_data_param", "batch_size"),
        ],
    ),
    (
        "rand_skip",
        &[
            ("data", "data_param", "rand_skip"),
            ("images", "image_data_param", "rand_skip"),
        ],
    ),
    (
        "shuffle_images",
        &[("images", "image_data_param", "shuffle")],
    ),
    (
        "new_height",
        &[("images", "image_data_param", "new_height")],
    ),
    ("new_width", &[("images", "image_data_param", "new_width")]),
    ("concat_dim", &[("concat", "concat_param", "concat_dim")]),
    (
        "det_fg_threshold",
        &[("window_data", "window_data_param", "fg_threshold")],
    ),
    (
        "det_bg_threshold",
        &[("window_data", "window_data_param", "bg_threshold")],
    ),
    (
        "det_fg_fraction",
        &[("window_data", "window_data_param", "fg_fraction")],
    ),
    (
        "det_context_pad",
        &[("window_data", "window_data_param", "context_pad")],
    ),
    (
        "det_crop_mode",
        &[("window_data", "window_data_param", "crop_mode")],
    ),
    // A message of its own, moved whole.
    (
        "hdf5_output_param",
        &[("hdf5_output", "hdf5_output_param", "")],
    ),
];
const CONV_NUM_OUTPUT: Target = ("conv", "convolution_param", "num_output");
const CONV_BIAS_TERM: Target = ("conv", "convolution_param", "bias_term");
const CONV_WEIGHTS: Target = ("conv", "convolution_param", "weight_filler");
const CONV_BIAS: Target = ("conv", "convolution_param", "bias_filler");
const CONV_KERNEL: Target = ("conv", "convolution_param", "kernel_size");

const TYPES: &[(&str, LayerType)] = &[
    ("accuracy", LayerType::Accuracy),
    ("bnll", LayerType::Bnll),
    ("concat", LayerType::Concat),
    ("conv", LayerType::Convolution),
    ("data", LayerType::Data),
    ("dropout", LayerType::Dropout),
    ("euclidean_loss", LayerType::EuclideanLoss),
    ("flatten", LayerType::Flatten),
    ("hdf5_data", LayerType::Hdf5Data),
    ("hdf5_output", LayerType::Hdf5Output),
    ("im2col", LayerType::Im2col),
    ("images", LayerType::ImageData),
    ("infogain_loss", LayerType::InfogainLoss),
    ("innerproduct", LayerType::InnerProduct),
    ("lrn", LayerType::Lrn),
    (
        "multinomial_logistic_loss",
        LayerType::MultinomialLogisticLoss,
    ),
    ("pool", LayerType::Pooling),
    ("relu", LayerType::Relu),
    ("sigmoid", LayerType::Sigmoid),
    ("softmax", LayerType::Softmax),
    ("softmax_loss", LayerType::SoftmaxLoss),
    ("split", LayerType::Split),
    ("tanh", LayerType::Tanh),
    ("window_data", LayerType::WindowData),
];

/// Turns all V0 layers into V1 layers, padding layers into the `pad` of what follows them. Returns each layer's index in
/// the file.
pub(super) fn net(net: &mut NetParameter, notes: &mut Vec<String>) -> Result<Vec<Option<usize>>> {
    let old = std::mem::take(&mut net.layers);
    let padded = absorb_padding(old)?;
    let mut origins = Vec::with_capacity(padded.len());
    for (origin, connection) in padded {
        origins.push(Some(origin));
        net.layers.push(layer(connection, notes)?);
    }
    Ok(origins)
}

fn kind(connection: &V1LayerParameter) -> &str {
    connection.layer.as_ref().map_or("", |layer| layer.r#type())
}

fn refuse(connection: &V1LayerParameter, what: &str) -> Error {
    let name = connection.layer.as_ref().map_or("", |layer| layer.name());
    Error::new(ErrorKind::Schema, format!("V0 layer '{name}': {what}"))
}

/// The layers without those of type `padding`, each with its index.
fn absorb_padding(mut old: Vec<V1LayerParameter>) -> Result<Vec<(usize, V1LayerParameter)>> {
    // Blob to the padding that made it last: its bottom and its size. Other makers are no entry.
    let mut padding: HashMap<String, (String, u32)> = HashMap::new();
    for connection in &mut old {
        let is_padding = kind(connection) == "padding";
        let takes_pad = matches!(kind(connection), "conv" | "pool");
        let source = connection
            .bottom
            .iter()
            .find_map(|bottom| padding.get(bottom).cloned());
        if let Some((bottom, pad)) = source {
            if !takes_pad || connection.bottom.len() != 1 {
                let error = refuse(connection, "it reads a padding layer");
                return Err(error.help("only conv and pool layers with one bottom can"));
            }
            connection.bottom = vec![bottom];
            connection.layer.get_or_insert_default().pad = Some(pad);
        }
        for top in &connection.top {
            padding.remove(top);
        }
        if is_padding {
            let ([bottom], [top]) = (&connection.bottom[..], &connection.top[..]) else {
                return Err(refuse(connection, "padding takes one bottom and one top"));
            };
            let pad = connection.layer.as_ref().map_or(0, |layer| layer.pad());
            padding.insert(top.clone(), (bottom.clone(), pad));
        }
    }
    let kept = old.into_iter().enumerate();
    Ok(kept.filter(|(_, c)| kind(c) != "padding").collect())
}

fn layer(mut connection: V1LayerParameter, notes: &mut Vec<String>) -> Result<V1LayerParameter> {
    let Some(mut old) = connection.layer.take() else {
        return Ok(connection);
    };
    let blobs = std::mem::take(&mut old.blobs);
    let mut new = move_fields(&old, notes)?;
    if old.r#type.is_some() {
        new.r#type = Some(find_type(&old)?.into());
    }
    new.bottom = connection.bottom;
    new.top = connection.top;
    new.name = old.name;
    new.blobs = blobs;
    new.blobs_lr = old.blobs_lr;
    new.weight_decay = old.weight_decay;
    Ok(new)
}

fn find_type(old: &V0LayerParameter) -> Result<LayerType> {
    let known = TYPES.iter().find(|(name, _)| *name == old.r#type());
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        let message = format!(
            "layer '{}': no V0 layer has type '{}'",
            old.name(),
            old.r#type()
        );
        let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        Error::new(ErrorKind::Schema, message).help(format!("V0 knows {}", names.join(", ")))
    })
}

fn move_fields(old: &V0LayerParameter, notes: &mut Vec<String>) -> Result<V1LayerParameter> {
    let mut from = DynamicMessage::new(schema::descriptor("V0LayerParameter"));
    let mut to = DynamicMessage::new(schema::descriptor("V1LayerParameter"));
    let damaged = |error| {
        Error::new(
            ErrorKind::Schema,
            format!("layer '{}': {error}", old.name()),
        )
    };
    from.transcode_from(old).map_err(damaged)?;
    for (field, targets) in MOVES {
        if !from.has_field_by_name(field) {
            continue;
        }
        let target = targets
            .iter()
            .find(|(kind, ..)| kind.is_empty() || *kind == old.r#type());
        let (Some((_, param, name)), Some(value)) = (target, from.get_field_by_name(field)) else {
            notes.push(format!(
                "layer '{}': '{field}' is dropped, as layers of type '{}' have no such parameter",
                old.name(),
                old.r#type()
            ));
            continue;
        };
        set(&mut to, param, name, value.into_owned());
    }
    to.transcode_to().map_err(damaged)
}

/// Sets a field of a parameter message, or the whole message if no field is named.
fn set(layer: &mut DynamicMessage, param: &str, name: &str, value: Value) {
    if name.is_empty() {
        layer.set_field_by_name(param, value);
        return;
    }
    let Some(field) = layer.descriptor().get_field_by_name(param) else {
        return;
    };
    if let Value::Message(message) = layer.get_field_mut(&field)
        && let Some(field) = message.descriptor().get_field_by_name(name)
    {
        let value = if field.is_list() {
            Value::List(vec![value])
        } else {
            value
        };
        message.set_field(&field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::pooling_parameter::PoolMethod;

    fn old(
        kind: &str,
        bottom: &str,
        top: &str,
        change: fn(&mut V0LayerParameter),
    ) -> V1LayerParameter {
        let mut layer = V0LayerParameter {
            name: Some(format!("{kind}1")),
            r#type: Some(kind.into()),
            ..V0LayerParameter::default()
        };
        change(&mut layer);
        V1LayerParameter {
            bottom: vec![bottom.into()],
            top: vec![top.into()],
            layer: Some(layer),
            ..V1LayerParameter::default()
        }
    }

    #[test]
    fn fields_find_the_parameter_of_their_type() {
        let mut notes = Vec::new();
        let pool = old("pool", "a", "b", |layer| {
            layer.kernelsize = Some(3);
            layer.pool = Some(1);
            layer.group = Some(2);
        });
        let pool = layer(pool, &mut notes).unwrap();
        let param = pool.pooling_param.as_ref().unwrap();
        assert_eq!((param.kernel_size(), param.pool()), (3, PoolMethod::Ave));
        assert_eq!(pool.r#type(), LayerType::Pooling);
        assert_eq!(
            notes,
            ["layer 'pool1': 'group' is dropped, as layers of type 'pool' have no such parameter"]
        );

        let conv = old("conv", "a", "b", |layer| {
            layer.kernelsize = Some(5);
            layer.blobs_lr = vec![1.0, 2.0];
        });
        let conv = layer(conv, &mut notes).unwrap();
        assert_eq!(conv.convolution_param.as_ref().unwrap().kernel_size, [5]);
        assert_eq!(
            (conv.name(), &conv.blobs_lr[..]),
            ("conv1", &[1.0, 2.0][..])
        );

        assert!(layer(old("conf", "a", "b", |_| {}), &mut notes).is_err());
    }

    #[test]
    fn padding_moves_into_what_reads_it() {
        let pad = old("padding", "a", "p", |layer| layer.pad = Some(2));
        let mut net_ = NetParameter {
            layers: vec![
                pad.clone(),
                old("conv", "p", "c", |_| {}),
                old("relu", "c", "c", |_| {}),
            ],
            ..NetParameter::default()
        };
        let origins = net(&mut net_, &mut Vec::new()).unwrap();
        assert_eq!(origins, [Some(1), Some(2)]);
        assert_eq!(net_.layers[0].bottom, ["a"]);
        assert_eq!(net_.layers[0].convolution_param.as_ref().unwrap().pad, [2]);

        net_.layers = vec![pad, old("relu", "p", "c", |_| {})];
        assert!(net(&mut net_, &mut Vec::new()).is_err());
    }

    #[test]
    fn the_table_names_fields_that_exist() {
        let from = schema::descriptor("V0LayerParameter");
        let to = schema::descriptor("V1LayerParameter");
        for (field, targets) in MOVES {
            assert!(from.get_field_by_name(field).is_some(), "{field}");
            for (kind, param, name) in *targets {
                assert!(
                    kind.is_empty() || TYPES.iter().any(|(known, _)| known == kind),
                    "{kind}"
                );
                let param = to.get_field_by_name(param).unwrap().kind();
                let message = param.as_message().unwrap();
                assert!(
                    name.is_empty() || message.get_field_by_name(name).is_some(),
                    "{name}"
                );
            }
        }
    }
}
