//! A log as two tables, one of the training and one of the tests, as Caffe's `parse_log.py` makes them.
//!
//! The rate of a row is the one that the log told last before the row's outputs, so in a log of Caffe's the one of the
//! display before; the first row takes the second's. Where `parse_log.py` loses something, it is kept: a table of a single
//! row, values that are not finite, outputs that come later than in the first row, every value of a blob of several, and
//! the first test of each of several test nets.

use super::Log;
use crate::number::repr;

/// Rows of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns: `NumIters`, `Seconds`, `LearningRate`, then outputs as they first come.
    pub columns: Vec<String>,
    /// The rows, each as long as there are columns.
    pub rows: Vec<Row>,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The iteration.
    pub iteration: u64,
    /// Seconds since solving began; `None` where the log has no times.
    pub seconds: Option<f64>,
    /// The rate; `None` where the log has told none so far.
    pub rate: Option<f64>,
    /// A value for each column but the first three.
    pub outputs: Vec<Option<f64>>,
}

impl Row {
    /// The row as text, numbers as Python prints them.
    pub fn cells(&self) -> Vec<String> {
        let text = |value: Option<f64>| value.map_or_else(String::new, repr);
        let mut cells = vec![
            repr(self.iteration as f64),
            text(self.seconds),
            repr(self.rate.unwrap_or(f64::NAN)),
        ];
        cells.extend(self.outputs.iter().map(|&value| text(value)));
        cells
    }
}

/// The tables of a log: training, tests.
pub fn tables(log: &Log) -> [Table; 2] {
    let (mut train, mut tests) = (Builder::new(log), Builder::new(log));
    for record in &log.train {
        train.add(
            record.iteration,
            record.seconds,
            record.last_rate,
            &record.outputs,
            false,
        );
    }
    for test in &log.tests {
        tests.add(
            test.iteration,
            test.seconds,
            test.last_rate,
            &test.outputs,
            true,
        );
    }
    [train, tests].map(Builder::finish)
}

struct Builder<'a> {
    log: &'a Log,
    table: Table,
}

impl<'a> Builder<'a> {
    fn new(log: &'a Log) -> Self {
        let columns = ["NumIters", "Seconds", "LearningRate"];
        Self {
            log,
            table: Table {
                columns: columns.map(str::to_owned).to_vec(),
                rows: Vec::new(),
            },
        }
    }

    /// A row; where it may be `joined`, values of an iteration whose row has none of them yet go there: test nets with
    /// outputs of different names share a row.
    fn add(
        &mut self,
        iteration: u64,
        seconds: Option<f64>,
        rate: Option<f64>,
        outputs: &[(u32, f64)],
        joined: bool,
    ) {
        if outputs.is_empty() {
            return;
        }
        let values: Vec<(usize, f64)> = crate::report::log_compare::named(self.log, outputs)
            .map(|(name, value)| (self.column(name), value))
            .collect();
        let free = |row: &Row| {
            let taken = |column: usize| row.outputs.get(column).is_some_and(Option::is_some);
            row.iteration == iteration && !values.iter().any(|&(column, _)| taken(column))
        };
        if !(joined && self.table.rows.last().is_some_and(free)) {
            let start = self.log.solving.unwrap_or(0.0);
            self.table.rows.push(Row {
                iteration,
                // The log has microseconds; differences must not show more.
                seconds: seconds.map(|s| ((s - start) * 1e6).round() / 1e6),
                rate,
                outputs: Vec::new(),
            });
        }
        if let Some(row) = self.table.rows.last_mut() {
            for (column, value) in values {
                if row.outputs.len() <= column {
                    row.outputs.resize(column + 1, None);
                }
                row.outputs[column] = Some(value);
            }
        }
    }

    /// The place of an output among the outputs.
    fn column(&mut self, name: String) -> usize {
        let known = self.table.columns.iter().skip(3).position(|c| *c == name);
        known.unwrap_or_else(|| {
            self.table.columns.push(name);
            self.table.columns.len() - 4
        })
    }

    fn finish(mut self) -> Table {
        let rows = &mut self.table.rows;
        if let [first, second, ..] = &mut rows[..] {
            first.rate = second.rate;
        }
        let outputs = self.table.columns.len() - 3;
        for row in rows {
            row.outputs.resize(outputs, None);
        }
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> [Table; 2] {
        tables(&Log::read(text.as_bytes()).unwrap())
    }

    #[test]
    fn rows_are_those_of_the_script() {
        let [train, tests] = read(
            "I0101 00:00:01.250000 1 solver.cpp:1] Solving net\n\
             I0101 00:00:02.000000 1 solver.cpp:1] Iteration 0, Testing net (#0)\n\
             I0101 00:00:03.000001 1 solver.cpp:1]     Test net output #0: accuracy = 0.25\n\
             I0101 00:00:04.000000 1 solver.cpp:1] Iteration 0, loss = 3\n\
             I0101 00:00:04.500000 1 solver.cpp:1]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)\n\
             I0101 00:00:05.000000 1 solver.cpp:1] Iteration 0, lr = 0.1\n\
             I0101 00:00:06.000000 1 solver.cpp:1] Iteration 10, loss = 1\n\
             I0101 00:00:06.000000 1 solver.cpp:1]     Train net output #0: loss = 1e-05 (* 1 = 1e-05 loss)\n\
             I0101 00:00:06.000000 1 solver.cpp:1] Iteration 10, lr = 0.01\n\
             I0101 00:00:07.000000 1 solver.cpp:1] Iteration 20, loss = 1\n\
             I0101 00:00:07.000000 1 solver.cpp:1]     Train net output #0: loss = nan (* 1 = nan loss)\n\
             I0101 00:00:07.000000 1 solver.cpp:1] Iteration 20, lr = 0.001\n\
             I0101 00:00:08.000000 1 solver.cpp:1] Iteration 30, loss = 1\n",
        );
        assert_eq!(
            train.columns,
            ["NumIters", "Seconds", "LearningRate", "loss"]
        );
        let cells: Vec<String> = train.rows.iter().map(|r| r.cells().join(",")).collect();
        assert_eq!(
            cells,
            [
                "0.0,3.25,0.1,2.5",
                "10.0,4.75,0.1,1e-05",
                "20.0,5.75,0.01,nan"
            ]
        );
        assert_eq!(tests.rows[0].cells(), ["0.0", "1.750001", "nan", "0.25"]);
    }

    #[test]
    fn test_nets_share_a_row_or_have_their_own() {
        let test = |net: u32, name: &str| {
            format!("Iteration 0, Testing net (#{net})\n    Test net output #0: {name} = {net}\n")
        };
        let [_, tests] = read(&(test(0, "a") + &test(1, "b")));
        assert_eq!(tests.columns[3..], ["a", "b"]);
        assert_eq!(tests.rows.len(), 1);
        assert_eq!(tests.rows[0].cells(), ["0.0", "", "nan", "0.0", "1.0"]);
        let [_, tests] = read(&(test(0, "a") + &test(1, "a")));
        assert_eq!(tests.rows.len(), 2);
    }

    #[test]
    fn every_value_of_a_blob_and_late_outputs() {
        let [train, tests] = read(
            "Iteration 0, loss = 1\n\
             \x20   Train net output #0: a = 1\n\
             Iteration 1, loss = 1\n\
             \x20   Train net output #0: a = 2\n\
             \x20   Train net output #1: b = 3\n\
             \x20   Train net output #2: b = 4\n",
        );
        assert_eq!(train.columns[3..], ["a", "b[0]", "b[1]"]);
        assert_eq!(train.rows[0].outputs, [Some(1.0), None, None]);
        assert_eq!(train.rows[1].outputs, [Some(2.0), Some(3.0), Some(4.0)]);
        assert!(tests.rows.is_empty());
    }
}
