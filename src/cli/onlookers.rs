//! Who looks on while a net trains: its record, what watches the nets for it, and the page with its wishes.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{
    args::{Args, Flag},
    dashboard,
    record::{self, Named, Recording},
    ui::Ui,
};
use crate::{
    dashboard::{Controls, Databases, Runs, Served, Server, Wish},
    error::{Error, Result},
    events::{Event, Observer},
    net::{Keep, NetOptions},
    number::g,
    schema::{NetParameter, SolverParameter},
    solver::{Action, Solver, SolverOptions},
    watch::{Maps, Vitals, WorstSamples, heads, maps::MapsOptions},
};

pub(crate) const DASHBOARD: Flag = Flag::value(
    "dashboard",
    "ADDR",
    "Show the run as a page while it goes on: on a port of this machine (8090 where none is named), or on ADDR:PORT for others, with a token then; keeps a record as --run does",
)
.optional();
pub(crate) const MAPS: Flag = Flag::value(
    "maps",
    "BLOBS",
    "Blobs to make heat maps of for the record, besides the scores, separated by commas",
);

/// Samples that heat maps are made of.
const SAMPLES: usize = 4;
/// The worst samples of a test that are told.
const WORST: usize = 12;
/// Iterations between two looks at the layers, at least: they take time.
const SELDOM: u64 = 20;

/// Everybody who looks on.
pub(crate) struct Onlookers {
    recording: Recording,
    maps: Vec<String>,
    /// The messages of the train net and of the test nets.
    nets: Vec<NetParameter>,
    shown: bool,
    address: Option<SocketAddr>,
    controls: Controls,
    server: Option<Server>,
}

impl Onlookers {
    /// Begins the record that the flags ask for.
    ///
    /// # Errors
    /// Where a flag makes no sense, or a file cannot be made.
    pub(crate) fn start(
        args: &Args,
        param: &SolverParameter,
        solver: &Path,
        go_on: bool,
        ui: &mut Ui,
    ) -> Result<Self> {
        let shown = args.given(DASHBOARD.name);
        let address = dashboard::address(args, DASHBOARD.name)?;
        let folder = shown.then(|| record::folder_of(param, solver, go_on));
        let folder = args.path(record::RUN.name).or(folder);
        let named = Named {
            name: &record::name_of(folder.as_deref(), solver),
            file: solver,
            folder,
            go_on,
        };
        let recording = Recording::start(args, named, ui)?;
        let maps = args.list(MAPS.name);
        if !maps.is_empty() && !recording.pictures() {
            ui.warn("--maps: nobody keeps the pictures; add --run, --dashboard or --tensorboard");
        }
        Ok(Self {
            recording,
            maps,
            nets: Vec::new(),
            shown,
            address,
            controls: Controls::default(),
            server: None,
        })
    }

    /// Asks for the blobs that are looked at.
    pub(crate) fn want(&self, options: &mut SolverOptions) {
        if self.recording.pictures() {
            options.keep = Keep::Named;
            options.wanted.get_or_insert(heads::wanted);
        }
    }

    /// Hears what the nets are that `ui` is told of.
    pub(crate) fn hearing<'a>(&'a mut self, ui: &'a mut Ui) -> impl Observer + 'a {
        |event: &Event<'_>| {
            if let Event::NetInit { net } = event {
                self.nets.push((*net).clone());
            }
            ui.on(event);
        }
    }

    /// Looks on from here, and shows the page.
    ///
    /// # Errors
    /// Where the page cannot be served.
    pub(crate) fn look_on(&mut self, solver: &mut Solver, ui: &mut Ui) -> Result<()> {
        if self.recording.pictures() {
            watch(solver, &self.nets, &self.maps, Path::new(""), ui);
        }
        let (true, Some(folder)) = (self.shown, self.recording.folder()) else {
            return Ok(());
        };
        let name = record::name_of(Some(folder), folder);
        let run = Served {
            name: name.clone(),
            folder: folder.to_owned(),
            controls: Some(self.controls.clone()),
        };
        let databases = Databases::of(&self.nets, Path::new(""));
        let server = Server::start(self.address, &name, Runs::own(run), databases)?;
        dashboard::tell(&server, ui);
        self.server = Some(server);
        Ok(())
    }

    /// What the page asks for, as it comes.
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            controls: self.controls.clone(),
            said: Mutex::default(),
        }
    }

    /// Ends the record, leaves the page as a file, and lets its readers hear the end.
    pub(crate) fn end(&mut self, error: Option<&Error>, ui: &mut Ui) {
        self.recording.end(error, ui);
        self.controls.close();
        if let Some(server) = self.server.take() {
            server.finish();
        }
    }
}

/// Lets watchers look, as often as the run is tested or displayed. `nets` are the messages of the train net and of the
/// test nets, `maps` the blobs to make heat maps of besides the scores; paths of the nets start at `root`.
pub(crate) fn watch(
    solver: &mut Solver,
    nets: &[NetParameter],
    maps: &[String],
    root: &Path,
    observer: &mut dyn Observer,
) {
    let [train, tests @ ..] = nets else {
        return;
    };
    let interval = |n: i32| u64::try_from(n).ok().filter(|&n| n > 0);
    let param = solver.param();
    let tested = interval(param.test_interval()).filter(|_| !tests.is_empty());
    let every = tested.or(interval(param.display())).unwrap_or(100);
    let every = every.saturating_mul(SELDOM.div_ceil(every));
    solver.watch(Box::new(Vitals::new(every)));
    let options = MapsOptions {
        blobs: maps,
        samples: SAMPLES,
        net: NetOptions {
            root: root.to_owned(),
            seed: solver.seed(),
            ..NetOptions::default()
        },
        every: tested.is_none().then_some(every),
    };
    let net = tests.first().unwrap_or(train);
    match Maps::new(net, &solver.net, &mut solver.params, &options) {
        Ok(Some(made)) => {
            for blob in made.unknown() {
                observer.on(&Event::Warning(&format!(
                    "--maps: the net has no blob '{blob}'"
                )));
            }
            solver.watch(Box::new(made));
        }
        Ok(None) => {}
        Err(error) => observer.on(&Event::Warning(&format!("there are no heat maps: {error}"))),
    }
    solver.watch(Box::new(WorstSamples::new(tests, WORST)));
}

/// What the page asks for.
pub(crate) struct Wishes {
    controls: Controls,
    /// What is to be told of it.
    said: Mutex<Vec<String>>,
}

impl Wishes {
    /// The next wish, as what the solver is to do.
    pub(crate) fn next(&self) -> Action {
        let Some(wish) = self.controls.take() else {
            return Action::Continue;
        };
        let (action, words) = match wish {
            Wish::Snapshot => (Action::Snapshot, "a snapshot".to_owned()),
            Wish::Stop => (Action::Stop, "the end".to_owned()),
            Wish::Rate(rate) => (Action::Rate(rate), format!("the rate {}", g(rate))),
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push(format!("the page asks for {words}"));
        action
    }

    /// Tells what was asked for.
    pub(crate) fn tell(&self, ui: &mut Ui) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for text in std::mem::take(&mut *said) {
            ui.on(&Event::Note(&text));
        }
    }
}
