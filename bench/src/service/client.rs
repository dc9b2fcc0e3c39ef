//! The client pod's sockets. Which hooks a socket has follows from the cgroup of the thread that makes it, so one thread makes those
//! with hooks and another those without; whoever uses them is one and the same.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use kernel::netns;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::Pid;

use crate::node;

/// Longest wait for one answer.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Where client and server run, if there are so many.
pub const CLIENT_CPU: usize = 0;
pub const SERVER_CPU: usize = 1;

/// Makes sockets of one namespace and cgroup.
pub struct Maker {
    wishes: Option<SyncSender<(SockType, u16)>>,
    made: Mutex<Receiver<Result<OwnedFd>>>,
    thread: Option<JoinHandle<()>>,
}

impl Maker {
    /// `cgroup`: a threaded group that its thread enters, if any.
    pub fn start(netns: &Path, cgroup: Option<PathBuf>) -> Result<Maker> {
        let (wishes, wished) = sync_channel::<(SockType, u16)>(0);
        let (give, made) = sync_channel(0);
        let netns = netns.to_owned();
        let thread = thread::Builder::new().name("maker".into()).spawn(move || {
            let ready = pin(CLIENT_CPU).and_then(|()| Ok(netns::enter(&netns)?));
            let ready = ready.and_then(|()| cgroup.as_deref().map_or(Ok(()), node::enter_cgroup));
            for (kind, port) in wished {
                let socket = match &ready {
                    Ok(()) => socket(kind, port),
                    Err(error) => Err(anyhow::anyhow!("{error:#}")),
                };
                if give.send(socket).is_err() {
                    break;
                }
            }
        })?;
        Ok(Maker { wishes: Some(wishes), made: Mutex::new(made), thread: Some(thread) })
    }

    /// A new socket on a port, 0 for any, whose calls take [`DEADLINE`] at most.
    pub fn make(&self, kind: SockType, port: u16) -> Result<OwnedFd> {
        let gone = "the thread that makes sockets is gone";
        self.wishes.as_ref().context(gone)?.send((kind, port)).context(gone)?;
        self.made.lock().ok().context(gone)?.recv().context(gone)?
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.wishes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps the calling thread on one CPU; a machine may have fewer.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu.min(thread::available_parallelism()?.get() - 1))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn socket(kind: SockType, port: u16) -> Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::seconds(DEADLINE.as_secs() as i64);
    setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    if kind == SockType::Stream {
        // A stream's end before may be in TIME_WAIT on the port.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port))
        .with_context(|| format!("{kind:?} at {port}"))?;
    Ok(socket)
}

/// The time of a connect(2), and the connection.
pub fn connect(socket: OwnedFd, to: SocketAddr) -> Result<(Duration, TcpStream)> {
    let address = SockaddrStorage::from(to);
    let begin = process::instant();
    socket::connect(socket.as_raw_fd(), &address).with_context(|| format!("connect to {to}"))?;
    Ok((begin.elapsed(), TcpStream::from(socket)))
}

/// Closes with a reset: no port stays in TIME_WAIT.
pub fn reset(stream: TcpStream) -> Result<()> {
    Ok(setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?)
}

/// The time of a datagram there and back by sendto(2) and recvfrom(2).
pub fn ask(socket: OwnedFd, to: SocketAddr) -> Result<Duration> {
    let socket = UdpSocket::from(socket);
    let begin = process::instant();
    socket.send_to(b"?", to)?;
    let (_, from) = socket.recv_from(&mut [0; 16]).with_context(|| format!("answer from {to}"))?;
    let spent = begin.elapsed();
    anyhow::ensure!(from == to, "{from} answered for {to}");
    Ok(spent)
}

/// The time of connect(2), a datagram there and one back.
pub fn ask_connected(socket: OwnedFd, to: SocketAddr) -> Result<Duration> {
    let socket = UdpSocket::from(socket);
    let begin = process::instant();
    socket.connect(to)?;
    socket.send(b"?")?;
    socket.recv(&mut [0; 16]).with_context(|| format!("answer from {to}"))?;
    Ok(begin.elapsed())
}
