//! What is wrong with a net or a solver file, told from its text: rules, their pages, and edits that mend.
//!
//! [`RULES`] is the table: a rule a row, with its code, its page and the function that looks. Rules see a `Subject`: the
//! nets of a run in their phases, as `View`s, and the solver. A view wires layers by name and asks each for its shapes as
//! the graph would, but goes on where one does not fit, and where the data is not at hand.

mod explain;
mod finding;
mod fix;
mod kinds;
mod probe;
mod rules;
mod samples;
mod sizes;
mod subject;
mod view;

use std::path::{Path, PathBuf};

pub use explain::{page, table};
pub use finding::{Counts, Edit, Finding};
pub use fix::{Mended, diff, mend, write};
pub use rules::{RULES, Rule, find};
pub use subject::Options;

use crate::{
    error::{Error, ErrorKind, Result},
    events::Silent,
    load::{self, NetFile, SolverFile},
    schema::{NetState, Phase, SolverParameter},
};
use fix::Texts;
use subject::{Subject, files_of, under};

/// What is wrong with a net: in the phases that it is made for, as far as can be told without a solver.
pub fn net(file: &NetFile, options: &Options) -> Vec<Finding> {
    nets(file, None, options)
}

/// What is wrong with the file at `path`, a net or a solver; with a solver its nets are looked at too, each in its phase.
///
/// # Errors
/// As [`load::net`], where the file cannot be read.
pub fn file(path: &Path, options: &Options) -> Result<Vec<Finding>> {
    file_of(path, options, &Texts::default())
}

/// What is wrong with a solver file and its nets.
///
/// # Errors
/// As [`load::solver`], where the file itself cannot be read.
pub fn solver(path: &Path, options: &Options) -> Result<Vec<Finding>> {
    solver_of(path, options, &Texts::default())
}

/// [`file`], some files having another text than on the disk.
fn file_of(path: &Path, options: &Options, texts: &Texts) -> Result<Vec<Finding>> {
    match net_file(path, options, texts) {
        Ok(file) => {
            let deploy = deploy_beside(path, options, texts);
            Ok(nets(&file, deploy.as_ref(), options))
        }
        Err(error) if error.message() == "this is a solver, not a net" => {
            solver_of(path, options, texts)
        }
        Err(error) => Err(error),
    }
}

fn net_file(path: &Path, options: &Options, texts: &Texts) -> Result<NetFile> {
    match texts.get(path) {
        Some(text) => {
            load::net_from_text(&path.display().to_string(), text, options.load, &mut Silent)
        }
        None => load::net(path, options.load, &mut Silent),
    }
}

/// The `deploy.prototxt` in the folder of a net to train.
fn deploy_beside(path: &Path, options: &Options, texts: &Texts) -> Option<NetFile> {
    let beside = path.with_file_name("deploy.prototxt");
    let other = path.file_name() != beside.file_name() && beside.is_file();
    other
        .then(|| net_file(&beside, options, texts).ok())
        .flatten()
}

fn nets(file: &NetFile, deploy: Option<&NetFile>, options: &Options) -> Vec<Finding> {
    let named = files_named([file].into_iter());
    let root = rules::start(&options.root, std::iter::once(&*file.path), &named);
    let mut subject = Subject::new(options, root, None);
    subject.deploy = deploy;
    subject.add(file, Phase::Train, None);
    subject.add(file, Phase::Test, None);
    let phased = (file
        .net
        .layer
        .iter()
        .flat_map(|l| l.include.iter().chain(&l.exclude)))
    .any(|rule| rule.phase.is_some());
    let trains = subject.training().is_some();
    // What has neither a loss nor layers of a phase is made for use alone; and what reads the blobs of another phase's
    // layers is not made for this one.
    let meant = |view: &view::View<'_>| {
        (view.phase == Phase::Test || phased || trains) && !view.is_foreign()
    };
    if subject.views.iter().any(meant) {
        subject.views.retain(meant);
    } else {
        let kept = if trains { Phase::Train } else { Phase::Test };
        subject.views.retain(|view| view.phase == kept);
    }
    finish(&subject)
}

fn files_named<'f>(files: impl Iterator<Item = &'f NetFile>) -> Vec<String> {
    let layers = files.flat_map(|file| &file.net.layer);
    let mut paths: Vec<String> = layers.flat_map(files_of).map(|(_, path)| path).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn finish(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = rules::run(subject);
    let solver = subject.solver.iter().map(|s| &*s.path);
    let files: Vec<&Path> = solver
        .chain(subject.views.iter().map(|v| &*v.file.path))
        .collect();
    finding::sort(&mut found, &files);
    found
}

/// A net that a solver names, or brings itself: what for, in which state, and the field that names it.
struct Wanted {
    phase: Phase,
    state: Option<NetState>,
    field: String,
    net: Result<NetFile, Error>,
    path: Option<String>,
}

fn solver_of(path: &Path, options: &Options, texts: &Texts) -> Result<Vec<Finding>> {
    let file = match texts.get(path) {
        Some(text) => load::solver_file_from_text(
            &path.display().to_string(),
            text,
            options.load,
            &mut Silent,
        )?,
        None => load::solver_file(path, options.load, &mut Silent)?,
    };
    let named = net_paths(&file.param);
    let mut root = rules::start(&options.root, std::iter::once(path), &named);
    let load = |root: &Path| wanted(&file, root, options, texts);
    let mut wanted = load(&root);
    let mut all = files_named(wanted.iter().filter_map(|w| w.net.as_ref().ok()));
    all.extend(named);
    let places: Vec<PathBuf> = (wanted.iter())
        .filter_map(|w| w.net.as_ref().ok().map(|n| n.path.clone()))
        .chain([path.to_path_buf()])
        .collect();
    let better = rules::start(&root, places.iter().map(|p| &**p), &all);
    if better != root {
        root = better;
        wanted = load(&root);
    }
    let train = wanted.first().and_then(|w| w.net.as_ref().ok());
    let deploy = train.and_then(|net| deploy_beside(&net.path, options, texts));
    let mut subject = Subject::new(options, root, Some(&file));
    subject.deploy = deploy.as_ref();
    for w in &wanted {
        match &w.net {
            Ok(net) => subject.add(net, w.phase, w.state.as_ref()),
            Err(error) => {
                let place = file.place(&w.field);
                let missing = error.kind() == ErrorKind::Io;
                match w.path.as_ref().filter(|_| missing) {
                    Some(path) => subject.missing_nets.push((path.clone(), place)),
                    None => subject.unreadable.push((error.clone(), None)),
                }
            }
        }
    }
    Ok(finish(&subject))
}

fn net_paths(param: &SolverParameter) -> Vec<String> {
    let named = param.net.iter().chain(&param.train_net);
    named.chain(&param.test_net).cloned().collect()
}

/// The nets of a solver: the one to train first.
fn wanted(file: &SolverFile, root: &Path, options: &Options, texts: &Texts) -> Vec<Wanted> {
    let param = &file.param;
    let from_path = |phase, state: Option<&NetState>, field: String, path: &String| Wanted {
        phase,
        state: state.cloned(),
        net: net_file(&under(root, path), options, texts),
        path: Some(path.clone()),
        field,
    };
    let inline =
        |phase, state: Option<&NetState>, field: &str, net: &crate::schema::NetParameter| Wanted {
            phase,
            state: state.cloned(),
            field: field.to_owned(),
            net: NetFile::from_message(net.clone()),
            path: None,
        };
    let mut nets = Vec::new();
    let state = param.train_state.as_ref();
    if let Some(path) = param.train_net.as_ref() {
        nets.push(from_path(Phase::Train, state, "train_net".into(), path));
    } else if let Some(path) = param.net.as_ref() {
        nets.push(from_path(Phase::Train, state, "net".into(), path));
    } else if let Some(net) = param.train_net_param.as_ref().or(param.net_param.as_ref()) {
        nets.push(inline(Phase::Train, state, "net_param", net));
    }
    let mut tests = 0;
    let mut next_state = || {
        tests += 1;
        param.test_state.get(tests - 1)
    };
    for net in &param.test_net_param {
        nets.push(inline(Phase::Test, next_state(), "test_net_param", net));
    }
    for (i, path) in param.test_net.iter().enumerate() {
        nets.push(from_path(
            Phase::Test,
            next_state(),
            format!("test_net[{i}]"),
            path,
        ));
    }
    let own = param.test_net_param.len() + param.test_net.len();
    for _ in own..param.test_iter.len().min(own + 64) {
        if let Some(path) = &param.net {
            nets.push(from_path(Phase::Test, next_state(), "net".into(), path));
        } else if let Some(net) = &param.net_param {
            nets.push(inline(Phase::Test, next_state(), "net_param", net));
        }
    }
    nets
}
