//! Command lines as gflags reads them, made into what clap reads.
//!
//! `-solver=s`, `--solver s`, `-log`, `-log=false` and `-nolog` are all one notation here, before or after the name of
//! the command; the tables of [`Flag`]s say which flags take a value.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    str::FromStr,
};

use clap::{Arg, ArgAction, ArgMatches, builder::BoolishValueParser};

use super::{command::Command, exits};
use crate::{
    error::{Error, ErrorKind, Result},
    nearest::nearest,
};

/// A flag of a command.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, without the dashes before it; within it the user may type dashes or underscores.
    pub name: &'static str,
    /// What its value is, in the help; `None` for a switch.
    pub value: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
    /// May be given more than once.
    pub many: bool,
    /// Not in the help.
    pub hidden: bool,
    /// No flag at all, but a word of the line in its place: a file, a record's key. [`Flag::many`] takes all that are left.
    pub operand: bool,
    /// Its value may be left out.
    pub optional: bool,
}

impl Flag {
    /// A flag with a value.
    pub const fn value(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value: Some(value),
            help,
            many: false,
            hidden: false,
            operand: false,
            optional: false,
        }
    }

    /// A word that stands alone, in the order of the table.
    pub const fn operand(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            operand: true,
            ..Self::value(name, value, help)
        }
    }

    /// A flag that is on or off.
    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value: None,
            help,
            many: false,
            hidden: false,
            operand: false,
            optional: false,
        }
    }

    /// May be given without its value, which counts as an empty one; [`Args::given`] tells that from nothing.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// May be given more than once.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    /// Accepted, and not shown.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Whether it is meant by `name`, which has underscores where the user may have typed dashes.
    fn is(&self, name: &str) -> bool {
        self.name.replace('-', "_") == name
    }

    pub(crate) fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).help(self.help).hide(self.hidden);
        if self.operand {
            let arg = arg
                .value_name(self.value.unwrap_or(self.name))
                .value_parser(clap::builder::OsStringValueParser::new());
            return if self.many {
                arg.num_args(1..).action(ArgAction::Append)
            } else {
                arg.action(ArgAction::Set)
            };
        }
        let arg = arg.long(self.name);
        match self.value {
            Some(value) => {
                let arg = arg
                    .value_name(value)
                    .value_parser(clap::builder::OsStringValueParser::new());
                let arg = if self.optional {
                    arg.num_args(0..=1)
                        .require_equals(true)
                        .default_missing_value("")
                } else {
                    arg
                };
                if self.many {
                    arg.action(ArgAction::Append)
                } else {
                    arg.action(ArgAction::Set).overrides_with(self.name)
                }
            }
            None => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .hide_possible_values(true)
                .value_name("BOOL")
                .overrides_with(self.name)
                .value_parser(BoolishValueParser::new()),
        }
    }
}

/// Flags of every command.
pub const COMMON: &[Flag] = &[
    Flag::value(
        "threads",
        "N",
        "Threads to compute with (default: one a core); the numbers do not depend on it",
    ),
    Flag::switch(
        "pin",
        "Keep each thread on a core of its own (Linux); for machines that do nothing else",
    ),
    Flag::switch(
        "strict",
        "A field that Caffe does not have is an error, also where it is no near miss",
    ),
    Flag::value(
        "dialect",
        "FORK",
        "Whose numbers a binary net has: intel, jolibrain, pytorch, segnet or tsn; text needs none",
    ),
    Flag::switch(
        "log",
        "Write Caffe's log lines instead of progress bars; the default where stderr is no terminal",
    ),
    Flag::switch(
        "log_year_in_prefix",
        "Start log lines with the year, as newer glog does (I20261231 instead of I1231)",
    ),
    Flag::value(
        "gpu",
        "IDS",
        "Accepted for scripts written for Caffe; everything runs on the CPU",
    ),
];

/// What glog and gflags themselves took: accepted, without effect, so that scripts go on working.
const GLOG: &[Flag] = &[
    Flag::switch("logtostderr", "").hidden(),
    Flag::switch("alsologtostderr", "").hidden(),
    Flag::switch("colorlogtostderr", "").hidden(),
    Flag::switch("log_prefix", "").hidden(),
    Flag::value("log_dir", "DIR", "").hidden(),
    Flag::value("minloglevel", "N", "").hidden(),
    Flag::value("stderrthreshold", "N", "").hidden(),
    Flag::value("v", "N", "").hidden(),
    Flag::value("vmodule", "LIST", "").hidden(),
];

/// Flags that Caffe's program knows in every command, used there or not.
const CAFFE: &[&str] = &[
    "gpu",
    "solver",
    "model",
    "phase",
    "level",
    "stage",
    "snapshot",
    "weights",
    "iterations",
    "sigint_effect",
    "sighup_effect",
];

/// All flags of a command.
pub(crate) fn flags(command: &Command) -> impl Iterator<Item = &'static Flag> + use<> {
    command.flags.iter().chain(COMMON).chain(GLOG)
}

/// Whether a word of the line is a flag.
pub(crate) fn is_flag(arg: &OsStr) -> bool {
    split(arg).is_some()
}

/// A command's clap form; `call` is how a line that calls it starts: `cortado train`.
pub(crate) fn clap_command(command: &Command, call: &str) -> clap::Command {
    clap::Command::new(command.name)
        .about(command.about)
        .bin_name(call)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(false)
        .args(flags(command).map(Flag::arg))
}

/// What a command's help ends with. Its lines stay whole, so that an example can be copied.
pub(crate) fn after_help(command: &Command, call: &str) -> String {
    let own = format!("cortado {}", command.name);
    format!(
        "\nExamples:\n{}\n\nExit codes:\n{}\n\nFlags may have one dash or two: -threads=2, --threads 2.\n",
        command.examples.replace(&own, call),
        exits::text(command.name)
    )
}

/// A command line in one notation.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Line {
    /// The first word that is no flag and no value of one.
    pub(crate) command: Option<OsString>,
    /// Flags as `--name=value` or `--name`, and other words.
    pub(crate) rest: Vec<OsString>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

fn split(arg: &OsStr) -> Option<(String, Option<OsString>)> {
    let bytes = arg.as_encoded_bytes();
    let body = bytes
        .strip_prefix(b"--")
        .or_else(|| bytes.strip_prefix(b"-"))?;
    if body.is_empty() || !body[0].is_ascii_alphabetic() {
        return None;
    }
    let end = body.iter().position(|&b| b == b'=').unwrap_or(body.len());
    let name = std::str::from_utf8(&body[..end]).ok()?.replace('-', "_");
    let value = (end < body.len()).then(|| cut(arg, bytes.len() - body.len() + end + 1));
    Some((name, value))
}

/// What follows an ASCII byte, also where the rest is not UTF-8.
fn cut(arg: &OsStr, from: usize) -> OsString {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        OsStr::from_bytes(&arg.as_bytes()[from..]).to_owned()
    }
    #[cfg(not(unix))]
    {
        let text = arg.to_string_lossy();
        text.get(from..).unwrap_or_default().into()
    }
}

/// Finds the command in a line: flags may stand before it.
pub(crate) fn command_name(args: &[OsString], all: &[&Command]) -> Option<usize> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        match split(arg) {
            None => return Some(at),
            Some((name, value)) => {
                let takes = value.is_none()
                    && all
                        .iter()
                        .flat_map(|c| flags(c))
                        .any(|f| f.is(&name) && f.value.is_some() && !f.operand && !f.optional);
                at += 1 + usize::from(takes);
            }
        }
    }
    None
}

/// Brings the flags of a command into one notation.
///
/// # Errors
/// `Param` for a flag that the command does not have, or that has no value.
pub(crate) fn normalise(args: &[OsString], command: &Command, all: &[&Command]) -> Result<Line> {
    let mut line = Line::default();
    let mut operands = Vec::new();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let Some((name, value)) = split(arg) else {
            if command.flags.iter().any(|f| f.operand) {
                operands.push(arg.clone());
                continue;
            }
            return Err(Error::new(
                ErrorKind::Param,
                format!("'{}' is no flag", arg.to_string_lossy()),
            )
            .help(format!(
                "name what it is: {} takes {}",
                command.name,
                names(command).join(", ")
            )));
        };
        if matches!(
            name.as_str(),
            "help" | "h" | "version" | "V" | "helpfull" | "helpshort"
        ) {
            let plain = if name.starts_with(['v', 'V']) {
                "--version"
            } else {
                "--help"
            };
            line.rest.push(plain.into());
            continue;
        }
        let found = flags(command).find(|f| f.is(&name) && !f.operand);
        let negated = name
            .strip_prefix("no")
            .and_then(|rest| flags(command).find(|f| f.value.is_none() && f.is(rest)));
        let flag = match (found, negated) {
            (Some(flag), _) => flag,
            (None, Some(flag)) => {
                line.rest.push(format!("--{}=false", flag.name).into());
                continue;
            }
            (None, None) if CAFFE.contains(&name.as_str()) => {
                if value.is_none() {
                    args.next();
                }
                line.notes
                    .push(format!("{} makes no use of --{name}", command.name));
                continue;
            }
            (None, None) => return Err(unknown(&name, command, all)),
        };
        let mut joined = OsString::from(format!("--{}", flag.name));
        match (flag.value, value) {
            (Some(_), Some(value)) => {
                joined.push("=");
                joined.push(value);
            }
            (Some(what), None) => {
                let known = |arg: &OsString| {
                    split(arg).is_some_and(|(n, _)| flags(command).any(|f| f.name == n))
                };
                // What looks like a flag is no value that may be left out.
                let value =
                    |next: &&OsString| !known(next) && (!flag.optional || split(next).is_none());
                match args.next_if(value) {
                    Some(value) => {
                        joined.push("=");
                        joined.push(value);
                    }
                    None if flag.optional => {}
                    None => {
                        return Err(Error::new(
                            ErrorKind::Param,
                            format!("--{name} needs a value"),
                        )
                        .help(format!("write --{name}={what}")));
                    }
                }
            }
            (None, Some(value)) => {
                joined.push("=");
                joined.push(value);
            }
            (None, None) => {}
        }
        line.rest.push(joined);
    }
    if !operands.is_empty() {
        // What starts with a dash and a digit is a word too.
        line.rest.push("--".into());
        line.rest.extend(operands);
    }
    Ok(line)
}

fn names(command: &Command) -> Vec<String> {
    command
        .flags
        .iter()
        .filter(|f| !f.operand)
        .map(|f| format!("--{}", f.name))
        .collect()
}

fn unknown(name: &str, command: &Command, all: &[&Command]) -> Error {
    let error = Error::new(
        ErrorKind::Param,
        format!("{} has no flag --{name}", command.name),
    );
    let known = flags(command)
        .filter(|f| !f.hidden && !f.operand)
        .map(|f| f.name);
    if let Some(near) = nearest(name, known) {
        return error.help(format!("did you mean --{near}?"));
    }
    let others: Vec<&str> = all
        .iter()
        .filter(|c| c.flags.iter().any(|f| f.is(name) && !f.operand))
        .map(|c| c.name)
        .collect();
    if others.is_empty() {
        error.help(format!("its flags are {}", names(command).join(", ")))
    } else {
        error.help(format!("it is a flag of {}", others.join(", ")))
    }
}

/// The values of a command's flags.
#[derive(Clone, Debug)]
pub struct Args {
    matches: ArgMatches,
    command: &'static str,
    call: String,
    /// Values that the line says in another way, or does not say.
    set: Vec<(&'static str, OsString)>,
    /// How many words of the operand that takes all that are left were used up by that.
    skipped: usize,
}

impl Args {
    pub(crate) fn new(matches: ArgMatches, command: &'static str, call: &str) -> Self {
        Self {
            matches,
            command,
            call: call.to_owned(),
            set: Vec::new(),
            skipped: 0,
        }
    }

    /// A command line for a person to type, the command's name first in `example`.
    fn line(&self, example: &str) -> String {
        let rest = example.strip_prefix(self.command).unwrap_or(example);
        format!("{} {}", self.call, rest.trim_start())
    }

    /// The command line of another command, for a person to type.
    pub(crate) fn other(&self, example: &str) -> String {
        let program = self.call.strip_suffix(self.command).unwrap_or("cortado ");
        format!("{program}{example}")
    }

    /// The name of Caffe's by which the command was called, where that is another than its own.
    pub(crate) fn tool(&self) -> Option<&str> {
        let own = self.call.rsplit(' ').next() == Some(self.command);
        (!own).then_some(&self.call)
    }

    fn raw(&self, name: &str) -> Option<&OsString> {
        let set = self.set.iter().find(|(flag, _)| *flag == name);
        set.map(|(_, value)| value)
            .or_else(|| self.matches.try_get_one::<OsString>(name).ok().flatten())
            .filter(|value| !value.is_empty())
    }

    /// Whether a flag was given, with a value or without.
    pub fn given(&self, name: &str) -> bool {
        let source = self.matches.value_source(name);
        source == Some(clap::parser::ValueSource::CommandLine)
    }

    /// Whether a switch is on.
    pub fn switch(&self, name: &str) -> bool {
        matches!(self.matches.try_get_one::<bool>(name), Ok(Some(true)))
    }

    /// A value as text; `None` where it was not given or is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(|v| v.to_string_lossy().into_owned())
    }

    /// A value as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }

    /// The same line with its first words, of the operand `from`, as the values of these flags: what programs of Caffe's
    /// took without flags.
    #[must_use]
    pub fn with_words(&self, from: &str, flags: &[&'static str]) -> Self {
        let mut made = self.clone();
        let words = self.matches.try_get_many::<OsString>(from).ok().flatten();
        let mut words = words.into_iter().flatten();
        let pairs = flags.iter().copied().zip(&mut words);
        made.set
            .extend(pairs.map(|(flag, word)| (flag, word.clone())));
        made.skipped += flags.len();
        made
    }

    /// The same line, with a value for a flag that it leaves out.
    #[must_use]
    pub fn or_default(&self, name: &'static str, value: &str) -> Self {
        let mut made = self.clone();
        if self.raw(name).is_none() {
            made.set.push((name, value.into()));
        }
        made
    }

    /// Every value of a flag that may be given more than once.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.matches
            .try_get_many::<OsString>(name)
            .ok()
            .flatten()
            .into_iter()
            .flatten()
            .map(|v| v.to_string_lossy().into_owned())
            .collect()
    }

    /// A value cut at commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.text(name)
            .iter()
            .flat_map(|text| text.split(','))
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// Every word of an operand that takes all that are left, as paths.
    pub fn all_paths(&self, name: &str) -> Vec<PathBuf> {
        let values = self.matches.try_get_many::<OsString>(name).ok().flatten();
        let values = values.into_iter().flatten().skip(self.skipped);
        values.map(PathBuf::from).collect()
    }

    /// A value cut at commas, as paths.
    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.list(name).into_iter().map(PathBuf::from).collect()
    }

    /// A value as a number.
    ///
    /// # Errors
    /// `Param` where it is none.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.trim().parse().map(Some).map_err(|_| {
            Error::param(
                &format!("--{name}"),
                format!("'{text}' is not a number that fits"),
            )
        })
    }

    /// A count of at least 1.
    ///
    /// # Errors
    /// `Param` where it is something else.
    pub fn count(&self, name: &str, default: usize) -> Result<usize> {
        match self.number::<usize>(name)? {
            None => Ok(default),
            Some(0) => Err(Error::param(&format!("--{name}"), "must be at least 1")),
            Some(n) => Ok(n),
        }
    }

    /// One of some words.
    ///
    /// # Errors
    /// `Param`, with the words, where it is none of them.
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&text))
        {
            Some(&(_, value)) => Ok(Some(value)),
            None => {
                let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
                Err(Error::param(
                    &format!("--{name}"),
                    format!("'{text}' is none of {}", known.join(", ")),
                ))
            }
        }
    }

    /// A word of the line that has to be there; `what` names it: "a database".
    ///
    /// # Errors
    /// `Param` with an example where it was not given.
    pub fn operand(&self, name: &str, what: &str, example: &str) -> Result<PathBuf> {
        self.path(name).ok_or_else(|| {
            Error::new(ErrorKind::Param, format!("{} needs {what}", self.command))
                .help(format!("for example: {}", self.line(example)))
        })
    }

    /// A path that has to be there; `what` names it: "a solver definition".
    ///
    /// # Errors
    /// `Param` with an example where it was not given.
    pub fn need(&self, name: &str, what: &str, example: &str) -> Result<PathBuf> {
        self.path(name).ok_or_else(|| {
            Error::new(ErrorKind::Param, format!("{} needs {what}", self.command))
                .help(format!("name it with --{name}: {}", self.line(example)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{COMMANDS, command::Status};

    const COPY: Command = Command {
        name: "copy",
        about: "",
        flags: &[
            Flag::value("from", "FILE", ""),
            Flag::value("max_size", "N", ""),
            Flag::switch("fast", ""),
            Flag::switch("as-is", ""),
        ],
        examples: "",
        run: |_, _| Ok(Status::Done),
    };

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn normal(line: &str) -> String {
        let line = normalise(&words(line), &COPY, &[&COPY]).unwrap();
        let rest: Vec<&str> = line.rest.iter().map(|w| w.to_str().unwrap()).collect();
        rest.join(" ")
    }

    #[test]
    fn every_spelling_of_gflags() {
        for (line, meaning) in [
            ("-from=a", "--from=a"),
            ("--from=a", "--from=a"),
            ("-from a", "--from=a"),
            ("--from a=b", "--from=a=b"),
            ("-from -1", "--from=-1"),
            ("-from=", "--from="),
            ("-max-size 3 -fast", "--max_size=3 --fast"),
            ("--as-is -as_is", "--as-is --as-is"),
            ("-noas-is", "--as-is=false"),
            ("-fast=false", "--fast=false"),
            ("-nofast", "--fast=false"),
            ("-h", "--help"),
            ("-logtostderr=1", "--logtostderr=1"),
        ] {
            assert_eq!(normal(line), meaning, "{line}");
        }
    }

    #[test]
    fn operands_are_what_is_no_flag() {
        const MOVE: Command = Command {
            flags: &[
                Flag::operand("what", "FILE", ""),
                Flag::operand("where", "FILES", "").many(),
                Flag::switch("fast", ""),
                Flag::switch("as-is", ""),
            ],
            ..COPY
        };
        let line = normalise(&words("a -fast b -1 -"), &MOVE, &[&MOVE]).unwrap();
        assert_eq!(line.rest, ["--fast", "--", "a", "b", "-1", "-"]);
        let words = std::iter::once("move".into()).chain(line.rest);
        let matches = clap_command(&MOVE, "cortado").try_get_matches_from(words);
        let args = Args::new(matches.unwrap(), "move", "cortado");
        assert_eq!(args.text("what").as_deref(), Some("a"));
        assert_eq!(args.all("where"), ["b", "-1", "-"]);
        assert!(normalise(&super::tests::words("-what=a"), &MOVE, &[&MOVE]).is_err());
        let none = clap_command(&MOVE, "cortado").try_get_matches_from(["move"]);
        let args = Args::new(none.unwrap(), "move", "cortado");
        assert_eq!(args.text("what"), None);
        assert!(args.all("where").is_empty());
    }

    #[test]
    fn a_value_may_be_left_out() {
        const SHOW: Command = Command {
            flags: &[
                Flag::value("page", "ADDR", "").optional(),
                Flag::switch("fast", ""),
            ],
            ..COPY
        };
        for (line, wanted) in [
            ("-page", "--page"),
            ("-page -fast", "--page --fast"),
            ("-page 80", "--page=80"),
            ("-page=a:80", "--page=a:80"),
        ] {
            let line = normalise(&words(line), &SHOW, &[&SHOW]).unwrap();
            assert_eq!(line.rest.join(OsStr::new(" ")), wanted);
            let words = std::iter::once("show".into()).chain(line.rest);
            let matches = clap_command(&SHOW, "cortado").try_get_matches_from(words);
            let args = Args::new(matches.unwrap(), "show", "cortado");
            assert!(args.given("page"), "{wanted}");
            let value = wanted.split_once("page=").map(|(_, v)| v.to_owned());
            assert_eq!(args.text("page"), value);
        }
        assert!(normalise(&words("-page -what"), &SHOW, &[&SHOW]).is_err());
        let none = clap_command(&SHOW, "cortado").try_get_matches_from(["show"]);
        assert!(!Args::new(none.unwrap(), "show", "cortado").given("page"));
    }

    #[test]
    fn flags_of_caffe_that_do_nothing_are_told() {
        let line = normalise(&words("-solver s -fast"), &COPY, &[&COPY]).unwrap();
        assert_eq!(line.rest, ["--fast"]);
        assert_eq!(line.notes, ["copy makes no use of --solver"]);
    }

    #[test]
    fn the_command_may_follow_flags() {
        let at = |line: &str| command_name(&words(line), &[&COPY]);
        assert_eq!(at("copy -from a"), Some(0));
        assert_eq!(at("-from a copy"), Some(2));
        assert_eq!(at("-from=a -fast copy"), Some(2));
        assert_eq!(at("-from copy"), None);
        assert_eq!(at(""), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_utf8() {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = OsStr::from_bytes(b"-from=\xff.txt").to_owned();
        let line = normalise(&[odd], &COPY, &[&COPY]).unwrap();
        assert_eq!(line.rest[0].as_bytes(), b"--from=\xff.txt");
    }

    #[test]
    fn the_table_holds_together() {
        for command in COMMANDS {
            // Checks ids and settings.
            clap_command(command, "cortado").debug_assert();
            let mut names: Vec<&str> = flags(command).map(|f| f.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", command.name);
            let visible = flags(command).filter(|f| !f.hidden);
            assert!(
                visible.into_iter().all(|f| !f.help.is_empty()),
                "{}",
                command.name
            );
            for line in command.examples.lines() {
                let rest = line.strip_prefix("  cortado ").unwrap();
                let rest = rest.strip_prefix(command.name).unwrap();
                let line = normalise(&words(rest), command, COMMANDS).unwrap();
                assert!(line.notes.is_empty(), "{}: {:?}", command.name, line.notes);
                let words = std::iter::once(command.name.into()).chain(line.rest);
                let clap = clap_command(command, "cortado").try_get_matches_from(words);
                clap.unwrap_or_else(|e| panic!("{rest}: {e}"));
            }
        }
    }
}
