//! Which input drives a unit most: gradient ascent from noise, with what keeps pictures from turning into noise again.
//!
//! Each step goes along the gradient of the unit's value, divided by its root mean square, on a picture that is moved
//! by a few pixels at random; the picture decays a little, and is blurred now and then (Yosinski et al., 2015).

use rand::RngExt as _;
use rand_distr::{Distribution as _, StandardNormal};

use super::{Probe, Progress, Unit};
use crate::{
    error::Result,
    rng::{self, Rng, Use},
};

/// How pictures are found.
#[derive(Clone, Copy, Debug)]
pub struct MaximizeOptions {
    /// Steps of the ascent.
    pub steps: usize,
    /// Names the noise and the moves.
    pub seed: u64,
    /// Half the range of the input's values: 128 for bytes, and that times the scale of the net.
    pub amplitude: f32,
    /// The length of the first step, as a share of `amplitude`; it falls to a fifth.
    pub step: f32,
    /// The picture is moved by at most so many pixels in each direction.
    pub jitter: usize,
    /// What is taken from every value in a step, as a share of it.
    pub decay: f32,
    /// Blur after so many steps, but not towards the end; 0 for never.
    pub blur_every: usize,
}

impl Default for MaximizeOptions {
    fn default() -> Self {
        Self {
            steps: 128,
            seed: 0,
            amplitude: 128.0,
            step: 0.08,
            jitter: 2,
            decay: 0.01,
            blur_every: 4,
        }
    }
}

/// What drives a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Maximum {
    /// The unit.
    pub unit: Unit,
    /// A sample of the input.
    pub input: Vec<f32>,
    /// The unit's value at the start.
    pub before: f64,
    /// Its value on `input`.
    pub after: f64,
    /// No start was found from which the unit changes: a dead one.
    pub dead: bool,
}

/// How often a start is drawn anew, each time stronger, where the unit does not change.
const STARTS: u32 = 6;

/// An ascent under way.
struct Climb {
    unit: Unit,
    rng: Rng,
    x: Vec<f32>,
    start: Vec<f32>,
    /// Starts drawn.
    starts: u32,
    /// The highest value seen, and where.
    best: Option<(f64, Vec<f32>)>,
}

/// Climbs for each of the units, all of one blob; from `start`, or from noise.
///
/// # Errors
/// `Shape` where a unit is not there; `Graph` where no gradient reaches the input.
pub fn maximize(
    probe: &mut Probe<'_>,
    units: &[Unit],
    start: Option<&[f32]>,
    options: &MaximizeOptions,
    progress: Progress<'_>,
) -> Result<Vec<Maximum>> {
    let size = probe.picture().unwrap_or([probe.size(), 1, 1]);
    let of = units.len() as u64 * options.steps as u64;
    let mut found = Vec::with_capacity(units.len());
    for units in units.chunks(probe.samples().max(1)) {
        let mut climbs: Vec<Climb> = units
            .iter()
            .map(|unit| climb(unit, start, probe.size(), options))
            .collect();
        for step in 0..options.steps {
            ascend(probe, &mut climbs, units, size, step, options)?;
            let done = found.len() * options.steps + (step + 1) * units.len();
            progress(done as u64, of);
        }
        found.extend(finish(probe, climbs)?);
    }
    Ok(found)
}

fn climb(unit: &Unit, start: Option<&[f32]>, size: usize, options: &MaximizeOptions) -> Climb {
    let mut rng = rng::stream(options.seed, Use::Other, 1, unit.channel as u64);
    let x = match start {
        Some(start) => start.to_vec(),
        None => noise(&mut rng, size, 0.05 * options.amplitude),
    };
    Climb {
        unit: unit.clone(),
        rng,
        start: x.clone(),
        x,
        starts: 1,
        best: None,
    }
}

fn noise(rng: &mut Rng, size: usize, deviation: f32) -> Vec<f32> {
    (0..size)
        .map(|_| {
            let draw: f32 = StandardNormal.sample(rng);
            draw * deviation
        })
        .collect()
}

fn ascend(
    probe: &mut Probe<'_>,
    climbs: &mut [Climb],
    units: &[Unit],
    size: [usize; 3],
    step: usize,
    options: &MaximizeOptions,
) -> Result<()> {
    let jitter = options.jitter as i64;
    let moves: Vec<(i64, i64)> = climbs
        .iter_mut()
        .map(|climb| {
            let mut draw = || climb.rng.random_range(-jitter..=jitter);
            // A single unit looks at one place: a picture that moves would blur what it finds there.
            if climb.unit.at.is_some() {
                (0, 0)
            } else {
                (draw(), draw())
            }
        })
        .collect();
    let inputs: Vec<Vec<f32>> = climbs
        .iter()
        .zip(&moves)
        .map(|(climb, &by)| rolled(&climb.x, size, by))
        .collect();
    let (values, gradients) = probe.gradients(&inputs, units)?;
    let share = step as f32 / options.steps.max(1) as f32;
    let length = options.step * options.amplitude * (1.0 - 0.8 * share);
    let blurs = options.blur_every > 0
        && step % options.blur_every == options.blur_every - 1
        && share < 0.75;
    for (((climb, (dy, dx)), value), gradient) in
        climbs.iter_mut().zip(moves).zip(values).zip(gradients)
    {
        let squares: f64 = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        let rms = (squares / gradient.len().max(1) as f64).sqrt() as f32;
        if !rms.is_finite() || rms == 0.0 {
            // Nothing to climb on from here: another start, and a stronger one.
            if climb.best.is_none() && climb.starts < STARTS {
                let deviation = 0.05 * 2f32.powi(climb.starts as i32) * options.amplitude;
                climb.starts += 1;
                climb.x = noise(&mut climb.rng, climb.x.len(), deviation);
                climb.start.clone_from(&climb.x);
            }
            continue;
        }
        if climb.best.as_ref().is_none_or(|(best, _)| value > *best) {
            climb.best = Some((value, rolled(&climb.x, size, (dy, dx))));
        }
        let gradient = rolled(&gradient, size, (-dy, -dx));
        for (x, g) in climb.x.iter_mut().zip(&gradient) {
            *x = (*x + length * g / rms) * (1.0 - options.decay);
            *x = x.clamp(-1.5 * options.amplitude, 1.5 * options.amplitude);
        }
        if blurs {
            blur(&mut climb.x, size);
        }
    }
    Ok(())
}

/// The last picture of each, or the best one where the last is no higher than the start.
fn finish(probe: &mut Probe<'_>, climbs: Vec<Climb>) -> Result<Vec<Maximum>> {
    let mut found = Vec::with_capacity(climbs.len());
    for climb in climbs {
        let mut value = |x: &[f32]| -> Result<f64> {
            let values = probe.values(&[x.to_vec()], &climb.unit)?;
            Ok(values.first().copied().unwrap_or(0.0))
        };
        let (before, mut after) = (value(&climb.start)?, value(&climb.x)?);
        let mut input = climb.x;
        let dead = climb.best.is_none();
        if let Some((best, x)) = climb.best
            && (after <= before || after.is_nan())
        {
            (input, after) = (x, best);
        }
        found.push(Maximum {
            unit: climb.unit,
            input,
            before,
            after,
            dead,
        });
    }
    Ok(found)
}

/// A picture moved down and right; what goes out at one side comes in at the other.
fn rolled(x: &[f32], [_, rows, columns]: [usize; 3], (dy, dx): (i64, i64)) -> Vec<f32> {
    let around = |by: i64, side: usize| by.rem_euclid(side.max(1) as i64) as usize;
    let (dy, dx) = (around(dy, rows), around(dx, columns));
    let mut moved = vec![0.0; x.len()];
    let plane = (rows * columns).max(1);
    for (to, from) in moved.chunks_mut(plane).zip(x.chunks(plane)) {
        for (y, row) in from.chunks(columns.max(1)).enumerate() {
            let row_to = &mut to[(y + dy) % rows * columns..][..columns];
            row_to[dx..].copy_from_slice(&row[..columns - dx]);
            row_to[..dx].copy_from_slice(&row[columns - dx..]);
        }
    }
    moved
}

/// 1 2 1 along rows and along columns; borders repeat.
fn blur(x: &mut [f32], [_, rows, columns]: [usize; 3]) {
    let plane = (rows * columns).max(1);
    for channel in x.chunks_exact_mut(plane) {
        for (count, side, step, next) in [(rows, columns, 1, columns), (columns, rows, columns, 1)]
        {
            for i in 0..count {
                let at = |j: usize| i * next + j * step;
                let mut before = channel[at(0)];
                for j in 0..side {
                    let here = channel[at(j)];
                    let after = channel[at((j + 1).min(side - 1))];
                    channel[at(j)] = 0.25 * before + 0.5 * here + 0.25 * after;
                    before = here;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_goes_around_and_back() {
        let x: Vec<f32> = (0..12u8).map(f32::from).collect();
        let size = [2, 2, 3];
        let moved = rolled(&x, size, (0, 1));
        assert_eq!(moved[..6], [2.0, 0.0, 1.0, 5.0, 3.0, 4.0]);
        assert_eq!(rolled(&x, size, (1, 0))[..3], [3.0, 4.0, 5.0]);
        assert_eq!(rolled(&rolled(&x, size, (1, -5)), size, (-1, 5)), x);
    }

    #[test]
    fn blur_spreads_a_point_and_keeps_its_sum() {
        let mut x = vec![0.0; 25];
        x[12] = 16.0;
        blur(&mut x, [1, 5, 5]);
        assert_eq!(x[12], 4.0);
        assert_eq!((x[11], x[6], x[10]), (2.0, 1.0, 0.0));
        assert_eq!(x.iter().sum::<f32>(), 16.0);
        let mut flat = vec![3.0; 4];
        blur(&mut flat, [1, 4, 1]);
        assert_eq!(flat, [3.0; 4]);
    }
}
