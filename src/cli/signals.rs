//! Ctrl-C and hang-up while training: what they ask for, polled between iterations.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{consts, flag};

use crate::{
    error::{Error, ErrorKind, Result},
    solver::Action,
};

/// The words of `--sigint_effect` and `--sighup_effect`.
pub(crate) const EFFECTS: &[(&str, Action)] = &[
    ("stop", Action::Stop),
    ("snapshot", Action::Snapshot),
    ("none", Action::Continue),
];

/// Signals that came and wait to be answered.
pub(crate) struct Signals {
    pending: Vec<(Arc<AtomicBool>, Action)>,
}

impl Signals {
    /// Listens from now on. Where Ctrl-C stops, a second one ends the program at once.
    pub(crate) fn listen(sigint: Action, sighup: Action) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot listen for signals: {e}"))
        };
        let mut pending = Vec::new();
        #[cfg(unix)]
        {
            let hangup = Arc::new(AtomicBool::new(false));
            flag::register(consts::SIGHUP, hangup.clone()).map_err(failed)?;
            pending.push((hangup, sighup));
        }
        #[cfg(not(unix))]
        let _ = sighup;
        if sigint == Action::Stop {
            let pressed = Arc::new(AtomicBool::new(false));
            // In this order: the first Ctrl-C finds the flag still down.
            flag::register_conditional_shutdown(consts::SIGINT, 130, pressed.clone())
                .map_err(failed)?;
            flag::register(consts::SIGINT, pressed).map_err(failed)?;
        }
        let interrupt = Arc::new(AtomicBool::new(false));
        flag::register(consts::SIGINT, interrupt.clone()).map_err(failed)?;
        pending.push((interrupt, sigint));
        Ok(Self { pending })
    }

    /// What the next signal that came asks for; each is answered once.
    pub(crate) fn take(&self) -> Action {
        self.pending
            .iter()
            .find(|(flag, _)| flag.swap(false, Ordering::Relaxed))
            .map_or(Action::Continue, |&(_, action)| action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_answered_once() {
        let flags: Vec<Arc<AtomicBool>> = (0..2).map(|_| Arc::default()).collect();
        let signals = Signals {
            pending: vec![
                (flags[0].clone(), Action::Snapshot),
                (flags[1].clone(), Action::Stop),
            ],
        };
        assert_eq!(signals.take(), Action::Continue);
        flags[0].store(true, Ordering::Relaxed);
        flags[1].store(true, Ordering::Relaxed);
        assert_eq!(signals.take(), Action::Snapshot);
        assert_eq!(signals.take(), Action::Stop);
        assert_eq!(signals.take(), Action::Continue);
    }
}
