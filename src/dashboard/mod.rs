//! The record of a run as a page: live over HTTP, or left as one file.
//!
//! [`Server`] serves runs from their folders; whoever trains writes the record ([`crate::journal`]), and the server
//! follows the file, as it follows one that another program writes. So slow readers wait for nobody, and nobody for
//! them. [`report`] is the same page with the lines and pictures in it.

mod control;
mod databases;
mod guard;
mod page;
mod report;
mod runs;
mod server;
mod stream;

pub use control::{Controls, Wish};
pub use databases::Databases;
pub use report::{Run, report, write_report};
pub use runs::{Runs, Served};
pub use server::{PORT, Server, parse_address};
