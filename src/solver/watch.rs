//! Who looks on while a solver works.
//!
//! Events tell figures; a watcher sees the nets and the parameters themselves. It is lent them between two steps of the
//! run. It may run nets of its own on the parameters, and changes nothing of what comes after.

use crate::{error::Result, events::Observer, net::Net, params::Params};

/// What a watcher is shown.
pub struct Look<'a> {
    /// The iteration under way; in a test, the one that it follows.
    pub iteration: u64,
    /// The net that just worked.
    pub net: &'a Net,
    /// The parameters of all nets.
    pub params: &'a mut Params,
    /// Index of the test net; `None` in training.
    pub test: Option<usize>,
    /// Which pass of the test, from 0.
    pub pass: u64,
}

/// Looks on. Every method may be left out.
pub trait Watch {
    /// Whether the train net's steps should be timed in this iteration, for [`Net::times`].
    fn wants_times(&self, _iteration: u64) -> bool {
        false
    }

    /// After the backward passes of an iteration: parameters hold what `iter_size` passes added up, before clipping and
    /// decay; the net holds the blobs of the last pass, as far as it keeps them.
    ///
    /// # Errors
    /// Ends the training.
    fn gradients(&mut self, _look: &mut Look<'_>, _observer: &mut dyn Observer) -> Result<()> {
        Ok(())
    }

    /// After the update of the same iteration.
    ///
    /// # Errors
    /// Ends the training.
    fn updated(&mut self, _look: &mut Look<'_>, _observer: &mut dyn Observer) -> Result<()> {
        Ok(())
    }

    /// After each pass of a test.
    ///
    /// # Errors
    /// Ends the test.
    fn test_pass(&mut self, _look: &mut Look<'_>, _observer: &mut dyn Observer) -> Result<()> {
        Ok(())
    }

    /// After the last pass of a test, when its means were told. A test that was stopped does not come here.
    ///
    /// # Errors
    /// Ends the test.
    fn test_done(&mut self, _look: &mut Look<'_>, _observer: &mut dyn Observer) -> Result<()> {
        Ok(())
    }
}
