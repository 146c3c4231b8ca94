//! Codes of varying length.

use super::bits::Bits;

/// Codes up to this length are looked up at once.
const SHORT: u32 = 9;

/// A table of codes.
pub(super) struct Table {
    /// By the next bits: length and symbol of a short code; 0 for a longer one.
    short: Box<[u16; 1 << SHORT]>,
    /// By length: what codes of it are below, as 16 bits; and what leads from a code to its symbol.
    below: [u32; 17],
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Of the number of codes of each length from 1 on, and their symbols in the order of the codes. `None` where there
    /// are more than fit.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: Box::new([0; 1 << SHORT]),
            below: [0; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let mut code = 0u32;
        let mut at = 0usize;
        for (length, &count) in (1u32..).zip(counts) {
            let index = length as usize;
            table.offset[index] = at as i32 - code as i32;
            for _ in 0..count {
                if code >= 1 << length {
                    return None;
                }
                if length <= SHORT {
                    let symbol = u16::from(*symbols.get(at)?);
                    let free = SHORT - length;
                    let first = (code << free) as usize;
                    let entry = (length as u16) << 8 | symbol;
                    table.short.get_mut(first..first + (1 << free))?.fill(entry);
                }
                code += 1;
                at += 1;
            }
            table.below[index] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The symbol of the next code.
    #[inline]
    pub(super) fn read(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let next = bits.peek(16);
        let entry = self.short[(next >> (16 - SHORT)) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return Some(entry.to_le_bytes()[0]);
        }
        self.read_long(next, bits)
    }

    fn read_long(&self, next: u32, bits: &mut Bits<'_>) -> Option<u8> {
        for length in SHORT + 1..=16 {
            let index = length as usize;
            if next < self.below[index] {
                let code = (next >> (16 - length)) as i32;
                let at = usize::try_from(code + self.offset[index]).ok()?;
                bits.skip(length);
                return self.symbols.get(at).copied();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_short_and_long() {
        // 0: a; 10: b; ten ones and a zero: c.
        let mut counts = [0; 16];
        (counts[0], counts[1], counts[10]) = (1, 1, 1);
        let table = Table::new(&counts, b"abc").unwrap();
        let bytes = [0b0101_1000, 0b0000_0000];
        let mut bits = Bits::new(&bytes);
        assert_eq!(table.read(&mut bits), Some(b'a'));
        assert_eq!(table.read(&mut bits), Some(b'b'));
        // The code of c is the first of its length: 11 and nine zeros.
        assert_eq!(table.read(&mut bits), Some(b'c'));
        let ones = [0b1111_1110, 0xFE];
        assert_eq!(table.read(&mut Bits::new(&ones)), None);
        counts[0] = 3;
        assert!(Table::new(&counts, b"abcde").is_none());
    }
}
