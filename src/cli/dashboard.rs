//! `dashboard`: the page of runs that were, or that another program is at.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets,
    record::say,
    ui::Ui,
};
use crate::{
    dashboard::{self, Databases, Run, Runs, Server},
    error::Result,
    events::Silent,
    graph::{filter, state_of},
    load::{self, LoadOptions},
    schema::{NetParameter, Phase},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "dashboard",
    about: "show recorded runs as a page, also while they go on",
    flags: &[
        Flag::operand(
            "runs",
            "RUN_DIR",
            "Folders of runs, laid over each other; a folder may hold several",
        )
        .many(),
        Flag::value(
            "address",
            "ADDR",
            "Where to listen: a port of this machine (default 8090), or ADDR:PORT for others, with a token then",
        ),
        Flag::value(
            "report",
            "FILE",
            "Write the page as one file instead of serving it",
        ),
        Flag::value(
            "solver",
            "FILE",
            "The solver's definition, to look through the databases that its nets name",
        ),
    ],
    examples: "  cortado dashboard snapshots/lenet_run\n  cortado dashboard runs/a runs/b --address=9000\n  cortado dashboard snapshots/lenet_run --report=lenet.html",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let folders = args.all_paths("runs");
    if folders.is_empty() {
        args.operand("runs", "a run's folder", "dashboard snapshots/lenet_run")?;
    }
    let runs = Runs::of(&folders)?;
    if let Some(file) = args.path("report") {
        let all: Vec<Run> = runs
            .all()
            .into_iter()
            .map(|run| Run {
                name: run.name,
                folder: run.folder,
            })
            .collect();
        dashboard::write_report(&all, &title(&all), &file)?;
        return Ok(Status::Done);
    }
    let address = address(args, "address")?;
    let databases = match args.path("solver") {
        Some(solver) => Databases::of(&nets_of(&solver, nets::options(args)?)?, Path::new("")),
        None => Databases::default(),
    };
    let server = Server::start(address, "cortado", runs, databases)?;
    tell(&server, ui);
    server.wait();
    Ok(Status::Done)
}

/// What a page of these runs is called.
fn title(runs: &[Run]) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    names.join(", ")
}

/// The address of a flag.
pub(super) fn address(args: &Args, flag: &str) -> Result<Option<SocketAddr>> {
    dashboard::parse_address(&args.text(flag).unwrap_or_default())
}

/// Tells where the page is.
pub(super) fn tell(server: &Server, ui: &mut Ui) {
    if server.moved() {
        say(
            ui,
            &format!("port {} is taken; another one was free", dashboard::PORT),
        );
    }
    say(ui, &format!("dashboard: {}", server.url()));
    if server.everywhere() {
        say(
            ui,
            "from other machines: the same with this one's name or address",
        );
    }
}

/// The nets that a solver's file names, as they are in each phase.
fn nets_of(solver: &Path, options: LoadOptions) -> Result<Vec<NetParameter>> {
    let param = load::solver(solver, options, &mut Silent)?;
    let mut found = Vec::new();
    let mut take = |net: &NetParameter, phase| -> Result<()> {
        let mut net = net.clone();
        net.state = Some(state_of(&net, phase, None));
        found.push(filter(&net)?.0);
        Ok(())
    };
    let read = |file: &String| load::net(&PathBuf::from(file), options, &mut Silent);
    for file in param.net.iter().chain(&param.train_net) {
        take(&read(file)?.net, Phase::Train)?;
    }
    for file in param.net.iter().chain(&param.test_net) {
        take(&read(file)?.net, Phase::Test)?;
    }
    for net in param.net_param.iter().chain(&param.train_net_param) {
        take(net, Phase::Train)?;
    }
    for net in param.net_param.iter().chain(&param.test_net_param) {
        take(net, Phase::Test)?;
    }
    Ok(found)
}
