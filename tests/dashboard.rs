//! The page's server from outside, by plain HTTP.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    cli::{call, program, works},
    support::segments,
};

/// A program that serves a page; it ends with the test.
struct Serving {
    child: Child,
    url: String,
    address: SocketAddr,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(120);

fn serve(dir: &Path, words: &str) -> Serving {
    let mut child = program()
        .current_dir(dir)
        .args(words.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (tell, told) = mpsc::channel();
    // Reads to the end, so that the program never waits for a reader.
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    let mut seen = String::new();
    let url = loop {
        let Ok(line) = told.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("no page: {seen}");
        };
        if let Some((_, url)) = line.split_once("dashboard: ") {
            break url.to_owned();
        }
        seen += &line;
        seen.push('\n');
    };
    let host = url.strip_prefix("http://").unwrap();
    let host = host
        .split('/')
        .next()
        .unwrap()
        .replace("0.0.0.0", "127.0.0.1");
    Serving {
        child,
        address: host.parse().unwrap(),
        url,
    }
}

impl Serving {
    /// Sends a request; `more` are lines of its head.
    fn open(&self, line: &str, more: &[&str], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        if !more.iter().any(|l| l.starts_with("Host:")) {
            head += &format!("Host: {}\r\n", self.address);
        }
        for line in more {
            head += &format!("{line}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Status, head, body.
    fn ask(&self, line: &str, more: &[&str], body: &str) -> (u16, String, Vec<u8>) {
        let mut bytes = Vec::new();
        self.open(line, more, body).read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, bytes[end + 4..].to_vec())
    }

    fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        self.ask(&format!("GET {path}"), &[], "")
    }

    fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path);
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&body).unwrap()
    }

    fn control(&self, body: &str) -> (u16, Value) {
        let own = ["X-Cortado: 1", "Content-Type: application/json"];
        let (status, _, body) = self.ask("POST /api/runs/0/control", &own, body);
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Reads a stream of lines until one pleases.
    fn follow(&self, from: u64, pleases: impl Fn(&Value) -> bool) -> Value {
        let path = format!("GET /api/runs/0/lines?from={from}");
        let stream = BufReader::new(self.open(&path, &[], ""));
        let start = Instant::now();
        for line in stream.lines().map_while(Result::ok) {
            assert!(start.elapsed() < PATIENCE, "it does not come");
            if let Some(data) = line.strip_prefix("data: ") {
                let value: Value = serde_json::from_str(data).unwrap();
                if pleases(&value) {
                    return value;
                }
            }
        }
        panic!("the stream has ended");
    }
}

#[test]
fn a_run_is_shown_and_steered_while_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    segments::write(
        dir.path(),
        "max_iter: 1000000000 display: 1000 test_interval: 1000",
    );
    let mut page = serve(
        dir.path(),
        "train --solver=solver.prototxt --dashboard=127.0.0.1:0",
    );
    let (status, head, body) = page.get("/");
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&body).contains("\"live\":true"));
    assert!(
        head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    assert!(
        head.contains("nosniff") && !head.contains("access-control"),
        "{head}"
    );
    let runs = page.json("/api/runs");
    assert_eq!(
        (&runs[0]["name"], &runs[0]["live"], &runs[0]["controls"]),
        (&"snap_run".into(), &true.into(), &true.into())
    );

    // Lines as they come, from any place on.
    assert_eq!(page.follow(0, |_| true)["kind"], "run");
    assert_ne!(page.follow(1, |_| true)["kind"], "run");
    page.follow(0, |line| {
        line["kind"] == "test" && line["iteration"] == 1000
    });

    // Pictures of the run, and nothing else.
    let picture = page.follow(0, |line| line["kind"] == "picture" && line["role"] == "map");
    let file = picture["file"].as_str().unwrap();
    let (status, head, body) = page.get(&format!("/files/0/{file}"));
    assert!(status == 200 && head.contains("image/png") && body.starts_with(b"\x89PNG"));
    fs::write(dir.path().join("secret.png"), &body).unwrap();
    for path in [
        "/files/0/pictures/..%2f..%2fsecret.png",
        "/files/0/pictures/../../secret.png",
        "/files/0/pictures/%2e%2e/%2e%2e/secret.png",
        "/files/0/pictures/..%5c..%5csecret.png",
        "/files/0/run.jsonl",
        "/files/0/pictures/run.jsonl",
        "/files/9/pictures/a.png",
        "//etc/passwd",
        "/../../etc/passwd",
    ] {
        assert_eq!(page.get(path).0, 404, "{path}");
    }

    // Who is not us is sent away.
    for host in ["Host: evil.example", "Host: evil.example:8090"] {
        assert_eq!(page.ask("GET /api/runs", &[host], "").0, 403);
    }
    let stop = r#"{"action":"stop"}"#;
    for head in [
        &["Content-Type: application/json"][..],
        &["X-Cortado: 1", "Content-Type: text/plain"],
        &[
            "X-Cortado: 1",
            "Content-Type: application/json",
            "Origin: http://evil.example",
        ],
    ] {
        let answer = page.ask("POST /api/runs/0/control", head, stop);
        assert_eq!(answer.0, 403, "{head:?}");
    }
    let huge = format!("{stop}{}", " ".repeat(1 << 16));
    let own = ["X-Cortado: 1", "Content-Type: application/json"];
    let answer = page.ask("POST /api/runs/0/control", &own, &huge);
    assert_eq!(answer.0, 413);

    // Its own databases.
    let databases = page.json("/api/databases");
    assert_eq!(
        (
            &databases[0]["name"],
            &databases[0]["records"],
            &databases[0]["pair"]
        ),
        (&"images".into(), &6.into(), &1.into())
    );
    let rows = page.json("/api/databases/0/records?from=4&count=9");
    assert_eq!(
        (rows.as_array().unwrap().len(), &rows[0]["key"]),
        (2, &"rec4".into())
    );
    let (status, _, png) = page.get("/api/databases/0/records/5.png?overlay=1");
    assert!(status == 200 && png.starts_with(b"\x89PNG"));
    assert_eq!(page.get("/api/databases/0/records/6.png").0, 404);
    assert_eq!(page.get("/api/databases/7/records").0, 404);

    // A snapshot, another rate, the end.
    assert_eq!(page.control(r#"{"action":"snapshot"}"#).0, 200);
    let line = page.follow(0, |line| line["kind"] == "snapshot");
    assert!(dir.path().join(line["file"].as_str().unwrap()).is_file());
    assert_eq!(page.control(r#"{"action":"rate","value":-1}"#).0, 409);
    assert_eq!(page.control(r#"{"action":"dance"}"#).0, 400);
    let (status, answer) = page.control(r#"{"action":"rate","value":0.003}"#);
    assert_eq!((status, &answer["ok"]), (200, &true.into()));
    page.follow(0, |line| {
        let rate = line["rate"].as_f64();
        line["kind"] == "step" && rate.is_some_and(|r| (r - 0.003).abs() < 1e-8)
    });
    assert_eq!(page.control(stop).0, 200);
    assert!(page.child.wait().unwrap().success());
    let record = fs::read_to_string(dir.path().join("snap_run/run.jsonl")).unwrap();
    assert!(record.contains("the page asks for the rate 0.003"));
    let end = record.lines().last().unwrap();
    assert!(
        end.contains("\"kind\":\"end\"") && end.contains("\"early\":true"),
        "{end}"
    );
    let report = fs::read_to_string(dir.path().join("snap_run/report.html")).unwrap();
    assert!(report.contains("\"kind\":\"end\"") && report.contains("\"live\":false"));
}

/// A folder with a short record.
fn recorded(dir: &Path) {
    fs::create_dir(dir.join("run")).unwrap();
    let text = "{\"kind\":\"step\",\"t\":1,\"iteration\":1,\"loss\":1,\"rate\":1}\n";
    fs::write(dir.join("run/run.jsonl"), text).unwrap();
}

#[test]
fn other_machines_need_the_token() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    let page = serve(dir.path(), "dashboard run --address=0.0.0.0:0");
    let token = page.url.split_once("?token=").unwrap().1;
    for path in [
        "/",
        "/api/runs",
        "/api/runs/0/lines",
        "/?token=",
        "/?token=x",
    ] {
        assert_eq!(page.get(path).0, 401, "{path}");
    }
    let (status, head, _) = page.get(&format!("/?token={token}"));
    assert_eq!(status, 200);
    let cookie = head.split_once("set-cookie: ").unwrap().1;
    assert!(cookie.contains("httponly; samesite=strict"), "{cookie}");
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    assert_eq!(page.ask("GET /api/runs", &[&cookie], "").0, 200);
    let wrong = format!("{cookie}0");
    assert_eq!(page.ask("GET /api/runs", &[&wrong], "").0, 401);
    assert_eq!(page.get("/api/runs").0, 401);
}

#[test]
fn a_record_that_another_program_writes_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    let page = serve(dir.path(), "dashboard . --address=0");
    let runs = page.json("/api/runs");
    assert_eq!(
        (&runs[0]["name"], &runs[0]["live"], &runs[0]["controls"]),
        (&"run".into(), &true.into(), &false.into())
    );
    assert_eq!(page.control(r#"{"action":"stop"}"#).0, 404);
    thread::scope(|scope| {
        let end = scope.spawn(|| page.follow(0, |line| line["kind"] == "end"));
        thread::sleep(Duration::from_millis(300));
        let path = dir.path().join("run/run.jsonl");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        for part in [
            "{\"kind\":\"end\",\"t\":1,\"itera",
            "tion\":7,\"early\":false,\"error\":null}\n",
        ] {
            file.write_all(part.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(end.join().unwrap()["iteration"], 7);
    });
    assert_eq!(page.json("/api/runs")[0]["live"], false);
    works(&call(dir.path(), "dashboard run --report=page.html"));
    let report = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(report.contains("\"iteration\":7"));
}
