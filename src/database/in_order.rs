//! Many threads make, one takes, in order.

use rayon::prelude::*;

use crate::error::Result;

/// Makes something of each of `items` on all threads and hands the results to `take` in the order of the items.
///
/// What is in memory at a time are two chunks: one being made while that before it is taken.
///
/// # Errors
/// The first error of `take`, which ends the work.
pub(super) fn in_order<T: Sync, R: Send>(
    items: &[T],
    make: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<()> + Send,
) -> Result<()> {
    let chunk = 4 * crate::threads::count().max(1);
    let mut made: Vec<R> = Vec::new();
    for items in items.chunks(chunk) {
        let before = std::mem::take(&mut made);
        let (next, taken) = rayon::join(
            || items.par_iter().map(&make).collect(),
            || before.into_iter().try_for_each(&mut take),
        );
        taken?;
        made = next;
    }
    made.into_iter().try_for_each(take)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [1, 3] {
            let seen = crate::threads::with_threads(threads, || {
                let mut seen = Vec::new();
                in_order(
                    &items,
                    |i| i * 2,
                    |n| {
                        seen.push(n);
                        Ok(())
                    },
                )
                .unwrap();
                seen
            });
            assert_eq!(seen.unwrap(), (0..200).step_by(2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it() {
        let items = [0; 1000];
        let mut taken = 0;
        let result = in_order(
            &items,
            |_| (),
            |()| {
                taken += 1;
                if taken == 5 {
                    Err(Error::data("enough"))
                } else {
                    Ok(())
                }
            },
        );
        assert!(result.is_err());
        assert_eq!(taken, 5);
    }
}
