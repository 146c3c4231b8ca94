//! What looks at a net while it works, and fills the figures of [`crate::metrics`].
