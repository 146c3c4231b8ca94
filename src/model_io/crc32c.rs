//! CRC-32C as LevelDB and TensorBoard keep it: turned, so that no checksum is taken of a checksum.

/// Tables for eight bytes at a time: `TABLES[k][b]` is the remainder of byte `b` with `k` zero bytes behind it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][(before & 255) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// The checksum of these pieces one after the other, turned and shifted so that no checksum is taken of a checksum.
pub(crate) fn masked(pieces: &[&[u8]]) -> u32 {
    let look = |k: usize, byte: u8| TABLES[k][usize::from(byte)];
    let mut sum = u32::MAX;
    for piece in pieces {
        let (words, rest) = piece.as_chunks::<8>();
        for &[a, b, c, d, e, f, g, h] in words {
            let [s0, s1, s2, s3] = sum.to_le_bytes();
            sum = look(7, a ^ s0)
                ^ look(6, b ^ s1)
                ^ look(5, c ^ s2)
                ^ look(4, d ^ s3)
                ^ look(3, e)
                ^ look(2, f)
                ^ look(1, g)
                ^ look(0, h);
        }
        for &byte in rest {
            let [low, ..] = sum.to_le_bytes();
            sum = sum >> 8 ^ look(0, byte ^ low);
        }
    }
    (!sum).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_example() {
        let plain = 0xE306_9283u32;
        let wanted = plain.rotate_right(15).wrapping_add(0xA282_EAD8);
        assert_eq!(masked(&[b"123456789"]), wanted);
        assert_eq!(masked(&[b"1", b"", b"2345678", b"9"]), wanted);
    }
}
