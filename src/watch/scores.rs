//! Scores against labels, summed over a test: one accumulator for the solver's tests and for `cortado test`.

use rayon::prelude::*;

use super::heads::{self, Layout, Pair};
use crate::{
    error::Result,
    events::{Event, Observer},
    metrics::{ChannelStats, ConfusionMatrix, Head, argmax},
    net::Net,
    solver::{Look, Watch},
};

/// Up to so many classes each channel of scores is held against each.
pub const CHANNELS: usize = 64;

/// Steps that a pass may spend on holding channels against each other; with more pixels than that pays for, some are
/// picked, spread evenly and the same in every run.
const BUDGET: usize = 1 << 17;

/// Up to so many scores one thread is enough.
const SERIAL: usize = 1 << 15;

/// Pixels whose best scores are kept at hand at once.
const BLOCK: usize = 1 << 10;

/// A label that does not count.
const SKIPPED: u32 = u32::MAX;

/// Adds up how the scores of a net meet their labels. As a [`Watch`] it tells [`Event::Metrics`] after each test.
///
/// The net has to keep what [`heads::wanted`] names, or every blob.
#[derive(Debug, Default)]
pub struct Scores {
    names: Vec<String>,
    /// Of the net looked at; `None` before the first pass.
    running: Option<Vec<Running>>,
    /// Whether the user was told that the names are of no use.
    told: bool,
}

#[derive(Debug)]
struct Running {
    pair: Pair,
    head: Head,
    /// The scores changed their meaning on the way, or are none.
    off: bool,
    truths: Vec<u32>,
    answers: Vec<u32>,
    ranks: Vec<u32>,
}

impl Scores {
    /// Nothing counted. `names` are those of the classes, for scores of as many classes; may be empty.
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// Adds the pass that a net just made.
    pub fn add(&mut self, net: &Net) {
        let running = self.running.get_or_insert_with(|| {
            let pairs = heads::of_net(net).into_iter();
            pairs.map(Running::new).collect()
        });
        for running in running {
            running.add(net, &self.names);
        }
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> Vec<Head> {
        let running = self.running.take().unwrap_or_default().into_iter();
        let counted = |head: &Head| head.confusion.total() + head.ignored > 0;
        let heads = running.filter(|r| !r.off).map(|r| r.head);
        heads.filter(counted).collect()
    }

    /// That class names were given and fit none of these, in words; said once.
    pub fn unused_names(&mut self, heads: &[Head]) -> Option<String> {
        let used = |head: &Head| head.each.is_empty() && !head.names.is_empty();
        let scores = heads.iter().find(|head| head.each.is_empty())?;
        if self.names.is_empty() || self.told || heads.iter().any(used) {
            return None;
        }
        self.told = true;
        Some(format!(
            "{} class names were given, but '{}' has {} classes: they go by their numbers",
            self.names.len(),
            scores.scores,
            scores.confusion.classes()
        ))
    }
}

impl Watch for Scores {
    fn test_pass(&mut self, look: &mut Look<'_>, _: &mut dyn Observer) -> Result<()> {
        if look.pass == 0 {
            // What a stopped test or another net left.
            self.running = None;
        }
        self.add(look.net);
        Ok(())
    }

    fn test_done(&mut self, look: &mut Look<'_>, observer: &mut dyn Observer) -> Result<()> {
        let heads = self.take();
        if let Some(words) = self.unused_names(&heads) {
            observer.on(&Event::Warning(&words));
        }
        if !heads.is_empty() {
            observer.on(&Event::Metrics {
                iteration: look.iteration,
                net: look.test.unwrap_or(0),
                heads: &heads,
            });
        }
        Ok(())
    }
}

impl Running {
    fn new(pair: Pair) -> Self {
        Self {
            head: Head {
                scores: pair.scores.clone(),
                label: pair.label.clone(),
                layer: pair.layer.clone(),
                ..Head::default()
            },
            pair,
            off: false,
            truths: Vec::new(),
            answers: Vec::new(),
            ranks: Vec::new(),
        }
    }

    fn add(&mut self, net: &Net, names: &[String]) {
        let blobs = (net.blob(&self.pair.scores), net.blob(&self.pair.label));
        let (Some(scores), Some(labels)) = blobs else {
            return;
        };
        match self.pair.layout(scores.shape, labels.shape) {
            _ if self.off => {}
            Some(Layout::Classes {
                outer,
                classes,
                inner,
            }) => {
                if self.head.confusion.classes() == 0 {
                    self.begin(classes, names);
                }
                if self.head.confusion.classes() == classes && self.head.each.is_empty() {
                    self.classify(scores.data, labels.data, (outer, classes, inner));
                } else {
                    self.off = true;
                }
            }
            Some(Layout::Each {
                items,
                channels,
                plane,
            }) => {
                if self.head.confusion.classes() == 0 {
                    self.head.confusion = ConfusionMatrix::new(2);
                    self.head.names = vec!["no".to_owned(), "yes".to_owned()];
                    self.head.each = vec![ConfusionMatrix::new(2); channels];
                    self.head.channels = (2..=CHANNELS)
                        .contains(&channels)
                        .then(|| ChannelStats::new(channels));
                }
                if self.head.each.len() == channels {
                    self.decide(scores.data, labels.data, (items, channels, plane));
                } else {
                    self.off = true;
                }
            }
            None => {}
        }
    }

    fn begin(&mut self, classes: usize, names: &[String]) {
        let head = &mut self.head;
        head.confusion = ConfusionMatrix::new(classes);
        if names.len() == classes {
            head.names = names.to_vec();
        }
        let more = self.pair.top_k.iter().copied().chain([5]);
        let mut ks: Vec<usize> = more.filter(|&k| k < classes).chain([1]).collect();
        ks.sort_unstable();
        ks.dedup();
        head.top_k = ks.into_iter().map(|k| (k, 0)).collect();
        head.channels = (classes <= CHANNELS).then(|| ChannelStats::new(classes));
    }

    /// Scores outer × classes × inner, labels outer × inner.
    fn classify(&mut self, scores: &[f32], labels: &[f32], dims: (usize, usize, usize)) {
        let (_, classes, inner) = dims;
        self.truths.clear();
        for &label in labels {
            let whole = label as i32;
            let counts = whole as f32 == label && !self.pair.ignore.contains(&whole);
            let class = usize::try_from(whole)
                .ok()
                .filter(|&c| counts && c < classes);
            self.head.ignored += u64::from(self.pair.ignore.contains(&whole));
            self.truths.push(class.map_or(SKIPPED, |c| c as u32));
        }
        self.answers.resize(labels.len(), 0);
        let item = |(scores, answers): (&[f32], &mut [u32])| best(scores, inner, answers);
        if scores.len() <= SERIAL {
            let items = scores.chunks_exact(classes * inner);
            items
                .zip(self.answers.chunks_exact_mut(inner))
                .for_each(item);
        } else {
            let items = scores.par_chunks_exact(classes * inner);
            let answers = self.answers.par_chunks_exact_mut(inner);
            items.zip(answers).for_each(item);
        }
        for (&truth, &answer) in self.truths.iter().zip(&self.answers) {
            if truth != SKIPPED {
                self.head.confusion.add(truth as usize, answer as usize);
            }
        }
        self.count_ranks(scores, dims);
        if let Some(stats) = &mut self.head.channels {
            hold_together(stats, scores, dims);
        }
    }

    fn count_ranks(&mut self, scores: &[f32], (_, classes, inner): (usize, usize, usize)) {
        if self.head.top_k.len() > 1 {
            self.ranks.resize(self.truths.len(), 0);
            let item = |((scores, truths), ranks): ((&[f32], &[u32]), &mut [u32])| {
                rank(scores, truths, ranks);
            };
            if scores.len() <= SERIAL {
                let items = scores.chunks_exact(classes * inner);
                let items = items.zip(self.truths.chunks_exact(inner));
                items.zip(self.ranks.chunks_exact_mut(inner)).for_each(item);
            } else {
                let items = scores.par_chunks_exact(classes * inner);
                let items = items.zip(self.truths.par_chunks_exact(inner));
                let ranks = self.ranks.par_chunks_exact_mut(inner);
                items.zip(ranks).for_each(item);
            }
        }
        for (k, hits) in &mut self.head.top_k {
            *hits += match k {
                1 => {
                    let pairs = self.truths.iter().zip(&self.answers);
                    pairs.filter(|(truth, answer)| truth == answer).count() as u64
                }
                _ => {
                    let counted = self.truths.iter().zip(&self.ranks);
                    let hit =
                        |(truth, rank): &(&u32, &u32)| **truth != SKIPPED && (**rank as usize) < *k;
                    counted.filter(hit).count() as u64
                }
            };
        }
    }

    /// Scores and labels items × channels × plane.
    fn decide(&mut self, scores: &[f32], labels: &[f32], dims: (usize, usize, usize)) {
        let (_, channels, plane) = dims;
        let planes = scores.chunks_exact(plane).zip(labels.chunks_exact(plane));
        for (i, (scores, labels)) in planes.enumerate() {
            let mut counts = [[0u64; 2]; 2];
            for (&score, &label) in scores.iter().zip(labels) {
                if self.pair.ignore.contains(&(label as i32)) {
                    self.head.ignored += 1;
                    continue;
                }
                let truth = match label {
                    0.0 => 0,
                    1.0 => 1,
                    // A measure, not a label.
                    _ => {
                        self.off = true;
                        return;
                    }
                };
                counts[truth][usize::from(score > 0.0)] += 1;
            }
            for (truth, row) in counts.iter().enumerate() {
                for (answer, &n) in row.iter().enumerate() {
                    self.head.confusion.add_many(truth, answer, n);
                    self.head.each[i % channels].add_many(truth, answer, n);
                }
            }
        }
        if let Some(stats) = &mut self.head.channels {
            hold_together(stats, scores, dims);
        }
    }
}

/// The class of the highest score of each pixel: see [`argmax`]. Scores are classes × inner.
fn best(scores: &[f32], inner: usize, answers: &mut [u32]) {
    if inner == 1 {
        answers.fill(argmax(scores.iter().copied()) as u32);
        return;
    }
    let mut best = [0.0f32; BLOCK];
    for (block, answers) in answers.chunks_mut(BLOCK).enumerate() {
        let (start, n) = (block * BLOCK, answers.len());
        let best = &mut best[..n];
        best.fill(f32::NEG_INFINITY);
        answers.fill(0);
        for (class, row) in scores.chunks_exact(inner).enumerate() {
            let row = &row[start..start + n];
            for ((best, answer), &score) in best.iter_mut().zip(&mut *answers).zip(row) {
                let better = score > *best;
                *best = if better { score } else { *best };
                *answer = if better { class as u32 } else { *answer };
            }
        }
    }
}

/// How many classes stand before the true one of each pixel: those that score higher, and of equals the first.
fn rank(scores: &[f32], truths: &[u32], ranks: &mut [u32]) {
    let inner = truths.len();
    // NaN counts as the least, as for `best`.
    let least = |score: f32| {
        if score.is_nan() {
            f32::NEG_INFINITY
        } else {
            score
        }
    };
    for (j, (&truth, rank)) in truths.iter().zip(ranks).enumerate() {
        *rank = 0;
        if truth == SKIPPED {
            continue;
        }
        let own = least(scores[truth as usize * inner + j]);
        let column = scores[j..].iter().step_by(inner);
        for (class, &score) in column.enumerate() {
            let score = least(score);
            *rank += u32::from(score > own || (score == own && (class as u32) < truth));
        }
    }
}

/// Counts pixels of scores outer × channels × inner, as many as the budget pays for.
fn hold_together(
    stats: &mut ChannelStats,
    scores: &[f32],
    (outer, channels, inner): (usize, usize, usize),
) {
    let pixels = outer * inner;
    let picks = pixels.min(BUDGET / (channels * channels + 16));
    for i in 0..picks {
        let pixel = if picks == pixels {
            i
        } else {
            // Multiples of the golden ratio spread evenly over any number of pixels.
            let part = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((u128::from(part) * pixels as u128) >> 64) as usize
        };
        let start = pixel / inner * channels * inner + pixel % inner;
        stats.add_pixel(
            scores[start..]
                .iter()
                .step_by(inner)
                .take(channels)
                .copied(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
        net::{Keep, NetOptions},
        params::Params,
        tensor::Tensor,
    };

    /// A net whose scores and labels are fed.
    struct Fed {
        net: Net,
        params: Params,
    }

    impl Fed {
        fn new(scores: &str, labels: &str, layers: &str) -> Self {
            let input = |name: &str, dims: &str| {
                let dims: String = dims
                    .split_whitespace()
                    .map(|d| format!("dim: {d} "))
                    .collect();
                format!(
                    "layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {dims} }} }} }}"
                )
            };
            let text = format!("{}{}{layers}", input("s", scores), input("y", labels));
            let file =
                load::net_from_text("net", &text, LoadOptions::default(), &mut Silent).unwrap();
            let mut params = Params::new();
            let options = NetOptions {
                keep: Keep::Outputs,
                wanted: &heads::wanted(&file.net),
                ..NetOptions::default()
            };
            let net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
            Self { net, params }
        }

        fn pass(&mut self, scores: &[f32], labels: &[f32]) -> &Net {
            for (name, data) in [("s", scores), ("y", labels)] {
                let shape = self.net.blob(name).unwrap().shape.clone();
                let tensor = Tensor::new(shape, data.to_vec()).unwrap();
                self.net.set_input(name, &tensor).unwrap();
            }
            self.net.forward(&mut self.params).unwrap();
            &self.net
        }
    }

    const LOSS: &str = "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 's' bottom: 'y' top: 'l' loss_param { ignore_label: 9 } }";

    #[test]
    fn sums_over_passes_ties_and_ignored_labels() {
        let mut fed = Fed::new("2 3", "2", LOSS);
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut scores = Scores::new(names.clone());
        // A tie goes to the first class; NaN is least.
        scores.add(fed.pass(&[1.0, 1.0, 0.0, f32::NAN, 0.0, 2.0], &[0.0, 2.0]));
        scores.add(fed.pass(&[0.0, 1.0, 1.0, 5.0, 0.0, 0.0], &[2.0, 9.0]));
        let heads = scores.take();
        assert_eq!(heads.len(), 1);
        let head = &heads[0];
        assert_eq!(
            (&*head.scores, &*head.label, &*head.layer),
            ("s", "y", "loss")
        );
        assert_eq!(head.names, names);
        assert_eq!((head.confusion.total(), head.ignored), (3, 1));
        assert_eq!(head.confusion.count(0, 0), 1);
        assert_eq!(head.confusion.count(2, 2), 1);
        assert_eq!(head.confusion.count(2, 1), 1);
        assert_eq!(head.top_k, [(1, 2)]);
        assert!(scores.take().is_empty());
        // Names that fit nothing.
        let mut scores = Scores::new(vec!["a".into()]);
        scores.add(fed.pass(&[0.0; 6], &[0.0, 0.0]));
        let heads = scores.take();
        assert!(heads[0].names.is_empty());
        let words = scores.unused_names(&heads).unwrap();
        assert!(words.contains("1 class names") && words.contains("'s' has 3 classes"));
        assert_eq!(scores.unused_names(&heads), None);
    }

    #[test]
    fn top_k_of_the_net_and_five() {
        let top3 = "layer { name: 'a' type: 'Accuracy' bottom: 's' bottom: 'y' top: 'a' accuracy_param { top_k: 3 } }";
        let mut fed = Fed::new("1 7 1 2", "1 1 1 2", &format!("{LOSS} {top3}"));
        let mut scores = Scores::default();
        // Pixel 0: class 2 is the third; pixel 1: class 6 is the last of seven equals.
        let mut values = [0.0f32; 14];
        for (class, value) in [(0, 9.0), (1, 8.0), (2, 7.0)] {
            values[class * 2] = value;
        }
        scores.add(fed.pass(&values, &[2.0, 6.0]));
        let head = &scores.take()[0];
        assert_eq!(head.top_k, [(1, 0), (3, 1), (5, 1)]);
        assert_eq!(head.confusion.count(6, 0), 1);
    }

    /// Against the plain definition, over several items and threads.
    #[test]
    fn a_map_of_classes_as_counted_by_hand() {
        let (items, classes, inner) = (3, 7, 2000);
        let mut fed = Fed::new("3 7 40 50", "3 1 40 50", LOSS);
        let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 20) as f32;
        let values: Vec<f32> = (0..items * classes * inner)
            .map(|i| noise(i) / 64.0)
            .collect();
        let labels: Vec<f32> = (0..items * inner)
            .map(|i| (noise(i + 7) as usize % 7) as f32)
            .collect();
        let mut scores = Scores::default();
        scores.add(fed.pass(&values, &labels));
        let head = &scores.take()[0];
        let mut want = ConfusionMatrix::new(classes);
        let mut among = 0;
        for (i, &label) in labels.iter().enumerate() {
            let start = i / inner * classes * inner + i % inner;
            let column: Vec<f32> = (0..classes).map(|c| values[start + c * inner]).collect();
            want.add(label as usize, argmax(column.iter().copied()));
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| column[b].total_cmp(&column[a]));
            among += u64::from(order[..5].contains(&(label as usize)));
        }
        assert_eq!(head.confusion, want);
        let hits = want.accuracy().unwrap() * want.total() as f64;
        assert_eq!(head.top_k, [(1, hits.round() as u64), (5, among)]);
    }

    #[test]
    fn yes_and_no_of_each_channel_and_measures_are_no_labels() {
        let loss = "layer { name: 'l' type: 'SigmoidCrossEntropyLoss' bottom: 's' bottom: 'y' top: 'l' loss_param { ignore_label: -1 } }";
        let mut fed = Fed::new("2 2", "2 2", loss);
        let mut scores = Scores::new(vec!["a".into(), "b".into()]);
        scores.add(fed.pass(&[1.0, -1.0, 0.0, 3.0], &[1.0, 1.0, 0.0, -1.0]));
        let heads = scores.take();
        let head = &heads[0];
        assert_eq!((head.confusion.total(), head.ignored), (3, 1));
        assert_eq!(head.confusion.accuracy(), Some(2.0 / 3.0));
        assert_eq!(head.each[0].accuracy(), Some(1.0));
        assert_eq!(
            (head.each[1].recall(1), head.each[1].recall(0)),
            (Some(0.0), None)
        );
        assert_eq!(head.name(1), "yes");
        assert_eq!(scores.unused_names(&heads), None);
        scores.add(fed.pass(&[0.0; 4], &[0.25, 1.0, 0.0, 0.0]));
        assert!(scores.take().is_empty());
    }

    #[test]
    fn channels_are_held_against_each_other_on_some_pixels() {
        let mut fed = Fed::new("2 3 200 200", "2 1 200 200", LOSS);
        let plane = 40_000;
        let mut values = vec![0.0f32; 6 * plane];
        for item in 0..2 {
            for j in 0..plane {
                let x = (j % 97) as f32;
                values[item * 3 * plane + j] = x;
                values[(item * 3 + 1) * plane + j] = 2.0 * x;
            }
        }
        let mut scores = Scores::default();
        scores.add(fed.pass(&values, &vec![0.0; 2 * plane]));
        let head = &scores.take()[0];
        let alike = head.alike();
        assert_eq!(alike.len(), 1);
        assert_eq!((alike[0].a, alike[0].b), (0, 1));
        let channels = head.channels.as_ref().unwrap();
        assert_eq!(channels.zero_share(2), Some(1.0));
        let zero = channels.zero_share(0).unwrap();
        assert!((zero - 1.0 / 97.0).abs() < 2e-3, "{zero}");
    }
}
