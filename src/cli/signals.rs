//! Ctrl-C, hang-up and the wish to end: what they ask for, polled between iterations or records.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{consts, flag};
#[cfg(unix)]
use signal_hook::{iterator, low_level};

use crate::{
    error::{Error, ErrorKind, Result},
    model_io::pending,
    solver::Action,
};

/// The words of `--sigint_effect` and `--sighup_effect`.
pub(crate) const EFFECTS: &[(&str, Action)] = &[
    ("stop", Action::Stop),
    ("snapshot", Action::Snapshot),
    ("none", Action::Continue),
];

fn failed(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot listen for signals: {e}"))
}

/// The signals that the program was started to ignore, a bit each from that of signal 1; none where the system does not
/// tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

/// Signals that came and wait to be answered.
pub(crate) struct Signals {
    pending: Vec<(Arc<AtomicBool>, Action)>,
}

impl Signals {
    /// Listens from now on. Where Ctrl-C stops, a second one ends the program at once.
    pub(crate) fn listen(sigint: Action, sighup: Action) -> Result<Self> {
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

    /// Listens for whatever asks to end work that leaves nothing behind: Ctrl-C, SIGTERM and hang-up stop it, a second
    /// one ends the program at once, and then what is half made goes too. A signal that the program was started to
    /// ignore, as `nohup` does, stays ignored.
    pub(crate) fn ending() -> Result<Self> {
        static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
        if let Some(stop) = STOP.get() {
            return Ok(Self::of(stop));
        }
        let stop = STOP.get_or_init(Arc::default);
        #[cfg(unix)]
        {
            let signals = [consts::SIGINT, consts::SIGTERM, consts::SIGHUP];
            let ignored = ignored();
            let heard = signals.into_iter().filter(|n| ignored >> (n - 1) & 1 == 0);
            let mut signals = iterator::Signals::new(heard).map_err(failed)?;
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut again = false;
                for signal in signals.forever() {
                    stop.store(true, Ordering::Relaxed);
                    if std::mem::replace(&mut again, true) {
                        pending::clear();
                        low_level::exit(128 + signal);
                    }
                }
            });
        }
        #[cfg(not(unix))]
        {
            flag::register_conditional_shutdown(consts::SIGINT, 130, stop.clone())
                .map_err(failed)?;
            flag::register(consts::SIGINT, stop.clone()).map_err(failed)?;
        }
        Ok(Self::of(stop))
    }

    /// Where one flag stops.
    fn of(stop: &Arc<AtomicBool>) -> Self {
        Self {
            pending: vec![(stop.clone(), Action::Stop)],
        }
    }

    /// What the next signal that came asks for; each is answered once.
    pub(crate) fn take(&self) -> Action {
        self.pending
            .iter()
            .find(|(flag, _)| flag.swap(false, Ordering::Relaxed))
            .map_or(Action::Continue, |&(_, action)| action)
    }
}

/// Lets a signal that ends the program take away first what is half made: for commands that do not listen themselves.
pub(crate) fn tidy() -> Result<()> {
    #[cfg(unix)]
    {
        let signals = [consts::SIGINT, consts::SIGTERM, consts::SIGHUP];
        let ignored = ignored();
        let heard = signals.into_iter().filter(|n| ignored >> (n - 1) & 1 == 0);
        let mut signals = iterator::Signals::new(heard).map_err(failed)?;
        std::thread::spawn(move || {
            for signal in signals.forever() {
                pending::clear();
                let _ = low_level::emulate_default_handler(signal);
            }
        });
    }
    Ok(())
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
