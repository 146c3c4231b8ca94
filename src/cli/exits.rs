//! What the exit codes of commands mean, for their help and their manual pages.

/// Commands whose 1 says more than that there was an error.
const FINDINGS: &[(&str, &str)] = &[
    ("check", "there are errors; with --deny_warnings, warnings"),
    ("classify", "some of the images could not be read"),
    ("compare", "the two differ by more than is allowed"),
    ("db", "diff, pair: the databases differ"),
    ("deploy", "--check: the nets differ"),
    ("detect", "some of the images could not be read"),
    ("doctor", "something keeps the net from learning"),
    ("segment", "some of the images could not be read"),
    ("weights", "diff: parameters differ"),
];

/// Exit codes of a command with their meanings.
pub(super) fn of(command: &str) -> Vec<(u8, String)> {
    let finding = FINDINGS.iter().find(|(name, _)| *name == command);
    let mut codes = vec![
        (0, "done".to_owned()),
        (
            1,
            match finding {
                Some((_, finding)) => format!("an error, or: {finding}"),
                None => "an error; standard error says which".to_owned(),
            },
        ),
    ];
    if command.starts_with("upgrade_") {
        codes.push((
            2,
            "the old file cannot be read, as Caffe's tool ends".into(),
        ));
    }
    codes.push((
        130,
        "ended at once by Ctrl-C, in long work by the second one; 143 by SIGTERM, 129 by hang-up"
            .into(),
    ));
    codes
}

/// The same as lines, each indented by two spaces.
pub(super) fn text(command: &str) -> String {
    let lines = of(command).into_iter();
    let lines = lines.map(|(code, meaning)| format!("  {code:<3}  {meaning}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::COMMANDS;

    #[test]
    fn findings_are_of_commands() {
        for (name, _) in FINDINGS {
            assert!(COMMANDS.iter().any(|c| c.name == *name), "{name}");
        }
        assert_eq!(of("train").len(), 3);
        assert!(text("upgrade_net_proto_text").contains("\n  2    the old file"));
        assert!(text("db").contains("  1    an error, or: diff, pair"));
    }
}
