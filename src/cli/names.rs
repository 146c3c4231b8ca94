//! Programs of Caffe's that this one stands in for, told by the name of a link to it.
//!
//! A link named `convert_imageset` is the command of that name. The oldest programs took their files in a fixed order;
//! they become the flags of today's commands.

use std::ffi::OsString;

use super::args::is_flag;

/// A program that is called by its own name.
struct Name {
    /// The program.
    name: &'static str,
    /// The command that does its work.
    command: &'static str,
    /// Flags for the words of the line, in their order; `""` drops a word. Words beyond them stay as they are.
    flags: &'static [&'static str],
}

const fn tool(name: &'static str) -> Name {
    Name {
        name,
        command: name,
        flags: &[],
    }
}

const NAMES: &[Name] = &[
    Name {
        name: "classification",
        command: "classify",
        flags: &[],
    },
    tool("compute_image_mean"),
    tool("convert_annoset"),
    tool("convert_cifar_data"),
    tool("convert_imageset"),
    tool("convert_mnist_data"),
    tool("create_label_map"),
    tool("device_query"),
    tool("extract_features"),
    Name {
        name: "finetune_net",
        command: "train",
        flags: &["solver", "weights"],
    },
    tool("get_image_size"),
    Name {
        name: "net_speed_benchmark",
        command: "time",
        flags: &["model", "iterations", "", ""],
    },
    tool("parse_log"),
    Name {
        name: "ssd_detect",
        command: "detect",
        flags: &[],
    },
    Name {
        name: "test_net",
        command: "test",
        flags: &["model", "weights", "iterations", "", ""],
    },
    Name {
        name: "train_net",
        command: "train",
        flags: &["solver", "snapshot"],
    },
    tool("upgrade_net_proto_binary"),
    tool("upgrade_net_proto_text"),
    tool("upgrade_solver_proto_text"),
];

/// A program of Caffe's by its name, to which a build for debugging adds `-d`.
fn find(program: &str) -> Option<&'static Name> {
    let plain = program.strip_suffix("-d").unwrap_or(program);
    NAMES.iter().find(|n| n.name == plain)
}

/// The command that does the work of a program of Caffe's.
pub(super) fn command(program: &str) -> Option<&'static str> {
    find(program).map(|name| name.command)
}

/// The command line that a call of `program` with these arguments means, its command first; `None` where `program` is
/// none of Caffe's tools.
pub(super) fn stand_in(program: &str, args: &[OsString]) -> Option<Vec<OsString>> {
    let name = find(program)?;
    let mut line = vec![OsString::from(name.command)];
    // Flags take values, so that a word behind one says nothing about its place.
    if args.first().is_some_and(|arg| is_flag(arg)) {
        line.extend_from_slice(args);
        return Some(line);
    }
    let mut flags = name.flags.iter();
    for arg in args {
        match flags.next() {
            Some(&"") => {}
            Some(flag) => {
                let mut joined = OsString::from(format!("--{flag}="));
                joined.push(arg);
                line.push(joined);
            }
            None => line.push(arg.clone()),
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(program: &str, line: &str) -> Option<String> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let words = stand_in(program, &args)?;
        let words: Vec<&str> = words.iter().map(|w| w.to_str().unwrap()).collect();
        Some(words.join(" "))
    }

    #[test]
    fn old_programs_are_todays_commands() {
        for (program, line, wanted) in [
            ("train_net", "s.prototxt", "train --solver=s.prototxt"),
            (
                "train_net",
                "s a.solverstate",
                "train --solver=s --snapshot=a.solverstate",
            ),
            ("train_net", "-solver s", "train -solver s"),
            ("finetune_net", "s w", "train --solver=s --weights=w"),
            (
                "test_net",
                "n w 10 GPU 0",
                "test --model=n --weights=w --iterations=10",
            ),
            ("net_speed_benchmark", "n", "time --model=n"),
            (
                "convert_imageset",
                "-gray root/ list db",
                "convert_imageset -gray root/ list db",
            ),
            ("classification", "a b c d e", "classify a b c d e"),
            ("convert_imageset-d", "a/ b c", "convert_imageset a/ b c"),
            (
                "ssd_detect",
                "m w l -out_file=o",
                "detect m w l -out_file=o",
            ),
        ] {
            assert_eq!(meaning(program, line).as_deref(), Some(wanted));
        }
        assert_eq!(meaning("caffe", "train"), None);
        assert_eq!(meaning("caffe-d", "train"), None);
        assert_eq!(meaning("cortado", "train"), None);
    }

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(NAMES.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
