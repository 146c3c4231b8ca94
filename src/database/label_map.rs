//! `create_label_map`: names of classes, a line each, to a label map.

use crate::{
    error::{Error, Place, Result},
    schema::{LabelMap, LabelMapItem},
};

/// Reads lines of one to three fields, cut at any of the characters of `delimiter`: a name, its number, and a name to
/// show. Without a number, numbers go on from 0, or from 1 behind a background.
///
/// # Errors
/// `Data`, with the line, where lines have different numbers of fields or more than three, or a number is none.
pub fn label_map(file: &str, text: &str, background: bool, delimiter: &str) -> Result<LabelMap> {
    let mut map = LabelMap::default();
    let mut add = |name: &str, label: i32, shown: &str| {
        map.item.push(LabelMapItem {
            name: Some(name.to_owned()),
            label: Some(label),
            display_name: Some(shown.to_owned()),
        });
    };
    let mut next = 0;
    if background {
        add("none_of_the_above", 0, "background");
        next = 1;
    }
    let mut fields_of_all = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |what: String| {
            Error::data(what).at(Place::Text {
                file: file.to_owned(),
                line: number,
                column: 1,
                excerpt: line.to_owned(),
                width: line.chars().count().max(1),
            })
        };
        let fields: Vec<&str> = line.split(|c| delimiter.contains(c)).collect();
        let wanted = *fields_of_all.get_or_insert(fields.len());
        if fields.len() != wanted {
            return Err(wrong(format!(
                "the line has {} fields, and the lines before it have {wanted}",
                fields.len()
            ))
            .help(format!(
                "fields are cut at each of '{delimiter}'; say others with --delimiter"
            )));
        }
        let label = |text: &str| {
            let label: Result<i32, _> = text.trim().parse();
            label.map_err(|_| wrong(format!("'{text}' is no number of a class")))
        };
        match fields[..] {
            [name] => {
                add(name, next, name);
                next += 1;
            }
            [name, number] => add(name, label(number)?, name),
            [name, number, shown] => add(name, label(number)?, shown),
            _ => {
                return Err(wrong(format!(
                    "the line has {} fields; 1 to 3 are possible",
                    fields.len()
                ))
                .help("write: name [number] [name to show]"));
            }
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, background: bool) -> Result<Vec<(String, i32, String)>> {
        let map = label_map("map.txt", text, background, " :")?;
        let each = map.item.iter();
        Ok(each
            .map(|i| (i.name().to_owned(), i.label(), i.display_name().to_owned()))
            .collect())
    }

    #[test]
    fn one_to_three_fields() {
        let item = |a: &str, n, b: &str| (a.to_owned(), n, b.to_owned());
        assert_eq!(
            items("cat\r\ndog\n", true).unwrap(),
            [
                item("none_of_the_above", 0, "background"),
                item("cat", 1, "cat"),
                item("dog", 2, "dog")
            ]
        );
        assert_eq!(items("cat 7", false).unwrap(), [item("cat", 7, "cat")]);
        assert_eq!(items("n02:7:Cat", false).unwrap(), [item("n02", 7, "Cat")]);
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        for (text, part) in [
            ("a 1\nb", "map.txt:2:1"),
            ("a x", "'x' is no number"),
            ("a 1 b c", "4 fields; 1 to 3"),
        ] {
            let error = items(text, false).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
