//! Which processors this process may use, and which of them share a core.

use std::{collections::BTreeSet, fs, path::Path};

/// Where Linux tells about its processors and about this process.
const ROOT: &str = "/";

/// Numbers of the processors that this process may run on, one of each core; empty where the system does not say.
///
/// Two hardware threads of a core share its arithmetic units and its nearest caches. A matrix product keeps both busy
/// from one thread; a second one only takes its blocks out of the cache.
pub(super) fn cores() -> Vec<usize> {
    cores_under(Path::new(ROOT)).unwrap_or_default()
}

fn cores_under(root: &Path) -> Option<Vec<usize>> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut seen = BTreeSet::new();
    let mut cores = Vec::new();
    for cpu in list(allowed)? {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let siblings = fs::read_to_string(root.join(file)).ok()?;
        // Every processor of a core names the same siblings.
        if seen.insert(siblings) {
            cores.push(cpu);
        }
    }
    Some(cores)
}

/// `0-2,5` as its numbers.
fn list(text: &str) -> Option<Vec<usize>> {
    /// More processors than any system has.
    const MOST: usize = 1 << 14;
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        if from > to || to >= MOST {
            return None;
        }
        numbers.extend(from..=to);
    }
    Some(numbers)
}

/// Binds threads to processors, and sets others free that were started by a bound one.
#[cfg(target_os = "linux")]
pub(super) mod pin {
    use std::sync::OnceLock;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// What the process may use, from before anything was bound.
    static ALLOWED: OnceLock<CpuSet> = OnceLock::new();

    /// Keeps in mind what the process may use. False where it may not be told.
    pub(in super::super) fn prepare() -> bool {
        let Ok(allowed) = sched_getaffinity(None) else {
            return false;
        };
        ALLOWED.get_or_init(|| allowed);
        true
    }

    /// Binds the calling thread to a processor. Where the system refuses, it stays free.
    pub(in super::super) fn bind(cpu: usize) {
        if cpu < CpuSet::MAX_CPU {
            let mut set = CpuSet::new();
            set.set(cpu);
            let _ = sched_setaffinity(None, &set);
        }
    }

    /// Lets the calling thread run wherever the process may.
    pub(in super::super) fn free() {
        if let Some(allowed) = ALLOWED.get() {
            let _ = sched_setaffinity(None, allowed);
        }
    }
}

/// No such thing here: threads stay free.
#[cfg(not(target_os = "linux"))]
pub(super) mod pin {
    pub(in super::super) fn prepare() -> bool {
        false
    }

    pub(in super::super) fn bind(_: usize) {}

    pub(in super::super) fn free() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system of four cores of two threads each, `allowed` to this process.
    fn machine(allowed: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        let status = format!("Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n");
        fs::write(dir.path().join("proc/self/status"), status).unwrap();
        for cpu in 0..8 {
            let folder = format!("sys/devices/system/cpu/cpu{cpu}/topology");
            let folder = dir.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            let siblings = format!("{},{}\n", cpu % 4, cpu % 4 + 4);
            fs::write(folder.join("thread_siblings_list"), siblings).unwrap();
        }
        dir
    }

    #[test]
    fn one_processor_of_each_core_within_the_mask() {
        for (allowed, cores) in [
            ("0-7", vec![0, 1, 2, 3]),
            ("2-5", vec![2, 3, 4, 5]),
            ("1,5-6", vec![1, 6]),
            ("7", vec![7]),
        ] {
            let dir = machine(allowed);
            assert_eq!(cores_under(dir.path()), Some(cores), "{allowed}");
        }
    }

    #[test]
    fn what_is_not_told_is_not_guessed() {
        for allowed in ["", "x", "3-1", "0-99999999999", "8"] {
            assert_eq!(cores_under(machine(allowed).path()), None, "{allowed}");
        }
        assert_eq!(cores_under(Path::new("/no/such/system")), None);
    }
}
