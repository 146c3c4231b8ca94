//! What a file that is not what it should be looks like, for errors.

use prost::Message as _;

use crate::schema::{BlobProto, NetParameter, SolverState};

/// What a binary protobuf file holds, or seems to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// No bytes.
    Empty,
    /// Readable text.
    Text,
    /// An HDF5 file, Caffe's other format of snapshots.
    Hdf5,
    /// A ZIP archive, as NumPy's `.npz` is.
    Zip,
    /// A picture.
    Picture,
    /// Weights of a net.
    Model,
    /// The state of a solver.
    State,
    /// A single blob, a mean image.
    Blob,
    /// A protobuf message whose last field ends after the file does.
    Cut {
        /// Bytes that the file would need at least.
        needs: u64,
    },
    /// None of these.
    Unknown,
}

/// Guesses what `bytes` are.
pub(super) fn looks(bytes: &[u8]) -> Looks {
    if bytes.is_empty() {
        return Looks::Empty;
    }
    for (magic, what) in [
        (&b"\x89HDF\r\n\x1a\n"[..], Looks::Hdf5),
        (b"PK\x03\x04", Looks::Zip),
        (b"\x89PNG", Looks::Picture),
        (b"\xff\xd8\xff", Looks::Picture),
    ] {
        if bytes.starts_with(magic) {
            return what;
        }
    }
    if is_text(bytes) {
        return Looks::Text;
    }
    if let Some(needs) = cut(bytes) {
        return Looks::Cut { needs };
    }
    if SolverState::decode(bytes).is_ok_and(|s| s.iter.is_some()) {
        // A blob's first field, too, is a number; but a blob has no file name where a state has one.
        let blob = BlobProto::decode(bytes).is_ok_and(|b| !b.data.is_empty());
        return if blob { Looks::Blob } else { Looks::State };
    }
    if NetParameter::decode(bytes).is_ok_and(|n| !n.layer.is_empty() || !n.layers.is_empty()) {
        return Looks::Model;
    }
    if BlobProto::decode(bytes).is_ok_and(|b| !b.data.is_empty()) {
        return Looks::Blob;
    }
    Looks::Unknown
}

impl Looks {
    /// In words that follow "the file": "is empty", "looks like …".
    pub(super) fn words(self, bytes: usize) -> String {
        match self {
            Self::Empty => "is empty".to_owned(),
            Self::Text => "is text".to_owned(),
            Self::Hdf5 => "is an HDF5 file".to_owned(),
            Self::Zip => "is a ZIP archive (an .npz?)".to_owned(),
            Self::Picture => "is a picture".to_owned(),
            Self::Model => "holds the weights of a net (a .caffemodel)".to_owned(),
            Self::State => "holds the state of a solver (a .solverstate)".to_owned(),
            Self::Blob => "holds a single blob (a .binaryproto, a mean image)".to_owned(),
            Self::Cut { needs } => format!(
                "is cut short: it has {bytes} bytes, and what it begins goes on to byte {needs} at least"
            ),
            Self::Unknown => "was not written by Caffe, or is damaged".to_owned(),
        }
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let printable = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    head.iter().all(printable)
        && match std::str::from_utf8(head) {
            Ok(_) => true,
            // The head may end inside a character.
            Err(e) => e.error_len().is_none(),
        }
}

/// Walks the fields of the outermost message; where the last one ends if that is behind the end of the file. `None`
/// where the fields fill the file, or are no fields.
fn cut(bytes: &[u8]) -> Option<u64> {
    let mut at = 0usize;
    let mut fields = 0;
    while at < bytes.len() {
        let (key, n) = varint(&bytes[at..])?;
        at += n;
        let left = bytes.len() - at;
        let length = match (key >> 3, key & 7) {
            (0, _) => return None,
            (_, 0) => match varint(&bytes[at..]) {
                Some((_, n)) => n as u64,
                None if left < 10 => left as u64 + 1,
                None => return None,
            },
            (_, 1) => 8,
            (_, 2) => match varint(&bytes[at..]) {
                Some((length, n)) => length.checked_add(n as u64)?,
                None if left < 10 => left as u64 + 1,
                None => return None,
            },
            (_, 5) => 4,
            _ => return None,
        };
        if length > left as u64 {
            // A length out of the blue says "foreign" rather than "cut": no message of protobuf passes 2 GiB.
            let needs = (at as u64).checked_add(length)?;
            return (fields > 0 && needs < 1 << 31).then_some(needs);
        }
        at += length as usize;
        fields += 1;
    }
    None
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &b) in bytes.iter().take(10).enumerate() {
        value |= u64::from(b & 0x7f).checked_shl(7 * i as u32)?;
        if b & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LayerParameter;

    #[test]
    fn kinds_of_files_are_told_apart() {
        let net = NetParameter {
            name: Some("n".into()),
            layer: vec![LayerParameter {
                name: Some("l".into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let state = SolverState {
            iter: Some(3),
            learned_net: Some("x".into()),
            ..Default::default()
        };
        let mean = BlobProto {
            num: Some(1),
            channels: Some(1),
            height: Some(1),
            width: Some(2),
            data: vec![1.5, 2.5],
            ..Default::default()
        };
        let model = net.encode_to_vec();
        for (bytes, what) in [
            (vec![], Looks::Empty),
            (b"name: \"n\"\nlayer { }\n".to_vec(), Looks::Text),
            (b"\x89HDF\r\n\x1a\n123".to_vec(), Looks::Hdf5),
            (model.clone(), Looks::Model),
            (state.encode_to_vec(), Looks::State),
            (mean.encode_to_vec(), Looks::Blob),
            (
                model[..model.len() - 1].to_vec(),
                Looks::Cut {
                    needs: model.len() as u64,
                },
            ),
            (vec![0x07, 0xff, 0xfe, 0x00], Looks::Unknown),
        ] {
            assert_eq!(looks(&bytes), what, "{bytes:?}");
        }
    }
}
