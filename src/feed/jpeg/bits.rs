//! The bits of a scan.

/// Reads bits, the highest of each byte first; a zero byte behind 0xFF is no data, and a marker ends them.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that wait, from the top.
    waiting: u64,
    count: u32,
    /// Zeros behind the end that are among them.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            waiting: 0,
            count: 0,
            made_up: 0,
        }
    }

    /// Makes sure of at least 48 bits; behind the end they are zeros.
    #[inline]
    fn fill(&mut self) {
        if let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_be_bytes(*word);
            // No byte of it is 0xFF: none of the inverse is zero.
            let inverse = !word;
            let zero = inverse.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080;
            if zero == 0 {
                let bytes = (64 - self.count) / 8;
                self.waiting |= word >> self.count;
                self.count += 8 * bytes;
                // What does not make a whole byte is read again.
                if self.count < 64 {
                    self.waiting &= !(u64::MAX >> self.count);
                }
                self.at += bytes as usize;
                return;
            }
        }
        while self.count <= 56 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF), _) | (None, _) => {
                    self.made_up += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.waiting |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next `n` bits, 1 to 16, which stay.
    #[inline]
    pub(super) fn peek(&mut self, n: u32) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        (self.waiting >> (64 - n)) as u32
    }

    /// Passes over `n` bits that were peeked at.
    #[inline]
    pub(super) fn skip(&mut self, n: u32) {
        self.waiting <<= n;
        self.count -= n;
    }

    /// The next `n` bits, 0 to 16.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        let bits = self.peek(n);
        self.skip(n);
        bits
    }

    /// The number of `n` bits that stands for a value of that size: below the half they are negative.
    #[inline]
    pub(super) fn signed(&mut self, n: u32) -> i32 {
        if n == 0 {
            return 0;
        }
        let bits = self.take(n) as i32;
        if bits < 1 << (n - 1) {
            bits - (1 << n) + 1
        } else {
            bits
        }
    }

    /// Whether more bits were read than there are.
    fn overdrawn(&self) -> bool {
        self.made_up > self.count
    }

    /// Goes behind the restart marker of this number.
    pub(super) fn restart(&mut self, number: u8) -> Option<()> {
        let at = self.end()?;
        let marker = self.bytes.get(at..at + 2)?;
        if marker != [0xFF, 0xD0 + number] {
            return None;
        }
        *self = Self {
            at: at + 2,
            ..Self::new(self.bytes)
        };
        Some(())
    }

    /// Where the marker behind the bits is; `None` where they ended before their time.
    pub(super) fn end(&self) -> Option<usize> {
        if self.overdrawn() {
            return None;
        }
        // Whole bytes that wait were not used; padding, or rubbish that decoders pass over.
        let mut at = self.at;
        loop {
            let found = self.bytes.get(at..)?.iter().position(|&b| b == 0xFF)?;
            at += found;
            match self.bytes.get(at + 1)? {
                0 => at += 2,
                0xFF => at += 1,
                _ => return Some(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_the_marker_behind_them() {
        let bytes = [0b1010_0000, 0xFF, 0x00, 0x0F, 0xFF, 0xD9];
        let mut bits = Bits::new(&bytes);
        assert_eq!(bits.take(3), 0b101);
        assert_eq!(bits.take(5), 0);
        assert_eq!(bits.peek(12), 0xFF0);
        assert_eq!(bits.take(16), 0xFF0F);
        assert_eq!(bits.end(), Some(4));
        assert_eq!(bits.take(1), 0);
        assert_eq!(bits.end(), None);
    }

    #[test]
    fn long_runs_without_a_marker() {
        let bytes: Vec<u8> = (0..=254).chain([0xFF, 0xD9]).collect();
        let mut bits = Bits::new(&bytes);
        for i in 0..=254 {
            assert_eq!(bits.take(3) << 5 | bits.take(5), i);
        }
        assert_eq!(bits.end(), Some(255));
    }

    #[test]
    fn values_of_a_size() {
        // 3 bits: 000 is -7, 011 is -4, 100 is 4, 111 is 7.
        let bytes = [0b0000_1110, 0b0111_0000, 0, 0];
        let mut bits = Bits::new(&bytes);
        assert_eq!([0; 4].map(|_| bits.signed(3)), [-7, -4, 4, 7]);
        assert_eq!(bits.signed(0), 0);
    }
}
