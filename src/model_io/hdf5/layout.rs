//! How far a dataset goes, and how its elements are laid out in the file.

use super::{
    bytes::{Cursor, damaged},
    chunks::Index,
};
use crate::{
    error::{Error, Result},
    tensor::Shape,
};

/// How far a dataset goes.
#[derive(Debug)]
pub(super) struct Extents {
    pub(super) dims: Vec<u64>,
    /// How far it may ever go; `None` is any length.
    pub(super) most: Vec<Option<u64>>,
}

impl Extents {
    pub(super) fn new(mut c: Cursor<'_>) -> Result<Self> {
        let version = c.u8()?;
        let rank = usize::from(c.u8()?);
        let flags = c.u8()?;
        let null = match version {
            1 => {
                c.skip(5)?;
                false
            }
            2 => c.u8()? == 2,
            _ => return Err(damaged("a shape of an unknown version")),
        };
        if rank > Shape::MAX_AXES {
            return Err(damaged("a dataset of more axes than there may be"));
        }
        let dims: Vec<u64> = (0..rank).map(|_| c.length()).collect::<Result<_>>()?;
        let most = if flags & 1 != 0 {
            let most = (0..rank).map(|_| c.length()).collect::<Result<Vec<_>>>()?;
            most.into_iter()
                .map(|n| (n < 1 << 62).then_some(n))
                .collect()
        } else {
            dims.iter().copied().map(Some).collect()
        };
        Ok(Self {
            dims: if null { vec![0] } else { dims },
            most: if null { vec![Some(0)] } else { most },
        })
    }
}

#[derive(Debug)]
pub(super) enum Layout {
    /// In the header.
    Compact(Vec<u8>),
    /// In one piece; nowhere if it was never written.
    Contiguous(Option<u64>),
    Chunked {
        index: Index,
        at: Option<u64>,
        chunk: Vec<u64>,
        /// Chunks that reach over the edge did not go through the filters.
        edges_plain: bool,
    },
}

impl Layout {
    pub(super) fn new(mut c: Cursor<'_>, rank: usize) -> Result<Self> {
        let version = c.u8()?;
        if !(3..=5).contains(&version) {
            return Err(Error::unsupported(format!(
                "a dataset whose layout is of version {version}; 3 to 5 can be read"
            ))
            .help("write the file again with a library of this century"));
        }
        match (c.u8()?, version) {
            (0, _) => {
                let length = c.u16()?;
                Ok(Self::Compact(c.take(length.into())?.to_vec()))
            }
            (1, _) => Ok(Self::Contiguous(c.address()?)),
            (2, 3) => {
                let axes = usize::from(c.u8()?);
                let at = c.address()?;
                Self::chunked(rank, axes, |_| Ok(c.u32()?.into())).map(|chunk| Self::Chunked {
                    index: Index::Tree,
                    at,
                    chunk,
                    edges_plain: false,
                })
            }
            (2, _) => {
                let flags = c.u8()?;
                let axes = usize::from(c.u8()?);
                let width = usize::from(c.u8()?);
                let chunk = Self::chunked(rank, axes, |_| c.number(width))?;
                let index = match c.u8()? {
                    1 => Index::Single(if flags & 2 != 0 {
                        Some((c.length()?, c.u32()?))
                    } else {
                        None
                    }),
                    2 => Index::Implicit,
                    3 => {
                        c.skip(1)?;
                        Index::FixedArray
                    }
                    4 => {
                        c.skip(5)?;
                        Index::ExtensibleArray
                    }
                    5 => {
                        c.skip(6)?;
                        Index::Records
                    }
                    _ => return Err(damaged("an index of an unknown kind")),
                };
                Ok(Self::Chunked {
                    index,
                    at: c.address()?,
                    chunk,
                    edges_plain: flags & 1 != 0,
                })
            }
            _ => Err(Error::unsupported(
                "a dataset that is put together from others",
            )),
        }
    }

    /// The extents of a chunk; behind them stands the size of an element.
    fn chunked(
        rank: usize,
        axes: usize,
        mut next: impl FnMut(usize) -> Result<u64>,
    ) -> Result<Vec<u64>> {
        let mut chunk = (0..axes).map(&mut next).collect::<Result<Vec<_>>>()?;
        chunk.pop();
        if chunk.len() != rank || rank == 0 || chunk.contains(&0) {
            return Err(damaged("chunks of a shape that does not fit the dataset"));
        }
        Ok(chunk)
    }
}
