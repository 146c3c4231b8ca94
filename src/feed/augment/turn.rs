//! `rotate`: quarter turns.

/// Turns the planes of a square clockwise by this many quarters.
pub(crate) fn turn<T: Copy>(values: &mut [T], side: usize, quarters: u32) {
    let mut old = Vec::new();
    for plane in values.chunks_exact_mut(side * side) {
        if quarters % 4 == 2 {
            plane.reverse();
            continue;
        }
        if quarters.is_multiple_of(4) {
            continue;
        }
        old.clear();
        old.extend_from_slice(plane);
        for (y, row) in plane.chunks_exact_mut(side).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                *value = match quarters % 4 {
                    1 => old[(side - 1 - x) * side + y],
                    _ => old[x * side + side - 1 - y],
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters() {
        let turned = |quarters| {
            let mut square = [1, 2, 3, 4, 5, 6, 7, 8];
            turn(&mut square, 2, quarters);
            square
        };
        assert_eq!(turned(0), [1, 2, 3, 4, 5, 6, 7, 8]);
        // 1 2      3 1
        // 3 4  to  4 2
        assert_eq!(turned(1), [3, 1, 4, 2, 7, 5, 8, 6]);
        assert_eq!(turned(2), [4, 3, 2, 1, 8, 7, 6, 5]);
        assert_eq!(turned(3), [2, 4, 1, 3, 6, 8, 5, 7]);
    }
}
