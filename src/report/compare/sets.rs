//! Two sets of named arrays: dumps of blobs, or files of weights.

use std::collections::HashMap;

use super::{Row, Tolerance, compare_arrays};
use crate::tensor::{Shape, Tensor};

/// One name in two sets.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The name.
    pub key: String,
    /// Its shape in the first set, where it is there.
    pub a: Option<Shape>,
    /// Its shape in the second.
    pub b: Option<Shape>,
    /// The comparison, where both have it in one shape.
    pub row: Option<Row>,
}

impl Pair {
    /// Whether both have it, and all values are within tolerance.
    pub fn ok(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.ok)
    }

    /// Why there is nothing to compare, in words.
    pub fn trouble(&self) -> Option<String> {
        match (&self.a, &self.b, &self.row) {
            (None, _, _) => Some("only in the second".to_owned()),
            (_, None, _) => Some("only in the first".to_owned()),
            (Some(a), Some(b), None) => Some(format!("{a} against {b}")),
            _ => None,
        }
    }

    /// Where the first value out of tolerance is: its coordinates, and both values.
    pub fn first(&self) -> Option<(Vec<usize>, f32, f32)> {
        let (at, a, b) = self.row.as_ref()?.first?;
        Some((coordinates(self.a.as_ref()?, at), a, b))
    }

    /// Where the value furthest out of tolerance is.
    pub fn worst(&self) -> Option<(Vec<usize>, f32, f32)> {
        let (at, a, b) = self.row.as_ref()?.worst?;
        Some((coordinates(self.a.as_ref()?, at), a, b))
    }
}

/// The coordinates of an element, outermost first.
pub fn coordinates(shape: &Shape, index: usize) -> Vec<usize> {
    let mut left = index;
    let mut places: Vec<usize> = shape
        .dims()
        .iter()
        .rev()
        .map(|&dim| {
            let place = left % dim.max(1);
            left /= dim.max(1);
            place
        })
        .collect();
    places.reverse();
    places
}

/// Compares arrays of the same name, in the order of the first set; then come those that only the second has. Shapes
/// that differ by axes of extent 1 alone are the same: old files of weights have four axes throughout.
pub fn compare_sets(
    a: &[(String, Tensor)],
    b: &[(String, Tensor)],
    tolerance: Tolerance,
) -> Vec<Pair> {
    let theirs: HashMap<&str, &Tensor> = b.iter().map(|(key, t)| (key.as_str(), t)).collect();
    let mut seen = HashMap::new();
    let mut pairs = Vec::with_capacity(a.len());
    for (key, ours) in a {
        seen.insert(key.as_str(), ());
        let other = theirs.get(key.as_str());
        let same = other.is_some_and(|other| squeezed(&ours.shape) == squeezed(&other.shape));
        pairs.push(Pair {
            key: key.clone(),
            a: Some(ours.shape.clone()),
            b: other.map(|t| t.shape.clone()),
            row: other
                .filter(|_| same)
                .map(|other| compare_arrays(key, &ours.data, &other.data, tolerance)),
        });
    }
    for (key, tensor) in b {
        if !seen.contains_key(key.as_str()) {
            pairs.push(Pair {
                key: key.clone(),
                a: None,
                b: Some(tensor.shape.clone()),
                row: None,
            });
        }
    }
    pairs
}

fn squeezed(shape: &Shape) -> Vec<usize> {
    shape.dims().iter().copied().filter(|&d| d != 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(arrays: &[(&str, &[usize], &[f32])]) -> Vec<(String, Tensor)> {
        let tensor = |(name, dims, data): &(&str, &[usize], &[f32])| {
            let tensor = Tensor::new(Shape::new(dims), data.to_vec()).unwrap();
            ((*name).to_owned(), tensor)
        };
        arrays.iter().map(tensor).collect()
    }

    #[test]
    fn the_first_that_differs_and_where() {
        let a = set(&[
            ("z", &[1, 2], &[1.0, 2.0]),
            ("y", &[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]),
            ("w", &[3], &[0.0; 3]),
            ("u", &[1], &[0.0]),
        ]);
        let b = set(&[
            ("x", &[1], &[0.0]),
            ("y", &[2, 2, 1], &[1.0, 2.0, 3.5, 9.0]),
            ("z", &[1, 1, 1, 2], &[1.0, 2.0]),
            ("w", &[1, 1, 2], &[0.0; 2]),
        ]);
        let pairs = compare_sets(&a, &b, Tolerance::default());
        let keys: Vec<&str> = pairs.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["z", "y", "w", "u", "x"]);
        assert!(pairs[0].ok() && pairs[0].trouble().is_none());
        let apart = pairs.iter().find(|p| !p.ok()).unwrap();
        assert_eq!(apart.first(), Some((vec![1, 0, 0], 3.0, 3.5)));
        assert_eq!(apart.worst(), Some((vec![1, 1, 0], 4.0, 9.0)));
        assert_eq!(pairs[2].trouble().unwrap(), "[3] against [1, 1, 2]");
        assert_eq!(pairs[3].trouble().unwrap(), "only in the first");
        assert_eq!(pairs[4].trouble().unwrap(), "only in the second");
    }

    #[test]
    fn a_scalar_has_no_coordinates() {
        assert!(coordinates(&Shape::new(&[]), 0).is_empty());
        assert_eq!(coordinates(&Shape::new(&[2, 3, 4]), 23), [1, 2, 3]);
    }
}
