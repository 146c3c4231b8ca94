//! `db` and the small tools on databases that py-lmdb and plyvel made: what they print and make is held against NumPy,
//! OpenCV and protobuf.

use std::{fs, path::Path};

use crate::{
    cli::{err, out, program},
    support::{python_or_skip, script},
};

/// Runs the program and keeps its JSON as `name`; whether it ended well.
fn keep(here: &Path, name: &str, words: &[&str]) -> bool {
    let output = program()
        .current_dir(here)
        .args(words)
        .arg("--json")
        .output()
        .unwrap();
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)) && !err(&output).contains("error: "),
        "{}",
        err(&output)
    );
    fs::write(here.join(format!("{name}.json")), out(&output)).unwrap();
    code == Some(0)
}

fn run(here: &Path, words: &[&str]) {
    let output = program().current_dir(here).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", err(&output));
}

#[test]
fn databases_of_others() {
    let modules = ["cv2", "numpy", "lmdb", "plyvel", "google.protobuf"];
    let Some(python) = python_or_skip(&modules) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    // Blanks and letters of other scripts in every path.
    let here = &dir.path().join("a ü 猫");
    fs::create_dir(here).unwrap();
    let check = |kind| script(&python, "workbench.py", kind, here);
    check("make");

    for name in ["images_lmdb", "packed_leveldb"] {
        for action in ["info", "ls", "stats"] {
            assert!(keep(
                here,
                &format!("{action} {name}"),
                &["db", action, name]
            ));
        }
        assert!(keep(
            here,
            &format!("mean {name}"),
            &["compute_image_mean", name]
        ));
    }
    assert!(keep(
        here,
        "stats broken_lmdb",
        &["db", "stats", "broken_lmdb"]
    ));
    assert!(keep(
        here,
        "show",
        &["db", "show", "packed_leveldb", "00000009_p.png"]
    ));
    assert!(keep(here, "ls broken_lmdb", &["db", "ls", "broken_lmdb"]));
    check("look");

    assert!(keep(
        here,
        "diff same",
        &["db", "diff", "images_lmdb", "packed_leveldb"]
    ));
    assert!(!keep(
        here,
        "diff other",
        &["db", "diff", "images_lmdb", "other_leveldb"]
    ));
    assert!(keep(
        here,
        "pair",
        &["db", "pair", "images_lmdb", "maps_lmdb"]
    ));
    assert!(!keep(
        here,
        "pair other",
        &["db", "pair", "images_lmdb", "other_leveldb"]
    ));
    check("compare");

    let line = [
        "db",
        "shuffle",
        "images_lmdb",
        "new_lmdb",
        "maps_lmdb",
        "newmaps_lmdb",
    ];
    assert!(keep(here, "shuffle", &[&line[..], &["--seed=3"]].concat()));
    let line = [
        "db",
        "split",
        "images_lmdb",
        "a_leveldb",
        "b_leveldb",
        "--share=0.7",
    ];
    assert!(keep(
        here,
        "split",
        &[&line[..], &["--backend=leveldb"]].concat()
    ));
    let line = ["db", "merge", "merged_lmdb", "a_leveldb", "b_leveldb"];
    assert!(keep(
        here,
        "merge",
        &[&line[..], &["--backend=lmdb"]].concat()
    ));
    assert!(keep(here, "weights", &["db", "class-weights", "maps_lmdb"]));
    check("rearranged");

    for (name, flags) in [
        ("min_lmdb", &["--min_dim=60"][..]),
        ("max_lmdb", &["--max_dim", "50"]),
        (
            "both_lmdb",
            &["-min_dim=55", "-max_dim=77", "--resize_height=9"],
        ),
        ("half_lmdb", &["--max_dim=45"]),
    ] {
        let line = ["sized/", "sized.txt", name];
        run(here, &[&["convert_annoset"], flags, &line].concat());
    }
    run(
        here,
        &[
            "get_image_size",
            "--name_id_file=numbers.txt",
            "sized",
            "sized.txt",
            "sizes.txt",
        ],
    );
    assert!(keep(
        here,
        "sizes",
        &["get_image_size", "sized", "sized.txt"]
    ));
    run(
        here,
        &[
            "create_label_map",
            "--include_background",
            "--delimiter=,",
            "classes.txt",
            "labelmap.prototxt",
        ],
    );
    check("sized");
}
