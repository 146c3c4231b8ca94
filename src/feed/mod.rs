//! What brings samples.
