//! The net that is looked at, cut to what is needed, and its input as a picture.

use std::path::Path;

use super::super::{
    args::Args,
    nets::{self, Loaded, Wish},
    run::feed::Feed,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::Silent,
    graph::keep_needed,
    layer::Role,
    load,
    model_io::binaryproto::read_binaryproto,
    nearest::nearest,
    net::{Keep, Net},
    report::photo::{self, Undo},
    schema::{NetParameter, Phase, TransformationParameter},
};

/// A command line that shows how.
pub(super) const EXAMPLE: &str = "view --model=deploy.prototxt --weights=net.caffemodel --blob=conv1 --input=x.png --output=x.png";

/// The names of all blobs of `--model`, in the order of the net, whatever their layers' rules of inclusion.
pub(super) fn blob_names(args: &Args) -> Result<Vec<String>> {
    let path = args.need("model", "a net's definition", EXAMPLE)?;
    let file = load::net(&path, nets::options(args)?, &mut Silent)?;
    let mut names: Vec<String> = Vec::new();
    for top in file.net.layer.into_iter().flat_map(|l| l.top) {
        if !names.contains(&top) {
            names.push(top);
        }
    }
    Ok(names)
}

/// The error that a net has no such blob.
pub(super) fn no_blob(name: &str, names: &[String]) -> Error {
    let error = Error::new(ErrorKind::Param, format!("the net has no blob '{name}'"));
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.help(format!("did you mean '{near}'?")),
        None => error.help(format!("its blobs are {}", names.join(", "))),
    }
}

/// The net of `--model` without what `blobs` do not need, forward only.
pub(super) fn forward_net(args: &Args, blobs: &[String], ui: &mut Ui) -> Result<Loaded> {
    let wish = Wish {
        phase: Phase::Test,
        own_state: true,
        backward: false,
        keep: Keep::Outputs,
        wanted: blobs.to_vec(),
        frozen: true,
    };
    let cut = |net: &mut NetParameter| Ok(Some(keep_needed(net, blobs)));
    nets::load_changed(args, &wish, EXAMPLE, ui, &cut)
}

/// Runs forward up to and with the batch of `--batch`.
pub(super) fn advance(args: &Args, loaded: &mut Loaded, ui: &mut Ui) -> Result<()> {
    let Loaded { net, params } = loaded;
    let batch = args.number::<usize>("batch")?.unwrap_or(0);
    let mut feed = Feed::open(args, net)?;
    let bar = ui.bar("run", batch as u64 + 1);
    for _ in 0..=batch {
        feed.next(net)?;
        net.forward(params)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A sample of a blob with its shape without the axis of samples.
pub(super) fn sample<'a>(
    net: &'a Net,
    blob: &str,
    sample: usize,
) -> Result<(&'a [f32], Vec<usize>)> {
    let view = net
        .blob(blob)
        .ok_or_else(|| no_blob(blob, &[net.blob_names().join(", ")]))?;
    let dims = view.shape.dims();
    let samples = dims.first().copied().unwrap_or(1).max(1);
    let size = view.data.len() / samples;
    if sample >= samples || size == 0 {
        return Err(Error::param(
            "--sample",
            format!(
                "'{blob}' has no sample {sample}: its shape is {}",
                view.shape
            ),
        )
        .help(format!("its samples are 0 to {}", samples - 1)));
    }
    let rest = dims.get(1..).unwrap_or_default().to_vec();
    Ok((&view.data[sample * size..][..size], rest))
}

/// A sample of an input as the picture that it was.
pub(super) fn photo(args: &Args, net: &Net, blob: &str, index: usize) -> Result<image::RgbImage> {
    let (values, dims) = sample(net, blob, index)?;
    let size = picture_size(blob, &dims)?;
    let undo = undo(args, net, blob, size)?;
    photo::photo(values, size, undo.as_ref())
}

/// Channels, height and width of a blob that is a picture.
pub(super) fn picture_size(blob: &str, dims: &[usize]) -> Result<[usize; 3]> {
    match *dims {
        [c, h, w] => Ok([c, h, w]),
        _ => Err(Error::shape(format!(
            "'{blob}' is no picture: a sample of it has shape {dims:?}, not channels, height and width"
        ))),
    }
}

/// What was done to the pixels of an input: by the flags for an input that is fed, by `transform_param` for one that a
/// layer reads. `None` where nothing tells.
pub(super) fn undo(args: &Args, net: &Net, blob: &str, size: [usize; 3]) -> Result<Option<Undo>> {
    let Some(id) = net.graph().first(blob) else {
        return Ok(None);
    };
    let node = net.graph().node(net.graph().value(id).producer);
    match node.kind.role {
        Role::Data => {
            let Some(param) = &node.def.param.transform_param else {
                return Ok(None);
            };
            let mean = match &param.mean_file {
                // A mean that is gone spoils no picture: without it the colours are a little off.
                Some(file) => mean_image(&node.def.path(file), size).unwrap_or_default(),
                None => param.mean_value.clone(),
            };
            Ok(told(param, mean))
        }
        Role::Input => {
            let mean = args.text("mean");
            let values = mean.as_ref().map(|text| {
                let values = text.split(',').map(|v| v.trim().parse());
                values.collect::<Result<Vec<f32>, _>>()
            });
            let mean = match (values, mean) {
                (Some(Ok(values)), _) => values,
                (_, Some(file)) => mean_image(Path::new(&file), size)?,
                _ => Vec::new(),
            };
            let param = TransformationParameter {
                scale: args.number("scale")?,
                ..Default::default()
            };
            Ok(told(&param, mean))
        }
        _ => Ok(None),
    }
}

fn told(param: &TransformationParameter, mean: Vec<f32>) -> Option<Undo> {
    let scale = param.scale.filter(|&s| s != 0.0);
    (scale.is_some() || !mean.is_empty()).then(|| Undo {
        scale: scale.unwrap_or(1.0),
        mean,
    })
}

/// A mean image value by value; where it is of another size than the input, as before a crop, its mean by channel.
fn mean_image(path: &Path, [channels, height, width]: [usize; 3]) -> Result<Vec<f32>> {
    let mean = read_binaryproto(path)?.data;
    let plane = mean.len() / channels.max(1);
    if plane == height * width || plane == 0 {
        return Ok(mean);
    }
    let of = |channel: &[f32]| channel.iter().sum::<f32>() / plane as f32;
    Ok(mean.chunks_exact(plane).map(of).collect())
}
