//! One TLS connection that speaks HTTP/1.1: what one client of the API has. It sends a request with one write and reads
//! no more than the protocol asks for: driver and server share their cores, and what the driver takes the server lacks.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::target::Target;

/// Headers of one answer.
const HEADERS: usize = 32;
/// Longest head of an answer.
const HEAD_LIMIT: usize = 64 << 10;
/// Room that is there for each read.
const READ: usize = 16 << 10;

/// A connection. One request at a time; an answer is read to its end before the next request.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    /// What has come and is not yet taken.
    read: BytesMut,
    written: Vec<u8>,
    /// The header lines of every request.
    headers: String,
    rest: Rest,
}

/// What is still to come of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// So many bytes.
    Length(usize),
    /// The length of the next chunk.
    ChunkHead,
    /// So many bytes of a chunk, and its line's end.
    Chunk(usize),
    /// Lines after the last chunk, up to an empty one.
    Trailer,
    /// Whatever comes until the server closes.
    Close,
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When nobody listens, or is not who the kubeconfig says.
    pub async fn open(target: &Target) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&target.authority).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(target.tls.clone()).connect(target.name.clone(), stream).await?;
        let mut headers = format!("Host: {}\r\n", target.authority);
        if let Some(token) = &target.token {
            headers += &format!("Authorization: Bearer {token}\r\n");
        }
        Ok(Connection { stream, read: BytesMut::new(), written: Vec::new(), headers, rest: Rest::Nothing })
    }

    /// Sends a request and reads the answer's head; [`Connection::piece`] reads its body.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no HTTP/1.1.
    pub async fn send(&mut self, method: &Method, path: &str, body: &[u8]) -> anyhow::Result<StatusCode> {
        debug_assert_eq!(self.rest, Rest::Nothing, "the last answer is read to its end");
        self.written.clear();
        for part in [method.as_str(), " ", path, " HTTP/1.1\r\n", &self.headers] {
            self.written.extend_from_slice(part.as_bytes());
        }
        if !body.is_empty() {
            let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            self.written.extend_from_slice(length.as_bytes());
        }
        self.written.extend_from_slice(b"\r\n");
        self.written.extend_from_slice(body);
        self.stream.write_all(&self.written).await?;
        self.stream.flush().await?;
        loop {
            self.fill().await?;
            if let Some((status, rest)) = head(&mut self.read)? {
                self.rest = rest;
                return Ok(status);
            }
            if self.read.len() > HEAD_LIMIT {
                bail!("the head of an answer is too long");
            }
        }
    }

    /// The next piece of the answer's body as it came; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks before the end.
    pub async fn piece(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            match self.rest {
                Rest::Nothing => return Ok(None),
                Rest::Length(0) => self.rest = Rest::Nothing,
                Rest::Length(left) | Rest::Chunk(left) if left > 0 && !self.read.is_empty() => {
                    let piece = self.read.split_to(left.min(self.read.len())).freeze();
                    let left = left - piece.len();
                    self.rest = if let Rest::Chunk(_) = self.rest { Rest::Chunk(left) } else { Rest::Length(left) };
                    return Ok(Some(piece));
                }
                Rest::Chunk(0) if self.read.len() >= 2 => {
                    self.read.advance(2);
                    self.rest = Rest::ChunkHead;
                }
                Rest::ChunkHead => match httparse::parse_chunk_size(&self.read) {
                    Ok(httparse::Status::Complete((length, size))) => {
                        self.read.advance(length);
                        self.rest = if size == 0 { Rest::Trailer } else { Rest::Chunk(usize::try_from(size)?) };
                    }
                    Ok(httparse::Status::Partial) => self.fill().await?,
                    Err(_) => bail!("the head of a chunk is none"),
                },
                Rest::Trailer => match memchr::memchr(b'\n', &self.read) {
                    Some(end) => {
                        self.read.advance(end + 1);
                        self.rest = if end <= 1 { Rest::Nothing } else { Rest::Trailer };
                    }
                    None => self.fill().await?,
                },
                Rest::Close if !self.read.is_empty() => return Ok(Some(self.read.split().freeze())),
                Rest::Close => {
                    self.read.reserve(READ);
                    if self.stream.read_buf(&mut self.read).await? == 0 {
                        self.rest = Rest::Nothing;
                    }
                }
                Rest::Length(_) | Rest::Chunk(_) => self.fill().await?,
            }
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn call(&mut self, method: &Method, path: &str, body: &[u8]) -> anyhow::Result<(StatusCode, Bytes)> {
        let status = self.send(method, path, body).await?;
        let mut whole = Vec::with_capacity(if let Rest::Length(length) = self.rest { length } else { 0 });
        while let Some(piece) = self.piece().await? {
            whole.extend_from_slice(&piece);
        }
        Ok((status, whole.into()))
    }

    /// As [`Connection::call`]; anything but success is an error.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses.
    pub async fn must(&mut self, method: &Method, path: &str, body: &[u8]) -> anyhow::Result<Bytes> {
        let (status, answer) = self.call(method, path, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer[..answer.len().min(300)]));
        }
        Ok(answer)
    }

    /// Reads a whole answer and only counts its bytes.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses.
    pub async fn drain(&mut self, path: &str) -> anyhow::Result<u64> {
        let status = self.send(&Method::GET, path, &[]).await?;
        if !status.is_success() {
            bail!("GET {path}: {status}");
        }
        let mut bytes = 0;
        while let Some(piece) = self.piece().await? {
            bytes += piece.len() as u64;
        }
        Ok(bytes)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.read.reserve(READ);
        if self.stream.read_buf(&mut self.read).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// Takes the head of an answer off; `None` while it is not all there.
fn head(read: &mut BytesMut) -> anyhow::Result<Option<(StatusCode, Rest)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = answer.parse(read)? else { return Ok(None) };
    let status = StatusCode::from_u16(answer.code.unwrap_or_default())?;
    let value = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value))
    };
    let rest = if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        Rest::Nothing
    } else if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Rest::ChunkHead
    } else if let Some(length) = value("content-length") {
        Rest::Length(length.trim().parse().context("a content-length is no number")?)
    } else {
        Rest::Close
    };
    read.advance(length);
    Ok(Some((status, rest)))
}
