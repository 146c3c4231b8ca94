//! `completions` and `man`: what shells and `man` know of the commands, made from the same table.

use std::path::Path;

use clap_complete::Shell;

use super::{
    COMMANDS,
    args::{Args, Flag, clap_command},
    command::{Command, Status},
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model_io::write_file,
};

/// The row of `completions`.
pub(super) const COMPLETIONS: Command = Command {
    name: "completions",
    about: "print the completions for a shell",
    flags: &[Flag::operand(
        "shell",
        "SHELL",
        "bash, zsh, fish, elvish or powershell",
    )],
    examples: "  cortado completions bash\n  cortado completions zsh",
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

/// The whole program as clap sees it.
fn program() -> clap::Command {
    clap::Command::new("cortado")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(
            COMMANDS
                .iter()
                .map(|command| clap_command(command, &format!("cortado {}", command.name))),
        )
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
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut program(), "cortado", &mut text);
    ui.print(&String::from_utf8_lossy(&text))?;
    Ok(Status::Done)
}

fn man(args: &Args, ui: &mut Ui) -> Result<Status> {
    let dir = args.path("dir").unwrap_or_else(|| "man1".into());
    std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, &e))?;
    page(&dir, "cortado", program())?;
    for command in COMMANDS {
        let name = format!("cortado-{}", command.name);
        let clap = clap_command(command, &format!("cortado {}", command.name));
        page(&dir, &name, clap.display_name(name.clone()))?;
    }
    ui.print(&format!(
        "{} pages in {}\n",
        COMMANDS.len() + 1,
        dir.display()
    ))?;
    Ok(Status::Done)
}

fn page(dir: &Path, name: &str, command: clap::Command) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|e| Error::io("make", &path, &e))?;
    write_file(&path, &text)
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
        assert!(text.contains("--snapshot"));
    }

    #[test]
    fn pages_have_flags_and_examples() {
        let dir = tempfile::tempdir().unwrap();
        let train = COMMANDS.iter().find(|c| c.name == "train").unwrap();
        page(dir.path(), "x", clap_command(train, "cortado train")).unwrap();
        let text = std::fs::read_to_string(dir.path().join("x.1")).unwrap();
        assert!(text.starts_with(".ie") && text.contains("snapshot") && text.contains("Examples"));
    }
}
