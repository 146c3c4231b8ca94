//! `view --maximize`, `--occlusion` and `--gradient`: what outputs look for, and where.

use image::RgbImage;

use super::{
    Row, Shown,
    look::{Look, bar, short},
    source,
};
use crate::{
    cli::{
        args::Args,
        nets::{self, Loaded, Wish},
        ui::Ui,
    },
    error::{Error, ErrorKind, Result},
    graph::{keep_needed, stand_in},
    layer::Role,
    net::{Keep, Net},
    report::{
        attribution::{
            self, GradientOptions, Map, MaximizeOptions, Maximum, OcclusionOptions, Probe, Unit,
        },
        channels::{figures, position, shrunk, zoom},
        gallery::{Gallery, Panel},
        heatmap::Picture,
        palette::Palette,
        photo::{self, Undo},
    },
    schema::{NetParameter, Phase},
    tensor::{Shape, Tensor},
};

/// What is asked for: a blob, perhaps a channel, perhaps a pixel.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    blob: String,
    channel: Option<usize>,
    at: Option<(usize, usize)>,
}

impl Asked {
    /// Reads `BLOB[:CHANNEL[:Y:X]]`; the name of a blob may hold colons.
    fn parse(text: &str, names: &[String]) -> Result<Self> {
        let mut blob = text;
        let mut numbers: Vec<usize> = Vec::new();
        while !names.iter().any(|name| name == blob) {
            let Some((rest, number)) = blob.rsplit_once(':') else {
                return Err(source::no_blob(blob, names));
            };
            let number = number.parse().map_err(|_| {
                Error::new(
                    ErrorKind::Param,
                    format!("'{text}' is neither a blob nor a blob with a channel"),
                )
                .help("write it as prob:3, or prob:3:ROW:COLUMN for one pixel")
            })?;
            numbers.insert(0, number);
            blob = rest;
        }
        let (channel, at) = match numbers[..] {
            [] => (None, None),
            [channel] => (Some(channel), None),
            [channel, y, x] => (Some(channel), Some((y, x))),
            _ => {
                return Err(Error::new(
                    ErrorKind::Param,
                    format!("'{text}' has a row and no column, or too much"),
                )
                .help("write it as prob:3, or prob:3:ROW:COLUMN for one pixel"));
            }
        };
        Ok(Self {
            blob: blob.to_owned(),
            channel,
            at,
        })
    }

    /// The units that are meant: one, or every channel that `--channels` lets pass.
    fn units(&self, net: &Net, look: &Look) -> Result<Vec<Unit>> {
        let id = net.graph().latest(&self.blob).ok_or_else(|| {
            Error::new(
                ErrorKind::Graph,
                format!("the net has no blob '{}'", self.blob),
            )
        })?;
        let shape = &net.graph().value(id).shape;
        let unit = |channel| Unit {
            blob: self.blob.clone(),
            channel,
            at: self.at,
        };
        match self.channel {
            Some(channel) => Ok(vec![unit(channel)]),
            None => {
                let channels = look.channels(shape.legacy(1))?;
                Ok(channels.into_iter().map(unit).collect())
            }
        }
    }
}

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
        climbed(&asked, &look, found, size, &options)?
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
        mapped(args, mode, &asked, &look, &units, &maps, &given)?
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

/// The sheet of what drives units.
fn climbed(
    asked: &Asked,
    look: &Look,
    found: Vec<Maximum>,
    size: [usize; 3],
    options: &MaximizeOptions,
) -> Result<Shown> {
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let zoom = zoom(size[1], size[2], found.len());
    for maximum in &found {
        // Zero is grey, and what few values exceed is cut: the picture shows where it differs from nothing.
        let mut sizes: Vec<f32> = maximum.input.iter().map(|v| v.abs()).collect();
        sizes.sort_unstable_by(f32::total_cmp);
        let most = sizes.get(sizes.len() * 99 / 100).copied().unwrap_or(1.0);
        let undo = Undo {
            scale: most.max(f32::MIN_POSITIVE) / 127.0,
            mean: vec![128.0],
        };
        let image = match maximum.dead {
            true => photo::photo(&vec![0.0; maximum.input.len()], size, Some(&undo))?,
            false => photo::photo(&maximum.input, size, Some(&undo))?,
        };
        let image = Picture::new(size[2], size[1], image.as_raw())?.plain(zoom)?;
        let note = match maximum.dead {
            true => "dead: nothing moves it".to_owned(),
            false => format!("{} to {}", short(maximum.before), short(maximum.after)),
        };
        let name = look.name("channel", maximum.unit.channel);
        panels.push(Panel::new(name.clone(), shrunk(image, found.len())).note(note));
        rows.push(Row {
            name,
            index: maximum.unit.channel,
            figures: figures(&maximum.input),
            more: vec![("before", maximum.before), ("after", maximum.after)],
        });
    }
    Ok(Shown {
        gallery: Gallery {
            title: format!("What drives {}", label(asked)),
            subtitle: format!(
                "{} steps, seed {}; under each its value before and after",
                options.steps, options.seed
            ),
            panels,
            ..Gallery::default()
        },
        what: label(asked),
        rows,
    })
}

/// The sheet of maps over the input.
fn mapped(
    args: &Args,
    mode: &str,
    asked: &Asked,
    look: &Look,
    units: &[Unit],
    maps: &[Map],
    given: &Given,
) -> Result<Shown> {
    let all: Vec<_> = maps.iter().map(|map| figures(&map.values)).collect();
    let ranges: Vec<(f32, f32)> = look
        .ranges(&all)
        .into_iter()
        .map(|(low, high)| (low.min(0.0), high))
        .collect();
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let zoom = |rows, columns| zoom(rows, columns, units.len() + 1);
    let size = |photo: &RgbImage| (photo.height() as usize, photo.width() as usize);
    if let Some(photo) = &given.photo {
        let (height, width) = size(photo);
        let image = Picture::new(width, height, photo.as_raw())?.plain(zoom(height, width))?;
        panels.push(Panel::new(
            given.input.clone(),
            shrunk(image, units.len() + 1),
        ));
    }
    for (((unit, map), f), &range) in units.iter().zip(maps).zip(&all).zip(&ranges) {
        let Some(photo) = &given.photo else {
            continue;
        };
        let (height, width) = size(photo);
        let values: Vec<f32> = map.values.iter().map(|&v| position(v, range)).collect();
        let picture = Picture::new(width, height, photo.as_raw())?;
        let extent = (map.rows, map.columns);
        let image = picture.map(&values, extent, zoom(height, width), look.palette)?;
        let note = match (mode, f.low == 0.0 && f.high == 0.0) {
            (_, true) => format!("{}: nothing changes it", short(map.output)),
            ("gradient", _) => format!("value {}", short(map.output)),
            _ => format!("{}, falls by {}", short(map.output), short(f.high)),
        };
        let name = look.name("channel", unit.channel);
        panels.push(Panel::new(name.clone(), shrunk(image, units.len() + 1)).note(note));
        rows.push(Row {
            name,
            index: unit.channel,
            figures: *f,
            more: vec![("output", map.output)],
        });
    }
    let sized = (maps.first()).map_or((0, 0), |map| (map.rows, map.columns));
    let smooth: usize = args.number("smooth")?.unwrap_or(0);
    let (title, subtitle, label_of_bar) = if mode == "gradient" {
        let how = match smooth {
            0 => "largest gradient over the channels of each pixel".to_owned(),
            n => format!("largest gradient over the channels, mean of {n} noisy copies"),
        };
        (
            format!("What changes {}", label(asked)),
            how,
            "change by pixel",
        )
    } else {
        let options = OcclusionOptions {
            patch: args.number("patch")?.unwrap_or(0),
            stride: args.number("stride")?.unwrap_or(0),
            fill: None,
        };
        let (patch, stride) = options.settle(sized.0, sized.1);
        let how = format!("patches of {patch}x{patch} pixels, {stride} apart");
        (
            format!("What {} needs to see", label(asked)),
            how,
            "fall where covered",
        )
    };
    let bar = match look.shared || units.len() == 1 {
        true => bar(
            look.palette,
            ranges.first().copied().unwrap_or((0.0, 0.0)),
            label_of_bar,
        ),
        false => look.bar(&all),
    };
    Ok(Shown {
        gallery: Gallery {
            title,
            subtitle: format!("{subtitle}; {}", sum_of(asked)),
            panels,
            bar: Some(bar),
            ..Gallery::default()
        },
        what: label(asked),
        rows,
    })
}

fn label(asked: &Asked) -> String {
    match (asked.channel, asked.at) {
        (Some(channel), Some((y, x))) => format!("{}:{channel}:{y}:{x}", asked.blob),
        (Some(channel), None) => format!("{}:{channel}", asked.blob),
        _ => asked.blob.clone(),
    }
}

fn sum_of(asked: &Asked) -> &'static str {
    match asked.at {
        Some(_) => "of one pixel",
        None => "of the channel's sum",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_with_channels_and_pixels() {
        let names = ["prob".to_owned(), "a:1".to_owned()];
        let parse = |text| Asked::parse(text, &names);
        let asked = |blob: &str, channel, at| Asked {
            blob: blob.to_owned(),
            channel,
            at,
        };
        assert_eq!(parse("prob").unwrap(), asked("prob", None, None));
        assert_eq!(parse("prob:3").unwrap(), asked("prob", Some(3), None));
        assert_eq!(
            parse("prob:3:1:2").unwrap(),
            asked("prob", Some(3), Some((1, 2)))
        );
        assert_eq!(parse("a:1").unwrap(), asked("a:1", None, None));
        assert_eq!(parse("a:1:2").unwrap(), asked("a:1", Some(2), None));
        for (text, word) in [
            ("prop:3", "did you mean 'prob'"),
            ("prob:3:1", "no column"),
            ("prob:x", "neither a blob"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn one_sample_is_copied() {
        let tensor = Tensor::new([2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let copied = copies(&tensor, 2, 1, 3).unwrap();
        assert_eq!(copied.data, [3.0, 4.0, 3.0, 4.0, 3.0, 4.0]);
        assert_eq!(copies(&tensor, 5, 1, 3).unwrap(), tensor);
        assert!(copies(&tensor, 2, 2, 3).is_err());
    }
}
