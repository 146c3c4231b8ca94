//! `db shuffle`, `db split`, `db merge` and `db export`.

use std::path::PathBuf;

use super::{backend, begin, made, open};
use crate::{
    cli::{args::Args, command::Status, databases::work::distinct, ui::Ui},
    database,
    error::{Error, ErrorKind, Result},
    feed::database::Database,
};

pub(super) fn shuffle(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::new(
            ErrorKind::Param,
            "each database needs the name of a new one",
        )
        .help("write: db shuffle DB NEW, or for a pair: db shuffle DB NEW DB NEW"));
    }
    distinct(pairs.iter().map(|[_, target]| &**target))?;
    let mut opened = Vec::new();
    for [path, target] in pairs {
        opened.push((open(path)?, target.clone()));
    }
    let databases: Vec<&Database> = opened.iter().map(|(database, _)| database).collect();
    let mut work = begin(ui, &databases)?;
    let seed = args.number("seed")?.unwrap_or(0);
    let count = database::shuffle(&mut opened, backend(args)?, seed, &mut work)?;
    work.quiet();
    let new: Vec<_> = opened.iter().map(|(_, new)| (&**new, count)).collect();
    made(args, ui, &new, "records in another order in")?;
    Ok(Status::Done)
}

pub(super) fn split(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let mut database = open(&words[0])?;
    let share = args.number::<f64>("share")?.unwrap_or(0.9);
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::param(
            "--share",
            format!("{share} is no share; it goes from 0 to 1"),
        ));
    }
    let seed = args.number("seed")?.unwrap_or(0);
    let targets = [&*words[1], &*words[2]];
    distinct(targets)?;
    let mut work = begin(ui, &[&database])?;
    let counts = database::split(
        &mut database,
        targets,
        share,
        backend(args)?,
        seed,
        &mut work,
    )?;
    work.quiet();
    let new: Vec<_> = targets.into_iter().zip(counts).collect();
    made(args, ui, &new, "records in")?;
    Ok(Status::Done)
}

pub(super) fn merge(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let (target, paths) = (&words[0], &words[1..]);
    let mut databases = Vec::new();
    for path in paths {
        databases.push(open(path)?);
    }
    let first = databases.first().map(Database::kind);
    let kind = backend(args)?.or(first).unwrap_or_default();
    let all: Vec<&Database> = databases.iter().collect();
    let mut work = begin(ui, &all)?;
    let keep = args.switch("keep_keys");
    let count = database::merge(&mut databases, target, kind, keep, &mut work)?;
    work.quiet();
    made(args, ui, &[(target, count)], "records in")?;
    Ok(Status::Done)
}

pub(super) fn export(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let mut database = open(&words[0])?;
    let mut work = begin(ui, &[&database])?;
    let count = database::export(&mut database, &words[1], &mut work)?;
    work.quiet();
    made(args, ui, &[(&words[1], count)], "files and list.txt in")?;
    Ok(Status::Done)
}
