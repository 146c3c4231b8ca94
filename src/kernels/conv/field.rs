//! The input of a convolution laid out so that every product is a run of floats against a run of floats.
//!
//! A field holds, for each channel, one plane for each residue of the coordinates by the stride; each plane has its
//! zeros for the padding written out, those between two rows only once where the right edge of one row and the left
//! edge of the next can share them. The pixel that tap t sees for output pixel o then lies at base(o) + offset(t),
//! whatever the stride, the padding and the dilation, and neighbouring output pixels see neighbouring floats.

use super::geometry::Dims;

/// What lies behind a field's last plane: a vector may read beyond it.
const SLACK: usize = 64;

/// One spatial axis of a field: element v of residue r is source coordinate v · stride + r - pad, 0 outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Size of the source.
    pub(super) source: usize,
    /// Distance between the source coordinates of neighbours.
    pub(super) stride: usize,
    /// The residues that are read, ascending.
    pub(super) residues: Vec<usize>,
    /// Zeros before the source; negative where its start is not read.
    pub(super) pad: isize,
    /// Elements that are read: bases and taps together stay below.
    pub(super) len: usize,
}

impl Axis {
    /// Elements of residue `r` that lie in the source.
    fn inside(&self, r: usize) -> std::ops::Range<usize> {
        let first = |coordinate: isize| {
            let distance = usize::try_from(coordinate + self.pad - r as isize).unwrap_or(0);
            distance.div_ceil(self.stride).min(self.len)
        };
        let start = first(0);
        start..first(self.source as isize).max(start)
    }

    /// The source coordinate of element `v`, which must lie inside.
    fn source_of(&self, v: usize, r: usize) -> usize {
        (v * self.stride + r).wrapping_add_signed(-self.pad)
    }

    /// Distance between two rows, if this is the innermost axis and `row` elements of each are bases.
    fn pitch(&self, row: usize) -> usize {
        let shared = self.residues.iter().map(|&r| self.inside(r).start).min();
        (self.len - shared.unwrap_or(0).min(self.len)).max(row)
    }
}

/// The layout of a field: planes by channel, then residues, then image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    axes: Vec<Axis>,
    /// Distance between neighbours on each axis.
    pub(super) pitch: Dims,
    /// Floats of a plane.
    pub(super) plane: usize,
    /// Planes of a channel of one image.
    planes: usize,
    /// Images side by side.
    pub(super) images: usize,
}

impl Field {
    /// A field of so many images; `row` says how many elements of a row are bases.
    pub(super) fn new(axes: Vec<Axis>, row: usize, images: usize) -> Self {
        let last = axes.last().map_or(1, |axis| axis.pitch(row));
        let mut pitch = Dims::from_elem(1, axes.len());
        for i in (0..axes.len().saturating_sub(1)).rev() {
            pitch[i] = if i + 2 == axes.len() {
                last
            } else {
                pitch[i + 1] * axes[i + 1].len
            };
        }
        Self::with_pitch(axes, &pitch, images)
    }

    /// A field whose rows are as far apart as those of another.
    pub(super) fn with_pitch(axes: Vec<Axis>, pitch: &[usize], images: usize) -> Self {
        let pitch = Dims::from_slice(pitch);
        let reach = |(a, p): (&Axis, &usize)| (a.len - 1) * p;
        let plane = axes.iter().zip(&pitch).map(reach).sum::<usize>() + 1;
        let planes = axes.iter().map(|a| a.residues.len()).product();
        Self {
            axes,
            pitch,
            plane,
            planes,
            images,
        }
    }

    /// Makes planes so long, with zeros.
    pub(super) fn lengthen(&mut self, plane: usize) {
        self.plane = self.plane.max(plane);
    }

    /// Floats of one channel, all images.
    pub(super) fn channel(&self) -> usize {
        self.plane * self.planes * self.images
    }

    /// Floats of so many channels, with room for vectors that read beyond the last.
    pub(super) fn len(&self, channels: usize) -> usize {
        self.channel() * channels + SLACK
    }

    /// Where the element lies in its channel, for the first image; the next follow a plane apart.
    ///
    /// `at` gives the residue and the element on each axis.
    pub(super) fn offset(&self, at: &[(usize, usize)]) -> usize {
        let mut plane = 0;
        let mut offset = 0;
        for ((axis, pitch), (r, v)) in self.axes.iter().zip(&self.pitch).zip(at) {
            let index = axis.residues.iter().position(|have| have == r);
            plane = plane * axis.residues.len() + index.expect("a residue that is read");
            offset += v * pitch;
        }
        plane * self.images * self.plane + offset
    }

    /// Fills the planes of one image in `to`, from the channels of the source. What lies behind the last plane is
    /// cleared, so that nothing is read that is not a number.
    #[inline(always)]
    pub(super) fn fill(&self, image: usize, from: &[f32], to: &mut [f32]) {
        let source: usize = self.axes.iter().map(|a| a.source).product();
        let mut at = image * self.plane;
        for from in from.chunks_exact(source) {
            for i in 0..self.planes {
                self.fill_plane::<true>(i, from, &mut to[at..at + self.plane]);
                at += self.plane * self.images;
            }
        }
        let behind = from.len() / source * self.channel();
        if behind < to.len() {
            to[behind..].fill(0.0);
        }
    }

    /// [`Field::fill`] of the first image where another image was before: the zeros are there.
    #[inline(always)]
    pub(super) fn refill(&self, from: &[f32], to: &mut [f32]) {
        let source: usize = self.axes.iter().map(|a| a.source).product();
        let mut at = 0;
        for from in from.chunks_exact(source) {
            for i in 0..self.planes {
                self.fill_plane::<false>(i, from, &mut to[at..at + self.plane]);
                at += self.plane * self.images;
            }
        }
    }

    #[inline(always)]
    fn fill_plane<const CLEAR: bool>(&self, mut plane: usize, from: &[f32], to: &mut [f32]) {
        let mut residues = Dims::from_elem(0, self.axes.len());
        for (r, axis) in residues.iter_mut().zip(&self.axes).rev() {
            *r = axis.residues[plane % axis.residues.len()];
            plane /= axis.residues.len();
        }
        let Some((last, outer)) = self.axes.split_last() else {
            return;
        };
        let r = residues[outer.len()];
        let inside = last.inside(r);
        let (first, count) = (inside.start, inside.len());
        // Everything from one row's data to the next's is zero.
        let mut clear = 0;
        let mut at = Dims::from_elem(0, outer.len());
        for (range, axis) in at.iter_mut().zip(outer.iter().zip(&residues)) {
            *range = axis.0.inside(*axis.1).start;
        }
        let empty = count == 0
            || outer
                .iter()
                .zip(&residues)
                .any(|(a, r)| a.inside(*r).is_empty());
        if empty {
            to.fill(0.0);
            return;
        }
        loop {
            let (mut source, mut start) = (0, first);
            for (i, axis) in outer.iter().enumerate() {
                source = source * axis.source + axis.source_of(at[i], residues[i]);
                start += at[i] * self.pitch[i];
            }
            let source = source * last.source + last.source_of(first, r);
            // Rows may be closer than the elements that are read of them: the last zeros of one are then those before
            // the next, so nothing is cleared twice or after it was filled.
            if CLEAR {
                to[clear..start].fill(0.0);
            }
            clear = start + count;
            let row = &mut to[start..clear];
            if last.stride == 1 {
                row.copy_from_slice(&from[source..][..count]);
            } else {
                let pixels = from[source..].iter().step_by(last.stride);
                row.iter_mut()
                    .zip(pixels)
                    .for_each(|(to, from)| *to = *from);
            }
            let mut i = outer.len();
            loop {
                if i == 0 {
                    if CLEAR {
                        to[clear..].fill(0.0);
                    }
                    return;
                }
                i -= 1;
                let range = outer[i].inside(residues[i]);
                at[i] += 1;
                if at[i] < range.end {
                    break;
                }
                at[i] = range.start;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(source: usize, stride: usize, residues: &[usize], pad: isize, len: usize) -> Axis {
        Axis {
            source,
            stride,
            residues: residues.to_vec(),
            pad,
            len,
        }
    }

    /// Every element that can be addressed, by the definition.
    fn check(field: &Field) {
        let source: usize = field.axes.iter().map(|a| a.source).product();
        let from: Vec<f32> = (1..=2 * source).map(|i| i as f32).collect();
        let mut to = vec![f32::NAN; field.len(2)];
        for image in 0..field.images {
            field.fill(image, &vec![f32::NAN; from.len()], &mut to);
            field.fill(image, &from, &mut to);
        }
        to.iter_mut()
            .filter(|x| **x != 0.0)
            .for_each(|x| *x = f32::NAN);
        field.refill(&from, &mut to);
        for image in 1..field.images {
            field.fill(image, &from, &mut to);
        }
        let counts: Vec<usize> = field
            .axes
            .iter()
            .map(|a| a.residues.len() * a.len)
            .collect();
        for c in 0..2 {
            for i in 0..counts.iter().product() {
                let mut rest = i;
                let mut at = vec![(0, 0); counts.len()];
                for (k, axis) in field.axes.iter().enumerate().rev() {
                    let j = rest % counts[k];
                    rest /= counts[k];
                    at[k] = (axis.residues[j / axis.len], j % axis.len);
                }
                let mut want = Some(0);
                for ((r, v), axis) in at.iter().zip(&field.axes) {
                    let x = (v * axis.stride + r) as isize - axis.pad;
                    let inside = usize::try_from(x).ok().filter(|&x| x < axis.source);
                    want = want.zip(inside).map(|(w, x)| w * axis.source + x);
                }
                let want = want.map_or(0.0, |w| from[c * source + w]);
                for image in 0..field.images {
                    let place = c * field.channel() + image * field.plane + field.offset(&at);
                    assert_eq!(to[place], want, "channel {c}, {at:?} of {field:?}");
                }
            }
        }
    }

    #[test]
    fn every_element_is_the_pixel_it_stands_for() {
        for (rows, cols, row) in [
            (axis(3, 1, &[0], 1, 5), axis(4, 1, &[0], 1, 6), 4),
            (axis(3, 1, &[0], 0, 3), axis(4, 1, &[0], 0, 4), 2),
            (axis(7, 2, &[0, 1], 3, 6), axis(5, 3, &[0, 1, 2], 2, 4), 2),
            (axis(2, 1, &[0], 4, 12), axis(1, 1, &[0], 3, 9), 9),
            (axis(9, 4, &[1, 3], 0, 2), axis(9, 4, &[0], 0, 2), 2),
            (axis(6, 1, &[0], -2, 3), axis(6, 1, &[0], -1, 7), 3),
            (axis(4, 2, &[0], 0, 2), axis(4, 2, &[0], 0, 2), 2),
        ] {
            check(&Field::new(vec![rows.clone(), cols.clone()], row, 2));
            check(&Field::new(vec![cols.clone()], row, 1));
            let mut long = Field::new(vec![axis(2, 1, &[0], 1, 4), rows, cols], row, 3);
            long.lengthen(long.plane + 5);
            check(&long);
        }
    }

    #[test]
    fn zeros_between_rows_are_shared() {
        let same = Field::new(
            vec![axis(13, 1, &[0], 1, 15), axis(13, 1, &[0], 1, 15)],
            13,
            1,
        );
        assert_eq!(same.pitch[..], [14, 1]);
        let wide = Field::new(
            vec![axis(27, 1, &[0], 2, 31), axis(27, 1, &[0], 2, 31)],
            27,
            1,
        );
        assert_eq!(wide.pitch[..], [29, 1]);
    }
}
