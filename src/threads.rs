//! The one place that sizes the thread pool.
//!
//! Kernels split their work over outputs and reduce in shapes that do not depend on the pool, so the number of
//! threads changes how long a run takes and never its numbers.

mod cpus;

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Sizes the pool to `threads`, or to [`available`], and returns the number of threads in use. With `pin` each of them
/// stays on a processor of its own, one that the process may use; where there are fewer, or the system does not allow
/// it, they stay free.
///
/// # Errors
/// If `threads` is 0, or the pool already runs with another number of threads, or the system refuses a thread.
pub fn configure(threads: Option<usize>, pin: bool) -> Result<usize, String> {
    let wanted = match threads {
        Some(0) => return Err("the number of threads must be at least 1".into()),
        Some(n) => n,
        None => available(),
    };
    let mut builder = builder(wanted);
    let cores = cpus::cores();
    if pin && cores.len() >= wanted && cpus::pin::prepare() {
        builder = builder.start_handler(move |i| {
            if let Some(&cpu) = cores.get(i) {
                cpus::pin::bind(cpu);
            }
        });
    }
    match builder.build_global() {
        Ok(()) => Ok(wanted),
        // Building twice is an error in rayon; asking again for what runs already is not one here.
        Err(_) if rayon::current_num_threads() == wanted => Ok(wanted),
        Err(e) => Err(format!(
            "cannot run {wanted} threads ({} in use): {e}",
            rayon::current_num_threads()
        )),
    }
}

/// Threads that the machine offers this process: what a mask (`taskset`) and a cgroup's quota (a container's) leave, and
/// no more than one for each core, because kernels gain nothing from a core's second hardware thread.
pub fn available() -> usize {
    let offered = thread::available_parallelism().map_or(1, NonZero::get);
    match cpus::cores().len() {
        0 => offered,
        cores => offered.min(cores),
    }
}

/// Lets the calling thread run on any processor of the process. A thread starts where the one that started it is bound;
/// one that works beside the pool calls this first.
pub fn roam() {
    cpus::pin::free();
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

/// Runs `f` on the calling thread of the pool while the others look for work instead of falling asleep between two
/// kernels: waking a thread takes longer than many a layer. One that finds none for a while looks less and less often.
/// Outside the pool, and on a pool of one, this is `f` alone.
pub fn awake<R>(f: impl FnOnce() -> R) -> R {
    let Some(me) = rayon::current_thread_index() else {
        return f();
    };
    if count() < 2 {
        return f();
    }
    struct Done(AtomicBool);
    struct Guard<'d>(&'d Done);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.0.store(true, Ordering::Release);
        }
    }
    let done = Done(AtomicBool::new(false));
    rayon::in_place_scope(|scope| {
        // Dropped before the scope waits for the others, also where `f` panics.
        let guard = Guard(&done);
        scope.spawn_broadcast(|_, cx| {
            if cx.index() != me {
                look_for_work(&done.0);
            }
        });
        let result = f();
        drop(guard);
        result
    })
}

/// Does what other threads have to give until `done`.
fn look_for_work(done: &AtomicBool) {
    /// Without work: how long a thread keeps asking, and what it sleeps between two questions after that.
    const ASK: Duration = Duration::from_micros(300);
    const NAPS: [(Duration, Duration); 2] = [
        (Duration::from_millis(20), Duration::from_micros(50)),
        (Duration::MAX, Duration::from_millis(1)),
    ];
    let mut idle = Instant::now();
    let mut asked = 0u32;
    while !done.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            (idle, asked) = (Instant::now(), 0);
            continue;
        }
        std::hint::spin_loop();
        asked += 1;
        // The clock costs more than asking.
        if asked.is_multiple_of(64) {
            let since = idle.elapsed();
            if since > ASK {
                let nap = NAPS.iter().find(|(until, _)| since < *until);
                thread::sleep(nap.map_or(ASK, |nap| nap.1));
                asked = 63;
            }
        }
    }
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

/// Threads for work beside the net, such as decoding images, apart from the kernels' pool: a kernel that waits for its
/// parts would otherwise take up a record in the meantime and come back late, and a pool of one thread, which waits for
/// a batch, would never make it. The system divides the cores between the two.
#[derive(Clone, Debug)]
pub struct Crew(Arc<rayon::ThreadPool>);

/// The crews in use, by their number of threads.
static CREWS: Mutex<BTreeMap<usize, Weak<rayon::ThreadPool>>> = Mutex::new(BTreeMap::new());

impl Crew {
    /// The crew of `threads` threads, at least 1; whoever asks for the same number gets the same one. It ends with its
    /// last user.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn of(threads: usize) -> Result<Self, String> {
        let threads = threads.max(1);
        let mut crews = CREWS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = crews.get(&threads).and_then(Weak::upgrade) {
            return Ok(Self(pool));
        }
        let pool = builder(threads)
            .thread_name(|i| format!("feeder-{i}"))
            .start_handler(|_| roam())
            .build()
            .map_err(|e| e.to_string())?;
        let pool = Arc::new(pool);
        crews.insert(threads, Arc::downgrade(&pool));
        Ok(Self(pool))
    }

    /// Runs `f` on one of its threads; rayon's parallel iterators in there share its threads.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.0.install(f)
    }
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
    fn a_crew_is_shared_and_apart_from_the_pool() {
        let crew = Crew::of(3).unwrap();
        assert_eq!(crew.run(count), 3);
        assert!(Arc::ptr_eq(&crew.0, &Crew::of(3).unwrap().0));
        assert!(!Arc::ptr_eq(&crew.0, &Crew::of(2).unwrap().0));
        // From a pool's only thread, as a net that waits for its data.
        assert_eq!(with_threads(1, || Crew::of(1).unwrap().run(count)), Ok(1));
    }

    #[test]
    fn threads_that_are_awake_take_work_and_let_go() {
        let sum = with_threads(3, || {
            awake(|| {
                use rayon::prelude::*;
                // Long enough for the others to take naps in between.
                let mut sum = 0;
                for _ in 0..3 {
                    sum += (0..1000_u64).into_par_iter().sum::<u64>();
                    thread::sleep(Duration::from_millis(1));
                }
                awake(|| sum)
            })
        });
        assert_eq!(sum, Ok(3 * 499_500));
        assert_eq!(awake(|| 7), 7);
        let panicked = std::panic::catch_unwind(|| with_threads(2, || awake(|| panic!("inside"))));
        assert!(panicked.is_err());
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(configure(Some(0), false).is_err());
    }

    #[test]
    fn work_runs_on_a_pool_thread() {
        assert!(rayon::current_thread_index().is_none());
        assert!(inside(rayon::current_thread_index).is_some());
    }
}
