//! The samples that a test does worst on: those of the highest loss.

use std::cmp::Ordering;

use super::{
    heads::{Layout, Pair, pairs},
    samples::{Camera, Keys, producer, shown},
};
use crate::{
    error::Result,
    events::{Event, Observer},
    metrics::{Worst, argmax},
    net::Net,
    schema::NetParameter,
    solver::{Look, Watch},
    tensor::{Shape, Tensor, View},
};

/// A watcher that tells [`Event::Worst`]. Test nets have to keep what [`super::heads::wanted`] names.
pub struct WorstSamples {
    most: usize,
    nets: Vec<Tested>,
}

/// A test net, and the worst of the test under way, the worst first.
struct Tested {
    pair: Option<Pair>,
    found: Vec<Found>,
}

/// A sample that may be among the worst.
struct Found {
    loss: f32,
    /// Its number among the records.
    number: u64,
    truth: String,
    answer: String,
    sample: Option<Tensor>,
    answers: Vec<usize>,
    size: (usize, usize),
}

impl WorstSamples {
    /// So many of each test; `nets` are the messages of the test nets.
    pub fn new(nets: &[NetParameter], most: usize) -> Self {
        let tested = |net: &NetParameter| Tested {
            pair: pairs(net.layer.iter()).into_iter().next(),
            found: Vec::new(),
        };
        Self {
            most,
            nets: nets.iter().map(tested).collect(),
        }
    }
}

impl Watch for WorstSamples {
    fn test_pass(&mut self, look: &mut Look<'_>, _: &mut dyn Observer) -> Result<()> {
        let most = self.most;
        if let Some(tested) = look.test.and_then(|test| self.nets.get_mut(test)) {
            if look.pass == 0 {
                tested.found.clear();
            }
            tested.take(look.net, look.pass, most);
        }
        Ok(())
    }

    fn test_done(&mut self, look: &mut Look<'_>, observer: &mut dyn Observer) -> Result<()> {
        let Some(test) = look.test else {
            return Ok(());
        };
        let Some(tested) = self.nets.get_mut(test) else {
            return Ok(());
        };
        let found = std::mem::take(&mut tested.found);
        if found.is_empty() {
            return Ok(());
        }
        let tools = tested.input(look.net).and_then(|input| {
            let (_, node) = producer(look.net.graph(), &input)?;
            Some((Camera::new(node), Keys::new(node)))
        });
        let (camera, mut keys) = match tools {
            Some((camera, keys)) => (Some(camera), keys),
            None => (None, Keys::Numbers),
        };
        let mut samples: Vec<Worst> = Vec::new();
        for found in found {
            let key = keys.key(found.number);
            // A test that goes round meets a record twice.
            if samples.iter().any(|s| s.key == key) {
                continue;
            }
            samples.push(Worst {
                key,
                png: camera.as_ref().and_then(|camera| found.png(camera)),
                loss: found.loss,
                truth: found.truth,
                answer: found.answer,
            });
        }
        observer.on(&Event::Worst {
            iteration: look.iteration,
            net: test,
            samples: &samples,
        });
        Ok(())
    }
}

impl Tested {
    fn input(&self, net: &Net) -> Option<String> {
        let label = self.pair.as_ref().map(|p| p.label.as_str());
        shown(net.graph(), label.as_slice())
    }

    /// Looks through a batch.
    fn take(&mut self, net: &Net, pass: u64, most: usize) {
        let Some(pair) = &self.pair else {
            return;
        };
        let (Some(scores), Some(labels)) = (net.blob(&pair.scores), net.blob(&pair.label)) else {
            return;
        };
        let samples = scores.shape.legacy(0);
        let input = self.input(net);
        let reader = input.as_ref().or(Some(&pair.label));
        let reader = reader.and_then(|blob| producer(net.graph(), blob));
        let delivered = reader.and_then(|(node, _)| {
            let cursors = net.cursors();
            let cursor = cursors.iter().find(|(index, ..)| *index == node);
            cursor.map(|(.., records)| *records)
        });
        let first = match delivered {
            Some(records) => records.saturating_sub(samples as u64),
            None => pass.saturating_mul(samples as u64),
        };
        let input = input.and_then(|blob| net.blob(&blob));
        for sample in 0..samples {
            let Some(judged) = judge(pair, scores, labels, sample) else {
                return;
            };
            let order = |f: &Found| badness(f.loss, judged.loss) != Ordering::Less;
            let place = self.found.partition_point(order);
            if place >= most {
                continue;
            }
            let found = Found {
                loss: judged.loss,
                number: first + sample as u64,
                truth: judged.truth,
                answer: judged.answer,
                sample: input.and_then(|view| cut(view, sample)),
                answers: judged.answers,
                size: judged.size,
            };
            self.found.insert(place, found);
            self.found.truncate(most);
        }
    }
}

/// Which of two losses is worse; what is no number is worst.
fn badness(a: f32, b: f32) -> Ordering {
    let rank = |x: f32| if x.is_nan() { f32::INFINITY } else { x };
    rank(a).total_cmp(&rank(b))
}

impl Found {
    fn png(&self, camera: &Camera) -> Option<Vec<u8>> {
        let shot = camera.shot(self.sample.as_ref()?.view(), 0).ok()?;
        let png = if self.answers.is_empty() {
            shot.plain()
        } else {
            shot.classes(&self.answers, self.size)
        };
        png.ok()
    }
}

/// One sample of a batch.
fn cut(view: View<'_>, sample: usize) -> Option<Tensor> {
    let mut dims = view.shape.dims().to_vec();
    *dims.first_mut()? = 1;
    let count: usize = dims.iter().product();
    let from = sample.checked_mul(count)?;
    let data = view.data.get(from..from + count)?.to_vec();
    Tensor::new(Shape::new(&dims), data).ok()
}

/// How a sample was answered.
struct Judged {
    loss: f32,
    truth: String,
    answer: String,
    /// The classes of a map; empty for one class.
    answers: Vec<usize>,
    size: (usize, usize),
}

/// The mean of -log softmax over the places whose labels count; `None` where scores and labels do not fit.
fn judge(pair: &Pair, scores: View<'_>, labels: View<'_>, sample: usize) -> Option<Judged> {
    let Some(Layout::Classes {
        outer,
        classes,
        inner: plane,
    }) = pair.layout(scores.shape, labels.shape)
    else {
        return None;
    };
    if plane == 0 || outer != scores.shape.legacy(0) {
        return None;
    }
    let count = classes * plane;
    let scores_of = scores.data.get(sample * count..(sample + 1) * count)?;
    let labels = labels.data.get(sample * plane..(sample + 1) * plane)?;
    let (mut sum, mut counted, mut right) = (0.0f64, 0u64, 0u64);
    let mut answers = Vec::with_capacity(plane);
    let mut wrong: Vec<(usize, usize)> = Vec::new();
    for (at, &label) in labels.iter().enumerate() {
        let place: Vec<f32> = (0..classes).map(|c| scores_of[c * plane + at]).collect();
        let answer = argmax(place.iter().copied());
        answers.push(answer);
        let ignored = pair.ignore.iter().any(|&i| label == i as f32);
        if ignored || !(label >= 0.0 && label < classes as f32) {
            continue;
        }
        let truth = label as usize;
        let shift = place.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = place.iter().map(|s| f64::from(s - shift).exp()).sum();
        sum += total.ln() - f64::from(place[truth] - shift);
        counted += 1;
        if answer == truth {
            right += 1;
        } else {
            wrong.push((truth, answer));
        }
    }
    let loss = if counted == 0 {
        0.0
    } else {
        (sum / counted as f64) as f32
    };
    let (truth, answer) = if plane == 1 {
        let truth = labels.first().map_or(0, |&l| l as i64);
        (truth.to_string(), answers.first()?.to_string())
    } else {
        let share = 100.0 * right as f64 / counted.max(1) as f64;
        let commonest = commonest(&mut wrong);
        (
            format!("{share:.1} % of places right"),
            commonest.map_or_else(String::new, |((truth, answer), n)| {
                let share = 100.0 * n as f64 / counted.max(1) as f64;
                format!("{answer} for {truth} in {share:.1} %")
            }),
        )
    };
    let map = scores.shape.axes() == 4 && plane > 1 && plane == scores.shape.count_from(2);
    Some(Judged {
        loss,
        truth,
        answer,
        answers: if map { answers } else { Vec::new() },
        size: if map {
            (scores.shape.dims()[2], scores.shape.dims()[3])
        } else {
            (1, 1)
        },
    })
}

/// The mistake that was made most often.
fn commonest(wrong: &mut [(usize, usize)]) -> Option<((usize, usize), usize)> {
    wrong.sort_unstable();
    let groups = wrong.chunk_by(|a, b| a == b);
    let groups = groups.filter_map(|g| Some((*g.first()?, g.len())));
    groups.max_by_key(|&(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LayerParameter;

    fn pair(ignore: Option<i32>) -> Pair {
        let mut layer = LayerParameter {
            r#type: Some("SoftmaxWithLoss".into()),
            bottom: vec!["s".into(), "l".into()],
            ..Default::default()
        };
        layer.loss_param.get_or_insert_default().ignore_label = ignore;
        pairs([&layer].into_iter()).remove(0)
    }

    #[test]
    fn a_sample_by_hand() {
        let scores = Tensor::new([2, 2], vec![0.0, 0.0, 3.0, 0.0]).unwrap();
        let labels = Tensor::new([2], vec![1.0, 1.0]).unwrap();
        let first = judge(&pair(None), scores.view(), labels.view(), 0).unwrap();
        assert!((first.loss - 2f32.ln()).abs() < 1e-6);
        assert_eq!((&*first.truth, &*first.answer), ("1", "0"));
        let second = judge(&pair(None), scores.view(), labels.view(), 1).unwrap();
        assert!((second.loss - (1.0 + 3f32.exp()).ln()).abs() < 1e-5);
        assert_eq!(
            judge(&pair(Some(1)), scores.view(), labels.view(), 1)
                .unwrap()
                .loss,
            0.0
        );
        let three = Tensor::zeros([3]);
        assert!(judge(&pair(None), scores.view(), three.view(), 0).is_none());
    }

    #[test]
    fn a_map_counts_its_places() {
        let scores = Tensor::new([1, 2, 1, 4], vec![1., 1., 1., 1., 0., 0., 2., 0.]).unwrap();
        let labels = Tensor::new([1, 1, 1, 4], vec![0., 1., 1., 255.]).unwrap();
        let judged = judge(&pair(Some(255)), scores.view(), labels.view(), 0).unwrap();
        assert_eq!(judged.answers, [0, 0, 1, 0]);
        assert_eq!(judged.truth, "66.7 % of places right");
        assert_eq!(judged.answer, "0 for 1 in 33.3 %");
    }

    #[test]
    fn what_is_no_number_is_worst() {
        assert_eq!(badness(f32::NAN, 3.0), Ordering::Greater);
        assert_eq!(badness(1.0, 3.0), Ordering::Less);
    }
}
