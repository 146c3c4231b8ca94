//! The law of plans, checked by playing the schedule.

use super::plan::{Action, Buf, Few, Place, Plan, draft};
use crate::{
    graph::{Graph, NodeId},
    layer::{Layer, Role, Sharing},
};

/// Consecutive floats of one buffer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    buf: Buf,
    from: usize,
    len: usize,
}

/// What lies where in a slot.
#[derive(Clone, Copy)]
struct Held {
    at: usize,
    piece: Piece,
}

/// Checks that whatever a step reads is what was last written under that name, and that kept buffers are still there at
/// the end. Knows nothing of how places were chosen.
///
/// # Errors
/// The first breach, in words; it means a fault of this library.
pub(super) fn verify(graph: &Graph, layers: &[Box<dyn Layer>], plan: &Plan) -> Result<(), String> {
    let law = Law {
        graph,
        layers,
        plan,
        runs: (0..graph.nodes.len() as u32)
            .map(|i| {
                let mut steps = plan.steps.iter();
                steps.any(|s| s.node == NodeId(i) && s.action == Action::Forward)
            })
            .collect(),
    };
    for step in plan.steps.iter().filter(|s| !s.in_place) {
        let (reads, writes): (&[&Few<_>], _) = match step.action {
            Action::Backward => (
                &[&step.bottoms, &step.tops, &step.top_diffs],
                &step.bottom_diffs,
            ),
            _ => (&[&step.bottoms], &step.tops),
        };
        let written: Vec<usize> = writes.iter().flatten().map(|p| p.slot).collect();
        let twice = (1..written.len()).any(|i| written[..i].contains(&written[i]));
        let mut reads = reads.iter().flat_map(|places| places.iter().flatten());
        if twice || reads.any(|p| written.contains(&p.slot)) {
            let name = &graph.node(step.node).name;
            return Err(format!("'{name}' needs a slot twice at once"));
        }
    }
    law.play()
}

struct Law<'a> {
    graph: &'a Graph,
    layers: &'a [Box<dyn Layer>],
    plan: &'a Plan,
    /// Which nodes have a forward step.
    runs: Vec<bool>,
}

impl Law<'_> {
    fn play(&self) -> Result<(), String> {
        let mut held: Vec<Vec<Held>> = vec![Vec::new(); self.plan.slots.len()];
        for node in &self.graph.nodes {
            if node.kind.role == Role::Input {
                for &top in &node.tops {
                    self.write(&mut held, Buf::Data(top))?;
                }
            }
        }
        for draft in draft(self.graph, self.layers) {
            if draft.action == Action::Forward && !self.runs[draft.node.index()] {
                continue;
            }
            let by = |what: String| {
                format!(
                    "{:?} of '{}': {what}",
                    draft.action,
                    self.graph.node(draft.node).name
                )
            };
            for buf in draft.reads() {
                self.read(&held, buf).map_err(by)?;
            }
            for buf in draft.writes() {
                self.write(&mut held, buf).map_err(by)?;
            }
        }
        for &buf in &self.plan.kept {
            self.read(&held, buf)
                .map_err(|what| format!("at the end: {what}"))?;
        }
        Ok(())
    }

    fn count(&self, buf: Buf) -> usize {
        let (Buf::Data(v) | Buf::Diff(v)) = buf;
        self.graph.value(v).shape.count()
    }

    fn place(&self, buf: Buf) -> Result<Place, String> {
        let place = match buf {
            Buf::Data(v) => Some(self.plan.data[v.index()]),
            Buf::Diff(v) => self.plan.diff[v.index()],
        };
        place
            .filter(|p| {
                let slot = self.plan.slots.get(p.slot);
                slot.is_some_and(|&n| p.offset + self.count(buf) <= n)
            })
            .ok_or_else(|| format!("{buf:?} has no place, or one that is too small"))
    }

    /// What a buffer consists of, as somebody wrote it.
    fn pieces(&self, buf: Buf) -> Result<Vec<Piece>, String> {
        let own = vec![Piece {
            buf,
            from: 0,
            len: self.count(buf),
        }];
        match buf {
            Buf::Data(v) => {
                let id = self.graph.value(v).producer;
                let node = self.graph.node(id);
                if matches!(node.kind.role, Role::Input | Role::Data) || self.runs[id.index()] {
                    return Ok(own);
                }
                match self.layers[id.index()].traits().sharing {
                    Sharing::Alias => self.pieces(Buf::Data(node.bottoms[0])),
                    Sharing::Gather => {
                        let parts = node.bottoms.iter().map(|&b| self.pieces(Buf::Data(b)));
                        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
                    }
                    Sharing::Scatter => {
                        let before = node.tops.iter().take_while(|&&t| t != v);
                        let skip = before.map(|&t| self.count(Buf::Data(t))).sum();
                        let whole = self.pieces(Buf::Data(node.bottoms[0]))?;
                        Ok(cut(&whole, skip, self.count(buf)))
                    }
                    _ => Err(format!("'{}' never runs", node.name)),
                }
            }
            Buf::Diff(v) => match self.graph.value(v).consumers.first() {
                Some(&(reader, _)) => {
                    let node = self.graph.node(reader);
                    let sharing = self.layers[reader.index()].traits().sharing;
                    match node.tops[..] {
                        [top] if sharing == Sharing::Alias => self.pieces(Buf::Diff(top)),
                        _ => Ok(own),
                    }
                }
                None => Ok(own),
            },
        }
    }

    fn read(&self, held: &[Vec<Held>], buf: Buf) -> Result<(), String> {
        let Place { slot, mut offset } = self.place(buf)?;
        for want in self.pieces(buf)?.iter().filter(|p| p.len > 0) {
            let there = held[slot].iter().any(|h| {
                h.piece.buf == want.buf
                    && h.at <= offset
                    && offset + want.len <= h.at + h.piece.len
                    && h.piece.from + (offset - h.at) == want.from
            });
            if !there {
                return Err(format!("{buf:?} is not in its place: {want:?} is gone"));
            }
            offset += want.len;
        }
        Ok(())
    }

    fn write(&self, held: &mut [Vec<Held>], buf: Buf) -> Result<(), String> {
        let Place { slot, offset } = self.place(buf)?;
        let end = offset + self.count(buf);
        // What was there before is left only outside of what is written.
        let old = std::mem::take(&mut held[slot]);
        for h in old {
            let until = h.at + h.piece.len;
            for (start, stop) in [(h.at, until.min(offset)), (h.at.max(end), until)] {
                if start < stop {
                    let piece = Piece {
                        from: h.piece.from + (start - h.at),
                        len: stop - start,
                        ..h.piece
                    };
                    held[slot].push(Held { at: start, piece });
                }
            }
        }
        let mut at = offset;
        for piece in self.pieces(buf)? {
            held[slot].push(Held { at, piece });
            at += piece.len;
        }
        Ok(())
    }
}

/// `len` floats of `pieces`, without the first `skip`.
fn cut(pieces: &[Piece], mut skip: usize, mut len: usize) -> Vec<Piece> {
    let mut out = Vec::new();
    for piece in pieces {
        let passed = skip.min(piece.len);
        let taken = len.min(piece.len - passed);
        out.push(Piece {
            from: piece.from + passed,
            len: taken,
            ..*piece
        });
        skip -= passed;
        len -= taken;
    }
    out
}
