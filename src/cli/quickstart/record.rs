//! The record of a network's training, what the doctor says of it, and the page that shows both networks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{faces::CLASSES, folder::Variant};
use crate::{
    cli::onlookers,
    dashboard,
    doctor::{self, Diagnosis},
    error::{Error, Result},
    events::{Event, Observer},
    journal::{Journal, LINES, PICTURES, RunFolder},
    net::Keep,
    schema::{NetParameter, SolverParameter},
    solver::{Action, Outcome, Solver, SolverOptions},
    watch::{Scores, heads},
};

/// The folder of a network's record, in the network's own.
const RUN: &str = "run";

/// A record under way.
pub(super) struct Record(Journal);

impl Record {
    /// Begins it; that of an earlier quickstart goes.
    pub(super) fn start(variant: &Variant, root: &Path) -> Result<Self> {
        let folder = root.join(RUN);
        clear(&folder)?;
        let journal = Journal::new(variant.title, "solver.prototxt");
        Ok(Self(journal.to(RunFolder::open(&folder, false)?)))
    }

    /// Trains, with everybody looking on.
    pub(super) fn train(
        &mut self,
        param: SolverParameter,
        root: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let mut nets: Vec<NetParameter> = Vec::new();
        let mut both = |event: &Event<'_>| {
            if let Event::NetInit { net } = event {
                nets.push((*net).clone());
            }
            observer.on(event);
            self.0.on(event);
        };
        let options = SolverOptions {
            root: root.to_owned(),
            keep: Keep::Named,
            wanted: Some(heads::wanted),
            ..SolverOptions::default()
        };
        let mut solver = Solver::new(param, options, &mut both)?;
        let names = CLASSES.iter().map(|&name| name.to_owned());
        solver.watch(Box::new(Scores::new(names.collect())));
        onlookers::watch(&mut solver, &nets, &[], root, observer);
        let mut both = |event: &Event<'_>| {
            observer.on(event);
            self.0.on(event);
        };
        solver.solve(&mut || Action::Continue, &mut both)
    }

    /// What the doctor says of the files, the data and the trained weights, a file in `root`.
    pub(super) fn judge(
        &mut self,
        root: &Path,
        weights: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Diagnosis> {
        observer.on(&Event::Note("asking the doctor"));
        let options = doctor::Options {
            root: root.to_owned(),
            weights: Some(weights.to_owned()),
            ..doctor::Options::new(root.join("solver.prototxt"))
        };
        doctor::examine(&options, &mut |event: &Event<'_>| {
            if matches!(event, Event::Finding { .. } | Event::Verdict { .. }) {
                self.0.on(event);
            }
        })
    }

    /// Ends it.
    pub(super) fn end(mut self, observer: &mut dyn Observer) {
        self.0.finish(None);
        for trouble in self.0.take_troubles() {
            observer.on(&Event::Warning(&trouble));
        }
    }
}

/// Removes the record of an earlier quickstart: the files that a record has, nothing else.
fn clear(folder: &Path) -> Result<()> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    };
    gone(&folder.join(LINES))?;
    let Ok(pictures) = fs::read_dir(folder.join(PICTURES)) else {
        return Ok(());
    };
    for entry in pictures.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "png") {
            gone(&path)?;
        }
    }
    Ok(())
}

/// Writes the page with all networks on it.
pub(super) fn page(dir: &Path, variants: &[Variant]) -> Result<PathBuf> {
    let runs: Vec<dashboard::Run> = variants
        .iter()
        .map(|variant| dashboard::Run {
            name: variant.title.to_owned(),
            folder: dir.join(variant.folder).join(RUN),
        })
        .collect();
    let path = dir.join("report.html");
    dashboard::write_report(
        &runs,
        "The facial-region network, as written and repaired",
        &path,
    )?;
    Ok(path)
}
