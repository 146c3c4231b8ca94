//! Heat maps of blobs on samples that stay the same, as the net learns.
//!
//! A net of its own, in TEST, looks at the first records of the data; its parameters are those of the net that learns.
//! The run is none the wiser: what a pass would write into parameters is put back.

use super::{
    heads::{Layout, Pair, pairs},
    samples::{Camera, Keys, Shot, producer, shown},
};
use crate::{
    error::Result,
    events::{Event, Observer, Role, Silent},
    graph::state_of,
    metrics::argmax,
    net::{Net, NetOptions},
    params::{ParamId, Params},
    schema::{NetParameter, NetState, Phase},
    solver::{Look, Watch},
    tensor::View,
};

/// Channels of a blob at most.
const CHANNELS: usize = 16;
/// After so many looks every second one is left out, and so on.
const LOOKS: u64 = 128;

/// What to look at.
#[derive(Clone)]
pub struct MapsOptions<'a> {
    /// Blobs besides the scores.
    pub blobs: &'a [String],
    /// How many samples, at least 1; the net's batch may have fewer.
    pub samples: usize,
    /// How the net is built: where its files are, and its seed.
    pub net: NetOptions<'a>,
    /// Iterations between two looks where no net is tested; else each test of the first test net is followed by one.
    pub every: Option<u64>,
}

/// A watcher that tells [`Event::Picture`].
pub struct Maps {
    probe: Net,
    pairs: Vec<Pair>,
    blobs: Vec<String>,
    /// What the probe is shown.
    input: String,
    camera: Camera,
    keys: Keys,
    samples: usize,
    every: Option<u64>,
    looks: u64,
    /// It failed, and that was told.
    failed: bool,
}

impl Maps {
    /// Builds the net that looks, from the message of a test net or, where there is none, of the train net; `train` is
    /// the net that learns. `None` where nothing of it can be a picture.
    ///
    /// # Errors
    /// Where the net cannot be built.
    pub fn new(
        net: &NetParameter,
        train: &Net,
        params: &mut Params,
        options: &MapsOptions<'_>,
    ) -> Result<Option<Self>> {
        let pairs = pairs(net.layer.iter());
        let mut wanted: Vec<String> = options.blobs.to_vec();
        for pair in &pairs {
            wanted.extend([pair.scores.clone(), pair.label.clone()]);
        }
        let net_options = NetOptions {
            backward: false,
            wanted: &wanted,
            share: Some(train),
            ..options.net.clone()
        };
        let mut build = |samples| {
            let message = message(net, samples);
            Net::new(&message, params, &net_options, &mut Silent)
        };
        // A net that names its batch in a Reshape wants it whole.
        let samples = u32::try_from(options.samples.max(1)).unwrap_or(u32::MAX);
        let mut probe = build(Some(samples));
        if probe.is_err() {
            probe = build(None);
        }
        let probe = probe?;
        let labels: Vec<&str> = pairs.iter().map(|p| p.label.as_str()).collect();
        let Some(input) = shown(probe.graph(), &labels) else {
            return Ok(None);
        };
        let Some((_, node)) = producer(probe.graph(), &input) else {
            return Ok(None);
        };
        let (camera, keys) = (Camera::new(node), Keys::new(node));
        let blobs = options.blobs.iter();
        let blobs = blobs.filter(|b| !pairs.iter().any(|p| p.scores == **b));
        Ok(Some(Self {
            blobs: blobs.cloned().collect(),
            probe,
            pairs,
            input,
            camera,
            keys,
            samples: options.samples.max(1),
            every: options.every,
            looks: 0,
            failed: false,
        }))
    }

    /// Names of asked blobs that the net does not have.
    pub fn unknown(&self) -> Vec<&str> {
        let known = |blob: &&String| self.probe.graph().latest(blob).is_none();
        self.blobs
            .iter()
            .filter(known)
            .map(String::as_str)
            .collect()
    }

    /// Looks, unless there were so many looks already that this one is left out.
    fn look(&mut self, iteration: u64, params: &mut Params, observer: &mut dyn Observer) {
        let look = self.looks;
        self.looks += 1;
        let stride = 1 << (look / LOOKS).min(40);
        if self.failed || !look.is_multiple_of(stride) {
            return;
        }
        let told = self
            .run(look == 0, params)
            .and_then(|()| self.tell(iteration, look == 0, observer));
        if let Err(error) = told {
            self.failed = true;
            let text = format!("no more heat maps, training goes on: {error}");
            observer.on(&Event::Warning(&text));
        }
    }

    /// A pass on the samples, which leaves the parameters as they were.
    fn run(&mut self, first: bool, params: &mut Params) -> Result<()> {
        let mut before: Vec<(ParamId, Vec<f32>)> = Vec::new();
        if self.probe.writes_params() {
            let nodes = self.probe.graph().nodes.iter();
            let ids = nodes.flat_map(|node| node.params.iter().copied());
            before = ids.map(|id| (id, params[id].value.data.clone())).collect();
        }
        let result = if first {
            self.probe.forward(params)
        } else {
            self.probe.forward_again(params)
        };
        for (id, values) in before {
            params[id].value.data = values;
        }
        result.map(|_| ())
    }

    fn tell(&mut self, iteration: u64, first: bool, observer: &mut dyn Observer) -> Result<()> {
        let Some(input) = self.probe.blob(&self.input) else {
            return Ok(());
        };
        let samples = self.samples.min(input.shape.legacy(0));
        for sample in 0..samples {
            let mut teller = Teller {
                iteration,
                sample,
                key: self.keys.key(sample as u64),
                shot: self.camera.shot(input, sample)?,
                observer,
            };
            if first {
                teller.input(&self.input)?;
            }
            for pair in &self.pairs {
                let (Some(scores), Some(labels)) =
                    (self.probe.blob(&pair.scores), self.probe.blob(&pair.label))
                else {
                    continue;
                };
                let Some(map) = Map::of(Some(scores), sample) else {
                    continue;
                };
                match pair.layout(scores.shape, labels.shape) {
                    Some(Layout::Classes { classes, inner, .. })
                        if (classes, inner) == (map.channels, map.plane()) =>
                    {
                        teller.pair(pair, map, labels, first)?;
                    }
                    Some(Layout::Each { .. }) => teller.channels(&pair.scores, &map, false)?,
                    _ => {}
                }
            }
            for blob in &self.blobs {
                if let Some(map) = Map::of(self.probe.blob(blob), sample) {
                    teller.channels(blob, &map, false)?;
                }
            }
        }
        Ok(())
    }
}

/// The message of the net that looks: in TEST, of few samples, without what writes files.
fn message(net: &NetParameter, samples: Option<u32>) -> NetParameter {
    let mut net = net.clone();
    let test = NetState {
        phase: Some(Phase::Test as i32),
        ..NetState::default()
    };
    net.state = Some(state_of(&net, Phase::Test, Some(&test)));
    net.debug_info = None;
    net.layer.retain(|layer| layer.r#type() != "HDF5Output");
    for layer in &mut net.layer {
        // They were followed already, in the phase that the message comes from.
        layer.include.clear();
        layer.exclude.clear();
        if let Some(param) = &mut layer.detection_output_param {
            param.save_output_param = None;
        }
        if let Some(param) = &mut layer.data_param {
            param.prefetch = Some(1);
        }
        let Some(samples) = samples else {
            continue;
        };
        let fewer = |batch: &mut Option<u32>| *batch = batch.map(|n| n.min(samples));
        if let Some(param) = &mut layer.data_param {
            fewer(&mut param.batch_size);
        }
        if let Some(param) = &mut layer.image_data_param {
            fewer(&mut param.batch_size);
        }
        if let Some(param) = &mut layer.hdf5_data_param {
            fewer(&mut param.batch_size);
        }
    }
    net
}

impl Watch for Maps {
    fn updated(&mut self, look: &mut Look<'_>, observer: &mut dyn Observer) -> Result<()> {
        if self
            .every
            .is_some_and(|n| n > 0 && look.iteration.is_multiple_of(n))
        {
            self.look(look.iteration, look.params, observer);
        }
        Ok(())
    }

    fn test_done(&mut self, look: &mut Look<'_>, observer: &mut dyn Observer) -> Result<()> {
        if self.every.is_none() && look.test == Some(0) {
            self.look(look.iteration, look.params, observer);
        }
        Ok(())
    }
}

/// The channels of one sample.
struct Map<'a> {
    channels: usize,
    size: (usize, usize),
    values: &'a [f32],
}

impl<'a> Map<'a> {
    /// `None` where it has no channels.
    fn of(view: Option<View<'a>>, sample: usize) -> Option<Self> {
        let view = view.filter(|v| (2..=4).contains(&v.shape.axes()))?;
        let [n, channels, rows, columns] = std::array::from_fn(|i| view.shape.legacy(i));
        let count = channels * rows * columns;
        if sample >= n || count == 0 {
            return None;
        }
        Some(Self {
            channels,
            size: (rows, columns),
            values: view.data.get(sample * count..(sample + 1) * count)?,
        })
    }

    fn plane(&self) -> usize {
        self.size.0 * self.size.1
    }

    fn channel(&self, c: usize) -> &'a [f32] {
        &self.values[c * self.plane()..(c + 1) * self.plane()]
    }

    /// The scores of one place.
    fn place(&self, at: usize) -> Vec<f32> {
        let values = self.values.iter().skip(at);
        values.step_by(self.plane()).copied().collect()
    }

    /// The class with the highest score at each place.
    fn answers(&self) -> Vec<usize> {
        (0..self.plane()).map(|at| argmax(self.place(at))).collect()
    }

    /// Softmax along the channels.
    fn softmax(&self) -> Vec<f32> {
        let mut shares = vec![0.0; self.values.len()];
        for at in 0..self.plane() {
            let scores = self.place(at);
            let shift = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = scores.iter().map(|s| (s - shift).exp()).sum();
            for (c, score) in scores.iter().enumerate() {
                shares[c * self.plane() + at] = (score - shift).exp() / sum;
            }
        }
        shares
    }
}

/// Tells the pictures of one sample.
struct Teller<'a> {
    iteration: u64,
    sample: usize,
    key: String,
    shot: Shot,
    observer: &'a mut dyn Observer,
}

/// What a picture shows.
struct Shows<'a> {
    role: Role,
    blob: &'a str,
    channel: Option<usize>,
    caption: &'a str,
    range: Option<[f32; 2]>,
}

impl Teller<'_> {
    fn say(&mut self, shows: &Shows<'_>, png: &[u8]) {
        self.observer.on(&Event::Picture {
            iteration: self.iteration,
            role: shows.role,
            blob: shows.blob,
            sample: self.sample,
            key: &self.key,
            channel: shows.channel,
            caption: shows.caption,
            range: shows.range,
            png,
        });
    }

    /// The sample itself.
    fn input(&mut self, blob: &str) -> Result<()> {
        let shows = Shows {
            role: Role::Input,
            blob,
            channel: None,
            caption: "input",
            range: None,
        };
        let png = self.shot.plain()?;
        self.say(&shows, &png);
        Ok(())
    }

    /// Scores with their labels: a map of classes, or one class.
    fn pair(&mut self, pair: &Pair, map: Map<'_>, labels: View<'_>, first: bool) -> Result<()> {
        let plane = map.plane();
        // Labels that are no numbers of classes are of none.
        let class = |&label: &f32| {
            let counted = label >= 0.0 && !pair.ignore.iter().any(|&i| label == i as f32);
            counted.then_some(label as usize)
        };
        let labels = labels.data.chunks_exact(plane).nth(self.sample);
        let labels = labels.unwrap_or_default();
        if plane == 1 {
            let answer = argmax(map.values.iter().copied());
            let share = map.softmax()[answer] * 100.0;
            let truth = labels.first().and_then(class);
            let truth = truth.map_or_else(|| "nothing".to_owned(), |c| format!("class {c}"));
            let caption = format!("says class {answer} ({share:.0} %), is {truth}");
            let shows = Shows {
                role: Role::Answer,
                blob: &pair.scores,
                channel: None,
                caption: &caption,
                range: None,
            };
            let png = self.shot.plain()?;
            self.say(&shows, &png);
            return Ok(());
        }
        if first && labels.len() == plane {
            let truth: Vec<usize> = labels.iter().map(|l| class(l).unwrap_or(0)).collect();
            let png = self.shot.classes(&truth, map.size)?;
            let shows = Shows {
                role: Role::Truth,
                blob: &pair.label,
                channel: None,
                caption: "truth",
                range: None,
            };
            self.say(&shows, &png);
        }
        let png = self.shot.classes(&map.answers(), map.size)?;
        let shows = Shows {
            role: Role::Answer,
            blob: &pair.scores,
            channel: None,
            caption: "answer",
            range: None,
        };
        self.say(&shows, &png);
        let shares = map.softmax();
        let shares = Map {
            values: &shares,
            ..map
        };
        self.channels(&pair.scores, &shares, true)
    }

    /// Each channel: shares from 0 to 1, or values between the least and the greatest of all channels.
    fn channels(&mut self, blob: &str, map: &Map<'_>, shares: bool) -> Result<()> {
        if map.plane() < 2 {
            return Ok(());
        }
        let finite = || map.values.iter().copied().filter(|v| v.is_finite());
        let (low, high) = if shares {
            (0.0, 1.0)
        } else {
            (
                finite().fold(f32::INFINITY, f32::min),
                finite().fold(f32::NEG_INFINITY, f32::max),
            )
        };
        let width = if high > low { high - low } else { 1.0 };
        for channel in 0..map.channels.min(CHANNELS) {
            let values = map.channel(channel).iter();
            let values: Vec<f32> = values.map(|v| (v - low) / width).collect();
            let png = self.shot.heat(&values, map.size)?;
            let caption = match shares {
                true => format!("class {channel}"),
                false => format!("channel {channel}"),
            };
            let shows = Shows {
                role: Role::Map,
                blob,
                channel: Some(channel),
                caption: &caption,
                range: Some([low, high]),
            };
            self.say(&shows, &png);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
