//! What lies beyond the edge of an image.

use crate::error::{Error, Result};

/// How an image goes on beyond its edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// With one value.
    Constant,
    /// Mirrored at the last pixel, which is not doubled.
    Mirrored,
    /// With its last pixel.
    Nearest,
}

impl Border {
    /// From the number that both `Pad_mode`s of the schema give it.
    pub(super) fn new(field: &str, number: i32) -> Result<Self> {
        match number {
            1 => Ok(Self::Constant),
            2 => Ok(Self::Mirrored),
            3 => Ok(Self::Nearest),
            _ => Err(Error::param(field, format!("there is no mode {number}"))),
        }
    }

    /// The place inside of `0..len` whose value stands at `at`; `None` for the constant.
    pub(super) fn place(self, at: isize, len: usize) -> Option<usize> {
        let last = len as isize - 1;
        if (0..=last).contains(&at) {
            return Some(at as usize);
        }
        match self {
            Self::Constant => None,
            Self::Nearest => Some(at.clamp(0, last) as usize),
            Self::Mirrored if last == 0 => Some(0),
            Self::Mirrored => {
                let at = at.rem_euclid(2 * last);
                Some(at.min(2 * last - at) as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_both_ends() {
        let places = |border: Border| (-3..7).map(|at| border.place(at, 4)).collect::<Vec<_>>();
        let some = |places: [usize; 10]| places.map(Some).to_vec();
        assert_eq!(
            places(Border::Mirrored),
            some([3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
        );
        assert_eq!(
            places(Border::Nearest),
            some([0, 0, 0, 0, 1, 2, 3, 3, 3, 3])
        );
        assert_eq!(places(Border::Constant)[..3], [None; 3]);
        assert_eq!(Border::Mirrored.place(9, 1), Some(0));
    }
}
