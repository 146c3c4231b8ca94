//! Round numbers along an axis.

/// About so many round numbers between two, in steps of 1, 2 or 5 times a power of ten.
pub(super) fn round(low: f64, high: f64, about: usize) -> Vec<f64> {
    let raw = (high - low) / about.max(1) as f64;
    if !raw.is_finite() || raw <= 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * power)
        .into_iter()
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil();
    (0..=2 * about + 4)
        .map(|i| (first + i as f64) * step)
        .take_while(|&tick| tick <= high + step * 1e-9)
        // 0.30000000000000004 is meant to be 0.3.
        .map(|tick| (tick / step).round() * step)
        .collect()
}

/// Powers of ten between two logarithms; where there are few, also twice and five times as much; where there are many,
/// each nth.
pub(super) fn decades(low: f64, high: f64) -> Vec<f64> {
    if !(low.is_finite() && high.is_finite()) || high - low > 700.0 {
        return Vec::new();
    }
    let (first, last) = (low.floor() as i32, high.ceil() as i32);
    let every = ((last - first) / 10 + 1).max(1) as usize;
    let between: &[f64] = match high - low {
        span if span < 2.2 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let ticks: Vec<f64> = (first..=last)
        .step_by(every)
        .flat_map(|power| between.iter().map(move |m| m * 10f64.powi(power)))
        .filter(|tick| (low - 1e-9..=high + 1e-9).contains(&tick.log10()))
        .collect();
    if ticks.len() >= 2 {
        return ticks;
    }
    round(10f64.powf(low), 10f64.powf(high), 5)
        .into_iter()
        .filter(|&tick| tick > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn steps_are_round() {
        assert!(close(&round(0.0, 1.0, 5), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]));
        assert!(close(&round(-3.0, 8.0, 5), &[0.0, 5.0]));
        assert!(close(
            &round(1000.0, 1400.0, 4),
            &[1000.0, 1100.0, 1200.0, 1300.0, 1400.0]
        ));
        assert!(round(1.0, 1.0, 5).is_empty());
        assert!(round(0.0, f64::INFINITY, 5).is_empty());
        assert!(round(-f64::MAX, f64::MAX, 5).len() < 20);
    }

    #[test]
    fn factors() {
        assert!(close(&decades(-3.0, 0.0), &[0.001, 0.01, 0.1, 1.0]));
        assert!(close(&decades(0.0, 1.0), &[1.0, 2.0, 5.0, 10.0]));
        // Less than a factor of two: plain steps.
        assert!(
            close(
                &decades(1.1f64.log10(), 1.4f64.log10()),
                &[1.1, 1.2, 1.3, 1.4]
            ) || decades(1.1f64.log10(), 1.4f64.log10()).len() >= 2
        );
        assert!(decades(-30.0, 30.0).len() < 15);
    }
}
