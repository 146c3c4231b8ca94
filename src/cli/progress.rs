//! What a person at a terminal sees: bars with loss, rate and time left, and above them the few lines worth keeping.

use std::{
    env,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures;
use crate::events::{Event, Observer};
use crate::number::g;

/// Shows events on a terminal.
pub(crate) struct Progress {
    bars: MultiProgress,
    train: Option<ProgressBar>,
    test: Option<ProgressBar>,
    /// A line that is being collected: the outputs of a test.
    line: String,
    layers: usize,
    started: Instant,
    steps: u64,
}

impl Progress {
    pub(crate) fn stderr() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)),
            train: None,
            test: None,
            line: String::new(),
            layers: 0,
            started: Instant::now(),
            steps: 0,
        }
    }

    /// Runs `f` while no bar is on the screen.
    pub(crate) fn suspend<R>(&self, f: impl FnOnce() -> R) -> R {
        self.bars.suspend(f)
    }

    /// A line above the bars, for good.
    pub(crate) fn say(&self, text: &str) {
        // Where standard error cannot be written, there is nobody to tell.
        self.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// A bar of `of` steps named `what`.
    pub(crate) fn bar(&self, what: &str, of: u64) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(of));
        bar.set_style(style());
        bar.set_prefix(what.to_owned());
        bar
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.say(&line);
        }
        if let Some(bar) = self.test.take() {
            bar.finish_and_clear();
        }
    }

    fn finish(&mut self) {
        self.flush();
        if let Some(bar) = self.train.take() {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let plain = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let bar = if plain {
        "{bar:28}"
    } else {
        "{bar:28.cyan/dim}"
    };
    let template = format!("{{prefix:>8}} {bar} {{pos}}/{{len}} {{msg}} {{per_sec}} {{eta}} left");
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .with_key(
            "per_sec",
            |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}/s", short(state.per_sec()));
            },
        )
}

/// A number with about three digits.
fn short(x: f64) -> String {
    if x >= 100.0 {
        format!("{x:.0}")
    } else if x >= 10.0 {
        format!("{x:.1}")
    } else {
        format!("{x:.2}")
    }
}

/// A duration in words: "4.2 s", "3 min 20 s", "2 h 5 min".
pub(crate) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=59 => format!("{:.1} s", time.as_secs_f64()),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Bytes in words.
fn bytes(floats: usize) -> String {
    let mib = floats as f64 * 4.0 / f64::from(1 << 20);
    format!("{} MiB", short(mib))
}

impl Observer for Progress {
    fn on(&mut self, event: &Event<'_>) {
        match *event {
            Event::TestOutput { .. } | Event::TestLoss { .. } | Event::TestStep { .. } => {}
            _ => self.flush(),
        }
        match *event {
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            Event::Note(text) => self.say(&format!("note: {text}")),
            Event::NetInit { .. } => self.layers = 0,
            Event::Layer { .. } => self.layers += 1,
            Event::NetReady {
                planned_floats,
                naive_floats,
            } => {
                let mut text = format!(
                    "net of {} layers, buffers {}",
                    self.layers,
                    bytes(planned_floats)
                );
                if naive_floats > planned_floats {
                    text += &format!(" (one each would take {})", bytes(naive_floats));
                }
                self.say(&text);
            }
            Event::TrainNet { file } => {
                let file = if file.is_empty() { "(inline)" } else { file };
                self.say(&format!("train net {file}"));
            }
            Event::TestNet { index, file } => {
                let file = if file.is_empty() { "(inline)" } else { file };
                self.say(&format!("test net #{index} {file}"));
            }
            Event::Weights {
                file,
                copied,
                ignored,
                untouched,
            } => {
                self.say(&format!("weights: {copied} blobs from {}", file.display()));
                if !ignored.is_empty() {
                    self.say(&format!("  not in this net: {}", ignored.join(", ")));
                }
                if !untouched.is_empty() {
                    self.say(&format!(
                        "  not in the file, so as their fillers made them: {}",
                        untouched.join(", ")
                    ));
                }
            }
            Event::Resume { file, iteration } => {
                self.say(&format!(
                    "goes on from iteration {iteration}, {}",
                    file.display()
                ));
            }
            Event::SolverReady { net, max_iter, .. } => {
                self.say(&format!("training '{net}' to iteration {max_iter}"));
            }
            Event::TrainStart => {
                self.started = Instant::now();
                self.steps = 0;
            }
            Event::Step {
                iteration,
                max_iter,
                loss,
                rate,
            } => {
                self.steps += 1;
                if self.train.is_none() {
                    let bar = self.bar("train", max_iter);
                    bar.set_position(iteration);
                    bar.reset_eta();
                    self.train = Some(bar);
                }
                if let Some(bar) = &self.train {
                    bar.set_position(iteration);
                    bar.set_message(format!("loss {} rate {}", g(loss), g(rate)));
                }
            }
            Event::Clipped { .. } | Event::Iteration { .. } | Event::TrainOutput { .. } => {}
            Event::Testing { iteration, net } => {
                self.line = format!("test #{net} at iteration {iteration}:");
            }
            Event::TestStep { done, of } => {
                if self.test.is_none() && of > 1 {
                    self.test = Some(self.bar("test", of));
                }
                if let Some(bar) = &self.test {
                    bar.set_position(done);
                }
            }
            Event::TestLoss { loss } => self.line += &format!("  total loss {}", g(loss)),
            Event::TestOutput { blob, value, .. } => {
                self.line += &format!("  {blob} {}", g(value));
            }
            Event::Metrics { heads, .. } => {
                for head in heads {
                    self.say(&figures::head(head).join("\n"));
                }
            }
            Event::Precision {
                blob,
                mean,
                classes,
                ..
            } => self.say(&figures::precision(blob, mean, classes).join("\n")),
            Event::SnapshotModel { file } | Event::SnapshotState { file } => {
                self.say(&format!("snapshot {}", file.display()));
            }
            Event::FinalLoss { iteration, loss } => {
                self.say(&format!("loss after iteration {iteration}: {}", g(loss)));
            }
            Event::TrainDone { early } => {
                self.finish();
                self.say(&format!(
                    "{} after {} iterations in {}",
                    if early { "stopped" } else { "done" },
                    self.steps,
                    words(self.started.elapsed())
                ));
            }
            Event::Debug { line } => self.say(line),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        assert_eq!(words(Duration::from_millis(4230)), "4.2 s");
        assert_eq!(words(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(words(Duration::from_secs(7_500)), "2 h 5 min");
    }

    #[test]
    fn numbers_stay_short() {
        assert_eq!(short(1234.5), "1234");
        assert_eq!(short(12.345), "12.3");
        assert_eq!(short(0.5), "0.50");
    }

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template("{bar:28.cyan/dim} {prefix:>8}").is_ok());
        style();
    }
}
