//! `view --maximize`, `--occlusion` and `--gradient`: what outputs look for, and where.

mod sheets;

use image::RgbImage;

use super::{Shown, asked::Asked, look::Look, source};
use crate::{
    cli::{
        args::Args,
        nets::{self, Loaded, Wish},
        ui::Ui,
    },
    error::{Error, ErrorKind, Result},
    graph::{keep_needed, stand_in},
    layer::Role,
    net::Keep,
    report::{
        attribution::{self, GradientOptions, MaximizeOptions, OcclusionOptions, Probe},
        palette::Palette,
        photo,
    },
    schema::{NetParameter, Phase},
    tensor::{Shape, Tensor},
};

/// What the net is given from outside, as one sample.
struct Given {
    /// Every blob that comes from outside, with the values of all of its samples.
    blobs: Vec<(String, Tensor)>,
    /// Which of them is changed.
    input: String,
    /// The sample of it that is looked at.
    sample: Vec<f32>,
    /// It as a picture; `None` where it is none.
    photo: Option<RgbImage>,
    /// Half the range of its values.
    amplitude: f32,
}

pub(super) fn show(args: &Args, mode: &str, ui: &mut Ui) -> Result<Shown> {
    let names = source::blob_names(args)?;
    let asked = Asked::parse(&args.text(mode).unwrap_or_default(), &names)?;
    let look = Look::new(args, Palette::Heat)?.own(args);
    let index = args.number::<usize>("sample")?.unwrap_or(0);
    let climb = mode == "maximize";
    let given = given(args, &asked, &names, index, climb, ui)?;
    let smooth = args.number("smooth")?.unwrap_or(0);
    let batch = match mode {
        "gradient" if smooth == 0 => 1,
        _ => BATCH,
    };
    let mut loaded = backward_net(args, &asked, &given, index, batch, ui)?;
    let units = asked.units(&loaded.net, &look)?;
    let Loaded { net, params } = &mut loaded;
    let mut probe = Probe::new(net, params, &given.input)?;
    let bar = ui.bar(if climb { "climb" } else { "ask" }, 1);
    let mut progress = |done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let seed = args.number("seed")?.unwrap_or(0);
    let shown = if climb {
        let options = MaximizeOptions {
            steps: args.count("steps", MaximizeOptions::default().steps)?,
            seed,
            amplitude: args.number("amplitude")?.unwrap_or(given.amplitude),
            ..MaximizeOptions::default()
        };
        if !(options.amplitude.is_finite() && options.amplitude > 0.0) {
            return Err(Error::param("--amplitude", "must be above 0"));
        }
        let given_one = args.text("input").is_some() || args.text("lmdb").is_some();
        let start = given_one.then_some(&given.sample[..]);
        let found = attribution::maximize(&mut probe, &units, start, &options, &mut progress)?;
        let size = probe.picture()?;
        sheets::climbed(&asked, &look, found, size, &options)?
    } else {
        let mut maps = Vec::with_capacity(units.len());
        let of = units.len() as u64;
        for (i, unit) in (0u64..).zip(&units) {
            let mut part = |done: u64, all: u64| progress(i * all + done, of * all);
            maps.push(if mode == "gradient" {
                let options = GradientOptions {
                    smooth,
                    seed,
                    ..GradientOptions::default()
                };
                attribution::gradient(&mut probe, &given.sample, unit, &options, &mut part)?
            } else {
                let options = OcclusionOptions {
                    patch: args.number("patch")?.unwrap_or(0),
                    stride: args.number("stride")?.unwrap_or(0),
                    fill: None,
                };
                attribution::occlusion(&mut probe, &given.sample, unit, &options, &mut part)?
            });
        }
        sheets::mapped(args, mode, &asked, &look, &units, &maps, &given)?
    };
    bar.finish_and_clear();
    Ok(shown)
}

/// Samples that are asked at once: enough to keep the threads busy.
const BATCH: usize = 8;

/// Runs the net forward, where there is something to run it on, and takes what came from outside.
fn given(
    args: &Args,
    asked: &Asked,
    names: &[String],
    index: usize,
    climb: bool,
    ui: &mut Ui,
) -> Result<Given> {
    let over = args.text("over");
    let mut needed = vec![asked.blob.clone()];
    needed.extend(over.clone());
    if let Some(unknown) = needed.iter().find(|name| !names.contains(name)) {
        return Err(source::no_blob(unknown, names));
    }
    let mut loaded = source::forward_net(args, &needed, ui)?;
    // What drives a unit is climbed to from noise: it needs no input, only its shape.
    if !climb || args.text("input").is_some() || args.text("lmdb").is_some() {
        source::advance(args, &mut loaded, ui)?;
    }
    let net = &loaded.net;
    let mut blobs = Vec::new();
    for node in &net.graph().nodes {
        if matches!(node.kind.role, Role::Input | Role::Data) {
            for &top in &node.tops {
                let name = net.graph().value(top).name.to_string();
                if let Some(view) = net.blob(&name) {
                    let tensor = Tensor::new(view.shape.clone(), view.data.to_vec())?;
                    blobs.push((name, tensor));
                }
            }
        }
    }
    let pictures: Vec<&str> = blobs
        .iter()
        .filter(|(_, tensor)| tensor.shape.axes() == 4 && tensor.shape.count_from(2) > 1)
        .map(|(name, _)| name.as_str())
        .collect();
    let input = match (over, &pictures[..]) {
        (Some(over), _) => over,
        (None, [only]) => (*only).to_owned(),
        (None, pictures) => {
            return Err(Error::new(
                ErrorKind::Param,
                match pictures {
                    [] => "no picture comes into the net".to_owned(),
                    _ => format!(
                        "more than one picture comes into the net: {}",
                        pictures.join(", ")
                    ),
                },
            )
            .help("name the input that is meant with --over=BLOB"));
        }
    };
    if !blobs.iter().any(|(name, _)| *name == input) {
        let from: Vec<&str> = blobs.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Error::param(
            "--over",
            format!("'{input}' does not come into the net from outside"),
        )
        .help(format!("what does: {}", from.join(", "))));
    }
    let (sample, dims) = source::sample(net, &input, index)?;
    let size = source::picture_size(&input, &dims)?;
    let undo = source::undo(args, net, &input, size)?;
    let scale = undo.as_ref().map_or(1.0, |undo| undo.scale);
    Ok(Given {
        photo: match climb {
            true => None,
            false => Some(photo::photo(sample, size, undo.as_ref())?),
        },
        sample: sample.to_vec(),
        amplitude: 128.0 * scale.abs(),
        input,
        blobs,
    })
}

/// The net with inputs in the place of its data layers, so many copies of one sample in them, that runs backward from
/// the blob that is asked for. Where it cannot be made for so few samples, it has as many as it is written for.
fn backward_net(
    args: &Args,
    asked: &Asked,
    given: &Given,
    index: usize,
    batch: usize,
    ui: &mut Ui,
) -> Result<Loaded> {
    let written = given
        .blobs
        .iter()
        .find(|(name, _)| *name == given.input)
        .map_or(1, |(_, tensor)| tensor.shape.legacy(0));
    let mut made = Err(Error::shape("no net"));
    for count in [batch.min(written), written] {
        let inputs = given
            .blobs
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), copies(tensor, written, index, count)?)))
            .collect::<Result<Vec<_>>>()?;
        made = build(args, asked, given, &inputs, ui);
        if let Ok(loaded) = &mut made {
            let inputs: Vec<(&str, &Tensor)> =
                inputs.iter().map(|(name, t)| (name.as_str(), t)).collect();
            loaded.net.set_inputs(&inputs)?;
            break;
        }
    }
    made
}

fn build(
    args: &Args,
    asked: &Asked,
    given: &Given,
    inputs: &[(String, Tensor)],
    ui: &mut Ui,
) -> Result<Loaded> {
    let wish = Wish {
        phase: Phase::Test,
        own_state: true,
        backward: true,
        keep: Keep::All,
        wanted: Vec::new(),
        frozen: false,
    };
    let shapes: Vec<(String, Shape)> = inputs
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.shape.clone()))
        .collect();
    let needed = [asked.blob.clone(), given.input.clone()];
    let change = |net: &mut NetParameter| {
        let kept = keep_needed(net, &needed);
        stand_in(net, &shapes)?;
        net.force_backward = Some(true);
        Ok(Some(kept))
    };
    nets::load_changed(args, &wish, source::EXAMPLE, ui, &change)
}

/// `count` copies of one sample of a blob that has a row for each of `written` samples; others stay as they are.
fn copies(tensor: &Tensor, written: usize, index: usize, count: usize) -> Result<Tensor> {
    let dims = tensor.shape.dims();
    if dims.first() != Some(&written) || written == 0 {
        return Ok(tensor.clone());
    }
    let size = tensor.data.len() / written;
    let one = tensor
        .data
        .get(index * size..(index + 1) * size)
        .ok_or_else(|| Error::shape(format!("there is no sample {index}")))?;
    let mut dims = dims.to_vec();
    dims[0] = count;
    Tensor::new(Shape::new(&dims), one.repeat(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_is_copied() {
        let tensor = Tensor::new([2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let copied = copies(&tensor, 2, 1, 3).unwrap();
        assert_eq!(copied.data, [3.0, 4.0, 3.0, 4.0, 3.0, 4.0]);
        assert_eq!(copies(&tensor, 5, 1, 3).unwrap(), tensor);
        assert!(copies(&tensor, 2, 2, 3).is_err());
    }
}
