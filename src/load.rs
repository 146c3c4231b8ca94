//! Files to current messages: read, decoded, upgraded, their places kept for later errors. The one way in for every
//! command and for the solver.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use prost::Message as _;

use crate::{
    error::{Place, Result},
    events::{Event, Observer},
    schema::{
        NetParameter, SolverParameter,
        dialect::{self, Dialect},
    },
    text::{self, Document, Parsed, Source},
    upgrade,
};

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// A field that the schema does not know is an error, always.
    pub strict: bool,
    /// Whose numbers a binary net has, where the layers' types do not tell.
    pub dialect: Option<Dialect>,
}

impl LoadOptions {
    fn text(self) -> text::Options {
        text::Options {
            strict: self.strict,
        }
    }
}

/// A net with the text that it came from.
#[derive(Clone, Debug)]
pub struct NetFile {
    /// The net in current form.
    pub net: NetParameter,
    /// Where it was read.
    pub path: PathBuf,
    document: Option<Document>,
    origins: Vec<Option<usize>>,
}

impl NetFile {
    /// A net that has no text: inline in a solver, or made by a program.
    ///
    /// # Errors
    /// `Schema` where an old net cannot be upgraded.
    pub fn from_message(net: NetParameter) -> Result<Self> {
        let upgraded = upgrade::net(net)?;
        Ok(Self {
            net: upgraded.net,
            path: PathBuf::new(),
            document: None,
            origins: upgraded.origins,
        })
    }

    /// The spot of layer `index` of `net`, or of a field in it.
    pub fn place(&self, index: usize, field: Option<&str>) -> Option<Place> {
        let origin = (*self.origins.get(index)?)?;
        self.document.as_ref()?.layer_place(origin, field)
    }

    /// The text, where there is one.
    pub fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }

    /// Layer `index` of `net` as the text has it: its field and block.
    pub fn text_of(&self, index: usize) -> Option<(&text::Field, &text::Block)> {
        let origin = (*self.origins.get(index)?)?;
        self.document.as_ref()?.layer(origin)
    }
}

/// Reads a net, text or binary; `observer` hears of what was skipped or upgraded. The blobs of a binary net are left out.
///
/// # Errors
/// `Io`, `Syntax` or `Schema`, with the place.
pub fn net(path: &Path, options: LoadOptions, observer: &mut dyn Observer) -> Result<NetFile> {
    if let Some(net) = binary(path, options) {
        let upgraded =
            upgrade::net(net).map_err(|e| e.at(Place::File(path.display().to_string())))?;
        observer.on(&Event::Note(&format!(
            "{}: a binary net; weights in it are read where the file is given as weights",
            path.display()
        )));
        return Ok(NetFile {
            net: upgraded.net,
            path: path.to_path_buf(),
            document: None,
            origins: upgraded.origins,
        });
    }
    finish_net(
        text::read_file("NetParameter", path, options.text())?,
        path,
        observer,
    )
}

/// [`net`] from text; `name` stands for the file in messages.
///
/// # Errors
/// `Syntax` or `Schema`, with the place.
pub fn net_from_text(
    name: &str,
    text: &str,
    options: LoadOptions,
    observer: &mut dyn Observer,
) -> Result<NetFile> {
    let source = Source::new(name, text);
    finish_net(
        text::parse_with("NetParameter", &source, options.text())?,
        Path::new(name),
        observer,
    )
}

/// The net of a binary file, without its blobs; `None` where the file is text, or something else that the reader of text
/// will have words for.
fn binary(path: &Path, options: LoadOptions) -> Option<NetParameter> {
    let mut head = Vec::new();
    let file = fs::File::open(path).ok()?;
    // What is read from a pipe is gone for the reader of text.
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(4096).read_to_end(&mut head).ok()?;
    // Text has no such bytes; a binary net has them in the length of its first short name at the latest.
    let control = |b: &u8| matches!(b, 0..=8 | 14..=26 | 28..=31);
    if !head.iter().any(control) {
        return None;
    }
    let bytes = dialect::net(&fs::read(path).ok()?, options.dialect)?;
    let mut net = NetParameter::decode(&bytes[..]).ok()?;
    net.layer.iter_mut().for_each(|l| l.blobs.clear());
    net.layers.iter_mut().for_each(|l| l.blobs.clear());
    (!net.layer.is_empty() || !net.layers.is_empty()).then_some(net)
}

fn finish_net(
    parsed: Parsed<NetParameter>,
    path: &Path,
    observer: &mut dyn Observer,
) -> Result<NetFile> {
    tell(&parsed, observer);
    let upgraded = upgrade::net(parsed.message)
        .map_err(|error| error.at(Place::File(path.display().to_string())))?;
    for note in &upgraded.notes {
        observer.on(&Event::Note(&format!("{}: {note}", path.display())));
    }
    Ok(NetFile {
        net: upgraded.net,
        path: path.to_path_buf(),
        document: Some(parsed.document),
        origins: upgraded.origins,
    })
}

/// Reads a solver; `observer` hears of what was skipped.
///
/// # Errors
/// `Io`, `Syntax` or `Schema`, with the place.
pub fn solver(
    path: &Path,
    options: LoadOptions,
    observer: &mut dyn Observer,
) -> Result<SolverParameter> {
    finish_solver(
        text::read_file("SolverParameter", path, options.text())?,
        path,
        observer,
    )
}

/// [`solver`] from text; `name` stands for the file in messages.
///
/// # Errors
/// `Syntax` or `Schema`, with the place.
pub fn solver_from_text(
    name: &str,
    text: &str,
    options: LoadOptions,
    observer: &mut dyn Observer,
) -> Result<SolverParameter> {
    let source = Source::new(name, text);
    finish_solver(
        text::parse_with("SolverParameter", &source, options.text())?,
        Path::new(name),
        observer,
    )
}

fn finish_solver(
    parsed: Parsed<SolverParameter>,
    path: &Path,
    observer: &mut dyn Observer,
) -> Result<SolverParameter> {
    tell(&parsed, observer);
    upgrade::solver(parsed.message, path)
        .map_err(|error| error.at(Place::File(path.display().to_string())))
}

fn tell<T>(parsed: &Parsed<T>, observer: &mut dyn Observer) {
    for warning in &parsed.warnings {
        observer.on(&Event::Warning(&warning.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        schema::{BlobProto, LayerParameter},
    };

    #[test]
    fn a_binary_net_is_read_as_its_text_is() {
        let dir = tempfile::tempdir().unwrap();
        let (text, file) = (dir.path().join("n.prototxt"), dir.path().join("n.bin"));
        let written = "name: 'n' layer { name: 'pool' type: 'Pooling' bottom: 'x' top: 'y' \
                       pooling_param { kernel_size: 3 ceil_mode: false } }";
        fs::write(&text, written).unwrap();
        let from_text = net(&text, LoadOptions::default(), &mut Silent).unwrap().net;
        let mut stored = from_text.clone();
        stored.layer[0].blobs.push(BlobProto::default());
        fs::write(&file, stored.encode_to_vec()).unwrap();
        let read = net(&file, LoadOptions::default(), &mut Silent).unwrap();
        assert_eq!(read.net, from_text);
        // Something else that is no text gets the words of the text's reader.
        fs::write(&file, [0, 1, 2, 3]).unwrap();
        assert!(net(&file, LoadOptions::default(), &mut Silent).is_err());
    }

    #[test]
    fn a_dialect_reads_its_numbers() {
        // Pooling with the field 13: false.
        let mut layer = LayerParameter {
            r#type: Some("Pooling".into()),
            ..LayerParameter::default()
        }
        .encode_to_vec();
        layer.extend([0xca, 0x07, 2, 13 << 3, 0]);
        let mut bytes = vec![0xa2, 0x06, layer.len() as u8];
        bytes.extend(layer);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("n.bin");
        fs::write(&file, bytes).unwrap();
        let options = LoadOptions {
            dialect: dialect::find("pytorch"),
            ..LoadOptions::default()
        };
        let net = net(&file, options, &mut Silent).unwrap().net;
        let pooling = net.layer[0].pooling_param.unwrap();
        assert_eq!((pooling.ceil_mode, pooling.round_mode), (Some(false), None));
    }
}
