//! Figures of a test in the words of the record: one conversion for the journal and for `--metrics-json`.

use serde::{Deserialize, Serialize};

use super::line::{Alike, Constant, Detections, Head, Output, YesNo};
use crate::{
    events::Event,
    metrics::{self, ConfusionMatrix},
};

/// More classes than this have no square of counts in the record, only the commonest mistakes.
pub const SQUARE: usize = 64;

/// More classes than this have no figures one by one.
const LISTED: usize = 4096;

/// So many of the commonest mistakes are told.
const CONFUSED: usize = 20;

impl From<&metrics::Head> for Head {
    fn from(head: &metrics::Head) -> Self {
        let m = &head.confusion;
        let classes = m.classes();
        let by_class = |of: &dyn Fn(usize) -> Option<f64>| {
            let listed = if classes <= LISTED { classes } else { 0 };
            (0..listed).map(of).collect()
        };
        let total = m.total();
        Self {
            scores: head.scores.clone(),
            label: head.label.clone(),
            layer: head.layer.clone(),
            classes,
            names: head.names.clone(),
            confusion: if classes <= SQUARE {
                let row = |truth| (0..classes).map(|answer| m.count(truth, answer)).collect();
                (0..classes).map(row).collect()
            } else {
                Vec::new()
            },
            confused: m.worst(CONFUSED),
            labels: total,
            ignored: head.ignored,
            accuracy: m.accuracy(),
            constant: m
                .constant()
                .map(|(class, accuracy)| Constant { class, accuracy }),
            recall: by_class(&|c| m.recall(c)),
            precision: by_class(&|c| m.precision(c)),
            iou: by_class(&|c| m.iou(c)),
            mean_iou: m.mean_iou(0..classes),
            mean_recall: m.mean_recall(),
            top_k: match total {
                0 => Vec::new(),
                total => {
                    let share = |&(k, hits): &(usize, u64)| (k, hits as f64 / total as f64);
                    head.top_k.iter().map(share).collect()
                }
            },
            alike: head.alike().iter().map(Alike::from).collect(),
            zeros: head.channels.as_ref().map_or_else(Vec::new, |channels| {
                (0..channels.channels())
                    .map(|c| channels.zero_share(c))
                    .collect()
            }),
            each: head.each.iter().take(LISTED).map(YesNo::from).collect(),
        }
    }
}

impl From<&metrics::Alike> for Alike {
    fn from(pair: &metrics::Alike) -> Self {
        Self {
            a: pair.a,
            b: pair.b,
            correlation: pair
                .correlation
                .unwrap_or(if pair.equal == 1.0 { 1.0 } else { 0.0 }),
            equal: pair.equal,
        }
    }
}

impl From<&ConfusionMatrix> for YesNo {
    fn from(m: &ConfusionMatrix) -> Self {
        Self {
            accuracy: m.accuracy(),
            constant: m.constant().map(|(_, accuracy)| accuracy),
            positives: m.of_class(1),
            recall: m.recall(1),
            precision: m.precision(1),
            iou: m.iou(1),
        }
    }
}

/// What a test told of a detector.
pub fn detections(blob: &str, mean: f64, classes: &[(i32, f64)]) -> Detections {
    let finite = |x: f64| x.is_finite().then_some(x);
    Detections {
        blob: blob.to_owned(),
        mean: finite(mean),
        average_precision: classes.iter().map(|&(c, ap)| (c, finite(ap))).collect(),
    }
}

/// One test with everything that it told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The iteration that it followed.
    pub iteration: u64,
    /// Index of the test net.
    pub net: usize,
    /// The means of the outputs.
    pub outputs: Vec<Output>,
    /// Each blob of scores.
    pub heads: Vec<Head>,
    /// Each blob of detections.
    pub detections: Vec<Detections>,
}

/// Gathers what tests tell, event by event.
#[derive(Clone, Debug, Default)]
pub struct Tests {
    /// Those that have ended, and after [`Tests::on`] has said so the last one, in order.
    pub done: Vec<Test>,
    under_way: Option<Test>,
}

impl Tests {
    /// Takes an event in; `true` where a test has come to its end with it.
    pub fn on(&mut self, event: &Event<'_>) -> bool {
        match *event {
            Event::Testing { iteration, net } => {
                let ended = self.end();
                self.under_way = Some(Test {
                    iteration,
                    net,
                    ..Test::default()
                });
                return ended;
            }
            Event::TestOutput {
                blob,
                value,
                loss_weight,
                ..
            } => {
                if let Some(test) = &mut self.under_way {
                    test.outputs.push(Output {
                        blob: blob.to_owned(),
                        value: value.is_finite().then_some(value.into()),
                        weight: loss_weight.into(),
                    });
                }
            }
            Event::Metrics {
                iteration,
                net,
                heads,
            } => self
                .at(iteration, net)
                .heads
                .extend(heads.iter().map(Head::from)),
            Event::Precision {
                iteration,
                net,
                blob,
                mean,
                classes,
            } => self
                .at(iteration, net)
                .detections
                .push(detections(blob, mean, classes)),
            // What may come within a test.
            Event::TestStep { .. }
            | Event::TestLoss { .. }
            | Event::Warning(_)
            | Event::Note(_)
            | Event::Debug { .. }
            | Event::Picture { .. }
            | Event::Worst { .. }
            | Event::Finding { .. }
            | Event::SnapshotModel { .. }
            | Event::SnapshotState { .. } => {}
            _ => return self.end(),
        }
        false
    }

    /// The test under way; a command that scores a net tells no beginning.
    fn at(&mut self, iteration: u64, net: usize) -> &mut Test {
        self.under_way.get_or_insert_with(|| Test {
            iteration,
            net,
            ..Test::default()
        })
    }

    /// Ends the test under way; `true` where there was one. One that told nothing was stopped and is dropped.
    pub fn end(&mut self) -> bool {
        let told = |test: &Test| {
            !(test.outputs.is_empty() && test.heads.is_empty() && test.detections.is_empty())
        };
        let Some(test) = self.under_way.take().filter(told) else {
            return false;
        };
        self.done.push(test);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ChannelStats;

    fn head() -> metrics::Head {
        let mut head = metrics::Head {
            scores: "ip".into(),
            label: "label".into(),
            layer: "loss".into(),
            names: vec!["no".into(), "left".into(), "right".into()],
            confusion: ConfusionMatrix::new(3),
            ignored: 2,
            top_k: vec![(1, 3)],
            channels: Some(ChannelStats::new(3)),
            each: Vec::new(),
        };
        for (truth, answer) in [(0, 0), (0, 0), (0, 1), (1, 1)] {
            head.confusion.add(truth, answer);
        }
        let pixels = [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]];
        for pixel in pixels {
            if let Some(channels) = &mut head.channels {
                channels.add_pixel(pixel.into_iter());
            }
        }
        head
    }

    #[test]
    fn a_head_in_the_words_of_the_record() {
        let line = Head::from(&head());
        assert_eq!(line.confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!(line.confused, [(0, 1, 1)]);
        assert_eq!(
            (line.labels, line.ignored, line.accuracy),
            (4, 2, Some(0.75))
        );
        let constant = line.constant.unwrap();
        assert_eq!((constant.class, constant.accuracy), (0, 0.75));
        assert_eq!(line.recall, [Some(2.0 / 3.0), Some(1.0), None]);
        assert_eq!(line.precision, [Some(1.0), Some(0.5), None]);
        assert_eq!(line.top_k, [(1, 0.75)]);
        assert_eq!(line.zeros, [Some(0.0), Some(1.0), Some(1.0)]);
        let [alike] = line.alike[..] else {
            panic!("{:?}", line.alike);
        };
        assert_eq!((alike.a, alike.b), (1, 2));
        assert_eq!((alike.correlation, alike.equal), (1.0, 1.0));
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), line);
    }

    #[test]
    fn many_classes_have_only_their_worst_pairs() {
        let mut head = metrics::Head {
            confusion: ConfusionMatrix::new(5000),
            ..metrics::Head::default()
        };
        head.confusion.add(4000, 7);
        let line = Head::from(&head);
        assert_eq!(line.confused, [(4000, 7, 1)]);
        assert!(line.confusion.is_empty() && line.recall.is_empty());
        assert_eq!((line.mean_recall, line.accuracy), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn tests_are_gathered_and_a_stopped_one_is_dropped() {
        let mut tests = Tests::default();
        let output = |value| Event::TestOutput {
            net: 0,
            index: 0,
            blob: "loss",
            value,
            loss_weight: 1.0,
        };
        let begin = |iteration| Event::Testing { iteration, net: 0 };
        let heads = [head()];
        let step = Event::Step {
            iteration: 1,
            max_iter: 2,
            loss: 0.0,
            rate: 0.0,
        };
        for (event, ends) in [
            (begin(0), false),
            (output(f32::NAN), false),
            (
                Event::Metrics {
                    iteration: 0,
                    net: 0,
                    heads: &heads,
                },
                false,
            ),
            (Event::Note("x"), false),
            (step, true),
            (begin(5), false),
            (Event::TrainDone { early: true }, false),
        ] {
            assert_eq!(tests.on(&event), ends, "{event:?}");
        }
        assert!(!tests.end());
        let [test] = &tests.done[..] else {
            panic!("{:?}", tests.done);
        };
        assert_eq!(test.outputs[0].value, None);
        assert_eq!(test.heads.len(), 1);
        let mut alone = Tests::default();
        alone.on(&Event::Precision {
            iteration: 3,
            net: 1,
            blob: "eval",
            mean: 0.5,
            classes: &[(1, 0.5)],
        });
        assert!(alone.end());
        assert_eq!((alone.done[0].iteration, alone.done[0].net), (3, 1));
    }
}
