//! `completions` and `man`: what shells and `man` know of the commands, made from the same table.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Arg, ValueHint, builder::PossibleValuesParser};
use clap_complete::Shell;

use super::{
    COMMANDS,
    args::{Args, Flag, flags},
    command::{Command, Status},
    exits, names,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    journal::date,
    model_io::write_file,
};

/// The row of `completions`.
pub(super) const COMPLETIONS: Command = Command {
    name: "completions",
    about: "print the completions for a shell",
    flags: &[
        Flag::operand("shell", "SHELL", "bash, zsh, fish, elvish or powershell"),
        Flag::value(
            "name",
            "NAME",
            "What the program is called by: caffe, or a tool such as convert_imageset (default: cortado)",
        ),
    ],
    examples: "  cortado completions bash\n  cortado completions zsh\n  cortado completions fish --name=caffe",
    run: completions,
};

/// The row of `man`.
pub(super) const MAN: Command = Command {
    name: "man",
    about: "write manual pages, one for each command",
    flags: &[Flag::operand(
        "dir",
        "DIR",
        "The folder to write them to (default: man1)",
    )],
    examples: "  cortado man\n  cortado man /usr/local/share/man/man1",
    run: man,
};

/// A command as shells and manual pages show it, each with its own form of a flag: without what is only taken for the
/// sake of old scripts.
fn shown(command: &Command, arg: fn(&Flag) -> Arg) -> clap::Command {
    let flags = flags(command).filter(|flag| !flag.hidden);
    clap::Command::new(command.name)
        .about(command.about)
        .version(env!("CARGO_PKG_VERSION"))
        .args(flags.map(arg))
}

/// The whole program as clap sees it.
fn program() -> clap::Command {
    clap::Command::new("cortado")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommands(COMMANDS.iter().map(|command| shown(command, completed)))
}

/// A flag that knows what its value may be.
fn completed(flag: &Flag) -> Arg {
    let arg = flag.arg();
    let value = flag.value.unwrap_or_default();
    let words = words(flag);
    if !words.is_empty() {
        return arg.value_parser(PossibleValuesParser::new(words));
    }
    let hint = match value {
        "DIR" | "FOLDER/" | "RUN_DIR" | "ROOTFOLDER/" => ValueHint::DirPath,
        "" | "N" | "X" => return arg,
        value if value.contains("FILE") => ValueHint::FilePath,
        _ => return arg,
    };
    arg.value_hint(hint)
}

/// Values in capitals that are words themselves.
const CAPITALS: [&str; 2] = ["TB|LR", "[CPU|GPU]"];

/// The words that a value is one of, where the table names them all: `lmdb|leveldb`, or a help that is nothing but a list.
fn words(flag: &Flag) -> Vec<&'static str> {
    let plain = |word: &&str| {
        let all = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        !word.is_empty() && word.chars().all(all)
    };
    let value = flag.value.unwrap_or_default();
    let capitals = CAPITALS.contains(&value);
    let told: Vec<&str> = match value.contains('|') {
        true => value.trim_matches(['[', ']']).split('|').collect(),
        false => flag
            .help
            .split(", ")
            .flat_map(|part| part.split(" or "))
            .collect(),
    };
    let known = told.len() > 1 && (capitals || told.iter().all(plain));
    if flag.value.is_some() && known {
        told
    } else {
        Vec::new()
    }
}

/// Bash cuts words at `=`, so that the value of `--flag=value` has the `=` before it and not the flag.
const BASH_WORDS: &str = r#"
    if [[ "${cur}" == "=" ]]; then
        cur=""
    elif [[ "${prev}" == "=" && "${COMP_CWORD}" -ge 2 ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
"#;

/// Words that stand alone, which clap does not tell fish of.
fn fish_words(name: &str, only: Option<&Command>) -> String {
    let function = name.replace('-', "_");
    let commands = match only {
        Some(only) => vec![only],
        None => COMMANDS.to_vec(),
    };
    let mut lines = String::new();
    for command in commands {
        let operands = command.flags.iter().filter(|f| f.operand && !f.hidden);
        for word in operands.flat_map(words) {
            let within = match only {
                Some(_) => String::new(),
                None => format!(
                    " -n \"__fish_{function}_using_subcommand {}\"",
                    command.name
                ),
            };
            lines += &format!("complete -c {name}{within} -a {word}\n");
        }
    }
    lines
}

fn completions(args: &Args, ui: &mut Ui) -> Result<Status> {
    let shells = [
        ("bash", Shell::Bash),
        ("zsh", Shell::Zsh),
        ("fish", Shell::Fish),
        ("elvish", Shell::Elvish),
        ("powershell", Shell::PowerShell),
    ];
    let shell = args.word("shell", &shells)?.ok_or_else(|| {
        Error::new(ErrorKind::Param, "completions needs the name of a shell")
            .help("for example: cortado completions bash > /etc/bash_completion.d/cortado")
    })?;
    let name = args.text("name").unwrap_or_else(|| "cortado".into());
    // It becomes part of a script.
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        return Err(Error::param(
            "--name",
            format!("'{name}' has other characters than letters, digits and - _ ."),
        ));
    }
    let stem = name.split('.').next().unwrap_or_default();
    let tool = names::command(stem);
    let only = COMMANDS.iter().copied().find(|c| Some(c.name) == tool);
    let mut clap = only.map_or_else(program, |command| shown(command, completed));
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut clap, &name, &mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    match shell {
        Shell::Bash => {
            let prev = "    prev=\"$3\"\n";
            text = text.replacen(prev, &format!("{prev}{}", &BASH_WORDS[1..]), 1);
        }
        Shell::Fish => text += &fish_words(&name, only),
        _ => {}
    }
    ui.print(&text)?;
    Ok(Status::Done)
}

fn man(args: &Args, ui: &mut Ui) -> Result<Status> {
    let dir = args.path("dir").unwrap_or_else(|| "man1".into());
    std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, &e))?;
    write(&dir, "cortado", &page("cortado", program(), None))?;
    for command in COMMANDS {
        let name = format!("cortado-{}", command.name);
        write(
            &dir,
            &name,
            &page(&name, shown(command, Flag::arg), Some(command)),
        )?;
    }
    ui.print(&format!(
        "{} pages in {}\n",
        COMMANDS.len() + 1,
        dir.display()
    ))?;
    Ok(Status::Done)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    write_file(&dir.join(format!("{name}.1")), text.as_bytes())
}

/// Today, as `man` writes dates.
fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let (year, month, day) = date(now.unwrap_or_default().as_secs() / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Text as roff takes it: nothing in it is a command.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let text = text.replace('\'', "\\(aq");
    if text.starts_with('.') {
        format!("\\&{text}")
    } else {
        text
    }
}

/// A manual page; `command` is `None` for that of the whole program.
fn page(name: &str, clap: clap::Command, command: Option<&Command>) -> String {
    let mut text = Vec::new();
    let man = clap_mangen::Man::new(clap.display_name(name.to_owned()))
        .title(name)
        .date(today())
        .source(concat!("cortado ", env!("CARGO_PKG_VERSION")))
        .manual("cortado");
    // Writing to memory does not fail.
    let _ = man.render(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let call = name.replacen('-', " ", 1);
    let mut synopsis = format!(".B {}\n", plain(&call));
    let mut more = String::new();
    match command {
        None => synopsis += "\\fIcommand\\fR [\\fIflags\\fR]\n",
        Some(command) => {
            synopsis += "[\\fIflags\\fR]";
            for operand in command.flags.iter().filter(|f| f.operand && !f.hidden) {
                let dots = if operand.many { "..." } else { "" };
                let value = operand.value.unwrap_or(operand.name);
                synopsis += &format!(" [\\fI{}\\fR]{dots}", plain(value));
            }
            more += ".SH EXAMPLES\n.nf\n";
            for line in command.examples.lines() {
                more += &format!("{}\n", plain(line.trim_start()));
            }
            more += ".fi\n";
            synopsis.push('\n');
        }
    }
    more += ".SH NOTES\nFlags may have one dash or two, and their values stand behind = or a space: \\-threads=2, \\-\\-threads 2.\n";
    more += ".SH EXIT STATUS\n";
    for (code, meaning) in exits::of(command.map_or("", |c| c.name)) {
        more += &format!(".TP\n\\fB{code}\\fR\n{}\n", plain(&meaning));
    }
    if command.is_some() {
        more += ".SH SEE ALSO\n.BR cortado (1)\n";
    }
    let (before, rest) = text.split_once(".SH SYNOPSIS\n").unwrap_or((&text, ""));
    let (_, rest) = rest.split_once(".SH ").unwrap_or(("", rest));
    let (rest, version) = rest.split_once(".SH VERSION\n").unwrap_or((rest, ""));
    let all = format!("{before}.SH SYNOPSIS\n{synopsis}.SH {rest}{more}.SH VERSION\n{version}");
    all.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_known_to_shells() {
        let mut text = Vec::new();
        clap_complete::generate(Shell::Bash, &mut program(), "cortado", &mut text);
        let text = String::from_utf8(text).unwrap();
        for command in COMMANDS {
            assert!(text.contains(command.name), "{}", command.name);
        }
        assert!(text.contains("--snapshot") && !text.contains("--logtostderr"));
        // What is put right behind it, and what the table's words became.
        assert!(text.contains("    prev=\"$3\"\n"));
        assert!(text.contains("compgen -W \"lmdb leveldb\""));
    }

    #[test]
    fn values_are_words_where_the_table_names_them_all() {
        let of = |value, help| words(&Flag::value("x", value, help));
        assert_eq!(of("lmdb|leveldb", "The kind"), ["lmdb", "leveldb"]);
        assert_eq!(of("TB|LR", "From where"), ["TB", "LR"]);
        assert_eq!(of("SHELL", "bash, zsh or fish"), ["bash", "zsh", "fish"]);
        assert!(of("FILE|VALUES", "Subtract").is_empty());
        assert!(of("N", "How many, or none").is_empty());
        assert!(words(&Flag::switch("x", "this or that")).is_empty());
    }

    #[test]
    fn pages_have_flags_and_examples() {
        let train = COMMANDS.iter().find(|c| c.name == "train").unwrap();
        let text = page("cortado-train", shown(train, Flag::arg), Some(train));
        assert!(text.starts_with(".ie") && text.contains("snapshot"));
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "EXIT STATUS",
        ] {
            assert_eq!(
                text.matches(&format!("\n.SH {section}\n")).count(),
                1,
                "{section}"
            );
        }
        assert!(text.contains("\n.B cortado train\n[\\fIflags\\fR]\n.SH DESCRIPTION\n"));
        assert!(!text.contains(" \n"));
    }
}
