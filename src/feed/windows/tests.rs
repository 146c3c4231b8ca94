use super::*;

fn parse(text: &str) -> Result<Windows> {
    Windows::parse("windows", text, [0.5, 0.5])
}

#[test]
fn regions_by_overlap() {
    let text =
        "# 0\na.jpg\n3\n9\n9\n3\n1 0.5 0 0 4 4\n2 0.49 1 1 2 2\n4 1 0 0 8 8\n# 1 b.jpg 3 9 9 0";
    let windows = parse(text).unwrap();
    assert_eq!(windows.images, ["a.jpg", "b.jpg"]);
    let labels: Vec<i32> = windows.foreground.iter().map(|r| r.label).collect();
    assert_eq!(labels, [1, 4]);
    assert_eq!(windows.background[0].label, 0);
    let neither = Windows::parse("w", text, [0.9, 0.3]).unwrap_err();
    assert!(neither.message().contains("no background"), "{neither}");
}

#[test]
fn what_is_wrong_names_its_line() {
    for (text, part) in [
        ("0 a.jpg", "'0' should be #"),
        ("# 1 a.jpg", "image 1 comes where 0"),
        ("# 0\na.jpg\n3\n9\n9\n1\n1 0.9 0 0 4", "windows:7"),
        ("# 0\na.jpg\n3\n9\n9\n1\n1 0.9 0 0 4", "ends where y2"),
        ("# 0 a.jpg 3 9 9 1 x 0.9 0 0 4 4", "'x' should be the class"),
        (
            "# 0 a.jpg 3 9 9 1 1 0.9 5 0 4 4",
            "the window 5 0 4 4 is none",
        ),
        ("# 0 a.jpg 3 9 9 1 1 0.9 -1 0 4 4", "the window -1 0 4 4"),
        ("# 0 a.jpg 3 9 9 1 0 0.9 0 0 4 4", "classes start at 1"),
        ("# 0 a.jpg 3 9 9 4000000000", "ends where"),
        ("", "no foreground"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error} has no '{part}'");
    }
}
