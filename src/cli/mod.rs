//! The commands.

pub mod quickstart;
