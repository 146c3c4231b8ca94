//! The rate range test: a copy of the net is trained while the rate grows from step to step, and the loss tells where it
//! starts to learn, where it learns fastest, and where it diverges.

use super::{Case, FEW, Found, affordable, make, quiet};
use crate::{
    doctor::{
        finding::Finding,
        table::{Table, short},
    },
    error::{ErrorKind, Result},
    events::{Event, Observer, Severity},
    number::general,
    solver::Action,
};

/// Steps of the test, and the fewest that say something.
const STEPS: u64 = 25;
/// The rates, against base_lr.
const FROM: f64 = 1e-2;
const TO: f64 = 1e3;
/// Where a second test begins, if all of that is too high.
const LOWEST: f64 = 1e-6;
/// How much of the smoothed loss is kept from step to step.
const SMOOTH: f64 = 0.6;
/// The loss has diverged once it is so many times what it was at first.
const DIVERGED: f64 = 1.5;
/// The loss has to fall by this share for a rate to be named.
const FALLS: f64 = 0.02;
/// So far below the best rate base_lr is too low.
const LOW: f64 = 100.0;

/// What the test says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Verdict {
    /// Where the loss fell fastest.
    best: Option<f64>,
    /// Where it went up.
    diverges: Option<f64>,
}

/// Runs the test and judges base_lr.
pub(super) fn examine(
    case: &Case<'_>,
    cost: u64,
    found: &mut Found,
    observer: &mut dyn Observer,
) -> Result<()> {
    let base = f64::from(case.param.base_lr());
    let steps = affordable(cost, STEPS, STEPS);
    if steps < FEW || !(base > 0.0 && base.is_finite()) {
        let why = if steps < FEW {
            "the net is too large for it"
        } else {
            "base_lr is not above 0"
        };
        found.looked.push(format!("no rate range test: {why}"));
        return Ok(());
    }
    observer.on(&Event::Note("rate range test"));
    let mut curve = test(case, [base * FROM, base * TO], steps)?;
    let mut verdict = read(&curve);
    // All of the range was too high.
    if let Verdict {
        best: None,
        diverges: Some(high),
    } = verdict
        && high > 10.0 * LOWEST
        && !case.trained()
    {
        curve = test(case, [LOWEST, high], steps)?;
        let below = read(&curve);
        verdict = Verdict {
            best: below.best,
            diverges: below.diverges.or(Some(high)),
        };
    }
    judge(case, base, verdict, found);
    found.tables.push(table(&curve, base, verdict));
    found.looked.push("the rate range test".to_owned());
    found.rates = curve;
    Ok(())
}

/// Trains a copy of the net while the rate grows; each step's rate, and the loss before its update.
fn test(case: &Case<'_>, [from, to]: [f64; 2], steps: u64) -> Result<Vec<(f32, f32)>> {
    let growth = (to / from).powf(1.0 / (steps - 1).max(1) as f64);
    let mut param = quiet(case.param, case.options);
    param.base_lr = Some(from as f32);
    param.lr_policy = Some("exp".to_owned());
    param.gamma = Some(growth as f32);
    param.warmup_iter = None;
    param.rampup_interval = None;
    param.min_lr = None;
    param.max_iter = i32::try_from(steps).ok();
    let mut solver = make(param, case.options)?;
    let mut curve: Vec<(f32, f32)> = Vec::new();
    for _ in 0..steps {
        let mut listen = |event: &Event<'_>| {
            if let Event::Step { loss, rate, .. } = event {
                curve.push((*rate, *loss));
            }
        };
        match solver.step(1, &mut || Action::Continue, &mut listen) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Diverged => {
                let last = curve.last().map_or(from as f32, |(rate, _)| *rate);
                curve.push((last * growth as f32, f32::INFINITY));
                break;
            }
            Err(error) => return Err(error),
        }
        // What comes after says nothing new.
        if let [(_, first), .., (_, last)] = curve[..]
            && last > 4.0 * first.max(1e-6)
            && last > 100.0
        {
            break;
        }
    }
    Ok(curve)
}

/// The loss of a step is that before its update: what a rate did shows in the next.
fn read(curve: &[(f32, f32)]) -> Verdict {
    let Some(&(_, first)) = curve.first() else {
        return Verdict::default();
    };
    let first = f64::from(first);
    let mut verdict = Verdict::default();
    let (mut smooth, mut weight) = (0.0, 0.0);
    let mut before: Option<f64> = None;
    let mut steepest = 0.0;
    let mut lowest = f64::INFINITY;
    for pair in curve.windows(2) {
        let rate = f64::from(pair[0].0);
        let loss = f64::from(pair[1].1);
        if !loss.is_finite() || loss > DIVERGED * first + 1e-6 {
            verdict.diverges = Some(rate);
            break;
        }
        smooth = SMOOTH * smooth + (1.0 - SMOOTH) * loss;
        weight = SMOOTH * weight + (1.0 - SMOOTH);
        let now = smooth / weight;
        let fall = before.unwrap_or(first) - now;
        if fall > steepest {
            steepest = fall;
            verdict.best = Some(rate);
        }
        lowest = now.min(lowest);
        before = Some(now);
    }
    if lowest > first * (1.0 - FALLS) {
        verdict.best = None;
    }
    verdict
}

/// A rate as people write it.
fn round(rate: f64) -> String {
    general(rate, 1)
}

fn judge(case: &Case<'_>, base: f64, verdict: Verdict, found: &mut Found) {
    let told = found.findings.iter().position(|f| f.code == "D041");
    let suggestion = match verdict {
        Verdict {
            best,
            diverges: Some(diverges),
        } => Some(best.unwrap_or(diverges).min(diverges / 4.0)),
        Verdict { best, .. } => best,
    };
    let Some(suggestion) = suggestion else { return };
    if let Some(diverges) = verdict.diverges
        && base >= diverges
    {
        let finding = Finding::new(
            "D041",
            format!(
                "base_lr {} is too high: in the rate test the loss went up at {}",
                general(base, 6),
                short(diverges)
            ),
        )
        .help(format!("set base_lr: {}", round(suggestion)));
        match told {
            Some(at) => found.findings[at] = finding,
            None => found.findings.push(finding),
        }
        // The other finding about it says the same rate.
        for finding in &mut found.findings {
            if finding.code == "D030" {
                finding.help = format!("set base_lr: {}", round(suggestion));
            }
        }
        return;
    }
    if let Some(best) = verdict.best
        && best >= LOW * base
        && told.is_none()
    {
        let severity = if case.trained() {
            Severity::Note
        } else {
            Severity::Warning
        };
        found.findings.push(
            Finding::new(
                "D042",
                format!(
                    "base_lr {} is {:.0} times below {}, where the loss falls fastest in the rate test",
                    general(base, 6),
                    best / base,
                    short(best)
                ),
            )
            .with_severity(severity)
            .help(format!("try base_lr: {}", round(suggestion))),
        );
    }
}

fn table(curve: &[(f32, f32)], base: f64, verdict: Verdict) -> Table {
    // What a rate did to the loss shows one step later.
    let rows = curve.windows(2).step_by(2).map(|pair| {
        let loss = f64::from(pair[1].1);
        let loss = if loss.is_finite() {
            short(loss)
        } else {
            "not finite".to_owned()
        };
        vec![short(f64::from(pair[0].0)), loss]
    });
    let mut notes = Vec::new();
    match verdict.best {
        Some(best) => notes.push(format!(
            "the loss falls fastest at {}; base_lr is {}",
            short(best),
            general(base, 6)
        )),
        None => notes.push(format!(
            "the loss falls at no rate by more than {:.0} %; base_lr is {}",
            FALLS * 100.0,
            general(base, 6)
        )),
    }
    match verdict.diverges {
        Some(rate) => notes.push(format!("it goes up at {}", short(rate))),
        None => notes.push("it did not go up".to_owned()),
    }
    Table {
        title: "Rate range test: a copy of the net, the rate growing from step to step".to_owned(),
        columns: ["rate", "loss after it"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_falls_and_where_it_rises() {
        let losses = [2.0, 2.0, 2.0, 1.9, 1.2, 0.9, 0.9, 3.5, f32::INFINITY];
        let curve: Vec<(f32, f32)> = (0..).map(|i| 10f32.powi(i - 6)).zip(losses).collect();
        let verdict = read(&curve);
        assert_eq!(verdict.best, Some(f64::from(10f32.powi(-3))));
        assert_eq!(verdict.diverges, Some(1.0));
    }

    #[test]
    fn a_loss_that_does_not_move_names_no_rate() {
        let curve: Vec<(f32, f32)> = (0..10).map(|i| (10f32.powi(i - 6), 2.3)).collect();
        assert_eq!(read(&curve), Verdict::default());
        assert_eq!(read(&[]), Verdict::default());
    }

    #[test]
    fn rates_as_people_write_them() {
        assert_eq!(round(0.00734), "0.007");
    }
}
