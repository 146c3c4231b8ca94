//! What a page may ask of a run: it waits here until the run looks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Wishes that wait at most; a run looks after every iteration.
const WAITING: usize = 16;

/// Something that is asked of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    /// Save a snapshot.
    Snapshot,
    /// Stop, with a snapshot where the solver makes one at the end.
    Stop,
    /// Go on at this rate.
    Rate(f32),
}

/// The wishes of all pages; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Controls(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    wishes: VecDeque<Wish>,
    closed: bool,
}

impl Controls {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next wish.
    pub fn take(&self) -> Option<Wish> {
        self.state().wishes.pop_front()
    }

    /// The run has ended: nothing is taken any more.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wishes.clear();
    }

    /// Whether the run still looks.
    pub(super) fn open(&self) -> bool {
        !self.state().closed
    }

    /// Asks for something; words where that cannot be.
    pub(super) fn ask(&self, wish: Wish) -> Result<(), &'static str> {
        if let Wish::Rate(rate) = wish
            && !(rate.is_finite() && rate >= 0.0)
        {
            return Err("a rate is a number, 0 or above");
        }
        let mut state = self.state();
        if state.closed {
            return Err("the run has ended");
        }
        if state.wishes.len() >= WAITING {
            return Err("the run has not answered the last wishes yet");
        }
        state.wishes.push_back(wish);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_answered_in_their_order_and_are_bounded() {
        let controls = Controls::default();
        let page = controls.clone();
        assert_eq!(page.ask(Wish::Rate(0.5)), Ok(()));
        assert_eq!(page.ask(Wish::Snapshot), Ok(()));
        assert_eq!(controls.take(), Some(Wish::Rate(0.5)));
        assert_eq!(controls.take(), Some(Wish::Snapshot));
        assert_eq!(controls.take(), None);
        assert!(page.ask(Wish::Rate(f32::NAN)).is_err());
        assert!(page.ask(Wish::Rate(-1.0)).is_err());
        let asked = (0..100).filter(|_| page.ask(Wish::Stop).is_ok()).count();
        assert_eq!(asked, WAITING);
        controls.close();
        assert!(page.ask(Wish::Stop).is_err() && controls.take().is_none());
    }
}
