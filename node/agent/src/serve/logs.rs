//! A container's log as a stream of text, read from the file that the runtime writes.
//!
//! Each line of the file is `<RFC 3339 time> <stdout|stderr> <P|F>[:...] <text>` (CRI logging, KEP-2400 keeps the
//! format): `P` is a part of a longer line, `F` ends it.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, BufReader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Body, Query, Server, not_here, text};

/// Longest line read from a file; runtimes split at 16 KiB. What is longer is cut into several.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Chunks between the reader and a slow client; the reader then waits.
const QUEUE: usize = 16;
/// A chunk is sent when it has grown to this, or when the reader would wait.
const CHUNK_BYTES: usize = 32 * 1024;
/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often the runtime is asked, at the end of a followed file, whether the container still runs.
const RUNNING_POLL: u32 = 10;

/// What the client asked for (PodLogOptions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) follow: bool,
    pub(super) timestamps: bool,
    pub(super) previous: bool,
    pub(super) tail: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    pub(super) since: Option<Timestamp>,
}

impl Options {
    pub(super) fn parse(query: &Query, now: Timestamp) -> Result<Options, String> {
        let number = |key: &str| match query.get(key) {
            None => Ok(None),
            Some(value) => {
                value.parse::<u64>().map(Some).map_err(|_| format!("{key} must be a whole number, not {value:?}"))
            }
        };
        let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
            (Some(_), Some(_)) => return Err("at most one of sinceTime or sinceSeconds may be given".to_owned()),
            (Some(seconds), None) => {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                Some(now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN))
            }
            (None, Some(time)) => {
                Some(time.parse().map_err(|_| format!("sinceTime {time:?} is not an RFC 3339 time"))?)
            }
            (None, None) => None,
        };
        Ok(Options {
            follow: query.flag("follow"),
            timestamps: query.flag("timestamps"),
            previous: query.flag("previous"),
            tail: number("tailLines")?,
            limit_bytes: number("limitBytes")?,
            since,
        })
    }
}

pub(super) async fn serve(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    query: Option<&str>,
) -> Response<Body> {
    let options = match Options::parse(&Query::parse(query), process::now()) {
        Ok(options) => options,
        Err(message) => return text(StatusCode::BAD_REQUEST, &message),
    };
    let Some(found) = server.pods.container(namespace, pod, Some(container)) else {
        return not_here(namespace, pod, container);
    };
    let path = if options.previous {
        match previous(&found.log_path) {
            Some(path) if path.exists() => path,
            _ => {
                let message = format!("previous terminated container {container:?} in pod {pod:?} not found");
                return text(StatusCode::BAD_REQUEST, &message);
            }
        }
    } else {
        found.log_path
    };
    let file = match File::open(&path).await {
        Ok(file) => file,
        Err(error) => return text(StatusCode::NOT_FOUND, &format!("no log of container {container:?}: {error}")),
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let runtime = (!options.previous).then(|| (server.runtime.clone(), found.id));
    process::spawn("node-api-log", async move {
        let mut sink = Sink { sender, chunk: Vec::new(), left: options.limit_bytes.unwrap_or(u64::MAX) };
        if let Err(error) = copy(file, &path, &options, runtime, &mut sink).await {
            tracing::debug!(%error, path = %path.display(), "log stream ended");
        }
        let _ = sink.flush().await;
    });
    let body = StreamBody::new(ReceiverStream::new(receiver)).boxed_unsync();
    let mut response = Response::new(body);
    let kind = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The log file of the instance before.
fn previous(current: &Path) -> Option<PathBuf> {
    let attempt: u32 = current.file_stem()?.to_str()?.parse().ok()?;
    Some(current.with_file_name(format!("{}.log", attempt.checked_sub(1)?)))
}

/// Collects output into chunks and stops at the client's limit or when the client is gone.
struct Sink {
    sender: mpsc::Sender<io::Result<Frame<Bytes>>>,
    chunk: Vec<u8>,
    left: u64,
}

impl Sink {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let take = usize::try_from(self.left).map_or(bytes.len(), |left| bytes.len().min(left));
        self.chunk.extend(&bytes[..take]);
        self.left -= take as u64;
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush().await?;
        }
        if self.left == 0 { Err(io::Error::other("byte limit reached")) } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return if self.sender.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) };
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        self.sender.send(Ok(Frame::data(chunk))).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

async fn copy(
    mut file: File,
    path: &Path,
    options: &Options,
    runtime: Option<(Arc<dyn cri::RuntimeApi>, String)>,
    sink: &mut Sink,
) -> io::Result<()> {
    if let Some(lines) = options.tail {
        let start = tail_start(&mut file, lines).await?;
        file.seek(SeekFrom::Start(start)).await?;
    }
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, file);
    let mut line = Vec::new();
    let mut at_start = true;
    let mut turns = 0u32;
    loop {
        let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
        if line.last() == Some(&b'\n') || line.len() as u64 >= MAX_LINE_BYTES {
            if let Some(entry) = Entry::parse(&line)
                && options.since.is_none_or(|since| entry.time.parse::<Timestamp>().is_ok_and(|time| time >= since))
            {
                if options.timestamps && at_start {
                    sink.write(entry.time.as_bytes()).await?;
                    sink.write(b" ").await?;
                }
                sink.write(entry.text).await?;
                if entry.whole {
                    sink.write(b"\n").await?;
                }
                at_start = entry.whole;
            }
            line.clear();
            turns = 0;
            continue;
        }
        if read > 0 {
            continue;
        }
        // The end of the file, perhaps in the middle of a line that is being written.
        sink.flush().await?;
        if !options.follow {
            return Ok(());
        }
        if let Some(next) = rotated(reader.get_ref(), path).await? {
            reader = BufReader::with_capacity(CHUNK_BYTES, next);
            line.clear();
            continue;
        }
        if turns > 0 && turns.is_multiple_of(RUNNING_POLL) && ended(runtime.as_ref()).await {
            // What was written between the last read and the end comes with one more turn.
            if reader.fill_buf().await?.is_empty() {
                return Ok(());
            }
            continue;
        }
        turns = turns.wrapping_add(1);
        tokio::time::sleep(POLL).await;
    }
}

/// The file that has taken the path of `open`, if the log was rotated.
async fn rotated(open: &File, path: &Path) -> io::Result<Option<File>> {
    let held = open.metadata().await?;
    match tokio::fs::metadata(path).await {
        Ok(now) if now.ino() != held.ino() || now.dev() != held.dev() => Ok(Some(File::open(path).await?)),
        Ok(_) | Err(_) => Ok(None),
    }
}

async fn ended(runtime: Option<&(Arc<dyn cri::RuntimeApi>, String)>) -> bool {
    let Some((runtime, id)) = runtime else { return true };
    match runtime.container_status(id).await {
        Ok(status) => status.state() == cri::v1::ContainerState::ContainerExited,
        // A runtime that is being restarted does not end the log; a container that is gone does.
        Err(error) => !error.is_unavailable(),
    }
}

/// The offset at which the last `lines` lines begin. Reads backwards in blocks; memory is one block.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(end);
    }
    let mut block = vec![0; 64 * 1024];
    let (mut position, mut seen) = (end, 0);
    while position > 0 {
        let size = position.min(block.len() as u64);
        position -= size;
        let size = usize::try_from(size).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(position)).await?;
        file.read_exact(&mut block[..size]).await?;
        for (at, byte) in block[..size].iter().enumerate().rev() {
            let offset = position + at as u64;
            // The newline at the very end closes the last line, it does not begin another.
            if *byte == b'\n' && offset + 1 != end {
                seen += 1;
                if seen == lines {
                    return Ok(offset + 1);
                }
            }
        }
    }
    Ok(0)
}

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) time: &'a str,
    pub(super) whole: bool,
    pub(super) text: &'a [u8],
}

impl Entry<'_> {
    /// `None` if the line is not in the format (a torn write at a crash).
    pub(super) fn parse(line: &[u8]) -> Option<Entry<'_>> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?;
        let stream = fields.next()?;
        let tags = fields.next()?;
        if !matches!(stream, b"stdout" | b"stderr") {
            return None;
        }
        let whole = tags.split(|byte| *byte == b':').next() == Some(b"F");
        Some(Entry { time, whole, text: fields.next().unwrap_or_default() })
    }
}
