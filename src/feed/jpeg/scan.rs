//! One scan: coefficients of blocks, all of them or, in progressive files, some or some bits of them.

use super::{Component, ZIGZAG, bits::Bits, huffman::Table};

/// What a scan brings.
pub(super) struct Scan {
    /// The first and the last coefficient, by rising frequency.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bits that came before, and bits that are still to come.
    pub(super) high: u8,
    pub(super) low: u8,
    pub(super) progressive: bool,
    /// Units between two markers of restart; 0: none.
    pub(super) restart: usize,
}

/// A component in a scan: which, and its tables.
pub(super) type Member = (usize, usize, usize);

/// What runs through a scan.
struct State {
    before: [i32; 3],
    /// Blocks that are still to pass, having nothing.
    run: u32,
}

impl Scan {
    /// Reads the scan into the components' blocks. `None` where it is damaged.
    pub(super) fn read(
        &self,
        components: &mut [Component],
        members: &[Member],
        dc: &[Option<Table>; 4],
        ac: &[Option<Table>; 4],
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        let whole = !self.progressive;
        if whole && (self.first, self.last, self.high, self.low) != (0, 63, 0, 0) {
            return None;
        }
        let several = members.len() > 1;
        if self.last > 63
            || self.first > self.last
            || self.low > 13
            || members.is_empty()
            || (!whole && self.first == 0 && self.last != 0)
            || (!whole && self.first > 0 && several)
        {
            return None;
        }
        let mut state = State {
            before: [0; 3],
            run: 0,
        };
        let (units_wide, units_high) = match members {
            [(only, ..)] => {
                let c = components.get(*only)?;
                (c.width.div_ceil(8), c.height.div_ceil(8))
            }
            [(any, ..), ..] => {
                let c = components.get(*any)?;
                (c.blocks_wide / c.h, c.blocks_high / c.v)
            }
            [] => return None,
        };
        let mut until_restart = self.restart;
        let mut number = 0;
        for y in 0..units_high {
            for x in 0..units_wide {
                if self.restart > 0 && until_restart == 0 {
                    bits.restart(number)?;
                    number = (number + 1) % 8;
                    until_restart = self.restart;
                    state = State {
                        before: [0; 3],
                        run: 0,
                    };
                }
                for &(at, dc_table, ac_table) in members {
                    let component = components.get_mut(at)?;
                    let (h, v) = match several {
                        true => (component.h, component.v),
                        false => (1, 1),
                    };
                    let tables = (dc.get(dc_table)?.as_ref(), ac.get(ac_table)?.as_ref());
                    let before = state.before.get_mut(at)?;
                    for row in 0..v {
                        let start = (y * v + row) * component.blocks_wide + x * h;
                        let blocks = component.coefficients.get_mut(start..start + h)?;
                        for block in blocks {
                            self.block(block, tables, before, &mut state.run, bits)?;
                        }
                    }
                }
                until_restart = until_restart.saturating_sub(1);
            }
        }
        Some(())
    }

    #[inline]
    fn block(
        &self,
        block: &mut [i16; 64],
        (dc, ac): (Option<&Table>, Option<&Table>),
        before: &mut i32,
        run: &mut u32,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        match (self.progressive, self.first, self.high) {
            (false, ..) => whole(block, dc?, ac?, before, bits),
            (true, 0, 0) => {
                *before = before.wrapping_add(difference(dc?, bits)?);
                block[0] = before.wrapping_shl(self.low.into()) as i16;
                Some(())
            }
            (true, 0, _) => {
                if bits.take(1) == 1 {
                    block[0] |= 1 << self.low;
                }
                Some(())
            }
            (true, _, 0) => self.first_bits(block, ac?, run, bits),
            (true, ..) => self.more_bits(block, ac?, run, bits),
        }
    }

    /// The upper bits of coefficients.
    fn first_bits(
        &self,
        block: &mut [i16; 64],
        table: &Table,
        run: &mut u32,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        if *run > 0 {
            *run -= 1;
            return Some(());
        }
        let mut k = self.first;
        while k <= self.last {
            let symbol = table.read(bits)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            match (zeros, size) {
                (15, 0) => k += 16,
                (zeros, 0) => {
                    *run = (1 << zeros) + bits.take(zeros) - 1;
                    return Some(());
                }
                (zeros, size) => {
                    k += zeros as usize;
                    let place = ZIGZAG.get(k)?;
                    block[usize::from(*place)] = (bits.signed(size) << self.low) as i16;
                    k += 1;
                }
            }
        }
        Some(())
    }

    /// One more bit of coefficients that are there, and new ones among them.
    fn more_bits(
        &self,
        block: &mut [i16; 64],
        table: &Table,
        run: &mut u32,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        let one = 1i16 << self.low;
        let mut k = self.first;
        if *run == 0 {
            while k <= self.last {
                let symbol = table.read(bits)?;
                let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut new = 0;
                match size {
                    0 if zeros < 15 => {
                        *run = (1 << zeros) + bits.take(zeros);
                        break;
                    }
                    0 => {}
                    _ => new = if bits.take(1) == 1 { one } else { -one },
                }
                while k <= self.last {
                    let value = &mut block[usize::from(ZIGZAG[k])];
                    if *value != 0 {
                        refine(value, one, bits);
                    } else if zeros == 0 {
                        break;
                    } else {
                        zeros -= 1;
                    }
                    k += 1;
                }
                if new != 0 {
                    block[usize::from(*ZIGZAG.get(k)?)] = new;
                }
                k += 1;
            }
        }
        if *run > 0 {
            for &place in ZIGZAG.get(k..=self.last).unwrap_or_default() {
                let value = &mut block[usize::from(place)];
                if *value != 0 {
                    refine(value, one, bits);
                }
            }
            *run -= 1;
        }
        Some(())
    }
}

fn refine(value: &mut i16, one: i16, bits: &mut Bits<'_>) {
    if bits.take(1) == 1 && *value & one == 0 {
        *value = value.wrapping_add(if *value >= 0 { one } else { -one });
    }
}

/// What the mean of a block is more than that of the one before.
#[inline]
fn difference(table: &Table, bits: &mut Bits<'_>) -> Option<i32> {
    match table.read(bits)? {
        size @ 0..=15 => Some(bits.signed(size.into())),
        _ => None,
    }
}

/// A block of a file that is not progressive.
#[inline]
fn whole(
    block: &mut [i16; 64],
    dc: &Table,
    ac: &Table,
    before: &mut i32,
    bits: &mut Bits<'_>,
) -> Option<()> {
    *before = before.wrapping_add(difference(dc, bits)?);
    block[0] = *before as i16;
    let mut k = 1;
    while k < 64 {
        let symbol = ac.read(bits)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += zeros;
        block[usize::from(*ZIGZAG.get(k)?)] = bits.signed(size) as i16;
        k += 1;
    }
    Some(())
}
