//! The sockets: UDP and TCP on each address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use process::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Table;
use crate::answer::{Outcome, Transport, answer, servfail};
use crate::forward::Upstream;

/// Queries that wait for an upstream server at a time.
const MAX_FORWARDS: usize = 512;
/// TCP connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long a TCP connection may be silent.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest query by UDP; longer ones are cut and answered as malformed.
const MAX_UDP_BYTES: usize = 4096;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("DNS address {address}: {source}")]
pub struct StartError {
    /// The address.
    pub address: SocketAddr,
    /// Why it cannot be bound.
    #[source]
    pub source: std::io::Error,
}

/// The running server. It ends with its shutdown token.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    table: Arc<Table>,
    upstream: Upstream,
    forwards: Arc<Semaphore>,
    turn: AtomicUsize,
}

impl Server {
    /// Binds UDP and TCP on every address of `bind` and answers until `shutdown`. `upstream` servers are asked about
    /// names outside the cluster; without any those fail at once.
    ///
    /// # Errors
    /// When an address cannot be bound; nothing runs then.
    pub async fn start(
        bind: Vec<SocketAddr>,
        table: Arc<Table>,
        upstream: Vec<SocketAddr>,
        shutdown: Shutdown,
    ) -> Result<Server, StartError> {
        let shared = Arc::new(Shared {
            table,
            upstream: Upstream::new(upstream),
            forwards: Arc::new(Semaphore::new(MAX_FORWARDS)),
            turn: AtomicUsize::new(0),
        });
        let mut sockets = Vec::new();
        for address in bind {
            let failed = |source| StartError { address, source };
            let udp = UdpSocket::bind(address).await.map_err(failed)?;
            // The same port for both, also when the system chose it.
            let bound = udp.local_addr().map_err(failed)?;
            sockets.push((bound, udp, TcpListener::bind(bound).await.map_err(failed)?));
        }
        let addresses = sockets.iter().map(|(address, ..)| *address).collect();
        for (address, udp, tcp) in sockets {
            tracing::info!(%address, "DNS listens");
            let (token, parts) = (shutdown.clone(), Arc::clone(&shared));
            process::spawn("dns-udp", async move { token.run_until_cancelled(serve_udp(udp, parts)).await });
            let (token, parts) = (shutdown.clone(), Arc::clone(&shared));
            process::spawn("dns-tcp", async move { token.run_until_cancelled(serve_tcp(tcp, parts, &token)).await });
        }
        Ok(Server { addresses })
    }

    /// Where it listens, in the order of `bind`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Shared {
    fn decide(&self, request: &[u8], transport: Transport) -> Outcome {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        answer(&self.table.snapshot(), request, transport, turn)
    }

    /// The reply to a query, asking upstream if need be.
    async fn reply(&self, request: &[u8], outcome: Outcome, transport: Transport) -> Option<Vec<u8>> {
        match outcome {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Drop => None,
            Outcome::Forward => {
                let answered = self.upstream.ask(request, transport).await;
                answered.or_else(|| servfail(request, transport))
            }
            Outcome::Resolve(alias) => {
                let query = alias.query(0)?;
                // An external name's records may be many: by TCP nothing is cut.
                let mut found = self.upstream.ask(&query, Transport::Udp).await;
                if found.as_ref().is_some_and(|answer| is_truncated(answer)) {
                    found = self.upstream.ask(&query, Transport::Tcp).await;
                }
                Some(alias.complete(found.as_deref()))
            }
        }
    }
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; MAX_UDP_BYTES];
    loop {
        // An error here is an ICMP complaint about an earlier reply: nothing to do about it.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let request = &buffer[..length];
        let outcome = shared.decide(request, Transport::Udp);
        let permit = match &outcome {
            Outcome::Reply(reply) => {
                // Without waiting: a full send buffer drops the reply, as a network would.
                let _ = socket.try_send_to(reply, client);
                continue;
            }
            Outcome::Drop => continue,
            Outcome::Forward | Outcome::Resolve(_) if shared.upstream.is_empty() => None,
            Outcome::Forward | Outcome::Resolve(_) => Arc::clone(&shared.forwards).try_acquire_owned().ok(),
        };
        let Some(permit) = permit else {
            let reply = servfail(request, Transport::Udp).unwrap_or_default();
            let _ = socket.try_send_to(&reply, client);
            continue;
        };
        let (socket, shared, request) = (Arc::clone(&socket), Arc::clone(&shared), request.to_vec());
        process::spawn("dns-forward", async move {
            if let Some(reply) = shared.reply(&request, outcome, Transport::Udp).await {
                // The client asks again if this is lost.
                let _ = socket.send_to(&reply, client).await;
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>, shutdown: &Shutdown) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await.expect("never closed");
        // Out of file descriptors, or the client gave up: others may have more luck.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (shared, token) = (Arc::clone(&shared), shutdown.clone());
        process::spawn("dns-tcp-connection", async move {
            // A connection's errors end the connection and concern nobody else.
            let _ = token.run_until_cancelled(serve_connection(stream, &shared)).await;
            drop(permit);
        });
    }
}

async fn serve_connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let mut request = vec![0; timeout(IDLE_LIMIT, stream.read_u16()).await??.into()];
        timeout(IDLE_LIMIT, stream.read_exact(&mut request)).await??;
        let outcome = shared.decide(&request, Transport::Tcp);
        let Some(reply) = shared.reply(&request, outcome, Transport::Tcp).await else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(std::io::Error::other)?;
        timeout(IDLE_LIMIT, stream.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat())).await??;
    }
}

fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}
