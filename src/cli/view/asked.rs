//! Which units are meant: `BLOB[:CHANNEL[:Y:X]]`.

use super::{look::Look, source};
use crate::{
    error::{Error, ErrorKind, Result},
    net::Net,
    report::attribution::Unit,
};

/// What is asked for: a blob, perhaps a channel, perhaps a pixel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) blob: String,
    channel: Option<usize>,
    at: Option<(usize, usize)>,
}

impl Asked {
    /// Reads `BLOB[:CHANNEL[:Y:X]]`; the name of a blob may hold colons.
    pub(super) fn parse(text: &str, names: &[String]) -> Result<Self> {
        let mut blob = text;
        let mut numbers: Vec<usize> = Vec::new();
        while !names.iter().any(|name| name == blob) {
            let Some((rest, number)) = blob.rsplit_once(':') else {
                return Err(source::no_blob(blob, names));
            };
            let number = number.parse().map_err(|_| {
                Error::new(
                    ErrorKind::Param,
                    format!("'{text}' is neither a blob nor a blob with a channel"),
                )
                .help("write it as prob:3, or prob:3:ROW:COLUMN for one pixel")
            })?;
            numbers.insert(0, number);
            blob = rest;
        }
        let (channel, at) = match numbers[..] {
            [] => (None, None),
            [channel] => (Some(channel), None),
            [channel, y, x] => (Some(channel), Some((y, x))),
            _ => {
                return Err(Error::new(
                    ErrorKind::Param,
                    format!("'{text}' has a row and no column, or too much"),
                )
                .help("write it as prob:3, or prob:3:ROW:COLUMN for one pixel"));
            }
        };
        Ok(Self {
            blob: blob.to_owned(),
            channel,
            at,
        })
    }

    /// The units that are meant: one, or every channel that `--channels` lets pass.
    pub(super) fn units(&self, net: &Net, look: &Look) -> Result<Vec<Unit>> {
        let id = net.graph().latest(&self.blob).ok_or_else(|| {
            Error::new(
                ErrorKind::Graph,
                format!("the net has no blob '{}'", self.blob),
            )
        })?;
        let shape = &net.graph().value(id).shape;
        let unit = |channel| Unit {
            blob: self.blob.clone(),
            channel,
            at: self.at,
        };
        match self.channel {
            Some(channel) => Ok(vec![unit(channel)]),
            None => {
                let channels = look.channels(shape.legacy(1))?;
                Ok(channels.into_iter().map(unit).collect())
            }
        }
    }

    /// As it was written.
    pub(super) fn label(&self) -> String {
        match (self.channel, self.at) {
            (Some(channel), Some((y, x))) => format!("{}:{channel}:{y}:{x}", self.blob),
            (Some(channel), None) => format!("{}:{channel}", self.blob),
            _ => self.blob.clone(),
        }
    }

    /// What of the blob is meant, in words.
    pub(super) fn extent(&self) -> &'static str {
        match self.at {
            Some(_) => "of one pixel",
            None => "of the channel's sum",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_with_channels_and_pixels() {
        let names = ["prob".to_owned(), "a:1".to_owned()];
        let parse = |text| Asked::parse(text, &names);
        let asked = |blob: &str, channel, at| Asked {
            blob: blob.to_owned(),
            channel,
            at,
        };
        assert_eq!(parse("prob").unwrap(), asked("prob", None, None));
        assert_eq!(parse("prob:3").unwrap(), asked("prob", Some(3), None));
        assert_eq!(
            parse("prob:3:1:2").unwrap(),
            asked("prob", Some(3), Some((1, 2)))
        );
        assert_eq!(parse("a:1").unwrap(), asked("a:1", None, None));
        assert_eq!(parse("a:1:2").unwrap(), asked("a:1", Some(2), None));
        for (text, word) in [
            ("prop:3", "did you mean 'prob'"),
            ("prob:3:1", "no column"),
            ("prob:x", "neither a blob"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
