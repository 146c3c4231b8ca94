//! How much memory there is, so that what a file asks for can be refused before it is allocated.

use std::{fs, sync::OnceLock};

use crate::error::{Error, Result};

/// Bytes that this process can have: the machine's memory and swap, or what its control group allows. `None` where that
/// cannot be told.
pub fn limit() -> Option<u64> {
    #[cfg(test)]
    if let Some(limit) = tests::LIMIT.get() {
        return Some(limit);
    }
    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let machine = fs::read_to_string("/proc/meminfo").ok();
        let machine = machine.and_then(|text| of_machine(&text));
        let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
        let group = group.and_then(|text| text.trim().parse().ok());
        machine.into_iter().chain(group).min()
    })
}

/// Bytes that are free now, or can be made so; `None` where that cannot be told.
pub fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// Memory and swap, of the text of `/proc/meminfo`.
fn of_machine(text: &str) -> Option<u64> {
    let row = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        number.checked_mul(1024)
    };
    Some(row("MemTotal:")?.saturating_add(row("SwapTotal:").unwrap_or(0)))
}

/// Refuses `floats` where they are more than there can be; `what` takes them.
///
/// # Errors
/// `Shape`.
pub fn check(floats: usize, what: impl FnOnce() -> String) -> Result<()> {
    match limit() {
        Some(limit) => within(floats, limit, what),
        None => Ok(()),
    }
}

fn within(floats: usize, limit: u64, what: impl FnOnce() -> String) -> Result<()> {
    let bytes = (floats as u64).saturating_mul(4);
    if bytes <= limit {
        return Ok(());
    }
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    Err(Error::shape(format!(
        "{} would take {:.1} GB, and there are {:.1} GB in all",
        what(),
        gigabytes(bytes),
        gigabytes(limit)
    ))
    .help("look for an extent that is too large, or make the batch smaller"))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Bytes that a test lets its thread have, instead of the machine's.
        pub(crate) static LIMIT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    #[test]
    fn the_machine_says_what_it_has() {
        let text = "MemTotal:       2000 kB\nMemFree:  7 kB\nSwapTotal:      48 kB\n";
        assert_eq!(of_machine(text), Some(2048 * 1024));
        assert_eq!(of_machine("MemTotal: 1 kB"), Some(1024));
        assert_eq!(of_machine("nothing"), None);
        assert!(limit().is_none_or(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn more_than_there_is_is_refused_in_words() {
        let what = || "the net".to_owned();
        assert!(within(250_000_000, 1_000_000_000, what).is_ok());
        let error = within(250_000_001, 1_000_000_000, what).unwrap_err();
        assert!(error.message().starts_with("the net would take 1.0 GB"));
        assert!(within(usize::MAX, u64::MAX - 1, what).is_err());
    }
}
