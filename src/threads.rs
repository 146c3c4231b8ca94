//! The one place that sizes the thread pool.
//!
//! Kernels split their work over outputs and reduce in shapes that do not depend on the pool, so the number of
//! threads changes how long a run takes and never its numbers.

use std::{num::NonZero, thread};

/// Sizes the pool to `threads`, or to what the machine offers this process (a cgroup's quota counts), and returns the
/// number of threads in use.
///
/// # Errors
/// If `threads` is 0, or the pool already runs with another number of threads, or the system refuses a thread.
pub fn configure(threads: Option<usize>) -> Result<usize, String> {
    let wanted = match threads {
        Some(0) => return Err("the number of threads must be at least 1".into()),
        Some(n) => n,
        None => thread::available_parallelism().map_or(1, NonZero::get),
    };
    match builder(wanted).build_global() {
        Ok(()) => Ok(wanted),
        // Building twice is an error in rayon; asking again for what runs already is not one here.
        Err(_) if rayon::current_num_threads() == wanted => Ok(wanted),
        Err(e) => Err(format!(
            "cannot run {wanted} threads ({} in use): {e}",
            rayon::current_num_threads()
        )),
    }
}

/// Threads of the pool that the calling thread would use.
pub fn count() -> usize {
    rayon::current_num_threads()
}

/// Runs `f` on a thread of the pool. A kernel called from there hands work to its neighbours directly, while each one
/// called from outside pays for a wake-up and a wait; a training loop should run in here as a whole.
pub fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// Runs `f` with a pool of its own of `threads` threads. For tests that compare thread counts.
///
/// # Errors
/// If `threads` is 0 or the system refuses a thread.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> Result<R, String> {
    if threads == 0 {
        return Err("the number of threads must be at least 1".into());
    }
    let pool = builder(threads).build().map_err(|e| e.to_string())?;
    Ok(pool.install(f))
}

fn builder(threads: usize) -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("worker-{i}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_of_its_own_has_the_size_asked_for() {
        for n in [1, 2, 3] {
            assert_eq!(with_threads(n, count), Ok(n));
        }
        assert!(with_threads(0, count).is_err());
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(configure(Some(0)).is_err());
    }

    #[test]
    fn work_runs_on_a_pool_thread() {
        assert!(rayon::current_thread_index().is_none());
        assert!(inside(rayon::current_thread_index).is_some());
    }
}
