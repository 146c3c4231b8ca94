//! Numbers as C++ streams print them, because readers of Caffe's logs expect them so.

/// `%g`: six significant digits, no trailing zeros, an exponent where the number is very small or large.
pub fn g(x: impl Into<f64>) -> String {
    general(x.into(), 6)
}

/// `%.<digits>g`: as [`g`], with so many significant digits (at least 1).
pub fn general(x: f64, digits: usize) -> String {
    if x.is_nan() {
        return if x.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if x.is_infinite() {
        return if x < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{x:.*e}", digits.max(1) - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match usize::try_from(exponent + 4) {
        Ok(shifted) if shifted < digits + 4 => {
            let decimals = (digits + 3).saturating_sub(shifted);
            trim(&format!("{x:.decimals$}")).to_owned()
        }
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
        }
    }
}

fn trim(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

/// As Python prints a float: the fewest digits that mean this number, `100.0`, `1e-05`, `nan`.
pub fn repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    if x.is_infinite() || (1e-4..1e16).contains(&x.abs()) || x == 0.0 {
        return format!("{x:?}");
    }
    let scientific = format!("{x:e}");
    match scientific.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = match power.strip_prefix('-') {
                Some(power) => ('-', power),
                None => ('+', power),
            };
            format!("{digits}e{sign}{power:0>2}")
        }
        None => scientific,
    }
}

/// With two digits, for a person: `1200`, `0.064`, `3.2e-09`; without an exponent where that is short.
pub fn rough(x: f64) -> String {
    let size = x.abs();
    if (10.0..1e7).contains(&size) {
        let unit = 10f64.powi(size.log10().floor() as i32 - 1);
        return format!("{}", (x / unit).round() * unit);
    }
    general(x, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_does() {
        for (x, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (-2.5e-100, "-2.5e-100"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr(x), text);
        }
    }

    #[test]
    fn as_printf_does() {
        // The right column is what `printf "%g"` prints.
        for (x, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (83.333_333, "83.3333"),
            (0.012, "0.012"),
            (1.581_770_1, "1.58177"),
            (0.000_1, "0.0001"),
            (0.000_099_999_99, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (123_456.7, "123457"),
            (999_999.5, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (-2.5e-30, "-2.5e-30"),
            (1e100, "1e+100"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(g(x), text);
        }
        assert_eq!(g(0.1f32), "0.1");
    }

    #[test]
    fn rough_numbers_are_short() {
        for (x, text) in [
            (1163.0, "1200"),
            (74.4, "74"),
            (99.7, "100"),
            (4_660_000.0, "4700000"),
            (0.0643, "0.064"),
            (0.0, "0"),
            (-128.4, "-130"),
            (3.21e-9, "3.2e-09"),
        ] {
            assert_eq!(rough(x), text);
        }
    }
}
