//! The learning rate of an iteration, by `lr_policy`.
//!
//! With b = base_lr, g = gamma, p = power, s = stepsize, i = iteration, m = max_iter:
//! fixed b; step b·g^⌊i/s⌋; exp b·g^i; inv b·(1 + g·i)^-p; multistep b·g^k with k the steps passed so far;
//! poly b·(1 - i/m)^p; sigmoid b / (1 + exp(-g·(i - s))).

use crate::{
    error::{Error, Result},
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
}

const POLICIES: &[&str] = &[
    "fixed",
    "step",
    "exp",
    "inv",
    "multistep",
    "poly",
    "sigmoid",
];

/// The schedule of a solver, with the one thing it remembers.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    base: f32,
    policy: Policy,
    /// Steps passed, for step and multistep; kept in state files.
    pub(super) current_step: u32,
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
            current_step: 0,
        })
    }

    /// The rate of an iteration, and whether a multistep step was passed. To be asked once an iteration, in order.
    pub(super) fn rate(&mut self, iteration: u64) -> (f32, bool) {
        let base = f64::from(self.base);
        // As Caffe does, powers of whole numbers are taken in double precision and the rest in single.
        let stepped = |gamma: f32, n: u64| (base * f64::from(gamma).powf(n as f64)) as f32;
        let i = iteration as f32;
        match &self.policy {
            Policy::Fixed => (self.base, false),
            &Policy::Step { gamma, size } => {
                let step = iteration / size;
                self.current_step = u32::try_from(step).unwrap_or(u32::MAX);
                (stepped(gamma, step), false)
            }
            &Policy::Exp { gamma } => (stepped(gamma, iteration), false),
            &Policy::Inv { gamma, power } => (self.base * (1.0 + gamma * i).powf(-power), false),
            Policy::Multistep { gamma, steps } => {
                let passed = steps
                    .get(self.current_step as usize)
                    .is_some_and(|&at| iteration >= at);
                self.current_step += u32::from(passed);
                (stepped(*gamma, self.current_step.into()), passed)
            }
            &Policy::Poly { power, max_iter } => {
                (self.base * (1.0 - i / max_iter as f32).powf(power), false)
            }
            &Policy::Sigmoid { gamma, size } => (
                self.base * (1.0 / (1.0 + (-gamma * (i - size as f32)).exp())),
                false,
            ),
        }
    }
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
            ..Default::default()
        }
    }

    #[test]
    fn every_policy_is_its_formula() {
        type Formula = fn(i32) -> f64;
        let formulas: [(&str, Formula); 7] = [
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
        ];
        assert_eq!(formulas.map(|(name, _)| name), POLICIES);
        for (name, formula) in formulas {
            let mut schedule = Schedule::new(&solver(name)).unwrap();
            for i in 0..40 {
                let (rate, wanted) = (f64::from(schedule.rate(i as u64).0), formula(i));
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
        let told: Vec<u64> = (0..30).filter(|&i| schedule.rate(i).1).collect();
        assert_eq!(told, [3, 4, 20]);
        assert_eq!(schedule.current_step, 3);
    }

    #[test]
    fn what_a_policy_needs_is_asked_for() {
        type Forget = fn(&mut SolverParameter);
        let cases: [(&str, &str, Forget); 7] = [
            ("step", "gamma", |s| s.gamma = None),
            ("step", "stepsize", |s| s.stepsize = Some(0)),
            ("sigmoid", "stepsize", |s| s.stepsize = None),
            ("exp", "gamma", |s| s.gamma = Some(-1.0)),
            ("inv", "power", |s| s.power = None),
            ("poly", "power", |s| s.power = None),
            ("multistep", "gamma", |s| s.gamma = Some(f32::NAN)),
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
}
