//! Files to current messages: read, decoded, upgraded, their places kept for later errors. The one way in for every
//! command and for the solver.

use std::path::{Path, PathBuf};

use crate::{
    error::{Place, Result},
    events::{Event, Observer},
    schema::{NetParameter, SolverParameter},
    text::{self, Document, Parsed, Source},
    upgrade,
};

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// A field that the schema does not know is an error, always.
    pub strict: bool,
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
}

/// Reads a net; `observer` hears of what was skipped or upgraded.
///
/// # Errors
/// `Io`, `Syntax` or `Schema`, with the place.
pub fn net(path: &Path, options: LoadOptions, observer: &mut dyn Observer) -> Result<NetFile> {
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
