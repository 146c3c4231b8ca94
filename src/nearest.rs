//! What was a name meant to be? For "did you mean" in errors.

use std::{ffi::OsStr, fs, path::Path};

/// The one of `names` that is near enough to `name` to be what was meant, if any: at most a third of the letters off,
/// case aside.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    names
        .into_iter()
        .map(|n| (strsim::damerau_levenshtein(&n.to_lowercase(), &wanted), n))
        .filter(|&(d, n)| d <= (n.chars().count().max(name.chars().count()) / 3).max(1))
        .min()
        .map(|(_, n)| n)
}

/// Up to four names in `folder`, in quotes, that the last part of `path` may be a misspelling of, the nearest first; those
/// that `fits` accepts count however unlike.
pub fn in_folder(folder: &Path, path: &Path, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let lower = |name: &OsStr| name.to_string_lossy().to_lowercase();
    let (Some(wanted), Ok(entries)) = (path.file_name().map(lower), fs::read_dir(folder)) else {
        return Vec::new();
    };
    let most = 2 + wanted.chars().count() / 4;
    let mut names: Vec<(usize, String)> = entries
        .flatten()
        .map(|entry| {
            let distance = strsim::damerau_levenshtein(&wanted, &lower(&entry.file_name()));
            (distance, entry.file_name().to_string_lossy().into_owned())
        })
        .filter(|(distance, name)| *distance <= most || fits(name))
        .collect();
    names.sort();
    names.truncate(4);
    names.iter().map(|(_, name)| format!("'{name}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["train_lmdb", "Test_lmdb", "other.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let near = |name: &str, ending: &str| {
            in_folder(dir.path(), &dir.path().join(name), |n| n.ends_with(ending))
        };
        assert_eq!(
            near("tran_lmdb", ".prototxt"),
            ["'train_lmdb'", "'Test_lmdb'"]
        );
        assert_eq!(near("test_lmdb", ".prototxt")[0], "'Test_lmdb'");
        assert_eq!(near("x", ".txt"), ["'other.txt'"]);
        assert!(near("nothing like it", "!").is_empty());
        assert!(in_folder(Path::new("no/such"), Path::new("x"), |_| true).is_empty());
    }

    #[test]
    fn near_and_far() {
        let names = ["Convolution", "Pooling", "ReLU"];
        assert_eq!(nearest("Relu", names), Some("ReLU"));
        assert_eq!(nearest("Convolutoin", names), Some("Convolution"));
        assert_eq!(nearest("Silence", names), None);
        assert_eq!(nearest("", []), None);
    }
}
