//! Files that nets and solvers name: whether they are there, and what is there instead.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::Rule;
use crate::{
    check::{
        finding::{Edit, Finding},
        subject::{Subject, edit, files_of, under},
        view::{View, is_other_kind},
    },
    error::{Error, Place},
    events::Severity,
    nearest,
    text::{ScalarKind, Value},
};

pub(super) const MISSING: Rule = Rule {
    code: "N090",
    severity: Severity::Error,
    title: "a file that is not there",
    reason: "A path in a net or a solver starts where the program is started, not where the file lies that names it.",
    fix: "Correct the path; the message says where it was looked for, and what is near.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "imges_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "more" type: "Data" top: "more" data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "more" type: "Data" top: "more" data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
"#,
    run: missing,
};

pub(super) const OTHER_KIND: Rule = Rule {
    code: "N091",
    severity: Severity::Error,
    title: "something else is where a database should be",
    reason: "The path exists, but it holds a database of the other kind, or none: an LMDB is a folder with a file data.mdb, a \
             LevelDB one with a file CURRENT.",
    fix: "Say the backend that is there (--fix does), or correct the path.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LEVELDB batch_size: 2 } }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
"#,
    run: other_kind,
};

pub(super) const OTHER_FOLDER: Rule = Rule {
    code: "N092",
    severity: Severity::Warning,
    title: "the paths start in another folder",
    reason: "Everything that the files name is there, seen from another folder than the one the program was started in. Training \
             would look here, and find nothing.",
    fix: "Start training in the folder that the message names.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "below_lmdb" backend: LMDB batch_size: 2 } }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
"#,
    run: other_folder,
};

pub(super) const NOTHING_HERE: Rule = Rule {
    code: "N093",
    severity: Severity::Warning,
    title: "none of the data is here",
    reason: "Not one of the databases and lists that the net names is on this machine, seen from here or from the folders of the \
             files. What depends on the data, shapes and labels, could not be looked at.",
    fix: "Run check where the data is; or tell shapes: --shape=data:100x3x48x48,label:100.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "/data/on/another/machine_lmdb" backend: LMDB batch_size: 2 } }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
"#,
    run: nothing_here,
};

pub(super) const NO_SNAPSHOT_FOLDER: Rule = Rule {
    code: "N094",
    severity: Severity::Error,
    title: "no folder for the snapshots",
    reason: "snapshot_prefix is the start of a path. Its folder has to be there: nobody makes it, and the first snapshot, after \
             hours perhaps, cannot be written.",
    fix: "Make the folder, or change the prefix.",
    wrong: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "no_such_folder/s""#,
    right: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    run: no_snapshot_folder,
};

/// A file that a layer names.
struct Named {
    path: String,
    place: Option<Place>,
    there: bool,
}

fn named(subject: &Subject<'_>) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            let told = |top: &String| subject.options.shapes.iter().any(|(name, _)| name == top);
            if node.layer.top.iter().any(told) {
                continue;
            }
            for (field, path) in files_of(node.layer) {
                // An Infogain matrix may come as a bottom; without a data layer it is not looked for.
                let there = subject.under(&path).exists();
                let place = view.place(id, Some(field));
                if !all.iter().any(|n| n.place == place && n.path == path) {
                    all.push(Named { path, place, there });
                }
            }
        }
    }
    all
}

/// The folder from which the files' paths seem to be meant: here, where enough of them are there; else that of one of the
/// files, or one above it, where all of them are.
pub(in crate::check) fn start<'p>(
    here: &Path,
    files: impl Iterator<Item = &'p Path> + Clone,
    paths: &[String],
) -> PathBuf {
    let count = |root: &Path| paths.iter().filter(|p| under(root, p).exists()).count();
    let relative = paths.iter().any(|p| Path::new(p).is_relative());
    let there = count(here);
    if there == paths.len() || !relative {
        return here.to_path_buf();
    }
    let mut best = (there, here.to_path_buf());
    for file in files {
        let Ok(file) = std::path::absolute(file) else {
            continue;
        };
        for folder in file.ancestors().skip(1).take(6) {
            let found = count(folder);
            if found > best.0 {
                best = (found, folder.to_path_buf());
            }
        }
    }
    best.1
}

/// A path from the root of the file system, without `..`: links are not followed.
fn absolute(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_default().components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn is_here(subject: &Subject<'_>) -> bool {
    subject.root == subject.options.root
}

fn missing(subject: &Subject<'_>) -> Vec<Finding> {
    let all = named(subject);
    let mut found: Vec<Finding> = Vec::new();
    for (path, place) in &subject.missing_nets {
        let full = absolute(&subject.under(path));
        let finding = MISSING
            .finds(format!("the net '{path}' is not there"))
            .at(place.clone());
        found.push(look_near(finding, &full));
    }
    if all.iter().all(|n| !n.there) {
        return found;
    }
    for file in all.iter().filter(|n| !n.there) {
        let full = absolute(&subject.under(&file.path));
        let finding = MISSING
            .finds(format!("'{}' is not there", file.path))
            .at(file.place.clone());
        found.push(look_near(finding, &full));
    }
    found
}

/// With where a path was looked for, and what is near it.
fn look_near(finding: Finding, full: &Path) -> Finding {
    let finding = finding.note(format!("looked for {}", full.display()));
    let parent = full.parent().unwrap_or(full);
    if parent.is_dir() {
        let near = nearest::in_folder(parent, full, |_| false);
        return match near.is_empty() {
            true => finding.help("correct the path, or make the file"),
            false => finding.help(format!("did you mean {}?", near.join(" or "))),
        };
    }
    let there = full.ancestors().skip(1).find(|p| p.is_dir());
    match there {
        Some(there) => finding.help(format!("the path is there up to {}", there.display())),
        None => finding.help("correct the path"),
    }
}

fn other_kind(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            let files = files_of(node.layer);
            let all_there = || files.iter().all(|(_, path)| subject.under(path).exists());
            let told = |e: &&Error| is_other_kind(e) || all_there();
            let Some(error) = node.absent.as_ref().filter(told) else {
                continue;
            };
            let mean = error.message().contains("binaryproto");
            let field = match files.first() {
                _ if mean => "transform_param.mean_file",
                Some((field, _)) => field,
                None => "data_param.source",
            };
            let mut finding = OTHER_KIND
                .finds(error.message())
                .at(view.place(id, Some(field)));
            if let Some(help) = error.help_text() {
                finding = finding.help(help);
                let backend = ["LMDB", "LEVELDB"]
                    .iter()
                    .find(|b| help.contains(&format!("backend: {b}`")));
                finding = finding.edits(
                    backend
                        .and_then(|b| set_backend(view, id, b))
                        .into_iter()
                        .collect(),
                );
            }
            found.push(finding);
        }
    }
    found
}

fn set_backend(view: &View<'_>, node: usize, backend: &str) -> Option<Edit> {
    let (_, block) = view.file.text_of(view.nodes[node].index)?;
    let (_, Value::Block(data)) = block.values("data_param").next()? else {
        return None;
    };
    match data.values("backend").next()?.1 {
        Value::Scalar(scalar) if matches!(scalar.kind, ScalarKind::Word(_)) => {
            Some(edit(&view.file.path, scalar.span, backend))
        }
        _ => None,
    }
}

fn other_folder(subject: &Subject<'_>) -> Vec<Finding> {
    if is_here(subject) {
        return Vec::new();
    }
    let place = match subject.solver {
        Some(solver) => ["net", "train_net"].iter().find_map(|f| solver.place(f)),
        None => named(subject)
            .into_iter()
            .find(|n| n.there)
            .and_then(|n| n.place),
    };
    let here = std::path::absolute(&subject.options.root).unwrap_or_default();
    let here = if here.as_os_str().is_empty() {
        std::env::current_dir().unwrap_or(here)
    } else {
        here
    };
    vec![
        OTHER_FOLDER
            .finds(format!(
                "the paths start in {}, not here",
                subject.root.display()
            ))
            .at(place)
            .note(format!("here is {}", here.display()))
            .help(format!(
                "start training there: cd {}",
                subject.root.display()
            )),
    ]
}

fn nothing_here(subject: &Subject<'_>) -> Vec<Finding> {
    let all = named(subject);
    if all.is_empty() || all.iter().any(|n| n.there) {
        return Vec::new();
    }
    let first = all.first();
    let (files, verb) = match all.len() {
        1 => (format!("'{}'", all[0].path), "is not here"),
        n => (
            format!("the {n} files that the net names, '{}' first,", all[0].path),
            "are not here",
        ),
    };
    vec![
        NOTHING_HERE
            .finds(format!(
                "{files} {verb}: shapes and labels were not looked at"
            ))
            .at(first.and_then(|n| n.place.clone()))
            .note(format!(
                "looked for {}, and from the folders of the files",
                absolute(&subject.under(&all[0].path)).display()
            ))
            .help("run check where the data is, or tell shapes: --shape=data:1x3x48x48,label:1"),
    ]
}

fn no_snapshot_folder(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    // Without the data, or the net, nothing will be trained here.
    let all = named(subject);
    let without = !all.is_empty() && all.iter().all(|n| !n.there);
    if without || !subject.missing_nets.is_empty() {
        return Vec::new();
    }
    let prefix = solver.param.snapshot_prefix();
    let full = subject.under(prefix);
    let Some(folder) = full.parent().filter(|p| !p.as_os_str().is_empty()) else {
        return Vec::new();
    };
    if fs::metadata(folder).is_ok_and(|m| m.is_dir()) {
        return Vec::new();
    }
    let Some(place) = solver.place("snapshot_prefix") else {
        return Vec::new();
    };
    vec![
        NO_SNAPSHOT_FOLDER
            .finds(format!(
                "snapshots go to '{prefix}', and there is no folder {}",
                folder.display()
            ))
            .at(Some(place))
            .help(format!("make it: mkdir -p {}", folder.display())),
    ]
}
