//! Buffers that are one, or lie within one: a union-find over data (`0..n`) and diffs (`n..2n`) of values.

use super::plan::Buf;
use crate::graph::Graph;

/// Every buffer lies in a class, at an offset.
#[derive(Clone)]
pub(super) struct Classes {
    parent: Vec<usize>,
    /// Where a buffer starts in its parent.
    offset: Vec<usize>,
    /// Floats of a class, by its root.
    size: Vec<usize>,
    /// Whether parts of a class are buffers of their own, by its root.
    parts: Vec<bool>,
    values: usize,
}

impl Classes {
    /// Each buffer alone.
    pub(super) fn new(graph: &Graph) -> Self {
        let counts = graph.values.iter().map(|v| v.shape.count());
        let n = graph.values.len();
        Self {
            parent: (0..2 * n).collect(),
            offset: vec![0; 2 * n],
            size: counts.clone().chain(counts).collect(),
            parts: vec![false; 2 * n],
            values: n,
        }
    }

    fn find(&self, buf: Buf) -> (usize, usize) {
        let mut i = match buf {
            Buf::Data(v) => v.index(),
            Buf::Diff(v) => self.values + v.index(),
        };
        let mut offset = 0;
        while self.parent[i] != i {
            offset += self.offset[i];
            i = self.parent[i];
        }
        (i, offset)
    }

    /// The class of a buffer.
    pub(super) fn class(&self, buf: Buf) -> usize {
        self.find(buf).0
    }

    /// Where in its class a buffer starts.
    pub(super) fn start(&self, buf: Buf) -> usize {
        self.find(buf).1
    }

    /// Floats of a class.
    pub(super) fn size(&self, class: usize) -> usize {
        self.size[class]
    }

    /// Whether parts of a class are buffers of their own.
    pub(super) fn has_parts(&self, class: usize) -> bool {
        self.parts[class]
    }

    /// Puts `buf` into the class of `into`, `at` floats behind its start; `false`, and nothing done, where the smaller
    /// class would stick out of the larger one.
    pub(super) fn join(&mut self, into: Buf, at: usize, buf: Buf) -> bool {
        let ((a, into), (b, buf)) = (self.find(into), self.find(buf));
        let at = into + at;
        if a == b {
            return at == buf;
        }
        let (root, leaf, offset) = if at >= buf && at - buf + self.size[b] <= self.size[a] {
            (a, b, at - buf)
        } else if buf >= at && buf - at + self.size[a] <= self.size[b] {
            (b, a, buf - at)
        } else {
            return false;
        };
        self.parent[leaf] = root;
        self.offset[leaf] = offset;
        self.parts[root] |= self.parts[leaf] || self.size[leaf] < self.size[root];
        true
    }
}
