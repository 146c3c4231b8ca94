//! The ranges of what layers read, for nets of 8-bit integers: seen while a net runs, kept in a small text.
//!
//! The text has a line for each layer: the least value, the largest, the layer's name. Lines that start with `#` say
//! something to people.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    error::{Error, ErrorKind, Result},
    layer::Reduction,
};

/// What the products of a net are computed in.
#[derive(Clone, Copy, Debug, Default)]
pub enum Precision<'a> {
    /// `f32`, as Caffe does.
    #[default]
    F32,
    /// bf16 weights and inputs, sums in `f32`; see [`crate::kernels::narrow`].
    Bf16,
    /// 8-bit integers, for inputs of these ranges; see [`crate::kernels::narrow`].
    Int8(&'a Calibration),
}

/// The least and the largest value of what each layer reads, by the layer's name. Layers of one name share a range.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    ranges: BTreeMap<String, [f32; 2]>,
}

const HEAD: &str = "# cortado calibration 1: least and largest input of each layer";

impl Calibration {
    /// Widens a layer's range by values that it reads; those that are no numbers are passed over.
    pub(super) fn see(&mut self, layer: &str, values: &[f32]) {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &x in values {
            low = low.min(x);
            high = high.max(x);
        }
        match self.ranges.get_mut(layer) {
            Some(range) => *range = [range[0].min(low), range[1].max(high)],
            None => _ = self.ranges.insert(layer.to_owned(), [low, high]),
        }
    }

    /// Layers with their ranges, sorted by name.
    pub fn ranges(&self) -> impl Iterator<Item = (&str, [f32; 2])> {
        self.ranges.iter().map(|(name, &range)| (&**name, range))
    }

    /// What a layer's product is to be.
    pub(super) fn reduction(&self, layer: &str) -> Result<Reduction> {
        let &[low, high] = self.ranges.get(layer).ok_or_else(|| {
            Error::new(
                ErrorKind::Param,
                format!(
                    "the calibration has no range for layer '{layer}' among its {}",
                    self.ranges.len()
                ),
            )
            .help("calibrate with this net: cortado calibrate --model=FILE --weights=FILE")
        })?;
        Ok(Reduction::Int8 { low, high })
    }

    /// The text.
    ///
    /// # Errors
    /// `Data` where a layer has read nothing, or values without bounds.
    pub fn to_text(&self) -> Result<String> {
        let mut text = format!("{HEAD}\n");
        for (name, [low, high]) in &self.ranges {
            if !(low.is_finite() && high.is_finite()) {
                return Err(Error::data(format!(
                    "layer '{name}' has read values from {low} to {high}, which is no range for integers"
                ))
                .help("check the weights and the data with 'cortado test' first"));
            }
            // Shortest digits that read back as the same number.
            let _ = writeln!(text, "{low:e} {high:e} {}", escape(name));
        }
        Ok(text)
    }

    /// What [`Calibration::to_text`] wrote.
    ///
    /// # Errors
    /// `Format` with the line that is none.
    pub fn from_text(text: &str) -> Result<Self> {
        if text.lines().next() != Some(HEAD) {
            return Err(
                Error::format("this is no calibration: its first line is another")
                    .help("make one with 'cortado calibrate'"),
            );
        }
        let mut made = Self::default();
        for (i, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let range = parse(line).ok_or_else(|| {
                Error::format(format!(
                    "line {} is not 'least largest layer': {line}",
                    i + 1
                ))
            })?;
            made.ranges.insert(range.0, range.1);
        }
        Ok(made)
    }
}

fn parse(line: &str) -> Option<(String, [f32; 2])> {
    let mut words = line.splitn(3, ' ');
    let mut number = || words.next()?.parse().ok().filter(|x: &f32| x.is_finite());
    let range = [number()?, number()?];
    (range[0] <= range[1]).then_some(())?;
    Some((unescape(words.next()?)?, range))
}

/// A name on one line.
fn escape(name: &str) -> String {
    name.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

fn unescape(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        name.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_back() {
        let mut made = Calibration::default();
        made.see("conv 1", &[0.1, f32::NAN, -3.0]);
        made.see("conv 1", &[7.5e-20]);
        made.see("two\nlines\\", &[1.0]);
        let text = made.to_text().unwrap();
        assert_eq!(Calibration::from_text(&text).unwrap(), made);
        let seen: Vec<_> = made.ranges().collect();
        assert_eq!(seen[0], ("conv 1", [-3.0, 0.1]));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let mut made = Calibration::default();
        made.see("a", &[1.0, f32::INFINITY]);
        assert!(made.to_text().is_err());
        let mut none = Calibration::default();
        none.see("a", &[f32::NAN]);
        assert!(none.to_text().is_err());
        assert!(Calibration::from_text("0 1 a\n").is_err());
        for line in ["0 1", "1 0 a", "0 inf a", "0 x a", "0 NaN a", "0 1 a\\x"] {
            let error = Calibration::from_text(&format!("{HEAD}\n{line}\n")).unwrap_err();
            assert!(error.message().contains("line 2"), "{error}");
        }
        let error = made.reduction("b").unwrap_err();
        assert!(error.message().contains("'b'"), "{error}");
    }
}
