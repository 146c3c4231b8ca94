//! How things are to look: channels, their names, colours and scales, from the flags.

use super::super::args::Args;
use crate::{
    error::{Error, Result},
    number::general,
    report::{
        channels::{self, Figures},
        gallery::Bar,
        palette::Palette,
    },
};

/// The flags that say how.
pub(super) struct Look {
    pub(super) palette: Palette,
    /// One scale for all.
    pub(super) shared: bool,
    names: Vec<String>,
    wanted: Option<Vec<usize>>,
}

impl Look {
    /// With a scale for each channel where nothing is said of it.
    pub(super) fn own(mut self, args: &Args) -> Self {
        self.shared &= args.text("range").is_some();
        self
    }

    /// Reads `--palette`, `--range`, `--names` and `--channels`.
    pub(super) fn new(args: &Args, palette: Palette) -> Result<Self> {
        let range = args.word("range", &[("shared", true), ("own", false)])?;
        Ok(Self {
            palette: args.word("palette", &Palette::NAMES)?.unwrap_or(palette),
            shared: range.unwrap_or(true),
            names: args.list("names"),
            wanted: channels_of(args)?,
        })
    }

    /// The channels to show of so many.
    pub(super) fn channels(&self, count: usize) -> Result<Vec<usize>> {
        let Some(wanted) = &self.wanted else {
            return Ok((0..count).collect());
        };
        match wanted.iter().find(|&&c| c >= count) {
            Some(c) => Err(
                Error::param("--channels", format!("there is no channel {c}"))
                    .help(format!("the channels are 0 to {}", count.saturating_sub(1))),
            ),
            None => Ok(wanted.clone()),
        }
    }

    /// What a channel is called.
    pub(super) fn name(&self, kind: &str, channel: usize) -> String {
        match self.names.get(channel) {
            Some(name) => format!("{channel} {name}"),
            None => format!("{kind} {channel}"),
        }
    }

    /// The scale of each channel.
    pub(super) fn ranges(&self, figures: &[Figures]) -> Vec<(f32, f32)> {
        let all = channels::shared(figures);
        figures
            .iter()
            .map(|f| if self.shared { all } else { (f.low, f.high) })
            .collect()
    }

    /// The bar for these scales.
    pub(super) fn bar(&self, figures: &[Figures]) -> Bar {
        let (low, high) = channels::shared(figures);
        match self.shared {
            true => bar(self.palette, (low, high), "one scale for all"),
            false => Bar {
                palette: self.palette,
                low: "low".to_owned(),
                high: "high".to_owned(),
                label: "each on its own scale, under it".to_owned(),
            },
        }
    }
}

/// A bar between two values.
pub(super) fn bar(palette: Palette, (low, high): (f32, f32), label: &str) -> Bar {
    Bar {
        palette,
        low: short(low),
        high: short(high),
        label: label.to_owned(),
    }
}

/// From low to high, in few digits.
pub(super) fn note(figures: &Figures) -> String {
    let mut text = match figures.low == figures.high {
        true => format!("all {}", short(figures.low)),
        false => format!("{} to {}", short(figures.low), short(figures.high)),
    };
    if figures.not_finite > 0 {
        text += &format!(", {} not finite", figures.not_finite);
    }
    text
}

/// A number in three digits; whole where it is large and not too large.
pub(super) fn short(value: impl Into<f64>) -> String {
    let value: f64 = value.into() + 0.0;
    match value.abs() {
        1e3..1e6 => general(value, 6)
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => general(value, 3),
    }
}

/// `--channels`: numbers and ranges.
fn channels_of(args: &Args) -> Result<Option<Vec<usize>>> {
    let list = args.list("channels");
    if list.is_empty() {
        return Ok(None);
    }
    let mut channels = Vec::new();
    for part in &list {
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&n| n < 1 << 20);
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first), number(last)),
            None => (number(part), number(part)),
        };
        match (first, last) {
            (Some(first), Some(last)) if first <= last => channels.extend(first..=last),
            _ => {
                return Err(Error::param(
                    "--channels",
                    format!("'{part}' is no channel and no range of channels"),
                )
                .help("write them as 0,3,5 or 0-7"));
            }
        }
    }
    Ok(Some(channels))
}
