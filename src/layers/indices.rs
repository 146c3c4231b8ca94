//! Indices that a bottom holds as floats: whole numbers, always checked.

use crate::error::{Error, Result};

/// Reads indices below `n` from a blob into `indices`; `what` they name is for errors: "rows of the weights".
///
/// # Errors
/// `Data` for the first that is not a whole number, below 0 or not below `n`.
pub(super) fn read(values: &[f32], n: usize, what: &str, indices: &mut Vec<usize>) -> Result<()> {
    indices.clear();
    indices.reserve(values.len());
    for (i, &value) in values.iter().enumerate() {
        // Exact for whole numbers that a usize can hold; others saturate and do not come back the same.
        let index = value as usize;
        if value.is_sign_negative() && value != 0.0 || index as f32 != value || index >= n {
            let why = if value.fract() != 0.0 || !value.is_finite() {
                "is not a whole number".to_owned()
            } else {
                match n {
                    0 => format!("names none of the {what}: there are none"),
                    n => format!("is outside 0 to {}, the {what}", n - 1),
                }
            };
            return Err(Error::data(format!("index {value}, element {i}, {why}")));
        }
        indices.push(index);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_range_pass() {
        let mut got = Vec::new();
        read(&[2.0, 0.0, -0.0, 1.0], 3, "rows", &mut got).unwrap();
        assert_eq!(got, [2, 0, 0, 1]);
        for (value, n, why) in [
            (3.0, 3, "outside 0 to 2, the rows"),
            (-1.0, 3, "outside 0 to 2"),
            (0.5, 3, "not a whole number"),
            (f32::NAN, 3, "not a whole number"),
            (f32::INFINITY, usize::MAX, "not a whole number"),
            (1e30, 3, "outside"),
            (0.0, 0, "there are none"),
        ] {
            let error = read(&[value], n, "rows", &mut got).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
