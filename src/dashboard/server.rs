//! The server: a thread of its own with a small runtime, so that training never waits for a page.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
};

use super::{
    Databases, Runs, Wish,
    guard::{Guard, Verdict, is_own},
    page, runs, stream,
};
use crate::error::{Error, ErrorKind, Result};

/// Where it listens unless told otherwise.
pub const PORT: u16 = 8090;

/// Streams at once.
const STREAMS: usize = 64;
/// Bytes that a request may bring.
const BODY: usize = 4096;
/// How long readers may take to hear the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// Whether it listens on every address of this machine.
    everywhere: bool,
    /// Whether its port is another than the usual one, because that was taken.
    moved: bool,
    closing: watch::Sender<bool>,
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

struct Shared {
    guard: Guard,
    title: String,
    runs: Runs,
    databases: Databases,
    streams: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

type App = State<Arc<Shared>>;

/// Where to listen: `ADDR:PORT`, `ADDR`, `:PORT` or `PORT`; nothing for this machine alone.
///
/// # Errors
/// `Param` where it is none of these.
pub fn parse_address(text: &str) -> Result<Option<SocketAddr>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let number = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = number.parse() {
        return Ok(Some(local(port)));
    }
    let named = text.replace("localhost", "127.0.0.1");
    if let Ok(address) = named.parse::<SocketAddr>() {
        return Ok(Some(address));
    }
    match named.parse() {
        Ok(ip) => Ok(Some(SocketAddr::new(ip, PORT))),
        Err(_) => Err(
            Error::param("--dashboard", format!("'{text}' is no address to listen on"))
                .help("write a port (8090) for this machine alone, or an address of this machine with a port: 0.0.0.0:8090"),
        ),
    }
}

impl Server {
    /// Begins to serve; with no address on this machine alone, at [`PORT`] or, where that is taken, at any.
    ///
    /// # Errors
    /// `Io` where it cannot listen there.
    pub fn start(
        address: Option<SocketAddr>,
        title: &str,
        runs: Runs,
        databases: Databases,
    ) -> Result<Self> {
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let (listener, moved) = match address {
            Some(address) => (listen(address)?, false),
            None => match listen(usual) {
                Ok(listener) => (listener, false),
                Err(_) => (listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?, true),
            },
        };
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Io, format!("the page cannot be served: {e}"))
        };
        let bound = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let guard = Guard::new(bound)?;
        // No browser goes to the address that stands for all.
        let seen = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let mut url = format!("http://{}/", SocketAddr::new(seen, bound.port()));
        if let Some(token) = guard.token() {
            url += &format!("?token={token}");
        }
        let (closing, closed) = watch::channel(false);
        let shared = Shared {
            guard,
            title: title.to_owned(),
            runs,
            databases,
            streams: Arc::new(Semaphore::new(STREAMS)),
            closing: closed,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(2)
            .build()
            .map_err(failed)?;
        let (tell, done) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("dashboard".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listener, shared));
                // Nobody may be waiting.
                let _ = tell.send(());
            })
            .map_err(failed)?;
        Ok(Self {
            url,
            everywhere: seen != bound.ip(),
            moved,
            closing,
            done,
            thread,
        })
    }

    /// What to open: the address, with the token where one is asked for.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it listens on every address of this machine, of which [`Server::url`] names one.
    pub fn everywhere(&self) -> bool {
        self.everywhere
    }

    /// Whether the usual port was taken.
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// Lets readers have what is there, waits for them a moment, and ends.
    pub fn finish(self) {
        let _ = self.closing.send(true);
        let _ = self.done.recv_timeout(PATIENCE);
    }

    /// Serves until the program is ended.
    pub fn wait(self) {
        let _ = self.thread.join();
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|e| {
        Error::new(ErrorKind::Io, format!("cannot listen on {address}: {e}"))
            .help("name another port, or leave the address out to take one that is free")
    })
}

async fn serve(listener: TcpListener, shared: Shared) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let mut closing = shared.closing.clone();
    let app = router(Arc::new(shared));
    let end = async move {
        while !*closing.borrow_and_update() {
            if closing.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = axum::serve(listener, app).with_graceful_shutdown(end).await;
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/api/runs", get(list_runs))
        .route("/api/runs/{id}/lines", get(lines))
        .route("/api/runs/{id}/control", post(control))
        .route("/files/{id}/pictures/{name}", get(picture))
        .route("/api/databases", get(list_databases))
        .route("/api/databases/{id}/records", get(records))
        .route("/api/databases/{id}/records/{name}", get(record))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "there is no such page"))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), watch_door))
        .with_state(shared)
}

/// An error as the page reads it.
fn refuse(status: StatusCode, why: impl ToString) -> Response {
    (status, Json(json!({ "error": why.to_string() }))).into_response()
}

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

/// Lets in whom the guard lets in, and says on every answer what a browser may do with it.
async fn watch_door(
    State(shared): App,
    token: std::result::Result<Query<TokenQuery>, axum::extract::rejection::QueryRejection>,
    request: Request,
    next: Next,
) -> Response {
    let token = token.ok().and_then(|Query(query)| query.token);
    let verdict = shared.guard.judge(request.headers(), token.as_deref());
    let mut response = match verdict {
        Verdict::Pass | Verdict::Welcome => next.run(request).await,
        Verdict::WrongHost => refuse(
            StatusCode::FORBIDDEN,
            "this server answers to localhost only",
        ),
        Verdict::NoToken => refuse(
            StatusCode::UNAUTHORIZED,
            "open the address with ?token= that the program told",
        ),
    };
    let headers = response.headers_mut();
    if verdict == Verdict::Welcome
        && let Some(cookie) = shared.guard.cookie()
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let strict = HeaderValue::from_static("default-src 'none'");
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(strict);
    let never = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(never);
    response
}

async fn index(State(shared): App) -> Response {
    let data = json!({ "live": true, "title": shared.title });
    match page::with_data(&data) {
        Ok(page) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, page::POLICY),
            ];
            (headers, page).into_response()
        }
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

#[derive(Serialize)]
struct ListedRun {
    id: usize,
    name: String,
    live: bool,
    controls: bool,
}

async fn list_runs(State(shared): App) -> Response {
    let runs = shared.runs.all().into_iter().enumerate();
    let listed = runs.map(|(id, run)| ListedRun {
        id,
        live: run.live(),
        controls: run.controls.as_ref().is_some_and(super::Controls::open),
        name: run.name,
    });
    Json(listed.collect::<Vec<_>>()).into_response()
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
}

async fn lines(
    State(shared): App,
    Path(id): Path<usize>,
    Query(query): Query<From>,
    headers: HeaderMap,
) -> Response {
    let Some(run) = shared.runs.get(id) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such run");
    };
    let Ok(permit) = shared.streams.clone().try_acquire_owned() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open");
    };
    let last = headers.get("last-event-id");
    let last = last.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let from = query.from.or(last.map(|last| last.saturating_add(1)));
    let events = stream::follow(run, from.unwrap_or(0), shared.closing.clone(), permit);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(events)).into_response()
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Asked {
    Snapshot,
    Stop,
    Rate { value: f32 },
}

async fn control(
    State(shared): App,
    Path(id): Path<usize>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_own(&headers) {
        return refuse(
            StatusCode::FORBIDDEN,
            "only the page itself may ask for this",
        );
    }
    let controls = shared.runs.get(id).and_then(|run| run.controls);
    let Some(controls) = controls else {
        return refuse(StatusCode::NOT_FOUND, "nobody here steers this run");
    };
    let wish = match serde_json::from_slice(&body) {
        Ok(Asked::Snapshot) => Wish::Snapshot,
        Ok(Asked::Stop) => Wish::Stop,
        Ok(Asked::Rate { value }) => Wish::Rate(value),
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    match controls.ask(wish) {
        Ok(()) => Json(json!({ "ok": true })).into_response(),
        Err(why) => refuse(StatusCode::CONFLICT, why),
    }
}

/// A picture, which does not change any more.
fn image(png: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        (header::CACHE_CONTROL, "private, max-age=600"),
    ];
    (headers, png).into_response()
}

async fn picture(State(shared): App, Path((id, name)): Path<(usize, String)>) -> Response {
    let run = shared.runs.get(id);
    match run.and_then(|run| runs::picture(&run.folder, &name)) {
        Some(png) => image(png),
        None => refuse(StatusCode::NOT_FOUND, "there is no such picture"),
    }
}

/// Lets the databases answer, beside the pages.
async fn ask<R: Send + 'static>(
    shared: Arc<Shared>,
    question: impl FnOnce(&Databases) -> Result<R> + Send + 'static,
) -> std::result::Result<R, Response> {
    let answer = spawn_blocking(move || question(&shared.databases)).await;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == ErrorKind::Param => {
            Err(refuse(StatusCode::NOT_FOUND, error.message()))
        }
        Ok(Err(error)) => Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, error)),
        Err(error) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}

async fn list_databases(State(shared): App) -> Response {
    match ask(shared, |databases| Ok(databases.list())).await {
        Ok(list) => Json(list).into_response(),
        Err(response) => response,
    }
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    from: u64,
    #[serde(default = "twenty")]
    count: u64,
}

fn twenty() -> u64 {
    20
}

async fn records(
    State(shared): App,
    Path(id): Path<usize>,
    Query(Part { from, count }): Query<Part>,
) -> Response {
    match ask(shared, move |databases| databases.records(id, from, count)).await {
        Ok(rows) => Json(rows).into_response(),
        Err(response) => response,
    }
}

#[derive(Deserialize)]
struct Over {
    overlay: Option<usize>,
}

async fn record(
    State(shared): App,
    Path((id, name)): Path<(usize, String)>,
    Query(Over { overlay }): Query<Over>,
) -> Response {
    let index = name.strip_suffix(".png").and_then(|n| n.parse().ok());
    let Some(index) = index else {
        return refuse(StatusCode::NOT_FOUND, "there is no such record");
    };
    let question = move |databases: &Databases| databases.picture(id, index, overlay);
    match ask(shared, question).await {
        Ok(png) => image(png),
        Err(response) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parsed = |text| parse_address(text).unwrap().map(|a| a.to_string());
        assert_eq!(parsed(""), None);
        assert_eq!(parsed("9000").as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(parsed(":9000").as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(parsed("localhost:9").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(parsed("0.0.0.0").as_deref(), Some("0.0.0.0:8090"));
        assert_eq!(parsed("[::1]:80").as_deref(), Some("[::1]:80"));
        assert!(parse_address("solver.prototxt").is_err());
        assert!(parse_address("99999").is_err());
    }
}
