//! Room for packed panels: one buffer for each thread, kept from product to product, so that nothing is allocated
//! once it has grown.

use std::cell::Cell;

/// Floats of a cache line.
const LINE: usize = 16;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The thread's buffer, until it is dropped.
pub(super) struct Scratch(Vec<f32>);

impl Scratch {
    /// At least `len` floats from [`Scratch::floats`].
    pub(super) fn take(len: usize) -> Self {
        let mut buffer = KEPT.take();
        if buffer.len() < len + LINE {
            buffer = vec![0.0; len + LINE];
        }
        Self(buffer)
    }

    /// The floats, from the start of a cache line on. They hold what the last product left.
    pub(super) fn floats(&mut self) -> &mut [f32] {
        // Where the address cannot be aligned, any start will do: this is about speed alone.
        let skip = self.0.as_ptr().align_offset(LINE * size_of::<f32>());
        &mut self.0[if skip < LINE { skip } else { 0 }..]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        KEPT.set(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_kept_and_aligned() {
        let first = Scratch::take(100).floats().as_ptr();
        let mut second = Scratch::take(90);
        assert_eq!(second.floats().as_ptr(), first);
        assert!(second.floats().len() >= 90);
        assert_eq!(first as usize % 64, 0);
        // While one is taken, the next is another.
        assert_ne!(Scratch::take(90).floats().as_ptr(), first);
    }
}
