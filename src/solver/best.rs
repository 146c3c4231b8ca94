//! The best weights so far, by an output of the first test net, and when to give up waiting for better ones.

use super::Solver;
use crate::{
    error::{Error, Result},
    events::{Event, Observer},
    number::g,
    schema::{Resume, SolverParameter},
};

/// What a run keeps and when it stops, judged after each test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BestOptions {
    /// Save weights and state as `<snapshot_prefix>_best` whenever a test is better than all before.
    pub keep: bool,
    /// Stop after so many tests in a row that were not better; 0: never.
    pub patience: u64,
    /// The output of the first test net that counts, by the mean of its elements; without a name the first one that is
    /// no loss, else the first.
    pub metric: Option<String>,
}

impl BestOptions {
    pub(super) fn wanted(&self) -> bool {
        self.keep || self.patience > 0
    }
}

/// The best test so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    value: f32,
    iteration: u64,
    /// Tests since then.
    since: u64,
}

/// One element of a test's outputs: the blob's name, the mean over the passes, the blob's weight in the loss.
pub(super) struct Measured<'a> {
    pub(super) blob: &'a str,
    pub(super) value: f32,
    pub(super) loss_weight: f32,
}

impl Best {
    pub(super) fn of(resume: &Resume) -> Option<Self> {
        Some(Self {
            value: resume.best_value?,
            iteration: resume.best_iteration(),
            since: resume.tests_since_best(),
        })
    }

    pub(super) fn tell(self, resume: &mut Resume) {
        resume.best_value = Some(self.value);
        resume.best_iteration = Some(self.iteration);
        resume.tests_since_best = Some(self.since);
    }
}

/// Refuses early what no test would ever answer.
pub(super) fn check(param: &SolverParameter, options: &BestOptions) -> Result<()> {
    if !options.wanted() {
        return Ok(());
    }
    if param.test_interval() <= 0 || param.test_iter.is_empty() {
        return Err(Error::param("test_interval", "is missing: nothing is ever tested").help(
            "the best weights and the patience are judged by tests; set test_interval and test_iter",
        ));
    }
    if options.keep && param.snapshot_prefix().is_empty() {
        return Err(Error::param("snapshot_prefix", "is missing")
            .help("the best weights are saved as <snapshot_prefix>_best.caffemodel"));
    }
    Ok(())
}

/// The output that counts, as one element. A loss is better when it is lower, everything else when it is higher.
fn choose<'a>(outputs: &[Measured<'a>], metric: Option<&str>) -> Result<Measured<'a>> {
    let found = match metric {
        Some(name) => outputs.iter().find(|o| o.blob == name),
        None => {
            let measure = outputs.iter().find(|o| o.loss_weight == 0.0);
            measure.or(outputs.first())
        }
    };
    if let Some(&Measured {
        blob, loss_weight, ..
    }) = found
    {
        let elements = outputs.iter().filter(|o| o.blob == blob).map(|o| o.value);
        let value = elements.clone().sum::<f32>() / elements.count() as f32;
        return Ok(Measured {
            blob,
            value,
            loss_weight,
        });
    }
    Err({
        let mut names: Vec<&str> = outputs.iter().map(|o| o.blob).collect();
        names.dedup();
        match metric {
            Some(name) => Error::param("metric", format!("the test net has no output '{name}'"))
                .help(format!("its outputs are: {}", names.join(", "))),
            None => Error::param("test_iter", "the test net has no output to judge by")
                .help("let an Accuracy or a loss layer end the test net"),
        }
    })
}

impl Solver {
    /// Judges a test of the first net; saves what is best so far.
    ///
    /// # Errors
    /// `Param` where the named output is not there. A snapshot that fails is a warning.
    pub(super) fn judge(
        &mut self,
        outputs: &[Measured<'_>],
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let options = &self.options.best;
        if !options.wanted() {
            return Ok(());
        }
        let chosen = choose(outputs, options.metric.as_deref())?;
        let (blob, value) = (chosen.blob, chosen.value);
        let better = |before: f32| match chosen.loss_weight == 0.0 {
            true => value > before,
            false => value < before,
        };
        let keep = options.keep;
        match &mut self.best {
            // Going on from the best state, its test is made once more.
            Some(best) if best.iteration == self.iteration => {}
            Some(best) if !better(best.value) => best.since += 1,
            best if value.is_finite() => {
                *best = Some(Best {
                    value,
                    iteration: self.iteration,
                    since: 0,
                });
                observer.on(&Event::Note(&format!(
                    "best {blob} so far: {} at iteration {}",
                    g(value),
                    self.iteration
                )));
                if keep && let Err(error) = self.snapshot_as("best", observer) {
                    observer.on(&Event::Warning(&format!(
                        "the best weights so far, of iteration {}, could not be saved, training goes on: {error}",
                        self.iteration
                    )));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the best test lies further back than the patience reaches; tells so.
    pub(super) fn gives_up(&self, observer: &mut dyn Observer) -> bool {
        let patience = self.options.best.patience;
        match self.best {
            Some(best) if patience > 0 && best.since >= patience => {
                observer.on(&Event::Note(&format!(
                    "no better test for {} tests: the best was {} at iteration {}; stopping",
                    best.since,
                    g(best.value),
                    best.iteration
                )));
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> Vec<Measured<'static>> {
        let row = |blob, value, loss_weight| Measured {
            blob,
            value,
            loss_weight,
        };
        vec![
            row("loss", 0.5, 1.0),
            row("accuracy", 0.9, 0.0),
            row("accuracy", 0.7, 0.0),
        ]
    }

    #[test]
    fn a_measure_goes_before_a_loss_and_a_name_before_both() {
        let all = outputs();
        let name = |metric| choose(&all, metric).unwrap().blob;
        assert_eq!(name(None), "accuracy");
        assert!((choose(&all, None).unwrap().value - 0.8).abs() < 1e-6);
        assert_eq!(name(Some("loss")), "loss");
        assert_eq!(choose(&all[..1], None).unwrap().blob, "loss");
        let error = choose(&all, Some("acc")).err().unwrap();
        assert!(error.help_text().unwrap().contains("loss, accuracy"));
        assert!(choose(&[], None).is_err());
    }
}
