//! What a log tells of a training: Caffe's lines of any age, and the lines of a run's record (`run.jsonl`).
//!
//! Lines that tell nothing of iterations are passed over, whatever they hold, so that logs that were cut, or mixed with
//! what other programs say, can still be read. Memory is bounded by a number of records.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use crate::error::{Error, Result};

mod line;
pub mod table;

use line::{Line, Output, Stamp, Under, parse};

/// Records that are kept at most; what comes later is counted, not kept.
const MOST: usize = 1 << 22;
/// Bytes of a line that are looked at.
const LONGEST: usize = 1 << 16;
/// Names of outputs at most, and values of one record.
const OUTPUTS: usize = 4096;

/// A training as its log tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Names of outputs, in the order in which they first come.
    pub names: Vec<String>,
    /// Which of them count in the loss, as far as the log says.
    pub weighted: Vec<bool>,
    /// When solving began, in seconds since the first line that has a time.
    pub solving: Option<f64>,
    /// Displayed iterations, in the order of the file.
    pub train: Vec<Train>,
    /// Tests, in the order of the file.
    pub tests: Vec<Test>,
    /// Records that were not kept because there were too many, and lines that were too long.
    pub skipped: u64,
}

/// A displayed iteration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Train {
    /// Its number.
    pub iteration: u64,
    /// When its first output was told, or its loss where it has none: seconds since the first line that has a time.
    pub seconds: Option<f64>,
    /// The smoothed loss.
    pub loss: Option<f64>,
    /// The rate.
    pub rate: Option<f64>,
    /// The rate that the log told last when the first output came: Caffe tells an iteration's own rate after them.
    pub last_rate: Option<f64>,
    /// Values of output blobs: position in [`Log::names`], value.
    pub outputs: Vec<(u32, f64)>,
}

/// A test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Test {
    /// The iteration.
    pub iteration: u64,
    /// Index of the test net.
    pub net: u32,
    /// When its first output was told, or its beginning where it has none: seconds since the first line that has a time.
    pub seconds: Option<f64>,
    /// The total loss, where it was asked for.
    pub loss: Option<f64>,
    /// The rate that the log told last before it.
    pub last_rate: Option<f64>,
    /// Values of output blobs: position in [`Log::names`], value.
    pub outputs: Vec<(u32, f64)>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// `Io` where the file cannot be read, `Data` where it tells of no iteration.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
        let log = Self::read(BufReader::new(file)).map_err(|e| Error::io("read", path, &e))?;
        if log.train.is_empty() && log.tests.is_empty() {
            return Err(Error::data(format!(
                "'{}' tells of no iteration and no test",
                path.display()
            ))
            .help("give what a training wrote to standard error, or its run.jsonl"));
        }
        Ok(log)
    }

    /// [`Log::open`] from any reader; a log without iterations is an empty one.
    ///
    /// # Errors
    /// Of the reader.
    pub fn read(mut reader: impl BufRead) -> io::Result<Self> {
        let mut builder = Builder::default();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let mut part = reader.by_ref().take(LONGEST as u64);
            if part.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(builder.log);
            }
            if bytes.len() == LONGEST && !bytes.ends_with(b"\n") {
                skip_line(&mut reader)?;
                builder.log.skipped += 1;
            }
            builder.add(&String::from_utf8_lossy(&bytes));
        }
    }

    /// The name of an output.
    pub fn name(&self, index: u32) -> &str {
        self.names.get(index as usize).map_or("", String::as_str)
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        if let Some(end) = buffer.iter().position(|&b| b == b'\n') {
            reader.consume(end + 1);
            return Ok(());
        }
        let all = buffer.len();
        reader.consume(all);
    }
}

#[derive(Default)]
struct Builder {
    log: Log,
    index: HashMap<String, u32>,
    under: Under,
    first: Option<Stamp>,
    /// Years that have gone by since, and the last stamp: logs of glog have no year.
    years: f64,
    last: Option<Stamp>,
    /// The rate that was told last.
    rate: Option<f64>,
}

impl Builder {
    fn add(&mut self, text: &str) {
        let text = text.trim_end();
        if text.trim_start().starts_with('{') {
            self.record(text);
            return;
        }
        let (stamp, line) = parse(text);
        let seconds = stamp.and_then(|stamp| self.elapsed(stamp));
        match line {
            None => {}
            Some(Line::Iteration { iteration, loss }) => {
                if let Some(train) = self.train(iteration, seconds) {
                    train.loss = Some(loss);
                }
            }
            Some(Line::Solving) => {
                self.log.solving = self.log.solving.or(seconds);
            }
            Some(Line::Rate { iteration, rate }) => {
                self.rate = Some(rate);
                if let Some(train) = self.train(iteration, seconds) {
                    train.rate = Some(rate);
                }
            }
            Some(Line::Testing { iteration, net }) => self.test(iteration, net, seconds),
            Some(Line::TestLoss(loss)) => {
                if let (Under::Test, Some(test)) = (self.under, self.log.tests.last_mut()) {
                    test.loss = Some(loss);
                }
            }
            Some(Line::Output { under, output }) => self.output(under, output, seconds),
        }
    }

    fn full(&mut self) -> bool {
        let full = self.log.train.len() + self.log.tests.len() >= MOST;
        self.log.skipped += u64::from(full);
        full
    }

    /// The record of an iteration: the last one, if it is of this iteration, else a new one.
    fn train(&mut self, iteration: u64, seconds: Option<f64>) -> Option<&mut Train> {
        let last = self.log.train.last().map(|t| t.iteration);
        if last != Some(iteration) {
            if self.full() {
                self.under = Under::Nothing;
                return None;
            }
            self.log.train.push(Train {
                iteration,
                seconds,
                last_rate: self.rate,
                ..Train::default()
            });
        }
        self.under = Under::Train;
        self.log.train.last_mut()
    }

    fn test(&mut self, iteration: u64, net: u32, seconds: Option<f64>) {
        if self.full() {
            self.under = Under::Nothing;
            return;
        }
        self.under = Under::Test;
        self.log.tests.push(Test {
            iteration,
            net,
            seconds,
            last_rate: self.rate,
            ..Test::default()
        });
    }

    fn output(&mut self, under: Under, output: Output<'_>, told: Option<f64>) {
        if self.under != under {
            return;
        }
        let Some(name) = self.intern(output.blob) else {
            return;
        };
        if let Some(weighted) = self.log.weighted.get_mut(name as usize) {
            *weighted |= output.weighted;
        }
        let record = match under {
            Under::Train => self
                .log
                .train
                .last_mut()
                .map(|t| (&mut t.outputs, &mut t.seconds)),
            Under::Test => self
                .log
                .tests
                .last_mut()
                .map(|t| (&mut t.outputs, &mut t.seconds)),
            Under::Nothing => None,
        };
        if let Some((outputs, seconds)) = record.filter(|(o, _)| o.len() < OUTPUTS) {
            if outputs.is_empty() {
                *seconds = told.or(*seconds);
            }
            outputs.push((name, output.value));
        }
    }

    fn intern(&mut self, name: &str) -> Option<u32> {
        if let Some(&index) = self.index.get(name) {
            return Some(index);
        }
        let index = u32::try_from(self.log.names.len()).ok()?;
        if index as usize >= OUTPUTS {
            return None;
        }
        self.log.names.push(name.to_owned());
        self.log.weighted.push(false);
        self.index.insert(name.to_owned(), index);
        Some(index)
    }

    fn elapsed(&mut self, stamp: Stamp) -> Option<f64> {
        const YEAR: f64 = 365.0 * 86_400.0;
        let first = *self.first.get_or_insert(stamp);
        if self.last.is_some_and(|last| stamp.0 < last.0 - YEAR / 2.0) {
            self.years += YEAR;
        }
        self.last = Some(stamp);
        Some(stamp.0 - first.0 + self.years)
    }

    /// A line of `run.jsonl`.
    fn record(&mut self, text: &str) {
        use serde_json::Value;
        let Ok(record) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let iteration = record["iteration"].as_u64();
        let (Some(kind), Some(iteration)) = (record["kind"].as_str(), iteration) else {
            return;
        };
        let seconds = record["t"].as_f64();
        // What is not finite stands there as null.
        let number = |value: &Value| match value {
            Value::Null => f64::NAN,
            value => value.as_f64().unwrap_or(f64::NAN),
        };
        let under = match kind {
            "train" => {
                let rate = record.get("rate").map(number);
                // It is told with the outputs.
                self.rate = rate.or(self.rate);
                let Some(train) = self.train(iteration, seconds) else {
                    return;
                };
                train.loss = record.get("loss").map(number);
                train.rate = rate;
                Under::Train
            }
            "test" => {
                let net = record["net"].as_u64().unwrap_or(0);
                self.test(iteration, u32::try_from(net).unwrap_or(u32::MAX), seconds);
                Under::Test
            }
            _ => return,
        };
        for output in record["outputs"].as_array().into_iter().flatten() {
            if let Some(blob) = output["blob"].as_str() {
                let output = Output {
                    blob,
                    value: number(&output["value"]),
                    weighted: output["weight"].as_f64().is_some_and(|w| w != 0.0),
                };
                self.output(under, output, seconds);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Log {
        Log::read(text.as_bytes()).unwrap()
    }

    const NEW: &str = "\
I1123 04:16:14.861400 23183 solver.cpp:289] Solving faces
I1123 04:16:14.861480 23183 solver.cpp:347] Iteration 0, Testing net (#0)
I1123 04:16:14.878727 23183 solver.cpp:414]     Test net output #0: accuracy = 0.291667
I1123 04:16:14.878810 23183 solver.cpp:414]     Test net output #1: loss = 1.60507 (* 1 = 1.60507 loss)
I1123 04:16:15.891505 23183 solver.cpp:239] Iteration 0 (-5.23105e-42 iter/s, 0.03s/1 iters), loss = 1.60871
I1123 04:16:15.891607 23183 solver.cpp:258]     Train net output #0: loss = 1.60871 (* 1 = 1.60871 loss)
I1123 04:16:15.891623 23183 sgd_solver.cpp:112] Iteration 0, lr = 0.05
I1123 04:16:16.904548 23183 solver.cpp:239] Iteration 20 (83.3333 iter/s, 0.012s/1 iters), loss = nan
";

    #[test]
    fn lines_of_today() {
        let log = read(NEW);
        assert_eq!(log.names, ["accuracy", "loss"]);
        assert_eq!(log.train.len(), 2);
        let first = &log.train[0];
        assert_eq!(
            (first.iteration, first.loss, first.rate),
            (0, Some(1.60871), Some(0.05))
        );
        assert_eq!(first.outputs, [(1, 1.60871)]);
        // Its first output's, and the rate is told after that.
        assert!((first.seconds.unwrap() - 1.030_207).abs() < 1e-6);
        assert_eq!(
            (first.last_rate, log.train[1].last_rate),
            (None, Some(0.05))
        );
        assert_eq!(
            (log.solving, &log.weighted[..]),
            (Some(0.0), &[false, true][..])
        );
        assert!(log.train[1].loss.unwrap().is_nan());
        assert_eq!(log.tests[0].outputs, [(0, 0.291_667), (1, 1.60507)]);
        assert_eq!(
            (log.tests[0].iteration, log.tests[0].net, log.skipped),
            (0, 0, 0)
        );
    }

    #[test]
    fn lines_of_old_and_of_no_prefix() {
        let log = read(
            "I0405 20:53:49.823763 19823 solver.cpp:87] Iteration 500, Testing net\n\
             I0405 20:53:50.823763 19823 solver.cpp:132] Test score #0: 0.5\n\
             I0405 20:53:51.0 1 solver.cpp:105] Iteration 500, loss = 0.25\n\
             Iteration 520, loss = 0.125\n\
             \x20   Train net output #0: prob = 7\n\
             Iteration 520, lr = 1e-05\n\
             Test loss: 3\n",
        );
        assert_eq!(log.tests[0].outputs, [(0, 0.5)]);
        assert_eq!(log.name(0), "score #0");
        assert_eq!(log.tests[0].loss, None);
        assert_eq!(log.train[1].loss, Some(0.125));
        assert_eq!(log.train[1].rate, Some(1e-5));
        assert_eq!(log.name(log.train[1].outputs[0].0), "prob");
    }

    #[test]
    fn new_year_and_a_resumed_run() {
        let log = read(
            "I1231 23:59:59.000000 1 solver.cpp:239] Iteration 10, loss = 1\n\
             I0101 00:00:01.000000 1 solver.cpp:239] Iteration 20, loss = 2\n\
             I20270101 00:00:03.000000 1 solver.cpp:239] Iteration 10, loss = 3\n",
        );
        let seconds: Vec<f64> = log.train.iter().filter_map(|t| t.seconds).collect();
        assert_eq!(seconds[..2], [0.0, 2.0]);
        assert_eq!(log.train.len(), 3);
    }

    #[test]
    fn records_of_a_run() {
        let log = read(
            "{\"kind\":\"run\",\"version\":1}\n\
             {\"kind\":\"train\",\"t\":1.5,\"iteration\":20,\"loss\":0.63,\"rate\":0.01,\"outputs\":[{\"blob\":\"loss\",\"value\":null,\"weight\":1}]}\n\
             {\"kind\":\"test\",\"t\":5.0,\"iteration\":100,\"net\":1,\"outputs\":[{\"blob\":\"accuracy\",\"value\":0.93}]}\n\
             {broken\n",
        );
        assert_eq!(log.train[0].loss, Some(0.63));
        assert!(log.train[0].outputs[0].1.is_nan());
        assert_eq!(log.weighted, [true, false]);
        assert_eq!(
            (log.train[0].last_rate, log.tests[0].last_rate),
            (Some(0.01), Some(0.01))
        );
        assert_eq!((log.tests[0].net, log.tests[0].seconds), (1, Some(5.0)));
    }

    #[test]
    fn whatever_comes_is_read() {
        let long = format!(
            "{}Iteration 1, loss = 2\nIteration 2, loss = 3\n",
            "x".repeat(1 << 17)
        );
        let log = read(&long);
        assert_eq!((log.train.len(), log.skipped), (1, 1));
        let odd = b"\xff\xfeIteration 3, loss = 1\nIteration 99999999999999999999, loss = 1\nIteration , loss\nTrain net output #0: = \n] Iteration 4, lr = x\n";
        let log = Log::read(&odd[..]).unwrap();
        assert_eq!(log.train.len(), 1);
        assert_eq!(read(""), Log::default());
    }
}
