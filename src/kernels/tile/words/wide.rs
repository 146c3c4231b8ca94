//! What all instruction sets with wide registers have in common: the kernels of words, written once.
//!
//! The file that uses this has ROWS, LANES, VECTORS (two) and COLS, and its steps: functions (sum, a, b) -> sum + a · b of
//! vectors of words.

/// Kernels named like modules, one for each step, and the `Table` of those of each kind. `plain` are the ones that every
/// processor of the instruction set can run.
macro_rules! words {
    (
        with $all:ident, $load:ident, $store:ident;
        rows $rows:tt;
        steps { $($kernel:ident = $step:ident with $features:literal;)* }
        plain { $bf16:ident, $signed_a:ident, $signed_b:ident }
    ) => {
        type Kernel = unsafe fn(&[u32], &[u32], &mut [u32; TILE]);
        /// By rows and vectors.
        type Kernels = [[Kernel; VECTORS]; ROWS];

        /// The kernels of each kind.
        pub(in crate::kernels::tile) struct Table {
            bf16: Kernels,
            signed_a: Kernels,
            signed_b: Kernels,
        }

        impl Table {
            /// Sums over as many steps as both slices hold.
            ///
            /// # Safety
            /// The processor must have what the plain kernels need.
            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            pub(in crate::kernels::tile) unsafe fn multiply(
                &self,
                kind: Kind,
                (rows, vectors): (usize, usize),
                (a, b): (&[u32], &[u32]),
                out: &mut [u32; TILE],
            ) {
                let kernels = match kind {
                    Kind::Bf16 => &self.bf16,
                    Kind::SignedA => &self.signed_a,
                    Kind::SignedB => &self.signed_b,
                };
                // SAFETY: the caller's promise; `best` lists what needs more only where the processor has it.
                unsafe { kernels[rows - 1][vectors - 1](a, b, out) }
            }
        }

        /// Without instructions made for it.
        pub(super) const PLAIN: Table = Table {
            bf16: $bf16::ALL,
            signed_a: $signed_a::ALL,
            signed_b: $signed_b::ALL,
        };

        $(words!(kernel $kernel = $step with $features, $all, $load, $store, $rows);)*
    };

    (kernel $kernel:ident = $step:ident with $features:literal, $all:ident, $load:ident, $store:ident,
     ($($rows:literal)*)) => {
        mod $kernel {
            use super::*;

            pub(super) const ALL: Kernels = [$([kernel::<$rows, 1>, kernel::<$rows, 2>]),*];

            #[target_feature(enable = $features)]
            #[allow(unsafe_code, reason = "vectors are loaded and stored through pointers")]
            fn kernel<const R: usize, const V: usize>(a: &[u32], b: &[u32], out: &mut [u32; TILE]) {
                let mut sums = [[$all(0); V]; R];
                let steps = a.as_chunks::<ROWS>().0.iter();
                for (a, b) in steps.zip(b.as_chunks::<COLS>().0) {
                    let (b, _) = b.as_chunks::<LANES>();
                    let mut row = [$all(0); V];
                    for v in 0..V {
                        // SAFETY: the array has the size of the vector; alignment is not needed.
                        row[v] = unsafe { $load(b[v].as_ptr().cast()) };
                    }
                    for i in 0..R {
                        let a = $all(a[i] as i32);
                        for v in 0..V {
                            sums[i][v] = $step(sums[i][v], a, row[v]);
                        }
                    }
                }
                let (out, _) = out.as_chunks_mut::<LANES>();
                for i in 0..R {
                    for v in 0..V {
                        let to = out[i * VECTORS + v].as_mut_ptr();
                        // SAFETY: the array has the size of the vector; alignment is not needed.
                        unsafe { $store(to.cast(), sums[i][v]) }
                    }
                }
            }
        }
    };
}

pub(super) use words;
