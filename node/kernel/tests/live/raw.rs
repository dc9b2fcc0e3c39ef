//! Packets made by hand, sent by raw sockets or as whole frames, and ears that hear every frame of an interface.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use abi::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP};
use kernel::netns;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvfrom, sendto};
use packet::host::Spec;

/// What the SCTP server puts behind the header.
const ANSWER: &[u8] = b"answer";
/// Length of an SCTP header (RFC 9260 section 3.1).
const SCTP_HEADER: usize = 12;

/// A port, or an identifier of an echo, that no other probe of this process has.
pub fn unique() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 8_000
}

/// A raw socket of one protocol in the namespace of the thread that makes it.
pub struct Raw {
    fd: OwnedFd,
    v6: bool,
}

impl Raw {
    pub fn open(v6: bool, proto: u8) -> Raw {
        let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        Raw { fd: socket(family, i32::from(proto)), v6 }
    }

    /// Sends a transport header and what follows it.
    pub fn send(&self, to: IpAddr, bytes: &[u8]) -> io::Result<()> {
        // The protocol was said when the socket was made; IPv6 takes no port here.
        let to = SockaddrStorage::from(SocketAddr::new(to, 0));
        Ok(sendto(self.fd.as_raw_fd(), bytes, &to, MsgFlags::empty()).map(drop)?)
    }

    /// The next packet without its IP header, and who sent it; `None` if none comes in time.
    pub fn receive(&self, deadline: Instant) -> Option<(IpAddr, Vec<u8>)> {
        let mut buffer = [0; 2048];
        loop {
            wait(&self.fd, deadline)?;
            let Ok((count, from)) = recvfrom::<SockaddrStorage>(self.fd.as_raw_fd(), &mut buffer) else { continue };
            let from = from?;
            let ip = from.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let ip = ip.or_else(|| from.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
            let header = if self.v6 { 0 } else { usize::from(buffer[0] & 15) * 4 };
            return Some((ip, buffer[header..count].to_vec()));
        }
    }
}

fn socket(family: i32, proto: i32) -> OwnedFd {
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, proto) };
    assert!(fd >= 0, "raw socket of protocol {proto}: {}", io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn wait(fd: &OwnedFd, deadline: Instant) -> Option<()> {
    let left = deadline.checked_duration_since(Instant::now())?;
    let timeout = PollTimeout::try_from(left).ok()?;
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    (poll(&mut fds, timeout).ok()? > 0).then_some(())
}

/// The transport part of a packet between any two addresses of a family.
fn transport(v6: bool, proto: u8, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let any: IpAddr = if v6 { "fd00::1".parse().unwrap() } else { "192.0.2.1".parse().unwrap() };
    let spec = Spec { payload: payload.to_vec(), ..Spec::new(any, any, proto, sport, dport) };
    spec.build().split_off(14 + if v6 { 40 } else { 20 })
}

/// Whether an SCTP packet to an address is answered from there.
pub fn sctp_answers(to: SocketAddr, patience: Duration) -> bool {
    let (socket, own, deadline) = (Raw::open(to.is_ipv6(), IPPROTO_SCTP), unique(), Instant::now() + patience);
    if socket.send(to.ip(), &transport(to.is_ipv6(), IPPROTO_SCTP, own, to.port(), b"question")).is_err() {
        return false;
    }
    while let Some((from, bytes)) = socket.receive(deadline) {
        let wanted = [to.port().to_be_bytes(), own.to_be_bytes()].concat();
        if from == to.ip() && bytes.starts_with(&wanted) && bytes[SCTP_HEADER..].starts_with(ANSWER) {
            return true;
        }
    }
    false
}

/// Whether an echo request is answered by its receiver.
pub fn echo_answers(to: IpAddr, patience: Duration) -> bool {
    let (proto, reply) = if to.is_ipv6() { (IPPROTO_ICMPV6, 129) } else { (IPPROTO_ICMP, 0) };
    let (socket, own, deadline) = (Raw::open(to.is_ipv6(), proto), unique(), Instant::now() + patience);
    if socket.send(to, &transport(to.is_ipv6(), proto, own, 1, b"question")).is_err() {
        return false;
    }
    while let Some((from, bytes)) = socket.receive(deadline) {
        if from == to && bytes[0] == reply && bytes[4..6] == own.to_be_bytes() {
            return true;
        }
    }
    false
}

/// Something that goes on beside a test and ends with it.
pub struct Task {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Task {
    /// Starts `turn` in a namespace, again and again; `prepare` makes what it works with there.
    pub fn start<T: Send + 'static>(
        netns: &Path,
        prepare: impl FnOnce() -> T + Send,
        mut turn: impl FnMut(&mut T) + Send + 'static,
    ) -> Task {
        let mut tools = netns::run_in(netns, prepare).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                turn(&mut tools);
            }
        });
        Task { stop, thread: Some(thread) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How long a task looks for one packet before it sees whether it is to end.
const TURN: Duration = Duration::from_millis(50);

/// Answers SCTP packets to a port.
pub fn sctp_server(netns: &Path, v6: bool, port: u16) -> Task {
    let answer = move |socket: &mut Raw| {
        let Some((from, bytes)) = socket.receive(Instant::now() + TURN) else { return };
        if bytes.len() < SCTP_HEADER || bytes[2..4] != port.to_be_bytes() || bytes[SCTP_HEADER..].starts_with(ANSWER) {
            return;
        }
        let peer = u16::from_be_bytes([bytes[0], bytes[1]]);
        let _ = socket.send(from, &transport(v6, IPPROTO_SCTP, port, peer, ANSWER));
    };
    Task::start(netns, move || Raw::open(v6, IPPROTO_SCTP), answer)
}

/// Hears every frame that an interface sends or receives.
pub struct Ear {
    fd: OwnedFd,
}

impl Ear {
    pub fn on(netns: &Path, interface: &str) -> Ear {
        netns::run_in(netns, || {
            let fd = socket(libc::AF_PACKET, i32::from((libc::ETH_P_ALL as u16).to_be()));
            let address = link_address(interface);
            // SAFETY: the address is a valid sockaddr_ll of the length given.
            let bound = unsafe {
                libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
            };
            assert_eq!(bound, 0, "listen on {interface}: {}", io::Error::last_os_error());
            Ear { fd }
        })
        .unwrap()
    }

    /// Sends a whole frame.
    pub fn send(&self, frame: &[u8]) {
        nix::sys::socket::send(self.fd.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
    }

    /// The frames heard until it has been silent for `silence`.
    pub fn heard(&self, silence: Duration) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = [0; 65_536];
        while wait(&self.fd, Instant::now() + silence).is_some() {
            let Ok(count) = nix::sys::socket::recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) else {
                continue;
            };
            frames.push(buffer[..count].to_vec());
        }
        frames
    }
}

fn link_address(interface: &str) -> libc::sockaddr_ll {
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    // SAFETY: all zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    address
}
