//! `completions` in real shells, `man` before real formatters, and the help of every command.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use cortado::cli::COMMANDS;

use crate::cli::{call, err, fails, out, works};

/// Runs another program where it is installed.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn other(dir: &Path, program: &str, args: &[&str]) -> Option<Output> {
    let output = Command::new(program).current_dir(dir).args(args).output();
    if output.is_err() {
        eprintln!("skipped: there is no {program}");
    }
    output.ok()
}

/// Writes the completions for a shell into the folder.
fn script(dir: &Path, shell: &str, name: &str) {
    let output = call(dir, &format!("completions {shell} --name={name}"));
    works(&output);
    fs::write(dir.join(format!("{name}.{shell}")), output.stdout).unwrap();
}

/// What bash would offer, asked as bash asks; then the words of the line, the last one the one to complete.
const BASH: &str = r#"
. "./$1.bash"; shift
asked=$(complete -p "$1") || exit 1
asked=${asked##*-F }; asked=${asked%% *}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"$asked" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["cortado", "caffe", "convert_imageset"] {
        script(dir.path(), "bash", name);
    }
    fs::write(dir.path().join("my solver.prototxt"), "").unwrap();
    for (name, words, offered) in [
        ("cortado", &["cla"][..], &["classify"][..]),
        ("cortado", &["export"], &["export-onnx"]),
        ("cortado", &["train", "--solv"], &["--solver"]),
        (
            "cortado",
            &["train", "--solver", "my"],
            &["my solver.prototxt"],
        ),
        (
            "cortado",
            &["train", "--solver", "=", "my"],
            &["my solver.prototxt"],
        ),
        (
            "cortado",
            &["convert_imageset", "--backend", ""],
            &["lmdb", "leveldb"],
        ),
        (
            "cortado",
            &["convert_imageset", "--backend", "="],
            &["lmdb", "leveldb"],
        ),
        (
            "cortado",
            &["convert_imageset", "--backend", "=", "lm"],
            &["lmdb"],
        ),
        ("cortado", &["completions", "z"], &["zsh"]),
        ("cortado", &["db", "sta"], &["stats"]),
        ("cortado", &["weights", "no"], &["norms"]),
        ("cortado", &["export-onnx", "--wei"], &["--weights"]),
        // What only old scripts say is taken, and not offered.
        ("cortado", &["train", "--logto"], &[""]),
        ("caffe", &["tes"], &["test"]),
        ("caffe", &["test", "--itera"], &["--iterations"]),
        ("convert_imageset", &["--shuf"], &["--shuffle"]),
    ] {
        let args = [&["-c", BASH, "bash", name, name][..], words].concat();
        let Some(output) = other(dir.path(), "bash", &args) else {
            return;
        };
        works(&output);
        let told: Vec<String> = out(&output).lines().map(str::to_owned).collect();
        assert_eq!(told, offered, "{name} {words:?}");
    }
    let all = [&["-c", BASH, "bash", "cortado", "cortado", ""][..]].concat();
    let all = out(&other(dir.path(), "bash", &all).unwrap());
    for command in COMMANDS {
        assert!(all.lines().any(|line| line == command.name), "{all}");
    }
    fails(&call(dir.path(), "completions"), &["name of a shell"]);
    fails(
        &call(dir.path(), "completions sh"),
        &["'sh' is none of bash"],
    );
    let args = ["completions", "bash", "--name=a;b"];
    let odd = crate::cli::program().args(args).output().unwrap();
    fails(&odd, &["--name", "'a;b'"]);
}

/// A terminal of zsh's own, in which somebody types and presses TAB.
const ZSH: &str = r#"
zmodload zsh/zpty || exit 9
zpty asked zsh -f -i
zpty -w asked 'PROMPT=; autoload -Uz compinit; compinit -D -u; . ./cortado.zsh; print re""ady'
zpty -r -m asked line '*ready*' || exit 1
zpty -w -n asked $'cortado convert_imageset --resize_h\t=3 --backend=le\t; print do""ne\n'
zpty -r -m asked line '*done*' || exit 1
print -r -- "$line"
"#;

#[test]
fn zsh_and_fish_complete() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        script(dir.path(), shell, "cortado");
    }
    if let Some(output) = other(dir.path(), "zsh", &["-f", "-c", ZSH])
        && output.status.code() != Some(9)
    {
        works(&output);
        let typed = out(&output);
        assert!(typed.contains("--resize_height"), "{typed}");
        assert!(typed.contains("leveldb"), "{typed}");
    }
    let fish = |line: &str| {
        let ask = format!(". ./cortado.fish; complete -C '{line}'");
        let output = other(dir.path(), "fish", &["--no-config", "-c", &ask])?;
        works(&output);
        Some(out(&output))
    };
    for (line, wanted) in [
        ("cortado clas", "classify\t"),
        ("cortado train --solv", "--solver\t"),
        ("cortado convert_imageset --backend l", "leveldb"),
        ("cortado completions po", "powershell"),
    ] {
        let Some(told) = fish(line) else { return };
        assert!(
            told.lines().any(|l| l.starts_with(wanted)),
            "{line}: {told}"
        );
    }
}

/// Requests of roff that the pages may use.
const REQUESTS: &[&str] = &[".ie", ".el", ".TH", ".SH", ".TP", ".nf", ".fi", ".B", ".BR"];

#[test]
fn pages_for_man() {
    let dir = tempfile::tempdir().unwrap();
    let output = call(dir.path(), "man pages/man1");
    works(&output);
    assert_eq!(
        out(&output),
        format!("{} pages in pages/man1\n", COMMANDS.len() + 1)
    );
    let pages = dir.path().join("pages/man1");
    let read = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    for command in COMMANDS {
        let text = read(&format!("cortado-{}.1", command.name));
        let mut at = 0;
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "EXIT STATUS",
            "SEE ALSO",
        ] {
            let found = text[at..].find(&format!("\n.SH {section}\n"));
            at += found.unwrap_or_else(|| panic!("{}: no {section}", command.name));
        }
        for flag in command.flags.iter().filter(|f| !f.operand && !f.hidden) {
            let name = flag.name.replace('-', "\\-");
            assert!(
                text.contains(&format!("\\-\\-{name}\\fR")),
                "{}: {name}",
                command.name
            );
        }
        let requests = text.lines().filter(|l| l.starts_with(['.', '\'']));
        for line in requests {
            let request = line.split(' ').next().unwrap();
            assert!(REQUESTS.contains(&request), "{}: {line}", command.name);
        }
        assert!(read("cortado.1").contains(&format!(
            "cortado\\-{}(1)",
            command.name.replace('-', "\\-")
        )));
    }
    assert!(read("cortado-upgrade_net_proto_text.1").contains(".TP\n\\fB2\\fR\n"));
    for entry in fs::read_dir(&pages).unwrap() {
        let page = entry.unwrap().path();
        let page = page.to_str().unwrap();
        for (program, args) in [
            ("groff", &["-man", "-ww", "-Tutf8", "-z"][..]),
            ("mandoc", &["-T", "lint", "-W", "warning"]),
            ("man", &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]),
        ] {
            if let Some(output) = other(dir.path(), program, &[args, &[page]].concat()) {
                let lint = if program == "mandoc" {
                    out(&output)
                } else {
                    String::new()
                };
                let said = err(&output) + &lint;
                assert!(
                    output.status.success() && said.is_empty(),
                    "{program} {page}: {said}"
                );
            }
        }
    }
    fs::write(dir.path().join("file"), "").unwrap();
    fails(&call(dir.path(), "man file"), &["file"]);
}

#[test]
fn every_command_has_help_with_examples_and_exit_codes() {
    let here = Path::new(".");
    for command in COMMANDS {
        let output = call(here, &format!("{} --help", command.name));
        works(&output);
        let text = out(&output);
        for line in command.examples.lines() {
            // Long lines are broken where a terminal is narrow.
            assert!(
                text.contains(line.trim()),
                "{}: {line}\n{text}",
                command.name
            );
        }
        assert!(!command.examples.is_empty(), "{}", command.name);
        for words in [
            "Exit codes:\n  0    done\n  1    an error",
            "\n  130  ended",
        ] {
            assert!(text.contains(words), "{}: {words}", command.name);
        }
        assert_eq!(out(&call(here, &format!("help {}", command.name))), text);
    }
    assert!(out(&call(here, "--help")).contains("Exit codes: 0 "));
}
