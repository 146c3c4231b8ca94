//! Numbers as protobuf's text format spells them, both ways.

use crate::number;

/// The value of a whole number: decimal, octal with a leading `0`, hexadecimal with `0x`. `None` where it is none.
pub(super) fn integer(token: &str) -> Option<i128> {
    let (negative, digits) = match token.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, token),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (digits.get(2..)?, 16),
        [b'0', _, ..] => (digits.get(1..)?, 8),
        _ => (digits, 10),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// The value of a number with or without a point: `1`, `.5`, `1e-3f`, `-inf`, `nan`. `None` where it is none; octal and
/// hexadecimal numbers are none here, as in protobuf.
pub(super) fn float(token: &str) -> Option<f64> {
    let (sign, rest) = match token.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, token),
    };
    if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return match rest.to_ascii_lowercase().as_str() {
            "inf" | "infinity" => Some(sign * f64::INFINITY),
            "nan" => Some(f64::NAN),
            _ => None,
        };
    }
    let digits = rest.strip_suffix(['f', 'F']).unwrap_or(rest);
    let octal =
        digits.len() > 1 && digits.starts_with('0') && digits.chars().all(|c| c.is_ascii_digit());
    if octal || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    digits.parse::<f64>().ok().map(|value| sign * value)
}

/// To the nearest `f32`, as protobuf does it: by way of `f64`.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "rounding is what it is for"
)]
pub(super) fn narrow(value: f64) -> f32 {
    value as f32
}

/// As protobuf prints a float: six digits if they are enough to read the same value back, else nine.
pub(super) fn print_f32(value: f32) -> String {
    let short = general(value.into(), 6);
    match short.parse::<f64>().map(narrow) {
        Ok(back) if back != value => general(value.into(), 9),
        _ => short,
    }
}

/// As protobuf prints a double: fifteen digits if they are enough to read the same value back, else seventeen.
pub(super) fn print_f64(value: f64) -> String {
    let short = general(value, 15);
    match short.parse::<f64>() {
        Ok(back) if back != value => general(value, 17),
        _ => short,
    }
}

/// Text format has one nan.
fn general(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    number::general(value, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        let read = |token| integer(token);
        assert_eq!(read("42"), Some(42));
        assert_eq!(read("-0x1F"), Some(-31));
        assert_eq!(read("017"), Some(15));
        assert_eq!(read("0"), Some(0));
        for none in [
            "", "-", "08", "0x", "1.0", "1e3", "1_000", "10abc", "--1", "+1", "0x-1",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn floats() {
        assert_eq!(float("1e-3f"), Some(1e-3));
        assert_eq!(float("-.5"), Some(-0.5));
        assert_eq!(float("1."), Some(1.0));
        assert_eq!(float("0"), Some(0.0));
        assert_eq!(float("-Infinity"), Some(f64::NEG_INFINITY));
        assert!(float("nan").is_some_and(f64::is_nan));
        for none in [
            "", "-", "0x10", "010", "1.2.3", "1e", "x", "infin", "--1", "f",
        ] {
            assert_eq!(float(none), None, "{none}");
        }
    }

    #[test]
    fn floats_print_as_c_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.05, "0.05"),
            (0.0005, "0.0005"),
            (0.00005, "5e-05"),
            (0.007_812_5, "0.0078125"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1234567"),
            (1.0 / 3.0, "0.333333343"),
            (1e-8, "1e-08"),
            (f32::MAX, "3.40282347e+38"),
            (f32::NEG_INFINITY, "-inf"),
            (f32::NAN, "nan"),
        ] {
            assert_eq!(print_f32(value), text);
        }
        assert_eq!(print_f64(0.1), "0.1");
        assert_eq!(print_f64(0.1 + 0.2), "0.30000000000000004");
    }
}
