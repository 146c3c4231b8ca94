//! Boxes in layers: each below all that it reads, neighbours in an order with few crossings, and near what they belong to.
//!
//! Sugiyama, Tagawa, Toda: "Methods for Visual Understanding of Hierarchical System Structures" (1981), in its plainest
//! form: longest paths, barycentres, and means of neighbours for the places.

/// A box that is laid out: one of the drawing, or a bend of an arrow that passes a layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Spot {
    /// Across the direction of the drawing: the middle.
    pub(super) x: f64,
    /// Along it: the beginning.
    pub(super) y: f64,
    /// Extent across.
    pub(super) width: f64,
    /// Extent along.
    pub(super) height: f64,
}

/// Where everything is.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// By box.
    pub(super) boxes: Vec<Spot>,
    /// By arrow: the bends on its way, two in each layer that it passes.
    pub(super) bends: Vec<Vec<(f64, f64)>>,
    /// Extent across and along.
    pub(super) size: (f64, f64),
}

/// Between neighbours of a layer, and between layers.
const ACROSS: f64 = 24.0;
const ALONG: f64 = 46.0;
/// What a bend takes across.
const BEND: f64 = 10.0;
/// Times that the order and the places are improved.
const SWEEPS: usize = 24;

/// Lays out boxes of these extents (across, along); arrows go from earlier boxes to later ones. `room` is what stands
/// beside each arrow of two layers, across.
pub(super) fn layout(sizes: &[(f64, f64)], arrows: &[(usize, usize)]) -> Layout {
    let ranks = ranks(sizes.len(), arrows);
    let mut spots: Vec<(usize, f64)> = ranks.iter().zip(sizes).map(|(&r, s)| (r, s.0)).collect();
    // Arrows over several layers bend in each of them.
    let mut edges: Vec<(usize, usize)> = Vec::new();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for &(from, to) in arrows {
        let mut way = Vec::new();
        let mut before = from;
        for rank in ranks[from] + 1..ranks[to] {
            spots.push((rank, BEND));
            let bend = spots.len() - 1;
            edges.push((before, bend));
            way.push(bend);
            before = bend;
        }
        edges.push((before, to));
        ways.push(way);
    }
    let count = spots.iter().map(|s| s.0 + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (i, &(rank, _)) in spots.iter().enumerate() {
        layers[rank].push(i);
    }
    let (mut above, mut below) = (vec![Vec::new(); spots.len()], vec![Vec::new(); spots.len()]);
    for &(from, to) in &edges {
        above[to].push(from);
        below[from].push(to);
    }
    order(&mut layers, &above, &below);
    let widths: Vec<f64> = spots.iter().map(|s| s.1).collect();
    let x = places(&layers, &above, &below, &widths);
    // Along: each layer as high as its highest box.
    let mut starts = Vec::with_capacity(count);
    let mut heights = Vec::with_capacity(count);
    let mut y = 0.0;
    for layer in &layers {
        let height = layer
            .iter()
            .filter_map(|&s| sizes.get(s))
            .fold(0.0f64, |h, s| h.max(s.1));
        starts.push(y);
        heights.push(height);
        y += height + ALONG;
    }
    let middle = |s: usize| starts[spots[s].0] + heights[spots[s].0] / 2.0;
    let boxes = sizes.iter().enumerate().map(|(i, &(width, height))| Spot {
        x: x[i],
        y: middle(i) - height / 2.0,
        width,
        height,
    });
    // An arrow passes a layer straight, from its beginning to its end, so that it goes behind no box.
    let pass = |&s: &usize| {
        let (start, height) = (starts[spots[s].0], heights[spots[s].0]);
        [(x[s], start), (x[s], start + height)]
    };
    let bends = ways.iter().map(|way| way.iter().flat_map(pass).collect());
    let end = (0..spots.len()).fold(0.0f64, |m, s| m.max(x[s] + widths[s] / 2.0));
    Layout {
        boxes: boxes.collect(),
        bends: bends.collect(),
        size: (end, (y - ALONG).max(0.0)),
    }
}

/// The longest way to each box; one without arrows to it stands right above what reads it.
fn ranks(count: usize, arrows: &[(usize, usize)]) -> Vec<usize> {
    let mut ranks = vec![0usize; count];
    // Boxes come in the order in which they run.
    let mut sorted: Vec<(usize, usize)> = arrows.to_vec();
    sorted.sort_by_key(|a| a.1);
    for &(from, to) in &sorted {
        ranks[to] = ranks[to].max(ranks[from] + 1);
    }
    for i in (0..count).rev() {
        if arrows.iter().all(|a| a.1 != i) {
            let least = arrows.iter().filter(|a| a.0 == i).map(|a| ranks[a.1]).min();
            if let Some(least) = least {
                ranks[i] = least.saturating_sub(1);
            }
        }
    }
    ranks
}

/// Sorts each layer by the middle of what its boxes are tied to, down and up again.
fn order(layers: &mut [Vec<usize>], above: &[Vec<usize>], below: &[Vec<usize>]) {
    let spots = above.len();
    let mut position = vec![0.0f64; spots];
    let number = |layer: &[usize], position: &mut [f64]| {
        for (i, &s) in layer.iter().enumerate() {
            position[s] = i as f64;
        }
    };
    for layer in layers.iter() {
        number(layer, &mut position);
    }
    let mut best = layers.to_vec();
    let mut fewest = crossings(layers, below, &position);
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let tied = if down { above } else { below };
        let mut sort = |layer: &mut Vec<usize>| {
            let middle = |s: usize| {
                let all = &tied[s];
                match all.len() {
                    0 => position[s],
                    n => all.iter().map(|&t| position[t]).sum::<f64>() / n as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> = layer.iter().map(|&s| (middle(s), s)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = keyed.into_iter().map(|k| k.1).collect();
            number(layer, &mut position);
        };
        if down {
            layers.iter_mut().for_each(&mut sort);
        } else {
            layers.iter_mut().rev().for_each(&mut sort);
        }
        let now = crossings(layers, below, &position);
        if now < fewest {
            fewest = now;
            best.clone_from_slice(layers);
        }
    }
    layers.clone_from_slice(&best);
}

/// How many arrows cross. Counted up to a bound: of huge layers only that there are many.
fn crossings(layers: &[Vec<usize>], below: &[Vec<usize>], position: &[f64]) -> usize {
    const MOST: usize = 400;
    let mut count = 0;
    for layer in layers {
        let mut ends: Vec<(f64, f64)> = Vec::new();
        for &s in layer {
            ends.extend(below[s].iter().map(|&t| (position[s], position[t])));
        }
        ends.truncate(MOST);
        for (i, a) in ends.iter().enumerate() {
            for b in &ends[i + 1..] {
                count += usize::from((a.0 - b.0) * (a.1 - b.1) < 0.0);
            }
        }
    }
    count
}

/// Places across: each near the mean of what it is tied to, neighbours apart.
fn places(
    layers: &[Vec<usize>],
    above: &[Vec<usize>],
    below: &[Vec<usize>],
    widths: &[f64],
) -> Vec<f64> {
    let mut x = vec![0.0; widths.len()];
    let gap = |a: usize, b: usize| (widths[a] + widths[b]) / 2.0 + ACROSS;
    for layer in layers {
        let mut at = 0.0;
        for (i, &s) in layer.iter().enumerate() {
            if i > 0 {
                at += gap(layer[i - 1], s);
            }
            x[s] = at;
        }
        // Around 0.
        layer.iter().for_each(|&s| x[s] -= at / 2.0);
    }
    for sweep in 0..SWEEPS {
        let mut settle = |layer: &Vec<usize>| {
            let wish = |s: usize| {
                let tied = match sweep % 3 {
                    0 => [&above[s][..], &[]],
                    1 => [&below[s][..], &[]],
                    _ => [&above[s][..], &below[s][..]],
                };
                let count = tied[0].len() + tied[1].len();
                match count {
                    0 => x[s],
                    n => {
                        tied.iter()
                            .flat_map(|t| t.iter())
                            .map(|&t| x[t])
                            .sum::<f64>()
                            / n as f64
                    }
                }
            };
            let wishes: Vec<f64> = layer.iter().map(|&s| wish(s)).collect();
            // Pushed apart from the left, and from the right; the mean of both keeps the order and the gaps.
            let (mut left, mut right) = (wishes.clone(), wishes);
            for i in 1..layer.len() {
                left[i] = left[i].max(left[i - 1] + gap(layer[i - 1], layer[i]));
            }
            for i in (1..layer.len()).rev() {
                right[i - 1] = right[i - 1].min(right[i] - gap(layer[i - 1], layer[i]));
            }
            for (i, &s) in layer.iter().enumerate() {
                x[s] = (left[i] + right[i]) / 2.0;
            }
        };
        if sweep % 2 == 0 {
            layers.iter().for_each(&mut settle);
        } else {
            layers.iter().rev().for_each(&mut settle);
        }
    }
    let least = (0..x.len()).fold(f64::INFINITY, |m, s| m.min(x[s] - widths[s] / 2.0));
    if least.is_finite() {
        x.iter_mut().for_each(|x| *x -= least);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_box_lies_below_what_it_reads_and_beside_its_neighbours() {
        // A block of branches: 0 -> 1, 2, 3 -> 4, and 0 -> 4 past them; 5 is read by 4 alone.
        let sizes = [(80.0, 20.0); 6];
        let arrows = [
            (0, 1),
            (0, 2),
            (0, 3),
            (1, 4),
            (2, 4),
            (3, 4),
            (0, 4),
            (5, 4),
        ];
        let made = layout(&sizes, &arrows);
        for &(from, to) in &arrows {
            let (a, b) = (&made.boxes[from], &made.boxes[to]);
            assert!(a.y + a.height < b.y, "{from} {to}");
        }
        for (i, a) in made.boxes.iter().enumerate() {
            assert!(a.x - a.width / 2.0 >= -1e-9 && a.x + a.width / 2.0 <= made.size.0 + 1e-9);
            for b in &made.boxes[i + 1..] {
                let beside = (a.x - b.x).abs() >= (a.width + b.width) / 2.0;
                assert!(beside || a.y != b.y);
            }
        }
        assert_eq!(made.bends[6].len(), 2);
        assert!(made.bends[0].is_empty());
        // Right above its reader.
        assert_eq!(made.boxes[5].y, made.boxes[1].y);
        assert_eq!(layout(&[], &[]).size, (0.0, 0.0));
    }
}
