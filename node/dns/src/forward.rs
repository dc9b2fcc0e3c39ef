//! Asking upstream servers. A message passes byte for byte but for its id, which is ours and random, from a socket of
//! its own: an answer from elsewhere must guess both (RFC 5452).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::answer::Transport;

/// How long one server gets. Clients wait 5 s before they ask again.
const SERVER_LIMIT: Duration = Duration::from_millis(1500);
/// Largest answer by UDP.
const MAX_UDP_BYTES: usize = 4096;

/// The upstream servers, asked in turn until one answers.
#[derive(Debug)]
pub(crate) struct Upstream {
    servers: Vec<SocketAddr>,
    /// Where the last answer came from: asked first next time.
    preferred: AtomicUsize,
}

impl Upstream {
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Upstream {
        Upstream { servers, preferred: AtomicUsize::new(0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The answer of the first server that gives one, with the query's id.
    pub(crate) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            let asked = async {
                match transport {
                    Transport::Udp => ask_udp(self.servers[index], query).await,
                    Transport::Tcp => ask_tcp(self.servers[index], query).await,
                }
            };
            if let Ok(Ok(Some(mut answer))) = timeout(SERVER_LIMIT, asked).await {
                self.preferred.store(index, Ordering::Relaxed);
                answer[..2].copy_from_slice(&query[..2]);
                return Some(answer);
            }
        }
        None
    }
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let query = with_random_id(query);
    socket.send(&query).await?;
    let mut buffer = vec![0; MAX_UDP_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&query, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(Some(buffer));
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await?;
    let query = with_random_id(query);
    let Ok(length) = u16::try_from(query.len()) else { return Ok(None) };
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
    let mut buffer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut buffer).await?;
    Ok(answers(&query, &buffer).then_some(buffer))
}

fn with_random_id(query: &[u8]) -> Vec<u8> {
    let mut query = query.to_vec();
    process::random_bytes(&mut query[..2]);
    query
}

/// Whether `answer` is a response with the query's id and question.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    let Some(end) = question_end(query) else { return false };
    answer.len() >= end
        && answer[..2] == query[..2]
        && answer[2] & 0x80 != 0
        && answer[12..end].eq_ignore_ascii_case(&query[12..end])
}

/// Where the first question ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match *message.get(at)? {
            0 => break,
            // Questions of queries are not compressed.
            length @ 1..=63 => at += usize::from(length) + 1,
            64.. => return None,
        }
    }
    let end = at + 5;
    (message.len() >= end).then_some(end)
}
