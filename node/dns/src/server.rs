//! The sockets: UDP and TCP on each address of the node that pods may ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use process::Shutdown;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Table;
use crate::answer::{Carrier, Outcome, answer, failure};
use crate::forward;

/// Forwarded queries under way at once; one more is answered SERVFAIL.
pub const MAX_FORWARDS: usize = 1024;
/// TCP connections at once; one more waits in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 256;
/// A TCP connection without a query for this long is closed.
pub const IDLE: Duration = Duration::from_secs(10);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for DNS on {address} ({carrier}): {source}; is another DNS server bound to it?")]
    Bind { address: SocketAddr, carrier: &'static str, source: std::io::Error },
}

/// A running DNS server. Dropping it does not stop it; the shutdown token does.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
}

struct Shared {
    table: Arc<Table>,
    upstream: Vec<SocketAddr>,
    forwards: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Listens on each address with UDP and TCP and answers from `table`; what is not of the cluster goes to
    /// `upstream` in order (none: SERVFAIL at once).
    ///
    /// # Errors
    /// [`Error::Bind`] when an address is taken or not of this host.
    pub async fn start(
        bind: Vec<SocketAddr>,
        table: Arc<Table>,
        upstream: Vec<SocketAddr>,
        shutdown: Shutdown,
    ) -> Result<Server, Error> {
        let shared = Arc::new(Shared {
            table,
            upstream,
            forwards: Arc::new(Semaphore::new(MAX_FORWARDS)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        });
        let mut addresses = Vec::with_capacity(bind.len());
        for address in bind {
            let failed = |carrier| move |source| Error::Bind { address, carrier, source };
            let listener = TcpListener::bind(address).await.map_err(failed("TCP"))?;
            // Port 0 (tests) must give both carriers the same port.
            let address = listener.local_addr().map_err(failed("TCP"))?;
            let socket = Arc::new(UdpSocket::bind(address).await.map_err(failed("UDP"))?);
            addresses.push(address);
            let (udp, tcp) = (shared.clone(), shared.clone());
            let (stop_udp, stop_tcp) = (shutdown.clone(), shutdown.clone());
            process::spawn("dns-udp", async move { stop_udp.run_until_cancelled(serve_udp(udp, socket)).await });
            process::spawn("dns-tcp", async move { stop_tcp.run_until_cancelled(serve_tcp(tcp, listener)).await });
        }
        Ok(Server { addresses })
    }

    /// Where it listens, both carriers.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

async fn serve_udp(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        // An error here is a late ICMP report about some client; the socket itself stays good.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let query = &buffer[..length];
        let outcome = shared.table.read(|zone| answer(zone, query, Carrier::Udp));
        let reply = match outcome {
            Outcome::Ignore => continue,
            Outcome::Reply(reply) => Some(reply),
            Outcome::Forward | Outcome::Alias(_) => match shared.forwards.clone().try_acquire_owned() {
                Err(_) => Some(failure(query)),
                Ok(permit) => {
                    let (shared, socket, query) = (shared.clone(), socket.clone(), query.to_vec());
                    process::spawn("dns-forward", async move {
                        let reply = finish(&shared, outcome, &query, Carrier::Udp).await;
                        let _ = socket.send_to(&reply, client).await;
                        drop(permit);
                    });
                    None
                }
            },
        };
        if let Some(reply) = reply {
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok(permit) = shared.connections.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        process::spawn("dns-connection", async move {
            if let Err(error) = serve_connection(&shared, stream).await {
                tracing::debug!(%error, "DNS connection ended");
            }
            drop(permit);
        });
    }
}

async fn serve_connection(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    while let Ok(query) = timeout(IDLE, forward::read_framed(&mut stream)).await {
        let Some(query) = query? else { return Ok(()) };
        let outcome = shared.table.read(|zone| answer(zone, &query, Carrier::Tcp));
        let reply = finish(shared, outcome, &query, Carrier::Tcp).await;
        if reply.is_empty() {
            return Ok(());
        }
        forward::write_framed(&mut stream, &reply).await?;
    }
    Ok(())
}

/// The reply to an outcome; empty if there is none.
async fn finish(shared: &Shared, outcome: Outcome, query: &[u8], carrier: Carrier) -> Vec<u8> {
    match outcome {
        Outcome::Ignore => Vec::new(),
        Outcome::Reply(reply) => reply,
        Outcome::Forward => forward::ask(&shared.upstream, query, carrier).await.unwrap_or_else(|| failure(query)),
        Outcome::Alias(alias) => {
            let found = forward::ask(&shared.upstream, &alias.question(), carrier).await;
            alias.complete(found.as_deref())
        }
    }
}
