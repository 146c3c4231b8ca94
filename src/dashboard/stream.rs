//! A record as server-sent events: every line so far, then new ones as they come.

use std::{
    convert::Infallible,
    fs::File,
    io::Read as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use serde::de::IgnoredAny;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep},
};

use super::Served;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Bytes of a line; longer ones are left out.
const LONGEST: usize = 8 << 20;
/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often a quiet stream says that it is there.
const BREATH: Duration = Duration::from_secs(15);

/// Events as they come.
pub(super) struct Events {
    pieces: mpsc::Receiver<String>,
    /// Given back when the reader goes.
    _permit: OwnedSemaphorePermit,
}

impl Stream for Events {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

/// Follows a run from line `from` on. A reader who is slow holds up nobody but himself.
pub(super) fn follow(
    run: Served,
    from: u64,
    closing: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) -> Events {
    let (to, pieces) = mpsc::channel(4);
    tokio::spawn(send(run, from, closing, to));
    Events {
        pieces,
        _permit: permit,
    }
}

/// Sends until there is nothing more, or nobody listens.
async fn send(run: Served, from: u64, closing: watch::Receiver<bool>, to: mpsc::Sender<String>) {
    let mut lines = Lines::new(from);
    let mut file: Option<File> = None;
    let mut piece = vec![0; PIECE];
    let mut breath = Instant::now();
    let mut over = false;
    loop {
        if file.is_none() {
            file = File::open(run.lines()).ok();
        }
        let read = file.as_mut().map_or(0, |f| f.read(&mut piece).unwrap_or(0));
        if read > 0 {
            let mut text = String::new();
            lines.take(&piece[..read], &mut text);
            breath = Instant::now();
            if !text.is_empty() && to.send(text).await.is_err() {
                return;
            }
            continue;
        }
        if over {
            let _ = to.send("event: end\ndata: {}\n\n".to_owned()).await;
            return;
        }
        if !run.live() || *closing.borrow() {
            // A last look, for what came in between.
            over = true;
            continue;
        }
        if breath.elapsed() > BREATH {
            breath = Instant::now();
            if to.send(": still here\n\n".to_owned()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = to.closed() => return,
            () = sleep(LOOK) => {}
        }
    }
}

/// Cuts bytes into lines and makes events of them.
struct Lines {
    /// The first line that is wanted.
    from: u64,
    /// The number of the line under way.
    number: u64,
    part: Vec<u8>,
    /// The line under way is too long.
    long: bool,
}

impl Lines {
    fn new(from: u64) -> Self {
        Self {
            from,
            number: 0,
            part: Vec::new(),
            long: false,
        }
    }

    fn take(&mut self, mut bytes: &[u8], to: &mut String) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.keep(&bytes[..end]);
            self.finish(to);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.long |= self.part.len() + bytes.len() > LONGEST;
        if self.long {
            self.part.clear();
        } else if self.number >= self.from {
            self.part.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self, to: &mut String) {
        let number = self.number;
        self.number += 1;
        let long = std::mem::take(&mut self.long);
        let line = std::mem::take(&mut self.part);
        if number < self.from {
            return;
        }
        // Numbers count lines, so that one which is none has its place too.
        let json = serde_json::from_slice::<IgnoredAny>(&line).is_ok() && !long;
        let text = std::str::from_utf8(&line).ok().filter(|_| json);
        let text = text.unwrap_or("{}").replace('\r', " ");
        *to += &format!("id: {number}\ndata: {text}\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]], from: u64) -> String {
        let mut lines = Lines::new(from);
        let mut text = String::new();
        for piece in pieces {
            lines.take(piece, &mut text);
        }
        text
    }

    #[test]
    fn lines_are_numbered_and_whole() {
        let all = events(&[b"{\"a\":", b"1}\n{\"b\":2}\r\nno", b"ise\n{\"c\""], 0);
        assert_eq!(
            all,
            "id: 0\ndata: {\"a\":1}\n\nid: 1\ndata: {\"b\":2} \n\nid: 2\ndata: {}\n\n"
        );
        let rest = events(&[b"{\"a\":1}\n{\"b\"", b":2}\n"], 1);
        assert_eq!(rest, "id: 1\ndata: {\"b\":2}\n\n");
    }

    #[test]
    fn a_line_without_end_is_left_out() {
        let mut lines = Lines::new(0);
        let mut text = String::new();
        for _ in 0..LONGEST / PIECE + 2 {
            lines.take(&vec![b'7'; PIECE], &mut text);
            assert!(lines.part.len() <= LONGEST);
        }
        lines.take(b"\n{}\n", &mut text);
        assert_eq!(text, "id: 0\ndata: {}\n\nid: 1\ndata: {}\n\n");
    }
}
