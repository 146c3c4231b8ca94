//! What a command is: one row of the table.

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::error::Result;

/// How a command ended, where it ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As hoped: exit code 0.
    Done,
    /// What was to be checked does not hold: exit code 1.
    Failed,
    /// In a way that one of Caffe's tools tells by this exit code; what was wrong has been said.
    Exit(u8),
}

/// A command of the program. One `const` in its file, one row in [`super::COMMANDS`].
pub struct Command {
    /// The word on the command line.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Its flags, besides [`super::args::COMMON`].
    pub flags: &'static [Flag],
    /// Whole command lines, each indented by two spaces.
    pub examples: &'static str,
    /// Does the work.
    pub run: fn(&Args, &mut Ui) -> Result<Status>,
}
