//! The server pod: one server for all ways, pinned where the client is not.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use kernel::netns;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::client::{DEADLINE, SERVER_CPU, pin};
use super::{PORT, SINK_PORT};

/// How often the threads look whether they are to end.
const TICK_MS: i64 = 50;

/// Accepts and waits for the end, answers datagrams, swallows streams.
pub struct Server {
    stop: Arc<AtomicBool>,
    ended: Mutex<Receiver<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub fn start(netns: &Path, ip: IpAddr) -> Result<Server> {
        let (tcp, udp, sink) = netns::run_in(netns, || -> Result<_> {
            let udp = UdpSocket::bind((ip, PORT))?;
            setsockopt(&udp, sockopt::ReceiveTimeout, &TimeVal::milliseconds(TICK_MS))?;
            Ok((listen(SocketAddr::new(ip, PORT))?, udp, listen(SocketAddr::new(ip, SINK_PORT))?))
        })??;
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, ended) = sync_channel(1);
        let threads = vec![
            serve(&stop, move || {
                if let Ok((mut stream, _)) = tcp.accept() {
                    // The client resets. The listener's limit would be this socket's as well.
                    let _ = stream.set_read_timeout(Some(DEADLINE)).and_then(|()| stream.read(&mut [0; 1]));
                    drop(stream);
                    let _ = tell.try_send(());
                }
            })?,
            serve(&stop, move || {
                if let Ok((_, peer)) = udp.recv_from(&mut [0; 16]) {
                    let _ = udp.send_to(b"!", peer);
                }
            })?,
            serve(&stop, move || {
                if let Ok((mut stream, _)) = sink.accept() {
                    let _ = stream.set_read_timeout(Some(DEADLINE));
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    let _ = stream.write_all(b"!");
                }
            })?,
        ];
        Ok(Server { stop, ended: Mutex::new(ended), threads })
    }

    /// Waits until a connection to [`PORT`], which its client has reset, is gone here as well.
    pub fn settle(&self) -> Result<()> {
        let ended = self.ended.lock().ok().context("the server's threads are gone")?;
        ended.recv_timeout(DEADLINE).context("the server has not seen the end of a connection")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(stop: &Arc<AtomicBool>, mut once: impl FnMut() + Send + 'static) -> Result<JoinHandle<()>> {
    let stop = stop.clone();
    Ok(thread::Builder::new().name("server".into()).spawn(move || {
        // Elsewhere it is as good, only less even.
        let _ = pin(SERVER_CPU);
        while !stop.load(Ordering::Relaxed) {
            once();
        }
    })?)
}

/// A listener whose accept(2) ends after [`TICK_MS`], with room for connections that nobody has accepted yet.
fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(TICK_MS))?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&socket, Backlog::new(4096)?)?;
    Ok(TcpListener::from(socket))
}
