//! The buffers of a net.

/// Slots that the plan hands out, and the workspace that every layer borrows in turn.
#[derive(Debug, Default)]
pub struct Arena {
    pub(super) slots: Vec<Vec<f32>>,
    pub(super) workspace: Vec<f32>,
}

impl Arena {
    /// Makes every slot at least as long as the plan says. Contents of slots that are long enough stay.
    pub(super) fn fit(&mut self, slots: &[usize], workspace: usize) {
        self.slots.resize_with(slots.len(), Vec::new);
        for (slot, &need) in self.slots.iter_mut().zip(slots) {
            grow(slot, need);
        }
        grow(&mut self.workspace, workspace);
    }
}

/// Makes a buffer at least this long. A new one is zeros straight from the system: its pages come when they are first
/// written.
fn grow(buffer: &mut Vec<f32>, need: usize) {
    if buffer.is_empty() {
        *buffer = vec![0.0; need];
    } else if buffer.len() < need {
        buffer.resize(need, 0.0);
    }
}
