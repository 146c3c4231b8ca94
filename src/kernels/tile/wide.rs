//! What all instruction sets with wide registers have in common: the microkernels, written once for vectors of any width.
//!
//! The file that uses these has ROWS, LANES, VECTORS (two), COLS and SUMS, the tables AT and DOT, and functions of its own
//! where vectors differ by more than their width: `put`, `turn`, `slope_of`, `load_part`, `store_part`, `spread`, a vector
//! of one float of a step's rows, and `ahead`, which asks for weights that are used later.

/// A table by rows and vectors.
macro_rules! at {
    ($($rows:literal: $($vectors:literal)*;)*) => {{
        let mut table: [[KernelAt; 8]; ROWS] = [[too_many; 8]; ROWS];
        $($(table[$rows - 1][$vectors - 1] = at::<$rows, $vectors>;)*)*
        table
    }};
}

/// A table by rows and taps.
macro_rules! dots {
    ($($rows:literal: $($taps:literal)*;)*) => {{
        let mut table: [[KernelDot; MOST]; 6] = [[too_many_dots; MOST]; 6];
        $($(table[$rows - 1][$taps - 1] = dot::<$rows, $taps>;)*)*
        table
    }};
}

/// A tile: [`super::Tile`] for `$name`, and the microkernels behind it. `own` are methods written for it alone.
macro_rules! tile {
    (
        impl $name:ident with $features:literal:
        $vector:ident, $zero:ident, $all:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $multiply_add:ident,
        $reduce:ident;
        rows $($rows:literal)*;
        words $words:ident;
        own { $($own:tt)* }
    ) => {
        impl Tile for $name {
            const ROWS: usize = ROWS;
            const LANES: usize = LANES;
            const COLS: usize = COLS;
            const SUMS: usize = SUMS;

            type V = $vector;

            #[inline(always)]
            #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
            fn load(self, from: &[f32]) -> $vector {
                let from = &from[..LANES];
                // SAFETY: the slice has the size of the vector, and `self` proves the features.
                unsafe { $load(from.as_ptr()) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "vectors are stored through pointers")]
            fn store(self, v: $vector, to: &mut [f32]) {
                let to = &mut to[..LANES];
                // SAFETY: the slice has the size of the vector, and `self` proves the features.
                unsafe { $store(to.as_mut_ptr(), v) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn load_part(self, from: &[f32]) -> $vector {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { load_part(from) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn store_part(self, v: $vector, to: &mut [f32]) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { store_part(v, to) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "an instruction of this set")]
            fn all(self, f: f32) -> $vector {
                // SAFETY: `self` exists only where the processor has the features.
                unsafe { $all(f) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn slope(self, v: $vector, slope: f32) -> $vector {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { slope_of(v, slope) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "an instruction of this set")]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` exists only where the processor has the features.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "an instruction of this set")]
            fn sub(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` exists only where the processor has the features.
                unsafe { $sub(a, b) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "an instruction of this set")]
            fn scale_add(self, f: f32, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` exists only where the processor has the features.
                unsafe { $multiply_add($all(f), a, b) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn multiply(
                self,
                (rows, vectors, k): (usize, usize, usize),
                a: &[f32],
                b: &[f32],
                ldb: usize,
                out: &mut [f32; TILE],
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { KERNELS[rows - 1][vectors - 1](k, a, b, ldb, out) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn multiply_at(
                self,
                rows: usize,
                a: &[f32],
                b: &[f32],
                bases: &[usize],
                taps: Taps<'_>,
                out: &mut [f32; TILE],
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { AT[rows - 1][bases.len() - 1](a, b, bases, taps, out) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn pack_at(
                self,
                b: &[f32],
                bases: &[usize],
                taps: Taps<'_>,
                to: &mut [f32],
                stride: usize,
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe {
                    match *bases {
                        [base] => pack([base], b, taps, to, stride),
                        [one, two] => pack([one, two], b, taps, to, stride),
                        _ => panic!("one or two vectors are packed at a time"),
                    }
                }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn outer_at(
                self,
                (len, vectors): (usize, usize),
                a: &[f32],
                bases: &[usize],
                taps: Taps<'_>,
                b: &[f32],
                out: &mut [f32; TILE],
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { OUTER[taps.offsets.len() - 1][vectors - 1](len, a, bases, taps, b, out) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn dot_at(self, dims: Dots, a: &[f32], b: &[f32], taps: Taps<'_>, out: &mut [f32; TILE]) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { DOT[dims.rows - 1][taps.offsets.len() - 1](dims, a, b, taps, out) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn put(
                self,
                from: &[f32],
                lane: usize,
                to: &mut [f32],
                residual: Option<&[f32]>,
                end: Finish,
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { put(from, lane, to, residual, end) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn turn(
                self,
                from: &[f32],
                ld: usize,
                dims: (usize, usize),
                to: &mut [f32],
                stride: usize,
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { turn(from, ld, dims, to, stride) }
            }

            #[inline(always)]
            #[allow(unsafe_code, reason = "the way into code for one instruction set")]
            fn multiply_words(
                self,
                kind: Kind,
                dims: (usize, usize),
                words: (&[u32], &[u32]),
                out: &mut [u32; TILE],
            ) {
                // SAFETY: `self` exists only where the processor has these features.
                unsafe { words::$words::Table::best().multiply(kind, dims, words, out) }
            }

            $($own)*
        }

        /// By rows and vectors.
        static KERNELS: [[Kernel; VECTORS]; ROWS] = [$([kernel::<$rows, 1>, kernel::<$rows, 2>]),*];
        static OUTER: [[KernelOuter; VECTORS]; ROWS] = [$([outer::<$rows, 1>, outer::<$rows, 2>]),*];

        type Kernel = unsafe fn(usize, &[f32], &[f32], usize, &mut [f32; TILE]);
        type KernelAt = unsafe fn(&[f32], &[f32], &[usize], Taps<'_>, &mut [f32; TILE]);
        type KernelOuter = unsafe fn(usize, &[f32], &[usize], Taps<'_>, &[f32], &mut [f32; TILE]);
        type KernelDot = unsafe fn(Dots, &[f32], &[f32], Taps<'_>, &mut [f32; TILE]);

        /// Rows and vectors (or taps) that do not fit into the registers together.
        fn too_many(_: &[f32], _: &[f32], _: &[usize], _: Taps<'_>, _: &mut [f32; TILE]) {
            panic!("a tile has at most {SUMS} sums");
        }

        fn too_many_dots(_: Dots, _: &[f32], _: &[f32], _: Taps<'_>, _: &mut [f32; TILE]) {
            panic!("a tile has at most {SUMS} sums");
        }

        #[target_feature(enable = $features)]
        fn kernel<const R: usize, const V: usize>(
            k: usize,
            a: &[f32],
            b: &[f32],
            ldb: usize,
            out: &mut [f32; TILE],
        ) {
            let mut sums = [[$zero(); V]; R];
            let (steps, _) = a.as_chunks::<ROWS>();
            for (p, a) in steps[..k].iter().enumerate() {
                ahead(a);
                let (b, _) = b[p * ldb..][..V * LANES].as_chunks::<LANES>();
                let mut row = [$zero(); V];
                for v in 0..V {
                    row[v] = load(&b[v]);
                }
                for i in 0..R {
                    let a = spread(a, i);
                    for v in 0..V {
                        sums[i][v] = $multiply_add(a, row[v], sums[i][v]);
                    }
                }
            }
            let (out, _) = out.as_chunks_mut::<LANES>();
            for i in 0..R {
                for v in 0..V {
                    store(&mut out[i * VECTORS + v], sums[i][v]);
                }
            }
        }

        #[target_feature(enable = $features)]
        #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
        fn at<const R: usize, const V: usize>(
            a: &[f32],
            b: &[f32],
            bases: &[usize],
            taps: Taps<'_>,
            out: &mut [f32; TILE],
        ) {
            let bases: &[usize; V] = bases.first_chunk().expect("one base for each vector");
            assert!(
                bases.iter().all(|&base| taps.inside(base, LANES, b)),
                "a vector beyond the field"
            );
            let (steps, _) = a.as_chunks::<ROWS>();
            let mut sums = [[$zero(); V]; R];
            for (a, &tap) in steps[..taps.offsets.len()].iter().zip(taps.offsets) {
                // SAFETY: base + reach + LANES is inside `b` by the assert, and no tap is above the reach.
                let vector = |v: usize| unsafe { $load(b.as_ptr().add(bases[v] + tap)) };
                // Whichever are fewer wait in registers for the others.
                if R < V {
                    let mut column = [$zero(); R];
                    for i in 0..R {
                        column[i] = spread(a, i);
                    }
                    for v in 0..V {
                        let b = vector(v);
                        for i in 0..R {
                            sums[i][v] = $multiply_add(column[i], b, sums[i][v]);
                        }
                    }
                } else {
                    let mut row = [$zero(); V];
                    for v in 0..V {
                        row[v] = vector(v);
                    }
                    for i in 0..R {
                        let a = spread(a, i);
                        for v in 0..V {
                            sums[i][v] = $multiply_add(a, row[v], sums[i][v]);
                        }
                    }
                }
            }
            let (out, _) = out.as_chunks_mut::<LANES>();
            for i in 0..R {
                for v in 0..V {
                    store(&mut out[i * V + v], sums[i][v]);
                }
            }
        }

        #[target_feature(enable = $features)]
        #[allow(unsafe_code, reason = "vectors are copied through pointers")]
        fn pack<const V: usize>(
            bases: [usize; V],
            b: &[f32],
            taps: Taps<'_>,
            to: &mut [f32],
            stride: usize,
        ) {
            assert!(
                bases.iter().all(|&base| taps.inside(base, LANES, b)),
                "a vector beyond the field"
            );
            let last = taps.offsets.len().saturating_sub(1);
            let end = last
                .checked_mul(stride)
                .and_then(|n| n.checked_add(V * LANES));
            assert!(end.is_some_and(|end| end <= to.len()));
            for (p, &tap) in taps.offsets.iter().enumerate() {
                for (v, base) in bases.iter().enumerate() {
                    // SAFETY: base + reach + LANES is inside `b`, the last step's vectors are inside `to`, by the asserts.
                    unsafe {
                        let x = $load(b.as_ptr().add(base + tap));
                        $store(to.as_mut_ptr().add(p * stride + v * LANES), x);
                    }
                }
            }
        }

        #[target_feature(enable = $features)]
        #[allow(unsafe_code, reason = "floats are loaded through pointers")]
        fn outer<const R: usize, const V: usize>(
            len: usize,
            a: &[f32],
            bases: &[usize],
            taps: Taps<'_>,
            b: &[f32],
            out: &mut [f32; TILE],
        ) {
            let offsets: &[usize; R] = taps
                .offsets
                .first_chunk()
                .expect("as many taps as the kernel has");
            let farthest = bases.iter().copied().max().unwrap_or(0);
            assert!(
                bases.is_empty() || taps.inside(farthest, len, a),
                "a run beyond the field"
            );
            let (steps, _) = b.as_chunks::<COLS>();
            let mut steps = steps[..bases.len() * len].iter();
            let mut sums = [[$zero(); V]; R];
            for base in bases {
                for (q, b) in steps.by_ref().take(len).enumerate() {
                    let (b, _) = b.as_chunks::<LANES>();
                    for i in 0..R {
                        // SAFETY: base + reach + len is inside `a` by the assert, and q < len.
                        let a = $all(unsafe { *a.get_unchecked(base + offsets[i] + q) });
                        for v in 0..V {
                            sums[i][v] = $multiply_add(a, load(&b[v]), sums[i][v]);
                        }
                    }
                }
            }
            let (out, _) = out.as_chunks_mut::<LANES>();
            for i in 0..R {
                for v in 0..V {
                    store(&mut out[i * VECTORS + v], sums[i][v]);
                }
            }
        }

        #[target_feature(enable = $features)]
        #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
        fn dot<const R: usize, const S: usize>(
            dims: Dots,
            a: &[f32],
            b: &[f32],
            taps: Taps<'_>,
            out: &mut [f32; TILE],
        ) {
            let offsets: &[usize; S] = taps
                .offsets
                .first_chunk()
                .expect("as many taps as the kernel has");
            assert!(dims.rows == R && dims.len.is_multiple_of(LANES) && dims.inside(a, b, taps));
            let mut sums = [[$zero(); S]; R];
            for n in 0..dims.count {
                let (a_start, b_start) = (n * dims.a_apart, n * dims.b_apart);
                for q in (0..dims.len).step_by(LANES) {
                    let mut rows = [$zero(); R];
                    for (i, row) in rows.iter_mut().enumerate() {
                        // SAFETY: n < count, i < rows and q + LANES <= len: inside `a` by the assert.
                        *row = unsafe { $load(a.as_ptr().add(a_start + i * dims.lda + q)) };
                    }
                    for t in 0..S {
                        // SAFETY: n < count, no tap is above the reach and q + LANES <= len: inside `b` by the assert.
                        let x = unsafe { $load(b.as_ptr().add(b_start + offsets[t] + q)) };
                        for i in 0..R {
                            sums[i][t] = $multiply_add(rows[i], x, sums[i][t]);
                        }
                    }
                }
            }
            for i in 0..R {
                for t in 0..S {
                    out[i * S + t] = $reduce(sums[i][t]);
                }
            }
        }

        #[target_feature(enable = $features)]
        #[inline]
        #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
        fn load(from: &[f32; LANES]) -> $vector {
            // SAFETY: the array has the size of the vector; alignment is not needed.
            unsafe { $load(from.as_ptr()) }
        }

        #[target_feature(enable = $features)]
        #[inline]
        #[allow(unsafe_code, reason = "vectors are stored through pointers")]
        fn store(to: &mut [f32; LANES], vector: $vector) {
            // SAFETY: the array has the size of the vector; alignment is not needed.
            unsafe { $store(to.as_mut_ptr(), vector) }
        }
    };
}

pub(super) use {at, dots, tile};
