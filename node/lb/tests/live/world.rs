//! The namespaces, the servers behind the address, and the daemon.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernel::bpf::{Balancer, Room, XdpMode};
use kernel::netlink::{Netlink, PeerPlace, Route, Veth};
use kernel::{netns, sysctl};
use lb::report::{self, Report};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket};
use nix::unistd::Pid;
use process::Shutdown;

const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const ROUTER: &str = "10.89.1.1";
const CLIENT: &str = "10.89.1.2";
const BALANCER: &str = "10.89.1.3";
const PORT: u16 = 80;
/// Where backends are asked how they are.
const CHECK: u16 = 8_080;
const DEADLINE: Duration = Duration::from_secs(20);
/// Longest wait for one answer; a lost segment shows as a failure.
const ANSWER: Duration = Duration::from_secs(3);
const IPPROTO_IPIP: u8 = 4;

/// One world at a time: SIGHUP goes to the whole process.
static ONE: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct World {
    prefix: String,
    namespaces: Vec<String>,
    client: PathBuf,
    balancer: PathBuf,
    backends: Vec<PathBuf>,
    checks: Vec<Option<TcpListener>>,
    mode: XdpMode,
    dir: tempfile::TempDir,
    /// Programs that do nothing on the other end of the balancer's veth, without which that does not send from XDP.
    _pass: Option<Balancer>,
    _one: MutexGuard<'static, ()>,
}

pub struct Daemon {
    shutdown: Shutdown,
    thread: JoinHandle<()>,
}

/// A connection through the address.
pub struct Connection {
    pub server: String,
    stream: BufReader<TcpStream>,
}

/// Datagrams of one flow.
pub struct Datagrams(UdpSocket);

impl World {
    pub fn new(backends: usize, mode: XdpMode) -> World {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = format!("lbt{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut world = World {
            prefix: prefix.clone(),
            namespaces: Vec::new(),
            client: PathBuf::new(),
            balancer: PathBuf::new(),
            backends: Vec::new(),
            checks: Vec::new(),
            mode,
            dir: tempfile::Builder::new().prefix(&prefix).tempdir().unwrap(),
            _pass: None,
            _one: one,
        };
        let router = world.namespace("router");
        let bridge = Netlink::in_netns(&router).unwrap();
        bridge.add_bridge("br0").unwrap();
        bridge.add_address("br0", format!("{ROUTER}/24").parse().unwrap()).unwrap();
        bridge.set_up("br0").unwrap();
        sysctl::write_in(&router, &[("ipv4/ip_forward", "1"), ("ipv4/conf/all/send_redirects", "0")]).unwrap();
        world.client = world.plug(&bridge, "client", CLIENT);
        let to_balancer = Route::through("203.0.113.0/24".parse().unwrap(), BALANCER.parse().unwrap(), "eth0");
        Netlink::in_netns(&world.client).unwrap().replace_route(&to_balancer).unwrap();
        world.balancer = world.plug(&bridge, "lb", BALANCER);
        if mode == XdpMode::Driver {
            world._pass = Some(world.pass(&router));
        }
        for i in 0..backends {
            let ip = world.address(i);
            let netns = world.plug(&bridge, &format!("b{i}"), &ip.to_string());
            Netlink::in_netns(&netns).unwrap().add_address("lo", format!("{VIP}/32").parse().unwrap()).unwrap();
            let loose =
                [("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/eth0/rp_filter", "0"), ("ipv4/conf/lo/rp_filter", "0")];
            sysctl::write_in(&netns, &loose).unwrap();
            decapsulate(&netns, ip);
            serve(&netns, format!("b{i}"));
            world.backends.push(netns);
            world.checks.push(None);
            world.set_well(i, true);
        }
        world
    }

    pub fn address(&self, backend: usize) -> IpAddr {
        IpAddr::from([10, 89, 1, 20 + backend as u8])
    }

    /// Whether a backend takes connections for checks.
    pub fn set_well(&mut self, backend: usize, well: bool) {
        let at = SocketAddr::new(self.address(backend), CHECK);
        self.checks[backend] =
            well.then(|| netns::run_in(&self.backends[backend], || TcpListener::bind(at).unwrap()).unwrap());
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("lb")
    }

    /// Writes the file: a TCP and a UDP address with these backends.
    pub fn configure(&self, backends: &[usize]) {
        self.write(backends, "");
    }

    pub fn configure_checked(&self, backends: &[usize]) {
        self.write(backends, &format!("healthCheck: {{tcp: {CHECK}, interval: 100ms, unhealthy: 2, healthy: 2}}\n"));
    }

    fn write(&self, backends: &[usize], more: &str) {
        let list: String =
            backends.iter().map(|i| format!("  - {{address: {}, weight: 10}}\n", self.address(*i))).collect();
        let service =
            |protocol| format!("- address: {VIP}\n  port: {PORT}\n  protocol: {protocol}\n  backends:\n{list}");
        let text = format!(
            "interface: eth0\ngateway: {ROUTER}\nseed: 7\n{more}services:\n{}{}",
            service("TCP"),
            service("UDP")
        );
        // At once, as an editor does.
        let fresh = self.dir.path().join("lb.yaml.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("lb.yaml")
    }

    pub fn start(&self) -> Daemon {
        let shutdown = Shutdown::new();
        let options = lb::Options { config: self.file(), dir: self.dir(), mode: self.mode, keep: true };
        let (token, netns) = (shutdown.clone(), self.balancer.clone());
        let thread = std::thread::spawn(move || {
            netns::enter(&netns).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(lb::run(options, token)).unwrap();
        });
        let daemon = Daemon { shutdown, thread };
        self.wait("the daemon", |_| true);
        daemon
    }

    pub fn reload(&self) {
        kill(Pid::this(), Signal::SIGHUP).unwrap();
    }

    pub fn report(&self) -> Result<Report, report::Error> {
        report::read(&self.dir())
    }

    pub fn wait(&self, what: &str, mut is_there: impl FnMut(&Report) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let report = self.report();
            if report.as_ref().is_ok_and(&mut is_there) {
                return;
            }
            assert!(Instant::now() < deadline, "waited for {what}, have {report:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn try_connect(&self, patience: Duration) -> Option<Connection> {
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(VIP.into(), PORT), patience);
        let stream = netns::run_in(&self.client, connect).unwrap().ok()?;
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut server = String::new();
        stream.read_line(&mut server).ok()?;
        Some(Connection { server: server.trim().to_owned(), stream })
    }

    pub fn connect(&self) -> Connection {
        // Less than the second after which a lost SYN is sent again.
        self.try_connect(Duration::from_millis(900)).expect("a connection, and its first line")
    }

    pub fn datagrams(&self) -> Datagrams {
        let socket = netns::run_in(&self.client, || UdpSocket::bind((CLIENT, 0)).unwrap()).unwrap();
        socket.connect((VIP, PORT)).unwrap();
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        Datagrams(socket)
    }

    fn pass(&self, router: &Path) -> Balancer {
        let dir = self.dir.path().join("pass");
        netns::run_in(router, || {
            let index = Netlink::here().unwrap().link("plb").unwrap().index;
            // Without a configuration everything passes.
            let pass = Balancer::open(&dir, Room { slots: 2, flows: 1 }).unwrap();
            pass.attach(index, XdpMode::Driver).unwrap();
            pass
        })
        .unwrap()
    }

    fn namespace(&mut self, name: &str) -> PathBuf {
        let name = format!("{}-{name}", self.prefix);
        let path = netns::create(&name).unwrap();
        self.namespaces.push(name);
        Netlink::in_netns(&path).unwrap().set_up("lo").unwrap();
        path
    }

    /// A namespace with `eth0` on the bridge.
    fn plug(&mut self, bridge: &Netlink, name: &str, ip: &str) -> PathBuf {
        let path = self.namespace(name);
        let port = format!("p{name}");
        let peer = PeerPlace::Netns(&path);
        let veth = Veth { name: &port, mac: None, peer_name: "eth0", peer_mac: None, peer, mtu: None };
        bridge.add_veth(&veth).unwrap();
        bridge.set_master(&port, "br0").unwrap();
        bridge.set_up(&port).unwrap();
        let inside = Netlink::in_netns(&path).unwrap();
        inside.add_address("eth0", format!("{ip}/24").parse().unwrap()).unwrap();
        inside.set_up("eth0").unwrap();
        path
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for dir in [self.dir().join("bpf"), self.dir.path().join("pass")] {
            let _ = kernel::bpf::remove_balancer(&dir);
        }
        for name in &self.namespaces {
            let _ = netns::delete(name);
        }
    }
}

impl Daemon {
    pub fn stop(self) {
        self.shutdown.cancel();
        self.thread.join().unwrap();
    }
}

impl Connection {
    /// A line there and back.
    pub fn echo(&mut self) {
        self.stream.get_mut().write_all(b"ping\n").unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap_or_else(|error| panic!("{} answers no more: {error}", self.server));
        assert_eq!(line, "ping\n", "{}", self.server);
    }
}

impl Datagrams {
    /// The name of the server that answers one.
    pub fn echo(&mut self) -> String {
        self.0.send(b"ping").unwrap();
        let mut name = [0; 16];
        let len = self.0.recv(&mut name).expect("an answer to each datagram");
        String::from_utf8_lossy(&name[..len]).into_owned()
    }
}

/// What an IPIP device does: the inner packet of what is sent to `own` goes to the namespace's own stack. Veth pairs carry
/// checksums that the sender left to its device, which stands in for here.
fn decapsulate(netns: &Path, own: IpAddr) {
    let IpAddr::V4(own) = own else { panic!("the test's backends are IPv4") };
    let open = |family, kind, proto| socket(family, kind, SockFlag::SOCK_CLOEXEC, proto).unwrap();
    let (from, to) = netns::run_in(netns, || {
        (
            open(AddressFamily::Packet, SockType::Datagram, SockProtocol::EthAll),
            open(AddressFamily::Inet, SockType::Raw, SockProtocol::Raw),
        )
    })
    .unwrap();
    let address = SockaddrIn::new(VIP.octets()[0], VIP.octets()[1], VIP.octets()[2], VIP.octets()[3], 0);
    std::thread::spawn(move || {
        let mut packet = [0; 2_048];
        while let Ok(len) = recv(from.as_raw_fd(), &mut packet, MsgFlags::empty()) {
            if len < 40 || packet[0] != 0x45 || packet[9] != IPPROTO_IPIP || packet[16..20] != own.octets() {
                continue;
            }
            let outer: u32 = packet[..20].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            assert_eq!((outer & 0xffff) + (outer >> 16), 0xffff, "the outer checksum");
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            let inner = &mut packet[20..total];
            complete_checksum(inner);
            if let Err(error) = sendto(to.as_raw_fd(), inner, &address, MsgFlags::empty()) {
                println!("the inner packet does not go in: {error}");
            }
        }
    });
}

/// Of TCP and UDP over IPv4 without options.
fn complete_checksum(packet: &mut [u8]) {
    let place = if packet[9] == 6 { 36 } else { 26 };
    packet[place..place + 2].fill(0);
    let words = |bytes: &[u8]| {
        bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]))).sum::<u32>()
    };
    let length = packet.len() as u32 - 20;
    let mut sum = words(&packet[12..]) + u32::from(packet[9]) + length;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[place..place + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// TCP: the server's name in a line, then an echo. UDP: the name.
fn serve(netns: &Path, name: String) {
    let at = SocketAddr::new(VIP.into(), PORT);
    let (tcp, udp) = netns::run_in(netns, || (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap())).unwrap();
    let answer = name.clone();
    std::thread::spawn(move || {
        let mut datagram = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut datagram) {
            udp.send_to(answer.as_bytes(), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        while let Ok((stream, _)) = tcp.accept() {
            let name = name.clone();
            std::thread::spawn(move || echo(stream, &name));
        }
    });
}

fn echo(mut stream: TcpStream, name: &str) {
    let mut bytes = [0; 64];
    let mut sent = stream.write_all(format!("{name}\n").as_bytes());
    while let (Ok(()), Ok(len @ 1..)) = (&sent, stream.read(&mut bytes)) {
        sent = stream.write_all(&bytes[..len]);
    }
}
