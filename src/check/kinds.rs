//! What rules know of layer types beyond the catalogue: which take scores, which hold weights, which bring data.

use crate::schema::{FillerParameter, LayerParameter};

/// Losses that take the softmax or the sigmoid of scores themselves.
pub(crate) fn takes_scores(kind: &str) -> bool {
    matches!(
        kind,
        "SoftmaxWithLoss"
            | "SoftmaxWithLossOHEM"
            | "InfogainLoss"
            | "FocalLoss"
            | "SigmoidCrossEntropyLoss"
    )
}

/// Layers whose second bottom names classes, one whole number for each position of the scores.
pub(crate) fn counts_classes(kind: &str) -> bool {
    matches!(
        kind,
        "SoftmaxWithLoss"
            | "SoftmaxWithLossOHEM"
            | "MultinomialLogisticLoss"
            | "InfogainLoss"
            | "HingeLoss"
            | "FocalLoss"
            | "Accuracy"
    )
}

/// Layers that bring images or records from files, by themselves.
pub(crate) fn brings_records(kind: &str) -> bool {
    matches!(
        kind,
        "Data"
            | "ImageData"
            | "HDF5Data"
            | "WindowData"
            | "DenseImageData"
            | "ImageSegData"
            | "AnnotatedData"
            | "VideoData"
    )
}

/// The weights of a layer.
pub(crate) struct Weights<'a> {
    /// How they start; `None` where the net does not say, which means constant 0.
    pub(crate) filler: Option<&'a FillerParameter>,
    /// The field of the filler: `convolution_param.weight_filler`.
    pub(crate) field: &'static str,
    /// Channels or length of what comes out; 0 where the net does not say.
    pub(crate) outputs: u32,
    pub(crate) group: u32,
    /// Whether a bias is learned besides.
    pub(crate) bias: bool,
}

/// The weights of a layer that multiplies its bottom by them.
pub(crate) fn weights(layer: &LayerParameter) -> Option<Weights<'_>> {
    match layer.r#type() {
        "Convolution" | "Deconvolution" | "DepthwiseConvolution" | "ConvolutionDepthwise" => {
            let param = layer.convolution_param.as_ref()?;
            Some(Weights {
                filler: param.weight_filler.as_ref(),
                field: "convolution_param.weight_filler",
                outputs: param.num_output(),
                group: param.group(),
                bias: param.bias_term(),
            })
        }
        "InnerProduct" => {
            let param = layer.inner_product_param.as_ref()?;
            Some(Weights {
                filler: param.weight_filler.as_ref(),
                field: "inner_product_param.weight_filler",
                outputs: param.num_output(),
                group: 1,
                bias: param.bias_term(),
            })
        }
        _ => None,
    }
}

/// The rate factor of a layer's weights.
pub(crate) fn weight_rate(layer: &LayerParameter) -> f32 {
    layer.param.first().map_or(1.0, |spec| spec.lr_mult())
}
