//! Watches over WebSocket (RFC 6455): each event is a message. Only what a stream in one direction needs.

use api::Status;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use client::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Subprotocols that carry a token are not for us to choose.
const BEARER: &str = "base64url.bearer.";
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Longest control frame, and so longest of all that a client has to send (RFC 6455, section 5.5).
const CONTROL_LIMIT: u64 = 125;
/// Pings that may wait for their pong; more are not answered.
const PONG_LIMIT: usize = 4;

/// A request that wants its answer over a WebSocket.
pub(crate) struct Socket {
    upgrade: OnUpgrade,
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
}

impl Socket {
    /// `None` if the request is none; 400 if it is one that cannot be.
    pub(crate) fn of(parts: &mut Parts) -> Result<Option<Self>, Status> {
        let headers = &parts.headers;
        let asked = headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if !asked {
            return Ok(None);
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            return Err(Status::bad_request("a websocket needs Sec-WebSocket-Key"));
        };
        let digest = [key.as_bytes(), GUID.as_bytes()].concat();
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &digest);
        let accept = HeaderValue::from_str(&STANDARD.encode(digest)).map_err(Status::internal)?;
        let protocol = protocol(headers);
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| Status::bad_request("a websocket needs HTTP/1.1"))?;
        Ok(Some(Self { upgrade, accept, protocol }))
    }

    /// Sends a watch's frames as messages, once the connection is handed over.
    pub(crate) fn answer(self, watch: Response<Body>) -> Response<Body> {
        let media = watch.headers().get(header::CONTENT_TYPE);
        let binary = media.is_some_and(|media| media.as_bytes().starts_with(api::protobuf::MEDIA_TYPE.as_bytes()));
        let body = watch.into_body();
        let upgrade = self.upgrade;
        process::spawn("api-watch-socket", async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
            let (pings, pongs) = mpsc::channel(PONG_LIMIT);
            tokio::select! {
                // Whichever way it ends, the other end sees that the connection is closed.
                _ = send(body, writer, binary, pongs) => {}
                _ = receive(reader, pings) => {}
            }
        });
        let mut response = Response::new(client::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// The first subprotocol offered that is no token.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    let chosen = offered.find(|name| !name.is_empty() && !name.starts_with(BEARER))?;
    HeaderValue::from_str(chosen).ok()
}

async fn send(
    mut body: Body,
    mut writer: impl AsyncWrite + Unpin,
    binary: bool,
    mut pongs: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    loop {
        tokio::select! {
            frame = body.frame() => {
                let Some(Ok(frame)) = frame else { break };
                let Ok(chunk) = frame.into_data() else { continue };
                writer.write_all(&messages(&chunk, binary)).await?;
            }
            Some(payload) = pongs.recv() => {
                let mut out = Vec::new();
                message(&mut out, PONG, &payload);
                writer.write_all(&out).await?;
            }
        }
        writer.flush().await?;
    }
    let mut out = Vec::new();
    message(&mut out, CLOSE, &1000_u16.to_be_bytes());
    writer.write_all(&out).await?;
    writer.shutdown().await
}

/// A chunk of whole frames of a watch, a message each.
fn messages(chunk: &Bytes, binary: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk.len() + 64);
    if binary {
        let mut rest = &chunk[..];
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or_default().min(more.len());
            let (event, more) = more.split_at(length);
            message(&mut out, BINARY, event);
            rest = more;
        }
    } else {
        chunk
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .for_each(|line| message(&mut out, TEXT, line));
    }
    out
}

/// Appends one unfragmented, unmasked frame.
fn message(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Reads what the client sends until it closes; pings are passed on, anything long ends the connection.
async fn receive(mut reader: impl AsyncRead + Unpin, pings: mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head).await?;
        let (opcode, masked, length) = (head[0] & 0x0f, head[1] & 0x80 != 0, u64::from(head[1] & 0x7f));
        if length > CONTROL_LIMIT || opcode == CLOSE {
            return Ok(());
        }
        let mut mask = [0; 4];
        if masked {
            reader.read_exact(&mut mask).await?;
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
        reader.read_exact(&mut payload).await?;
        if opcode == PING {
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            // Too many at once: the rest go without an answer.
            let _ = pings.try_send(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_messages() {
        let lines = messages(&Bytes::from_static(b"{\"a\":1}\n{}\n"), false);
        assert_eq!(lines, b"\x81\x07{\"a\":1}\x81\x02{}");
        let events = messages(&Bytes::from_static(b"\0\0\0\x02ab\0\0\0\x01c"), true);
        assert_eq!(events, b"\x82\x02ab\x82\x01c");
        let mut long = Vec::new();
        message(&mut long, TEXT, &[b'x'; 70_000]);
        assert_eq!(long[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }
}
