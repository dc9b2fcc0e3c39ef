//! HTTP/1.1, as much of it as a test server needs: GET and HEAD, keep-alive, bounded requests.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Longest request line and header line.
const LINE_BYTES: u64 = 8192;
/// Most header lines of a request.
const HEADER_LINES: usize = 100;
/// Most requests in progress; those beyond are answered 503.
const MAX_REQUESTS: usize = 1024;
/// Longest wait that `/slow` accepts.
const MAX_SLOW_MS: u64 = 60_000;
/// How long a connection may idle between requests.
const IDLE: Duration = Duration::from_secs(75);
/// How long requests in progress hold back the end of the process.
const DRAIN: Duration = Duration::from_secs(10);

/// Who answers.
pub struct Identity {
    /// The pod's name.
    pub pod: String,
    /// The node it runs on.
    pub node: String,
    /// Which image it is.
    pub version: String,
}

/// The server's state: who it is, whether it is going away, and how many requests are in progress.
pub struct Site {
    identity: Identity,
    draining: AtomicBool,
    requests: AtomicUsize,
    idle: (Mutex<()>, Condvar),
}

impl Site {
    /// A site that accepts requests.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            draining: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            idle: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Who answers.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Fails readiness from now on and returns when no request is in progress, or the drain time is over.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let (lock, changed) = &self.idle;
        let guard = lock.lock().expect("no thread panics while it holds the lock");
        let waited = changed.wait_timeout_while(guard, DRAIN, |()| self.requests.load(Ordering::SeqCst) > 0);
        drop(waited);
    }

    fn begin(&self) -> usize {
        self.requests.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn end(&self) {
        self.requests.fetch_sub(1, Ordering::SeqCst);
        let (lock, changed) = &self.idle;
        drop(lock.lock());
        changed.notify_all();
    }
}

/// Accepts connections until the process ends, a thread each.
pub fn serve(listener: &TcpListener, site: &Arc<Site>) {
    for stream in listener.incoming().flatten() {
        let site = site.clone();
        thread::spawn(move || {
            if let Err(error) = connection(&stream, &site) {
                eprintln!("connection: {error}");
            }
        });
    }
}

fn connection(stream: &TcpStream, site: &Site) -> std::io::Result<()> {
    let client = stream.peer_addr()?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(request) = (match Request::read(&mut reader) {
            Err(error) if is_idle_end(&error) => return Ok(()),
            read => read?,
        }) else {
            return Ok(());
        };
        let in_progress = site.begin();
        let answer = answer(&request, client, site, in_progress);
        let written = write(stream, &request, &answer, site.draining.load(Ordering::SeqCst));
        site.end();
        if !written? {
            return Ok(());
        }
    }
}

fn is_idle_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    matches!(error.kind(), ConnectionReset | TimedOut | UnexpectedEof | WouldBlock)
}

struct Request {
    method: String,
    target: String,
    close: bool,
}

impl Request {
    /// The next request; `None` at the end of the connection or for what is no HTTP.
    fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let line = read_line(reader)?;
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Ok(None);
        };
        let mut request = Self { method: method.to_owned(), target: target.to_owned(), close: version == "HTTP/1.0" };
        for _ in 0..HEADER_LINES {
            let line = read_line(reader)?;
            if line.is_empty() {
                return Ok(Some(request));
            }
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("connection") {
                    request.close = value.trim().eq_ignore_ascii_case("close");
                }
            }
        }
        Ok(None)
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    reader.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

struct Answer {
    status: &'static str,
    body: String,
}

fn answer(request: &Request, client: SocketAddr, site: &Site, in_progress: usize) -> Answer {
    let ok = |body: String| Answer { status: "200 OK", body };
    let Identity { pod, node, version } = &site.identity;
    if in_progress > MAX_REQUESTS {
        return Answer { status: "503 Service Unavailable", body: "too many requests\n".to_owned() };
    }
    if request.method != "GET" && request.method != "HEAD" {
        return Answer { status: "405 Method Not Allowed", body: "GET or HEAD\n".to_owned() };
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let greeting = || format!("pod={pod} node={node} version={version} client={}\n", client.ip().to_canonical());
    match path {
        "/" => ok(greeting()),
        "/slow" => match query.parse() {
            Ok(wait_ms) if wait_ms <= MAX_SLOW_MS => {
                thread::sleep(Duration::from_millis(wait_ms));
                ok(greeting())
            }
            _ => Answer { status: "400 Bad Request", body: format!("/slow?MS, at most {MAX_SLOW_MS}\n") },
        },
        "/healthz" if site.draining.load(Ordering::SeqCst) => {
            Answer { status: "503 Service Unavailable", body: "draining\n".to_owned() }
        }
        "/healthz" => ok("ok\n".to_owned()),
        "/version" => ok(format!("{version}\n")),
        _ => Answer { status: "404 Not Found", body: "not found\n".to_owned() },
    }
}

/// Writes the answer and tells whether the connection goes on.
fn write(mut stream: &TcpStream, request: &Request, answer: &Answer, draining: bool) -> std::io::Result<bool> {
    let close = request.close || draining;
    let connection = if close { "close" } else { "keep-alive" };
    let body = if request.method == "HEAD" { "" } else { &answer.body };
    let text = format!(
        "HTTP/1.1 {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
        answer.status,
        answer.body.len(),
    );
    stream.write_all(text.as_bytes())?;
    Ok(!close)
}
