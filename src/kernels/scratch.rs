//! Room for packed panels and fields: a few buffers for each thread, kept from product to product, so that nothing is
//! allocated once they have grown.

use std::cell::RefCell;

/// Floats of a cache line.
const LINE: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// One of the thread's buffers, until it is dropped. Whoever takes several drops the last first, so that each finds its
/// own again.
pub(super) struct Scratch(Vec<f32>);

impl Scratch {
    /// At least `len` floats from [`Scratch::floats`].
    pub(super) fn take(len: usize) -> Self {
        let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
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
        let buffer = std::mem::take(&mut self.0);
        KEPT.with_borrow_mut(|kept| kept.push(buffer));
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
