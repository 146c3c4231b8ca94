//! One line of a log.

/// Seconds since some midnight before the log began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamp(pub(super) f64);

/// What a line says of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Line<'a> {
    Iteration { iteration: u64, loss: f64 },
    Rate { iteration: u64, rate: f64 },
    Testing { iteration: u64, net: u32 },
    TestLoss(f64),
    Solving,
    Output { under: Under, output: Output<'a> },
}

/// What lines belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Under {
    #[default]
    Nothing,
    Train,
    Test,
}

/// A value of an output blob.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Output<'a> {
    pub(super) blob: &'a str,
    pub(super) value: f64,
    /// Whether it counts in the loss.
    pub(super) weighted: bool,
}

/// The time of glog's prefix, where there is one, and what the line says.
pub(super) fn parse(text: &str) -> (Option<Stamp>, Option<Line<'_>>) {
    let (stamp, message) = match prefix(text) {
        Some((stamp, message)) => (Some(stamp), message),
        None => (None, text),
    };
    (stamp, say(message))
}

/// `I1123 04:16:14.852852 23183 solver.cpp:45] ` or `I20261123 …`.
fn prefix(text: &str) -> Option<(Stamp, &str)> {
    let rest = text.strip_prefix(['I', 'W', 'E', 'F'])?;
    let (head, message) = rest.split_once("] ")?;
    let mut words = head.split_ascii_whitespace();
    let (date, time) = (words.next()?, words.next()?);
    let digits = date.len();
    if !matches!(digits, 4 | 8) || !date.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |text: &str| text.parse::<f64>().ok();
    let (month, day) = (
        number(&date[digits - 4..digits - 2])?,
        number(&date[digits - 2..])?,
    );
    // Days before each month of a year without a leap day: good enough to tell how long a run took.
    const BEFORE: [f64; 12] = [
        0.0, 31.0, 59.0, 90.0, 120.0, 151.0, 181.0, 212.0, 243.0, 273.0, 304.0, 334.0,
    ];
    let month = BEFORE.get((month as usize).checked_sub(1)?)?;
    let mut parts = time.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let seconds = ((month + day) * 24.0 + hour) * 3600.0 + minute * 60.0 + second;
    seconds.is_finite().then_some((Stamp(seconds), message))
}

fn say(message: &str) -> Option<Line<'_>> {
    if let Some(rest) = after(message, "Iteration ") {
        return iteration(rest);
    }
    if message == "Solving" || message.starts_with("Solving ") {
        return Some(Line::Solving);
    }
    for (words, under) in [
        ("Train net output #", Under::Train),
        ("Test net output #", Under::Test),
    ] {
        if let Some(rest) = after(message, words) {
            let output = output(rest)?;
            return Some(Line::Output { under, output });
        }
    }
    if let Some(rest) = after(message, "Test loss: ") {
        return Some(Line::TestLoss(value(rest)?));
    }
    // `Test score #0: 0.9`, as Caffe wrote it before outputs had names.
    let rest = after(message, "Test ")?;
    let (name, number) = rest.strip_prefix("score #").and(rest.split_once(": "))?;
    let output = Output {
        blob: name,
        value: value(number)?,
        weighted: false,
    };
    Some(Line::Output {
        under: Under::Test,
        output,
    })
}

/// What follows some words; other programs may have put something before them.
fn after<'a>(message: &'a str, words: &str) -> Option<&'a str> {
    let at = message.find(words)?;
    message.get(at + words.len()..)
}

/// `100, loss = 0.5`, `100 (12 iter/s, 8s/100 iters), loss = 0.5`, `100, lr = 0.01`, `100, Testing net (#0)`.
fn iteration(rest: &str) -> Option<Line<'_>> {
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let iteration: u64 = rest[..end].parse().ok()?;
    let mut rest = &rest[end..];
    if let Some(speed) = rest.strip_prefix(" (") {
        rest = &speed[speed.find(')')? + 1..];
    }
    let rest = rest.strip_prefix(", ")?;
    if let Some(number) = rest.strip_prefix("loss = ") {
        let loss = value(number)?;
        return Some(Line::Iteration { iteration, loss });
    }
    if let Some(number) = rest.strip_prefix("lr = ") {
        let rate = value(number)?;
        return Some(Line::Rate { iteration, rate });
    }
    let net = rest.strip_prefix("Testing net")?;
    let net = net
        .trim()
        .strip_prefix("(#")
        .and_then(|n| n.split(')').next()?.parse().ok());
    Some(Line::Testing {
        iteration,
        net: net.unwrap_or(0),
    })
}

/// `0: loss = 0.5 (* 1 = 0.5 loss)`.
fn output(rest: &str) -> Option<Output<'_>> {
    let (_, rest) = rest.split_once(": ")?;
    // A name may hold anything, also an equals sign.
    let (text, weighted) = match rest.split_once(" (* ") {
        Some((text, _)) => (text, true),
        None => (rest, false),
    };
    let (blob, number) = text.rsplit_once(" = ")?;
    let blob = blob.trim();
    let value = value(number)?;
    let known = !blob.is_empty() && blob.len() < 1024;
    known.then_some(Output {
        blob,
        value,
        weighted,
    })
}

/// A number as C++ prints it, up to the first space or comma.
fn value(text: &str) -> Option<f64> {
    let word = text
        .trim_start()
        .split(|c: char| c.is_whitespace() || c == ',')
        .next()?;
    match word.trim_start_matches(['-', '+']) {
        word if word.starts_with("nan") => Some(f64::NAN),
        _ => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape() {
        let line = |text| parse(text).1;
        assert_eq!(
            line("Iteration 7, loss = -1e-05"),
            Some(Line::Iteration {
                iteration: 7,
                loss: -1e-5
            })
        );
        assert_eq!(
            line("Iteration 7 (1.5 iter/s, 13s/20 iter), loss = inf"),
            Some(Line::Iteration {
                iteration: 7,
                loss: f64::INFINITY
            })
        );
        assert_eq!(
            line("Iteration 7, Testing net (#2)"),
            Some(Line::Testing {
                iteration: 7,
                net: 2
            })
        );
        assert_eq!(
            line("    Test net output #1: a = b = 0.5 (* 0.3 = 0.15 loss)"),
            Some(Line::Output {
                under: Under::Test,
                output: Output {
                    blob: "a = b",
                    value: 0.5,
                    weighted: true
                }
            })
        );
        assert_eq!(line("Solving LeNet"), Some(Line::Solving));
        assert_eq!(line("Solving"), Some(Line::Solving));
        assert_eq!(line("Test loss: 0.25"), Some(Line::TestLoss(0.25)));
        for nothing in [
            "Iteration",
            "Solver scaffolding done.",
            "Iteration 7",
            "Iteration 7, x",
            "Iteration 7 (, loss = 1",
            "Train net output #0: loss",
            "Test score",
            "Test score #0",
            "",
        ] {
            assert_eq!(line(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn prefixes() {
        let at = |text| prefix(text).map(|(stamp, _)| stamp.0);
        let day = 86_400.0;
        assert_eq!(at("I0101 00:00:01.5 1 a.cpp:1] x"), Some(day + 1.5));
        assert_eq!(
            at("I20260201 01:00:00 1 a.cpp:1] x"),
            Some(32.0 * day + 3600.0)
        );
        for none in [
            "I1301 00:00:00 1 a:1] x",
            "Init] x",
            "I0101 00:00 1 a:1] x",
            "I0101",
        ] {
            assert_eq!(at(none), None, "{none}");
        }
    }
}
