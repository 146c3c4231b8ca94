//! The loop: forward, backward, update, and what is told and saved on the way, in Caffe's order.

use std::time::Instant;

use super::{Action, Look, Outcome, Solver, Watch, due};
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer},
    number::g,
};

/// When the last iteration was displayed.
struct Clock {
    start: Instant,
    iteration: u64,
}

impl Solver {
    /// Trains to `max_iter`. `control` is asked after every iteration and before every pass of a test.
    ///
    /// A snapshot that cannot be written on the way is a warning, and training goes on; the last one is an error.
    ///
    /// # Errors
    /// `Diverged` where the loss is no longer a finite number: iteration, layer and blob; nothing is saved then. Else
    /// of the first layer that fails, or of the last snapshot.
    pub fn solve(
        &mut self,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        observer.on(&Event::TrainStart);
        let left = self.every.max_iter.saturating_sub(self.iteration);
        let stopped = self.iterate(left, control, observer)?;
        // One that was due just now and failed is tried again: this time a failure counts.
        let failed = self.unsaved == Some(self.iteration);
        let saved = due(self.every.snapshot, self.iteration) && !failed;
        if failed || (self.param.snapshot_after_train() && !saved) {
            if self.param.snapshot_prefix().is_empty() {
                observer.on(&Event::Note(
                    "snapshot_prefix is not set: the weights are not saved",
                ));
            } else {
                self.snapshot(observer)?;
            }
        }
        if !stopped {
            self.last_look(control, observer)?;
        }
        observer.on(&Event::TrainDone { early: stopped });
        Ok(Outcome {
            iteration: self.iteration,
            loss: self.smoothed_loss(),
            stopped,
        })
    }

    /// The loss and the tests after the last update.
    fn last_look(
        &mut self,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if due(self.every.display, self.iteration) {
            let loss = self.net.forward(&mut self.params)?;
            self.check_loss(loss)?;
            self.tell_debug(observer);
            self.note_loss(loss);
            observer.on(&Event::FinalLoss {
                iteration: self.iteration,
                loss: self.smoothed_loss(),
            });
        }
        if due(self.every.test, self.iteration) {
            self.test_all(control, observer)?;
        }
        Ok(())
    }

    /// Trains for `n` iterations, or until `control` says stop, and returns the smoothed loss. Saves what the solver
    /// file's `snapshot` asks for, and nothing more at the end.
    ///
    /// # Errors
    /// As [`Solver::solve`].
    pub fn step(
        &mut self,
        n: u64,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<f32> {
        self.iterate(n, control, observer)?;
        Ok(self.smoothed_loss())
    }

    /// `true` where it was stopped.
    fn iterate(
        &mut self,
        n: u64,
        control: &mut dyn FnMut() -> Action,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        // Since the last call others may have run a pass on these parameters.
        self.grads_are_zero = false;
        let end = self.iteration.saturating_add(n);
        let mut clock = Clock {
            start: Instant::now(),
            iteration: self.iteration,
        };
        while self.iteration < end {
            let test_now = due(self.every.test, self.iteration)
                && (self.iteration > 0 || self.param.test_initialization());
            if test_now && self.test_all(control, observer)? {
                return Ok(true);
            }
            if test_now && self.gives_up(observer) {
                return Ok(true);
            }
            let display = due(self.every.display, self.iteration);
            if self.param.debug_info() {
                self.net.set_debug(display);
            }
            let iteration = self.iteration;
            if !self.watchers.is_empty() {
                let timed = self.watchers.iter().any(|w| w.wants_times(iteration));
                self.net.profile(timed);
            }
            let loss = self.forward_backward(observer)?;
            self.note_loss(loss);
            if display {
                self.display(&mut clock, observer);
            }
            self.show(iteration, observer, |watcher, look, observer| {
                watcher.gradients(look, observer)
            })?;
            self.update(display, observer);
            self.show(iteration, observer, |watcher, look, observer| {
                watcher.updated(look, observer)
            })?;

            let wish = control();
            if let Action::Rate(rate) = wish {
                self.schedule.want(rate);
            }
            if due(self.every.snapshot, self.iteration) || wish == Action::Snapshot {
                self.try_snapshot(observer);
            }
            if wish == Action::Stop {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The gradients of `iter_size` passes, added up, and their mean loss.
    fn forward_backward(&mut self, observer: &mut dyn Observer) -> Result<f32> {
        // The last update left zeros, unless there was none or it keeps what it did.
        if !std::mem::take(&mut self.grads_are_zero) {
            self.params.clear_grads();
        }
        let passes = self.updater.iter_size();
        let mut sum = 0.0;
        for _ in 0..passes {
            let loss = self.net.forward(&mut self.params)?;
            self.check_loss(loss)?;
            self.net.backward(&mut self.params)?;
            self.tell_debug(observer);
            sum += loss;
        }
        Ok(sum / passes as f32)
    }

    /// Shows the train net to everybody who looks on.
    fn show(
        &mut self,
        iteration: u64,
        observer: &mut dyn Observer,
        to: impl Fn(&mut dyn Watch, &mut Look<'_>, &mut dyn Observer) -> Result<()>,
    ) -> Result<()> {
        let mut look = Look {
            iteration,
            net: &self.net,
            params: &mut self.params,
            test: None,
            pass: 0,
        };
        for watcher in &mut self.watchers {
            to(watcher.as_mut(), &mut look, observer)?;
        }
        Ok(())
    }

    fn tell_debug(&mut self, observer: &mut dyn Observer) {
        for line in self.net.take_debug() {
            observer.on(&Event::Debug { line: &line });
        }
    }

    fn check_loss(&mut self, loss: f32) -> Result<()> {
        if loss.is_finite() {
            return Ok(());
        }
        let mut message = format!("the loss is {loss} at iteration {}", self.iteration);
        if let Some(found) = self.net.first_non_finite(&mut self.params) {
            message = format!("{message}: {found}");
        }
        let mut help = format!(
            "lower base_lr ({}) or set clip_gradients, and look for labels or values out of range in the data",
            g(self.param.base_lr())
        );
        if let Some(last) = &self.last_snapshot {
            help = format!("{help}; the last snapshot before is '{}'", last.display());
        }
        Err(Error::new(ErrorKind::Diverged, message).help(help))
    }

    fn display(&self, clock: &mut Clock, observer: &mut dyn Observer) {
        observer.on(&Event::Iteration {
            iteration: self.iteration,
            loss: self.smoothed_loss(),
            since: self.iteration - clock.iteration,
            seconds: clock.start.elapsed().as_secs_f64(),
        });
        clock.start = Instant::now();
        clock.iteration = self.iteration;
        let outputs = self
            .net
            .output_values()
            .flat_map(|(blob, weight, view)| view.data.iter().map(move |&v| (blob, weight, v)));
        for (index, (blob, loss_weight, value)) in outputs.enumerate() {
            observer.on(&Event::TrainOutput {
                index,
                blob,
                value,
                loss_weight,
            });
        }
    }

    fn update(&mut self, display: bool, observer: &mut dyn Observer) {
        let loss = self.smoothed_loss();
        let (rate, stepped) = self.schedule.rate(self.iteration, loss);
        if let Some(policy) = stepped {
            observer.on(&Event::Note(&format!(
                "{policy} Status: Iteration {}, step = {}",
                self.iteration, self.schedule.standing.current_step
            )));
        }
        if display {
            observer.on(&Event::Rate {
                iteration: self.iteration,
                rate,
            });
        }
        if let Some((norm, bound)) = self.updater.clip(&mut self.params) {
            observer.on(&Event::Clipped { norm, bound });
        }
        self.updater.apply(&mut self.params, rate, self.iteration);
        self.grads_are_zero = self.updater.clears();
        self.iteration += 1;
        observer.on(&Event::Step {
            iteration: self.iteration,
            max_iter: self.every.max_iter,
            loss: self.smoothed_loss(),
            rate,
        });
    }
}
