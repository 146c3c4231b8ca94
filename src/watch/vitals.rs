//! How each layer's values, gradients and updates look, every so many iterations.
//!
//! Of blobs it sees what the net keeps: with [`crate::Keep::Named`] every blob, as its last layer left it.

use crate::{
    error::Result,
    events::{Event, Observer},
    metrics::vitals::{BlobVitals, Histogram, LayerVitals, ParamVitals},
    net::{Net, Pass, StepTime},
    params::{ParamId, Params},
    solver::{Look, Watch},
    tensor::View,
};

/// Bins of a histogram.
const BINS: usize = 30;

/// A watcher that tells [`Event::Vitals`].
#[derive(Debug)]
pub struct Vitals {
    every: u64,
    /// Gradients and weights of the iteration under way, before its update.
    before: Option<Before>,
}

#[derive(Debug)]
struct Before {
    layers: Vec<LayerVitals>,
    /// The parameters of each layer, in the same order, with their weights.
    weights: Vec<Vec<(ParamId, Vec<f32>)>>,
}

impl Vitals {
    /// Looks at every so many iterations, the first one too; 0 means never.
    pub fn new(every: u64) -> Self {
        Self {
            every,
            before: None,
        }
    }

    fn due(&self, iteration: u64) -> bool {
        self.every != 0 && iteration.is_multiple_of(self.every)
    }
}

impl Watch for Vitals {
    fn wants_times(&self, iteration: u64) -> bool {
        self.due(iteration)
    }

    fn gradients(&mut self, look: &mut Look<'_>, _: &mut dyn Observer) -> Result<()> {
        if self.due(look.iteration) {
            let weights = owned(look.net)
                .map(|params| {
                    let weights = params.iter();
                    weights
                        .map(|&id| (id, look.params[id].value.data.clone()))
                        .collect()
                })
                .collect();
            self.before = Some(Before {
                layers: of_net(look.net, look.params),
                weights,
            });
        }
        Ok(())
    }

    fn updated(&mut self, look: &mut Look<'_>, observer: &mut dyn Observer) -> Result<()> {
        let Some(Before {
            mut layers,
            weights,
        }) = self.before.take()
        else {
            return Ok(());
        };
        for (layer, weights) in layers.iter_mut().zip(&weights) {
            for (vitals, (id, before)) in layer.params.iter_mut().zip(weights) {
                let after = &look.params[*id];
                if after.wants_grad() {
                    let changes = after.value.data.iter().zip(before).map(|(a, b)| a - b);
                    vitals.update = Some(norm(changes));
                }
            }
        }
        observer.on(&Event::Vitals {
            iteration: look.iteration,
            layers: &layers,
        });
        Ok(())
    }
}

/// The parameters of each layer that was not inserted.
fn owned(net: &Net) -> impl Iterator<Item = &[ParamId]> {
    let nodes = net.graph().nodes.iter();
    nodes
        .filter(|node| node.origin.is_some())
        .map(|node| node.params.as_slice())
}

/// How a net's layers look after a pass; without updates. Inserted splits are left out.
pub fn of_net(net: &Net, params: &Params) -> Vec<LayerVitals> {
    let (graph, times) = (net.graph(), net.times());
    let mut layers = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.origin.is_none() {
            continue;
        }
        let blobs = node.tops.iter().filter_map(|&top| {
            let name = &graph.value(top).name;
            Some(of_blob(name, net.blob(name)?))
        });
        let params = node.params.iter().enumerate().map(|(i, &id)| {
            let param = &params[id];
            let grad = param.wants_grad().then_some(param.grad.as_slice());
            of_param(format!("{}[{i}]", node.name), param.value.view(), grad)
        });
        layers.push(LayerVitals {
            name: node.name.to_string(),
            kind: node.kind.name.to_owned(),
            blobs: blobs.collect(),
            params: params.collect(),
            forward_ms: spent(&times, index, Pass::Forward),
            backward_ms: spent(&times, index, Pass::Backward),
        });
    }
    layers
}

/// Milliseconds of a node's steps; `None` where none was timed.
fn spent(times: &[StepTime], node: usize, pass: Pass) -> Option<f64> {
    let mut own = times
        .iter()
        .filter(|t| t.node.index() == node && t.pass == pass)
        .peekable();
    own.peek()?;
    Some(own.map(|t| t.time.as_secs_f64() * 1e3).sum())
}

/// A blob, as it stands.
pub fn of_blob(name: &str, view: View<'_>) -> BlobVitals {
    let spread = Spread::of(view.data);
    let zeros = view.data.iter().filter(|&&v| v == 0.0).count();
    let channels = if view.shape.axes() > 1 {
        view.shape.legacy(1)
    } else {
        0
    };
    BlobVitals {
        name: name.to_owned(),
        mean: spread.mean,
        deviation: spread.deviation,
        low: spread.histogram.low,
        high: spread.histogram.high,
        zeros: zeros as f64 / view.data.len().max(1) as f64,
        channels,
        dead: dead(view, channels),
        not_finite: spread.not_finite,
        histogram: spread.histogram,
    }
}

/// Channels that are 0 in every sample, everywhere.
fn dead(view: View<'_>, channels: usize) -> Vec<usize> {
    let samples = view.shape.legacy(0).max(1);
    let plane = (view.data.len() / samples).checked_div(channels);
    let Some(plane) = plane.filter(|&plane| plane > 0) else {
        return Vec::new();
    };
    let mut alive = vec![false; channels];
    for (i, values) in view.data.chunks_exact(plane).enumerate() {
        alive[i % channels] |= values.iter().any(|&v| v != 0.0);
    }
    (0..channels).filter(|&c| !alive[c]).collect()
}

fn of_param(name: String, value: View<'_>, grad: Option<&[f32]>) -> ParamVitals {
    let spread = Spread::of(value.data);
    let wild = |values: &[f32]| values.iter().filter(|v| !v.is_finite()).count() as u64;
    ParamVitals {
        name,
        shape: value.shape.dims().to_vec(),
        mean: spread.mean,
        deviation: spread.deviation,
        norm: norm(value.data.iter().copied()),
        gradient: grad.map(|grad| norm(grad.iter().copied())),
        update: None,
        not_finite: spread.not_finite + grad.map_or(0, wild),
        histogram: spread.histogram,
    }
}

/// The L2 norm.
fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// What the finite ones of some values are like.
struct Spread {
    mean: f64,
    deviation: f64,
    not_finite: u64,
    histogram: Histogram,
}

impl Spread {
    fn of(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let (mut count, mut sum) = (0u64, 0.0f64);
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for v in finite() {
            count += 1;
            sum += f64::from(v);
            low = low.min(v);
            high = high.max(v);
        }
        let not_finite = values.len() as u64 - count;
        if count == 0 {
            return Self {
                mean: 0.0,
                deviation: 0.0,
                not_finite,
                histogram: Histogram::default(),
            };
        }
        let mean = sum / count as f64;
        let width = (f64::from(high) - f64::from(low)) / BINS as f64;
        let mut counts = vec![0; if width > 0.0 { BINS } else { 1 }];
        let mut squares = 0.0f64;
        for v in finite() {
            squares += (f64::from(v) - mean).powi(2);
            let bin = ((f64::from(v) - f64::from(low)) / width) as usize;
            let last = counts.len() - 1;
            counts[bin.min(last)] += 1;
        }
        Self {
            mean,
            deviation: (squares / count as f64).sqrt(),
            not_finite,
            histogram: Histogram { low, high, counts },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
        net::Keep,
        solver::{Action, Solver, SolverOptions},
        tensor::{Shape, Tensor},
    };

    #[test]
    fn a_blob_by_hand() {
        let blob = Tensor::new([2, 2, 1, 2], vec![0., 0., 1., 3., 0., 0., 0., f32::NAN]).unwrap();
        let vitals = of_blob("x", blob.view());
        assert_eq!((vitals.channels, vitals.dead), (2, vec![0]));
        assert_eq!((vitals.low, vitals.high, vitals.not_finite), (0., 3., 1));
        assert_eq!(vitals.zeros, 5.0 / 8.0);
        assert!((vitals.mean - 4.0 / 7.0).abs() < 1e-12);
        assert_eq!(vitals.histogram.counts.iter().sum::<u64>(), 7);
        assert_eq!(vitals.histogram.counts[0], 5);
        assert_eq!(vitals.histogram.counts[BINS - 1], 1);
    }

    #[test]
    fn odd_blobs() {
        let shape = Shape::from([0, 3]);
        let empty = View {
            shape: &shape,
            data: &[],
        };
        assert_eq!(of_blob("x", empty).dead, Vec::<usize>::new());
        let scalar = Tensor::new([], vec![2.0]).unwrap();
        let vitals = of_blob("x", scalar.view());
        assert_eq!((vitals.mean, vitals.channels), (2.0, 0));
        assert_eq!(vitals.histogram.counts, [1]);
        let wild = Tensor::new([2], vec![f32::NAN, f32::INFINITY]).unwrap();
        assert_eq!(of_blob("x", wild.view()).not_finite, 2);
        let far = Tensor::new([2], vec![f32::MIN, f32::MAX]).unwrap();
        assert_eq!(of_blob("x", far.view()).histogram.counts[BINS - 1], 1);
    }

    /// y = w·x with x = (1, 2), target 0, loss y²/2: gradient y·x, update rate · gradient.
    #[test]
    fn gradients_and_updates_of_a_run() {
        let param = load::solver_from_text(
            "solver",
            "net_param {
               layer { name: 'd' type: 'DummyData' top: 'x' top: 't' dummy_data_param {
                 shape { dim: 1 dim: 2 } shape { dim: 1 dim: 1 }
                 data_filler { value: 1 } data_filler { value: 0 } } }
               layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param {
                 num_output: 1 bias_term: false weight_filler { value: 0.5 } } }
               layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'loss' } }
             base_lr: 0.1 lr_policy: 'fixed' max_iter: 3 display: 0 random_seed: 1 snapshot_after_train: false",
            LoadOptions::default(),
            &mut Silent,
        )
        .unwrap();
        let options = SolverOptions {
            keep: Keep::Named,
            ..SolverOptions::default()
        };
        let mut solver = Solver::new(param, options, &mut Silent).unwrap();
        solver.watch(Box::new(Vitals::new(2)));
        let mut seen = Vec::new();
        let mut observer = |event: &Event<'_>| {
            if let Event::Vitals { iteration, layers } = event {
                seen.push((*iteration, layers.to_vec()));
            }
        };
        solver
            .solve(&mut || Action::Continue, &mut observer)
            .unwrap();
        let iterations: Vec<u64> = seen.iter().map(|(i, _)| *i).collect();
        assert_eq!(iterations, [0, 2]);
        let ip = seen[0].1.iter().find(|l| l.name == "ip").unwrap();
        assert_eq!(ip.blobs[0].mean, 1.0);
        assert!(ip.forward_ms.is_some() && ip.backward_ms.is_some());
        let weights = &ip.params[0];
        assert_eq!((&*weights.name, &*weights.shape), ("ip[0]", &[1, 2][..]));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        close(weights.norm, 0.5f64.sqrt());
        close(weights.gradient.unwrap(), 2f64.sqrt());
        close(weights.update.unwrap(), 0.1 * 2f64.sqrt());
        close(weights.ratio().unwrap(), 0.2);
    }
}
