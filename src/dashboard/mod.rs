//! The record of a run as a page: live over HTTP, or left as one file.
