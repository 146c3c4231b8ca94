//! The learning rate of an iteration, by `lr_policy`.
//!
//! With b = base_lr, g = gamma, p = power, s = stepsize, i = iteration, m = max_iter:
//! fixed b; step b·g^⌊i/s⌋; exp b·g^i; inv b·(1 + g·i)^-p; multistep b·g^k with k the steps passed so far;
//! poly b·(1 - i/m)^p; sigmoid b / (1 + exp(-g·(i - s))).
//!
//! Of the forks: plateau b·g^k, where k grows once the smoothed loss has not fallen for plateau_winsize\[k\] iterations
//! since its last low or drop; multifixed stagelr\[n\] with n the first stage whose stageiter is not passed, or the last.
//! Before all of them: for warmup_iter iterations w, warmup_start_lr + (b - warmup_start_lr)·i/w; for rampup_interval
//! iterations the same from rampup_lr, with the square of i/w. Nothing falls below min_lr; poly runs down to it.

use crate::{
    error::{Error, Result},
    model_io::solverstate::Standing,
    nearest::nearest,
    schema::SolverParameter,
};

/// How the rate goes over the iterations.
#[derive(Clone, Debug, PartialEq)]
enum Policy {
    Fixed,
    Step { gamma: f32, size: u64 },
    Exp { gamma: f32 },
    Inv { gamma: f32, power: f32 },
    Multistep { gamma: f32, steps: Vec<u64> },
    Poly { power: f32, max_iter: u64 },
    Sigmoid { gamma: f32, size: u64 },
    Plateau { gamma: f32, windows: Vec<u64> },
    Multifixed { stages: Vec<(u64, f32)> },
}

/// How the rate grows at first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct WarmUp {
    iterations: u64,
    start: f32,
    square: bool,
}

const POLICIES: &[&str] = &[
    "fixed",
    "step",
    "exp",
    "inv",
    "multistep",
    "poly",
    "sigmoid",
    "plateau",
    "multifixed",
];

/// The schedule of a solver, with the one thing it remembers.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    base: f32,
    policy: Policy,
    warm_up: Option<WarmUp>,
    least: f32,
    /// What has happened so far; kept in state files.
    pub(super) standing: Standing,
    /// What the policy's rate is multiplied by, once somebody changed it; kept in state files.
    pub(super) factor: Option<f32>,
    /// What the policy said last.
    last: f32,
}

impl Schedule {
    /// From the solver's message.
    ///
    /// # Errors
    /// `Param` with the field, where the policy is unknown or a field that it needs is missing or impossible.
    pub(super) fn new(param: &SolverParameter) -> Result<Self> {
        let name = param.lr_policy();
        let gamma = || {
            let gamma = needed("gamma", param.gamma, name)?;
            if gamma >= 0.0 {
                Ok(gamma)
            } else {
                Err(Error::param(
                    "gamma",
                    format!("is {gamma}, must be 0 or more"),
                ))
            }
        };
        let power = || needed("power", param.power, name);
        let size = || match needed("stepsize", param.stepsize, name)? {
            n if n > 0 => Ok(n.unsigned_abs().into()),
            n => Err(Error::param("stepsize", format!("is {n}, must be above 0"))),
        };
        let policy = match name {
            "fixed" => Policy::Fixed,
            "step" => Policy::Step {
                gamma: gamma()?,
                size: size()?,
            },
            "exp" => Policy::Exp { gamma: gamma()? },
            "inv" => Policy::Inv {
                gamma: gamma()?,
                power: power()?,
            },
            "multistep" => Policy::Multistep {
                gamma: gamma()?,
                steps: param
                    .stepvalue
                    .iter()
                    .map(|&v| u64::try_from(v).unwrap_or(0))
                    .collect(),
            },
            "poly" => Policy::Poly {
                power: power()?,
                max_iter: u64::try_from(param.max_iter()).unwrap_or(0),
            },
            "sigmoid" => Policy::Sigmoid {
                gamma: gamma()?,
                size: size()?,
            },
            "plateau" => Policy::Plateau {
                gamma: gamma()?,
                windows: windows(param)?,
            },
            "multifixed" => Policy::Multifixed {
                stages: stages(param)?,
            },
            "" => {
                return Err(Error::param("lr_policy", "is missing")
                    .help(format!("set one of: {}", POLICIES.join(", "))));
            }
            other => {
                let error = Error::param("lr_policy", format!("unknown policy '{other}'"));
                return Err(match nearest(other, POLICIES.iter().copied()) {
                    Some(near) => error.help(format!("did you mean '{near}'?")),
                    None => error.help(format!("the policies are: {}", POLICIES.join(", "))),
                });
            }
        };
        Ok(Self {
            base: param.base_lr(),
            policy,
            warm_up: warm_up(param)?,
            least: param.min_lr(),
            standing: Standing::default(),
            factor: None,
            last: param.base_lr(),
        })
    }

    /// The rate of an iteration whose smoothed loss is this, and, where a remembered step was taken, the name of the
    /// policy as logs have it. To be asked once an iteration, in order.
    pub(super) fn rate(&mut self, iteration: u64, loss: f32) -> (f32, Option<&'static str>) {
        let (rate, stepped) = self.by_policy(iteration, loss);
        self.last = rate;
        (self.factor.map_or(rate, |factor| rate * factor), stepped)
    }

    /// Changes the rate from the next iteration on; the policy goes on from there.
    pub(super) fn want(&mut self, rate: f32) {
        if rate.is_finite() && rate >= 0.0 && self.last > 0.0 {
            self.factor = Some(rate / self.last);
        }
    }

    fn by_policy(&mut self, iteration: u64, loss: f32) -> (f32, Option<&'static str>) {
        if let Some(warm_up) = self.warm_up.filter(|w| iteration < w.iterations) {
            let part = iteration as f32 / warm_up.iterations as f32;
            let part = if warm_up.square { part * part } else { part };
            return (warm_up.start + (self.base - warm_up.start) * part, None);
        }
        let stepped = self.step(iteration, loss);
        (self.scheduled(iteration).max(self.least), stepped)
    }

    /// Takes the steps that depend on what happened before.
    fn step(&mut self, iteration: u64, loss: f32) -> Option<&'static str> {
        let standing = &mut self.standing;
        let current = standing.current_step as usize;
        match &self.policy {
            &Policy::Step { size, .. } => {
                standing.current_step = u32::try_from(iteration / size).unwrap_or(u32::MAX);
                None
            }
            Policy::Multistep { steps, .. } => {
                let passed = steps.get(current).is_some_and(|&at| iteration >= at);
                standing.current_step += u32::from(passed);
                passed.then_some("MultiStep")
            }
            Policy::Plateau { windows, .. } => {
                if standing.minimum_loss.is_none_or(|least| loss < least) {
                    standing.minimum_loss = Some(loss);
                    standing.last_event = iteration;
                }
                let since = iteration.saturating_sub(standing.last_event);
                let passed = windows.get(current).is_some_and(|&size| since >= size);
                if passed {
                    standing.current_step += 1;
                    standing.last_event = iteration;
                }
                passed.then_some("Plateau")
            }
            _ => None,
        }
    }

    fn scheduled(&self, iteration: u64) -> f32 {
        let base = f64::from(self.base);
        // As Caffe does, powers of whole numbers are taken in double precision and the rest in single.
        let stepped = |gamma: f32, n: u64| (base * f64::from(gamma).powf(n as f64)) as f32;
        let i = iteration as f32;
        match &self.policy {
            Policy::Fixed => self.base,
            Policy::Step { gamma, .. }
            | Policy::Multistep { gamma, .. }
            | Policy::Plateau { gamma, .. } => stepped(*gamma, self.standing.current_step.into()),
            &Policy::Exp { gamma } => stepped(gamma, iteration),
            &Policy::Inv { gamma, power } => self.base * (1.0 + gamma * i).powf(-power),
            &Policy::Poly { power, max_iter } => {
                (self.base - self.least) * (1.0 - i / max_iter as f32).powf(power) + self.least
            }
            &Policy::Sigmoid { gamma, size } => {
                self.base * (1.0 / (1.0 + (-gamma * (i - size as f32)).exp()))
            }
            Policy::Multifixed { stages } => {
                let stage = stages.iter().find(|&&(end, _)| iteration <= end);
                stage.or(stages.last()).map_or(self.base, |&(_, rate)| rate)
            }
        }
    }
}

fn windows(param: &SolverParameter) -> Result<Vec<u64>> {
    if param.plateau_winsize.is_empty() {
        return Err(Error::param("plateau_winsize", "is missing").help(
            "lr_policy 'plateau' needs how many iterations without a lower loss each drop waits for",
        ));
    }
    let window = |&n: &i32| {
        u64::try_from(n)
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| Error::param("plateau_winsize", format!("holds {n}, must be above 0")))
    };
    param.plateau_winsize.iter().map(window).collect()
}

fn stages(param: &SolverParameter) -> Result<Vec<(u64, f32)>> {
    let (rates, ends) = (&param.stagelr, &param.stageiter);
    if rates.is_empty() || rates.len() != ends.len() {
        return Err(Error::param(
            "stagelr",
            format!("has {} rates for {} stageiter", rates.len(), ends.len()),
        )
        .help(
            "lr_policy 'multifixed' needs for each stage a stagelr and the stageiter that ends it",
        ));
    }
    let end = |&n: &i32| {
        u64::try_from(n)
            .map_err(|_| Error::param("stageiter", format!("holds {n}, must not be below 0")))
    };
    ends.iter()
        .zip(rates)
        .map(|(n, &rate)| Ok((end(n)?, rate)))
        .collect()
}

fn warm_up(param: &SolverParameter) -> Result<Option<WarmUp>> {
    let made = |field: &str, n: i32, start: f32, square: bool| {
        let iterations = u64::try_from(n)
            .map_err(|_| Error::param(field, format!("is {n}, must not be below 0")))?;
        Ok((iterations > 0).then_some(WarmUp {
            iterations,
            start,
            square,
        }))
    };
    let (linear, square) = (
        made(
            "warmup_iter",
            param.warmup_iter(),
            param.warmup_start_lr(),
            false,
        )?,
        made(
            "rampup_interval",
            param.rampup_interval(),
            param.rampup_lr(),
            true,
        )?,
    );
    if linear.is_some() && square.is_some() {
        return Err(Error::param(
            "rampup_interval",
            "is given together with warmup_iter",
        )
        .help("give one of the two: warmup_iter grows the rate by a line, rampup_interval by a square"));
    }
    Ok(linear.or(square))
}

fn needed<T>(field: &str, value: Option<T>, policy: &str) -> Result<T> {
    value.ok_or_else(|| {
        Error::param(field, "is missing").help(format!("lr_policy '{policy}' needs {field}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solver(policy: &str) -> SolverParameter {
        SolverParameter {
            base_lr: Some(0.1),
            lr_policy: Some(policy.into()),
            gamma: Some(0.5),
            power: Some(2.0),
            stepsize: Some(10),
            stepvalue: vec![3, 4, 20],
            max_iter: Some(100),
            plateau_winsize: vec![3, 5],
            stagelr: vec![0.3, 0.2],
            stageiter: vec![5, 9],
            ..Default::default()
        }
    }

    #[test]
    fn a_rate_that_somebody_sets_goes_on_by_the_policy() {
        let mut schedule = Schedule::new(&solver("multistep")).unwrap();
        assert_eq!(schedule.rate(0, 0.0).0, 0.1);
        schedule.want(0.025);
        schedule.want(f32::NAN);
        schedule.want(-1.0);
        assert!((schedule.rate(1, 0.0).0 - 0.025).abs() < 1e-9);
        assert!((schedule.rate(3, 0.0).0 - 0.0125).abs() < 1e-9);
    }

    #[test]
    fn every_policy_is_its_formula() {
        type Formula = fn(i32) -> f64;
        let formulas: [(&str, Formula); 9] = [
            ("fixed", |_| 0.1),
            ("step", |i| 0.1 * 0.5f64.powi(i / 10)),
            ("exp", |i| 0.1 * 0.5f64.powi(i)),
            ("inv", |i| 0.1 * (1.0 + 0.5 * f64::from(i)).powi(-2)),
            ("multistep", |i| {
                0.1 * 0.5f64.powi([3, 4, 20].iter().filter(|&&s| i >= s).count() as i32)
            }),
            ("poly", |i| 0.1 * (1.0 - f64::from(i) / 100.0).powi(2)),
            ("sigmoid", |i| {
                0.1 / (1.0 + (-0.5 * (f64::from(i) - 10.0)).exp())
            }),
            // The loss never falls after the first iteration: drops after 3 iterations and after 5 more.
            ("plateau", |i| {
                0.1 * 0.5f64.powi([3, 8].iter().filter(|&&at| i >= at).count() as i32)
            }),
            ("multifixed", |i| if i <= 5 { 0.3 } else { 0.2 }),
        ];
        assert_eq!(formulas.map(|(name, _)| name), POLICIES);
        for (name, formula) in formulas {
            let mut schedule = Schedule::new(&solver(name)).unwrap();
            for i in 0..40 {
                let (rate, wanted) = (f64::from(schedule.rate(i as u64, 1.0).0), formula(i));
                assert!(
                    (rate - wanted).abs() <= 1e-6 * wanted,
                    "{name} at {i}: {rate}, not {wanted}"
                );
            }
        }
    }

    #[test]
    fn multistep_tells_its_steps() {
        let mut schedule = Schedule::new(&solver("multistep")).unwrap();
        let told: Vec<u64> = (0..30)
            .filter(|&i| schedule.rate(i, 1.0).1 == Some("MultiStep"))
            .collect();
        assert_eq!(told, [3, 4, 20]);
        assert_eq!(schedule.standing.current_step, 3);
    }

    #[test]
    fn what_a_policy_needs_is_asked_for() {
        type Forget = fn(&mut SolverParameter);
        let cases: [(&str, &str, Forget); 12] = [
            ("step", "gamma", |s| s.gamma = None),
            ("step", "stepsize", |s| s.stepsize = Some(0)),
            ("sigmoid", "stepsize", |s| s.stepsize = None),
            ("exp", "gamma", |s| s.gamma = Some(-1.0)),
            ("inv", "power", |s| s.power = None),
            ("poly", "power", |s| s.power = None),
            ("multistep", "gamma", |s| s.gamma = Some(f32::NAN)),
            ("plateau", "plateau_winsize", |s| s.plateau_winsize.clear()),
            ("plateau", "plateau_winsize", |s| s.plateau_winsize[1] = 0),
            ("multifixed", "stagelr", |s| s.stagelr.clear()),
            ("multifixed", "stageiter", |s| s.stageiter[0] = -1),
            ("fixed", "rampup_interval", |s| {
                (s.rampup_interval, s.warmup_iter) = (Some(1), Some(1));
            }),
        ];
        for (policy, field, forget) in cases {
            let mut solver = solver(policy);
            forget(&mut solver);
            let error = Schedule::new(&solver).unwrap_err();
            assert_eq!(error.field(), Some(field), "{error}");
        }
        let error = Schedule::new(&solver("multstep")).unwrap_err();
        assert!(error.to_string().contains("'multistep'"), "{error}");
        assert!(Schedule::new(&solver("")).is_err());
    }

    #[test]
    fn a_lower_loss_puts_the_plateau_off() {
        let mut schedule = Schedule::new(&solver("plateau")).unwrap();
        // Falls until iteration 4, so the drops are at 4 + 3 and 7 + 5.
        let dropped: Vec<u64> = (0..30)
            .filter(|&i| schedule.rate(i, 1.0 / (1 + i.min(4)) as f32).1 == Some("Plateau"))
            .collect();
        assert_eq!(dropped, [7, 12]);
        assert_eq!(schedule.standing.minimum_loss, Some(0.2));
    }

    #[test]
    fn rates_warm_up_and_have_a_floor() {
        let rates = |change: fn(&mut SolverParameter)| -> Vec<f32> {
            let mut solver = solver("exp");
            change(&mut solver);
            let mut schedule = Schedule::new(&solver).unwrap();
            (0..6).map(|i| schedule.rate(i, 1.0).0).collect()
        };
        let warm = rates(|s| (s.warmup_iter, s.warmup_start_lr) = (Some(4), Some(0.02)));
        let ramp = rates(|s| s.rampup_interval = Some(4));
        let floor = rates(|s| s.min_lr = Some(0.02));
        for (got, wanted) in [
            (warm, [0.02, 0.04, 0.06, 0.08, 0.00625, 0.003125]),
            (ramp, [0.0, 0.00625, 0.025, 0.05625, 0.00625, 0.003125]),
            (floor, [0.1, 0.05, 0.025, 0.02, 0.02, 0.02]),
        ] {
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted).abs() < 1e-7, "{got}, not {wanted}");
            }
        }
    }
}
