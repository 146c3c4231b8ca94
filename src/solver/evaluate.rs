//! Tests: means of the outputs of a test net over `test_iter` passes, or their mean average precisions.

use super::{
    Action, Look, Solver, Watch,
    best::Measured,
    precision::{self, Evaluation},
    snapshot::Position,
};
use crate::{
    error::{Error, Result},
    events::{Event, Observer},
    metrics::precision::{Precision, Tally},
};

impl Solver {
    /// Tests one net and returns its mean outputs in Caffe's order, an entry for each element of an output blob; with
    /// `eval_type: "detection"` the mean average precision, an entry for each output. The test net's data goes on from
    /// where the last test left it.
    ///
    /// # Errors
    /// `Param` where there is no such test net; else of the first layer that fails.
    pub fn test(
        &mut self,
        index: usize,
        observer: &mut dyn Observer,
    ) -> Result<Vec<(String, f32)>> {
        let count = self.test_nets.len();
        if index >= count {
            return Err(Error::param(
                "test_iter",
                format!("there is no test net {index}, the solver has {count}"),
            ));
        }
        let means = self.test_one(index, &mut || Action::Continue, observer)?;
        Ok(means.unwrap_or_default())
    }

    /// Tests all nets; `true` where it was stopped. A stopped test leaves the nets' data where it was before.
    pub(super) fn test_all(
        &mut self,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let before: Vec<Position> = self.test_nets.iter().map(Position::of).collect();
        self.before_test = Some(before);
        let result = self.test_each(control, observer);
        let before = self.before_test.take().unwrap_or_default();
        let stopped = result?;
        if stopped {
            for (net, position) in self.test_nets.iter_mut().zip(&before) {
                position.restore(net)?;
            }
            observer.on(&Event::Note("Test interrupted."));
        }
        Ok(stopped)
    }

    fn test_each(
        &mut self,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        for index in 0..self.test_nets.len() {
            if self.test_one(index, control, observer)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows a test net to everybody who looks on.
    fn show_test(
        &mut self,
        (test, pass): (usize, u64),
        observer: &mut dyn Observer,
        to: impl Fn(&mut dyn Watch, &mut Look<'_>, &mut dyn Observer) -> Result<()>,
    ) -> Result<()> {
        let mut look = Look {
            iteration: self.iteration,
            net: &self.test_nets[test],
            params: &mut self.params,
            test: Some(test),
            pass,
        };
        for watcher in &mut self.watchers {
            to(watcher.as_mut(), &mut look, observer)?;
        }
        Ok(())
    }

    /// `None` where it was stopped.
    fn test_one(
        &mut self,
        index: usize,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<(String, f32)>>> {
        observer.on(&Event::Testing {
            iteration: self.iteration,
            net: index,
        });
        let passes = self.param.test_iter.get(index).copied().unwrap_or(0);
        let passes = u64::try_from(passes).unwrap_or(0);
        let mut loss = 0.0;
        let mut sums: Vec<f64> = Vec::new();
        let evaluation = Evaluation::of(&self.param)?;
        let mut tallies: Vec<Tally> = Vec::new();
        for pass in 0..passes {
            match control() {
                Action::Continue => {}
                Action::Rate(rate) => self.schedule.want(rate),
                Action::Snapshot => self.try_snapshot(observer),
                Action::Stop => return Ok(None),
            }
            let net = &mut self.test_nets[index];
            loss += f64::from(net.forward(&mut self.params)?);
            for line in net.take_debug() {
                observer.on(&Event::Debug { line: &line });
            }
            if evaluation == Evaluation::Means {
                let count: usize = net.output_values().map(|(.., v)| v.data.len()).sum();
                if pass > 0 && count != sums.len() {
                    return Err(Error::shape(
                        "an output of the test net has another size than in the pass before, so that there is no mean",
                    )
                    .help("for a net of DetectionEvaluate set eval_type: \"detection\"; end other blobs in a Silence layer"));
                }
                let values = net.output_values().flat_map(|(_, _, view)| view.data);
                if pass == 0 {
                    sums.extend(values.map(|&v| f64::from(v)));
                } else {
                    for (sum, &v) in sums.iter_mut().zip(values) {
                        *sum += f64::from(v);
                    }
                }
            } else {
                tallies.resize(net.outputs().len(), Tally::default());
                for (tally, (blob, _, view)) in tallies.iter_mut().zip(net.output_values()) {
                    precision::add(tally, blob, view)?;
                }
            }
            self.show_test((index, pass), observer, |watcher, look, observer| {
                watcher.test_pass(look, observer)
            })?;
            observer.on(&Event::TestStep {
                done: pass + 1,
                of: passes,
            });
        }
        let mean = |sum: f64| (sum / passes.max(1) as f64) as f32;
        if self.param.test_compute_loss() {
            observer.on(&Event::TestLoss { loss: mean(loss) });
        }
        let outputs = self.test_nets[index].output_values();
        let mut found: Vec<Precision> = Vec::new();
        let values: Vec<(&str, f32, f32)> = match evaluation {
            Evaluation::Means => outputs
                .flat_map(|(blob, weight, view)| view.data.iter().map(move |_| (blob, weight)))
                .zip(&sums)
                .map(|((blob, weight), &sum)| (blob, weight, mean(sum)))
                .collect(),
            Evaluation::Precision(version) => {
                let each = self.param.show_per_class_result();
                for ((blob, ..), tally) in outputs.zip(&tallies) {
                    found.push(precision::found(blob, tally, version, each, observer));
                }
                found.iter().map(|f| (&*f.blob, 0.0, f.mean)).collect()
            }
        };
        let mut means = Vec::with_capacity(values.len());
        let mut measured = Vec::with_capacity(values.len());
        for (i, (blob, loss_weight, value)) in values.into_iter().enumerate() {
            observer.on(&Event::TestOutput {
                net: index,
                index: i,
                blob,
                value,
                loss_weight,
            });
            means.push((blob.to_owned(), value));
            measured.push(loss_weight);
        }
        for found in &found {
            observer.on(&Event::Precision {
                iteration: self.iteration,
                net: index,
                blob: &found.blob,
                mean: found.mean.into(),
                classes: &found.figures(),
            });
        }
        self.show_test((index, passes), observer, |watcher, look, observer| {
            watcher.test_done(look, observer)
        })?;
        if index == 0 {
            let outputs: Vec<Measured<'_>> = means
                .iter()
                .zip(measured)
                .map(|((blob, value), loss_weight)| Measured {
                    blob,
                    value: *value,
                    loss_weight,
                })
                .collect();
            self.judge(&outputs, observer)?;
        }
        Ok(Some(means))
    }
}
