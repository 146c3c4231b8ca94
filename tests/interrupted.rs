//! Work that somebody ends: nothing half made stays, whatever the signal, and what was there before does.
#![cfg(unix)]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    cli::{call, err, fails, program, works},
    support::{fixtures, segments},
};

/// Names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn parts(dir: &Path) -> Vec<String> {
    let mut names = names(dir);
    names.retain(|name| name.ends_with(".part"));
    names
}

/// Starts the program and waits until something is half made: from then on it listens.
fn start(dir: &Path, words: &[&str]) -> Child {
    let mut command = program();
    command.args(words);
    begun(dir, command)
}

fn begun(dir: &Path, mut command: Command) -> Child {
    let mut child = command
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while parts(dir).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(Instant::now() < until, "nothing was begun");
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(300));
    child
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status();
    assert!(sent.unwrap().success());
}

/// Its end, which has to come soon.
fn end(mut child: Child) -> Output {
    let until = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it goes on");
        }
        sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// A folder with a long list, and one that ends in a pipe that nobody writes to: there the program waits for good.
fn lists() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let images = fixtures().join("feed/images");
    let line = |name: &str| format!("{}/{name} 1\n", images.display());
    let long = (line("rgb8.png") + &line("baseline.jpg")).repeat(200_000);
    fs::write(dir.path().join("long.txt"), long).unwrap();
    let stuck = line("rgb8.png") + "pipe 1\n";
    fs::write(dir.path().join("stuck.txt"), stuck).unwrap();
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    assert!(made.unwrap().success());
    (dir, "".to_owned())
}

const BEFORE: [&str; 3] = ["long.txt", "pipe", "stuck.txt"];

#[test]
fn a_signal_ends_a_conversion_and_leaves_nothing() {
    let (dir, root) = lists();
    let here = dir.path();
    for (signal, backend) in [("-INT", "lmdb"), ("-TERM", "leveldb"), ("-HUP", "lmdb")] {
        let backend = format!("--backend={backend}");
        let child = start(
            here,
            &["convert_imageset", &backend, &root, "long.txt", "db"],
        );
        send(&child, signal);
        fails(&end(child), &["interrupted; nothing was written"]);
        assert_eq!(names(here), BEFORE, "{signal}");
    }
}

#[test]
fn a_second_signal_ends_what_does_not_listen_and_leaves_nothing() {
    let (dir, root) = lists();
    let here = dir.path();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        for backend in ["--backend=lmdb", "--backend=leveldb"] {
            let mut child = start(
                here,
                &["convert_imageset", backend, &root, "stuck.txt", "db"],
            );
            send(&child, signal);
            sleep(Duration::from_millis(200));
            assert!(child.try_wait().unwrap().is_none(), "it waits no longer");
            send(&child, signal);
            assert_eq!(end(child).status.code(), Some(code));
            assert_eq!(names(here), BEFORE, "{signal} {backend}");
        }
    }
}

#[test]
fn what_a_killed_program_left_is_no_database_and_goes_with_the_next() {
    let (dir, root) = lists();
    let here = dir.path();
    let mut child = start(here, &["convert_imageset", &root, "stuck.txt", "db"]);
    let [part] = &parts(here)[..] else {
        panic!("{:?}", names(here));
    };
    // While somebody works on it, another leaves it alone.
    fs::write(here.join("short.txt"), "rgb8.png 1\n").unwrap();
    let images = format!("{}/", fixtures().join("feed/images").display());
    let line = |name: &str| call(here, &format!("convert_imageset {images} short.txt {name}"));
    works(&line("one"));
    assert_eq!(&parts(here), std::slice::from_ref(part));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(&parts(here), std::slice::from_ref(part));
    for of in [part.clone(), format!("{part}/data.mdb")] {
        fails(&call(here, &format!("db info {of}")), &["not finished"]);
    }
    works(&line("two"));
    assert_eq!(
        names(here),
        ["long.txt", "one", "pipe", "short.txt", "stuck.txt", "two"]
    );
}

#[test]
fn what_the_program_was_started_to_ignore_stays_ignored() {
    let (dir, root) = lists();
    let here = dir.path();
    // As `nohup` starts it, and a script whose line ends in `&`.
    let program = program();
    let mut shell = Command::new("sh");
    let line = "trap '' HUP INT; exec \"$0\" convert_imageset \"$1\" stuck.txt db";
    shell
        .args(["-c", line])
        .arg(program.get_program())
        .arg(&root);
    let mut child = begun(here, shell);
    for signal in ["-HUP", "-INT", "-HUP", "-INT"] {
        send(&child, signal);
        sleep(Duration::from_millis(50));
    }
    assert!(child.try_wait().unwrap().is_none());
    send(&child, "-TERM");
    sleep(Duration::from_millis(200));
    send(&child, "-TERM");
    assert_eq!(end(child).status.code(), Some(143));
    assert_eq!(names(here), BEFORE);
}

#[test]
fn other_long_work_leaves_nothing_either() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    segments::write(here, "max_iter: 1 test_interval: 1");
    works(&call(here, "train --solver=solver.prototxt"));
    let before = names(here);
    for kind in ["lmdb", "leveldb"] {
        let line = ["extract_features", "snap_iter_1.caffemodel", "net.prototxt"];
        let rest = ["score,data", "a,b", "1000000000", kind];
        let child = start(here, &[&line[..], &rest].concat());
        send(&child, "-TERM");
        let output = end(child);
        fails(&output, &["interrupted; nothing was written"]);
        assert!(!err(&output).contains("Successfully"));
        assert_eq!(names(here), before, "{kind}");
    }
}
