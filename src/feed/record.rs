//! A record as it is stored, a `Datum` or an `AnnotatedDatum`, for tools that look at it.

use prost::Message as _;

use super::{
    datum::{
        Color, Sample, decode,
        wire::{self, Value, field, malformed},
    },
    image,
};
use crate::{
    error::{Error, Result},
    schema::AnnotationGroup,
};

/// A record whose fields have been read and whose pixels have not.
pub struct Stored<'a> {
    bytes: &'a [u8],
    datum: wire::Datum<'a>,
    groups: Option<Vec<AnnotationGroup>>,
}

impl<'a> Stored<'a> {
    /// Reads a record. One whose first field holds a message is an `AnnotatedDatum`, since that of a `Datum` is a number.
    ///
    /// # Errors
    /// `Data` where it is neither.
    pub fn read(record: &'a [u8]) -> Result<Self> {
        let mut bytes = record;
        let mut groups = None;
        let mut rest = record;
        while !rest.is_empty() {
            match field(&mut rest)? {
                (1, Value::Bytes(datum)) => {
                    bytes = datum;
                    groups = Some(annotations(record)?);
                    break;
                }
                (1, Value::Varint(_)) => break,
                _ => {}
            }
        }
        Ok(Self {
            bytes,
            datum: wire::Datum::read(bytes)?,
            groups,
        })
    }

    /// The class, 0 where none is stored.
    pub fn label(&self) -> i32 {
        self.datum.label
    }

    /// What is in `data`: pixels, or a file of an image.
    pub fn data(&self) -> &'a [u8] {
        self.datum.data
    }

    /// Whether `data` is said to be the file of an image.
    pub fn encoded(&self) -> bool {
        self.datum.encoded
    }

    /// Channels, height and width as they are stated; often 0 where the record holds a file.
    pub fn stated(&self) -> [i32; 3] {
        [self.datum.channels, self.datum.height, self.datum.width]
    }

    /// How the values are stored: `raw`, `float`, `JPEG`, `PNG`, `BMP` and so on, or `unknown`.
    pub fn encoding(&self) -> &'static str {
        match (self.datum.encoded, self.datum.data) {
            (true, data) => image::kind(data).unwrap_or("unknown"),
            (false, []) => "float",
            (false, _) => "raw",
        }
    }

    /// The annotations of an `AnnotatedDatum`.
    pub fn annotations(&self) -> Option<&[AnnotationGroup]> {
        self.groups.as_deref()
    }

    /// The `Datum`'s own bytes.
    pub fn datum(&self) -> &'a [u8] {
        self.bytes
    }

    /// The pixels.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn sample(&self, color: Color) -> Result<Sample<'a>> {
        decode(self.bytes, color)
    }
}

fn annotations(record: &[u8]) -> Result<Vec<AnnotationGroup>> {
    let mut groups = Vec::new();
    let mut rest = record;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Value::Bytes(_)) | (2, Value::Varint(_)) => {}
            (3, Value::Bytes(bytes)) => groups.push(
                AnnotationGroup::decode(bytes)
                    .map_err(|e| Error::data(format!("an annotation cannot be read: {e}")))?,
            ),
            (1..=3, _) => return Err(malformed()),
            _ => {}
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{AnnotatedDatum, Datum};

    fn datum() -> Datum {
        Datum {
            channels: Some(1),
            height: Some(1),
            width: Some(2),
            data: Some(vec![5, 6]),
            label: Some(3),
            ..Datum::default()
        }
    }

    #[test]
    fn both_kinds_are_told_apart() {
        let plain = datum().encode_to_vec();
        let record = Stored::read(&plain).unwrap();
        assert!(record.annotations().is_none());
        assert_eq!((record.label(), record.encoding()), (3, "raw"));
        let annotated = AnnotatedDatum {
            datum: Some(datum()),
            r#type: Some(0),
            annotation_group: vec![AnnotationGroup {
                group_label: Some(4),
                annotation: Vec::new(),
            }],
        }
        .encode_to_vec();
        let record = Stored::read(&annotated).unwrap();
        assert_eq!(record.annotations().unwrap()[0].group_label(), 4);
        assert_eq!(record.sample(Color::AsStored).unwrap().dims(), [1, 1, 2]);
        assert_eq!(record.datum(), plain);
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let file = |data: &[u8]| Datum {
            data: Some(data.to_vec()),
            encoded: Some(true),
            ..Datum::default()
        };
        for (data, kind) in [
            (&b"\xff\xd8\xff\xe0"[..], "JPEG"),
            (b"GIF89a", "GIF"),
            (b"FLIF0123", "unknown"),
        ] {
            let bytes = file(data).encode_to_vec();
            let record = Stored::read(&bytes).unwrap();
            assert_eq!(record.encoding(), kind);
            assert!(record.encoded());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(record) = Stored::read(&bytes) {
                let _ = record.sample(Color::AsStored);
            }
        }
    }
}
