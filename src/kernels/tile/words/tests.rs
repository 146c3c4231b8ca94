use super::{
    super::{Job, Path, TILE, Tile},
    *,
};

/// Words of any bits; for bf16, of numbers around 1 so that rounding matters.
fn words(kind: Kind, len: usize, seed: u64) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bits = (state >> 20) as u32;
        match kind {
            // Exponents from 2⁻¹⁵ to 1.
            Kind::Bf16 => (bits & 0x87ff_87ff) + 0x3800_3800,
            _ => bits,
        }
    };
    std::iter::repeat_with(next).take(len).collect()
}

const KINDS: [Kind; 3] = [Kind::Bf16, Kind::SignedA, Kind::SignedB];

/// Every size of tile, against the definition.
fn check<T: Tile>(f: impl Fn(Kind, (usize, usize), (&[u32], &[u32]), &mut [u32; TILE])) {
    for kind in KINDS {
        for rows in 1..=T::ROWS {
            for vectors in 1..=T::COLS / T::LANES {
                for steps in [0, 1, 2, 33] {
                    let a = words(kind, steps * T::ROWS, 1);
                    let b = words(kind, steps * T::COLS, 2);
                    let mut out = [0xffff_ffff; TILE];
                    f(kind, (rows, vectors), (&a, &b), &mut out);
                    for i in 0..rows {
                        for j in 0..vectors * T::LANES {
                            let want = (0..steps).fold(0, |sum, p| {
                                add(kind, sum, a[p * T::ROWS + i], b[p * T::COLS + j])
                            });
                            let got = out[i * T::COLS + j];
                            assert_eq!(got, want, "{kind:?} {rows}x{vectors}, {steps} steps");
                        }
                    }
                }
            }
        }
    }
}

struct Sizes;

impl Job for Sizes {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        check::<T>(|kind, dims, words, out| tile.multiply_words(kind, dims, words, out));
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for path in Path::all() {
        path.run(Sizes);
    }
}

/// The kernels that a processor with faster ones does not choose.
#[cfg(target_arch = "x86_64")]
#[test]
#[allow(unsafe_code, reason = "the way into code for one instruction set")]
fn and_without_instructions_made_for_it() {
    use crate::kernels::tile::{avx2::Avx2, avx512::Avx512};
    if Avx512::new().is_some() {
        // SAFETY: the processor has what the type is the proof of.
        check::<Avx512>(|kind, dims, words, out| unsafe {
            avx512::PLAIN.multiply(kind, dims, words, out);
        });
    }
    if Avx2::new().is_some() {
        // SAFETY: as above.
        check::<Avx2>(|kind, dims, words, out| unsafe {
            avx2::PLAIN.multiply(kind, dims, words, out);
        });
    }
}

#[test]
fn words_by_hand() {
    // 1.0 · 2.0 in the lower halves, 3.0 · -1.0 in the upper ones.
    let (a, b) = (0x4040_3f80, 0xbf80_4000);
    assert_eq!(f32::from_bits(add(Kind::Bf16, 0, a, b)), -1.0);
    // -1 · 255 + 2 · 3
    let (signed, unsigned) = (0x0000_02ff, 0x0000_03ff);
    assert_eq!(add(Kind::SignedA, 1, signed, unsigned) as i32, -248);
    assert_eq!(add(Kind::SignedB, 1, unsigned, signed) as i32, -248);
}
