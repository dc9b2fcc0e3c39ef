//! Servers that say who they are and who asked, and the clients for them. Every wait has a deadline.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::netns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Longest wait for one answer.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// How long silence must last to count as a drop.
pub const SILENCE: Duration = Duration::from_millis(300);

/// A TCP and UDP server: the first line of a connection (or each datagram) is `<name> <client address>`, TCP then
/// echoes.
pub struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens in a namespace.
    pub fn start(netns: &Path, address: SocketAddr, name: &str) -> Server {
        let (tcp, udp) =
            netns::run_in(netns, || (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap())).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (name_tcp, name_udp) = (name.to_owned(), name.to_owned());
        let (stop_tcp, stop_udp) = (stop.clone(), stop.clone());
        let threads = vec![
            std::thread::spawn(move || serve_tcp(&tcp, &name_tcp, &stop_tcp)),
            std::thread::spawn(move || serve_udp(&udp, &name_udp, &stop_udp)),
        ];
        Server { stop, threads }
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

fn readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(50_u8)).is_ok_and(|n| n > 0)
}

fn serve_tcp(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if !readable(listener) {
            continue;
        }
        let Ok((mut stream, peer)) = listener.accept() else { continue };
        let hello = format!("{name} {peer}\n");
        // Ends when the client closes; at the latest with the test's process.
        std::thread::spawn(move || {
            let _ = stream.write_all(hello.as_bytes());
            let mut buffer = [0; 16384];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        });
    }
}

fn serve_udp(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut buffer = [0; 65536];
    while !stop.load(Ordering::Relaxed) {
        if !readable(socket) {
            continue;
        }
        let Ok((_, peer)) = socket.recv_from(&mut buffer) else { continue };
        let _ = socket.send_to(format!("{name} {peer}").as_bytes(), peer);
    }
}

/// An open connection and what the server said.
pub struct Talk {
    pub stream: TcpStream,
    pub server: String,
    /// Our address as the server saw it.
    pub seen: SocketAddr,
}

impl Talk {
    /// Sends bytes and expects them back.
    pub fn echo(&mut self, count: usize) -> std::io::Result<()> {
        let out: Vec<u8> = (0..count).map(|i| (i % 251) as u8).collect();
        let mut writer = self.stream.try_clone()?;
        let sent = out.clone();
        let sender = std::thread::spawn(move || writer.write_all(&sent));
        let mut back = vec![0; count];
        self.stream.read_exact(&mut back)?;
        sender.join().unwrap()?;
        assert_eq!(back, out, "echoed bytes");
        Ok(())
    }
}

/// Connects from the calling thread's namespace and from a given address. Closing it resets the connection, so that
/// the address is free again at once.
pub fn talk_from(from: SocketAddr, to: SocketAddr) -> std::io::Result<Talk> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
    };
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    // Bounds the connect as well (socket(7)).
    setsockopt(&socket, sockopt::SendTimeout, &nix::sys::time::TimeVal::new(DEADLINE.as_secs() as i64, 0))?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    greet(TcpStream::from(socket))
}

/// Connects from the calling thread's namespace.
pub fn talk(to: SocketAddr) -> std::io::Result<Talk> {
    talk_within(to, DEADLINE)
}

/// The same with another limit for the connection.
pub fn talk_within(to: SocketAddr, patience: Duration) -> std::io::Result<Talk> {
    greet(TcpStream::connect_timeout(&to, patience)?)
}

/// Reads the server's first line.
fn greet(stream: TcpStream) -> std::io::Result<Talk> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut line = String::new();
    // One line comes before anything else, so the reader's buffer holds nothing more when it is dropped.
    BufReader::new(&stream).read_line(&mut line)?;
    let (server, seen) = parse(&line)?;
    Ok(Talk { stream, server, seen })
}

/// Asks by UDP; the answer must come from `to` itself. Returns who answered and our address as it saw it.
pub fn ask(socket: &UdpSocket, to: SocketAddr) -> std::io::Result<(String, SocketAddr)> {
    ask_within(socket, to, DEADLINE)
}

/// The same with another limit.
pub fn ask_within(socket: &UdpSocket, to: SocketAddr, patience: Duration) -> std::io::Result<(String, SocketAddr)> {
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(b"?", to)?;
    let mut buffer = [0; 256];
    let (count, from) = socket.recv_from(&mut buffer)?;
    assert_eq!(from, to, "address of the answer");
    parse(&String::from_utf8_lossy(&buffer[..count]))
}

/// How often each server answers `times` new connections.
pub fn spread(to: SocketAddr, times: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for turn in 0..times {
        let talk = talk(to).unwrap_or_else(|e| panic!("connection {turn} to {to}: {e}"));
        *counts.entry(talk.server).or_default() += 1;
    }
    counts
}

fn parse(line: &str) -> std::io::Result<(String, SocketAddr)> {
    let parts = line.trim().split_once(' ').and_then(|(name, peer)| Some((name.to_owned(), peer.parse().ok()?)));
    parts.ok_or_else(|| std::io::Error::other(format!("unexpected answer {line:?}")))
}

/// An address from text.
pub fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An address from its parts.
pub fn sock(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
