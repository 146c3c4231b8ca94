//! The command around [`super::run`].

use super::{QuickstartArgs, run};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    error::Result,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "quickstart",
    about: "draw faces, train the facial-region network as written and repaired, show both",
    flags: &[
        Flag::value(
            "dir",
            "DIR",
            "The folder to write (default cortado-quickstart)",
        ),
        Flag::value(
            "seed",
            "N",
            "Names the faces and the first weights (default 1)",
        ),
        Flag::value("train", "N", "Faces to train on (default 400)"),
        Flag::value("test", "N", "Faces to test on (default 100)"),
        Flag::value(
            "iterations",
            "N",
            "Iterations of each network (default: as its solver file says)",
        ),
        Flag::switch("force", "Write into a folder that quickstart did not make"),
    ],
    examples: "  cortado quickstart\n  cortado quickstart --dir=faces --seed=7 --iterations=100",
    run: start,
};

fn start(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usual = QuickstartArgs::default();
    let wanted = QuickstartArgs {
        dir: args.path("dir").unwrap_or(usual.dir),
        seed: args.number("seed")?.unwrap_or(usual.seed),
        train: args.number("train")?.unwrap_or(usual.train),
        test: args.number("test")?.unwrap_or(usual.test),
        iterations: args.number("iterations")?.or(usual.iterations),
        force: args.switch("force"),
    };
    let mut text = Vec::new();
    run(&wanted, ui, &mut text)?;
    ui.print(&String::from_utf8_lossy(&text))?;
    Ok(Status::Done)
}
