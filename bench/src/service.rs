//! What a Service costs its clients: connection set-up, new UDP flows and throughput through a ClusterIP against the
//! pod itself, with few and with many Services in the tables.
//!
//! One node and two pods, each a network namespace, with the data plane as a node daemon would set it up. The four
//! ways are measured in turn, round by round, so that they share whatever else the machine does.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use datapath::Planner;
use kernel::netns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use serde::Serialize;
use wire::fabric::{Delta, Endpoint, EndpointPort, Protocol, Service, ServicePort};

use crate::node::Node;
pub use program::{Programming, Roll};
use program::{ROLLS, changes, cold, commit, roll};
pub use rules::Rules;

mod program;
mod rules;

/// Services in the tables.
const SIZES: [u32; 3] = [10, 10_000, 100_000];
/// Services from this number on have one port only, so that all have room.
const LEAN: u32 = 10_000;
/// Rounds a size; each measures every way.
const ROUNDS: usize = 10;
/// Connections and datagrams a round and way.
const CONNECTS: usize = 200;
/// Bytes of one throughput run, and runs a size and way.
const BYTES: usize = 256 << 20;
const RUNS: usize = 3;
/// Services of two endpoints each whose first sync is timed.
const COLD: [u32; 3] = [10_000, 45_000, 100_000];
/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(5);

const PORT: u16 = 8080;
const SINK_PORT: u16 = 8081;
const SERVICE: &str = "10.96.0.5";

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub cases: Vec<Case>,
    pub cold: Vec<Programming>,
    pub rolls: Vec<Roll>,
    pub rules: Vec<Rules>,
}

/// The figures of one number of Services.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    pub services: u32,
    /// From the fabric's state to full tables.
    pub load_ms: f64,
    /// From a changed endpoint to written tables: fold and plan, then write, medians; 99th percentile of both.
    pub change_plan_us: f64,
    pub change_write_us: f64,
    pub change_p99_us: f64,
    pub rows: Vec<Row>,
}

/// The figures of one way.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub way: Way,
    pub connect_p50_us: f64,
    pub connect_p99_us: f64,
    pub connects_per_s: f64,
    /// New socket, one datagram there and back.
    pub udp_p50_us: f64,
    pub gbit_per_s: f64,
}

/// How the client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The pod's address, no socket hook.
    Pod,
    /// The pod's address, socket hooks on.
    PodHooked,
    /// The ClusterIP, translated by socket hooks.
    Socket,
    /// The ClusterIP, translated packet by packet.
    Packet,
}

const WAYS: [Way; 4] = [Way::Pod, Way::PodHooked, Way::Socket, Way::Packet];

/// Whether connections are measured, or only what changes cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    All,
    None,
}

/// Sets the node up and measures.
pub fn run(ways_too: Ways) -> Result<Report> {
    let mut node = Node::new()?;
    let client = node.pod()?;
    let server = node.pod()?;
    let _server = Server::start(&server.netns, server.ip)?;
    let mut cases = Vec::new();
    let mut planner = Planner::new(node.local.clone(), node.datapath.observe()?);
    for services in SIZES {
        let full = Delta { full: true, services: fabric(services, server.ip), ..Delta::default() };
        let (planned, written) = commit(&node, &mut planner, full)?;
        let load_ms = (planned + written).as_secs_f64() * 1e3;
        let [change_plan_us, change_write_us, change_p99_us] = changes(&node, &mut planner)?;
        let rows = match ways_too {
            Ways::All => ways(&node, &client.netns, server.ip)?,
            Ways::None => Vec::new(),
        };
        cases.push(Case { services, load_ms, change_plan_us, change_write_us, change_p99_us, rows });
    }
    let cold = COLD.into_iter().map(|services| cold(&node, &mut planner, services)).collect::<Result<_>>()?;
    let rolls = ROLLS.into_iter().map(|rings| roll(&node, &mut planner, rings)).collect::<Result<_>>()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Report { kernel, cases, cold, rolls, rules: rules::run()? })
}

/// As a table.
pub fn table(report: &Report) -> String {
    let mut text = format!("kernel {}\n", report.kernel);
    for case in &report.cases {
        text += &format!(
            "\n{} Services: loaded in {:.0} ms; one endpoint change {:.0} us to plan, {:.0} us to write \
             ({:.0} us both, p99)\n\n\
             | way | connect p50 us | p99 us | connects/s | UDP p50 us | Gbit/s |\n|---|---|---|---|---|---|\n",
            case.services, case.load_ms, case.change_plan_us, case.change_write_us, case.change_p99_us
        );
        for row in &case.rows {
            let way = match row.way {
                Way::Pod => "pod, no hook",
                Way::PodHooked => "pod",
                Way::Socket => "ClusterIP by socket",
                Way::Packet => "ClusterIP by packet",
            };
            text += &format!(
                "| {way} | {:.1} | {:.1} | {:.0} | {:.1} | {:.1} |\n",
                row.connect_p50_us, row.connect_p99_us, row.connects_per_s, row.udp_p50_us, row.gbit_per_s
            );
        }
    }
    for cold in &report.cold {
        let Programming { entries, plan_ms, write_ms } = cold;
        text += &format!(
            "\nFirst sync of {entries} Services of two endpoints: {plan_ms:.0} ms to plan, {write_ms:.0} ms to write\n"
        );
    }
    for Roll { ports, ring, plan_ms, write_ms } in &report.rolls {
        let rings = if *ring == 0 { "without rings".to_owned() } else { format!("with rings of {ring} slots") };
        text += &format!(
            "\nRoll of a Service of {ports} ports {rings}: {plan_ms:.1} ms to plan, {write_ms:.1} ms to write\n"
        );
    }
    text + &rules::table(&report.rules)
}

/// The Service under test and `count - 1` others that nobody calls.
fn fabric(count: u32, backend: IpAddr) -> Vec<Service> {
    (0..count).map(|number| service(number, &[backend])).collect()
}

/// Service `number`: port 80 to [`PORT`] and 81 to [`SINK_PORT`].
fn service(number: u32, backends: &[IpAddr]) -> Service {
    let ports =
        [("tcp", Protocol::Tcp, 80, PORT), ("udp", Protocol::Udp, 80, PORT), ("sink", Protocol::Tcp, 81, SINK_PORT)];
    let ports = if number < LEAN { &ports[..] } else { &ports[..1] };
    let [_, high, middle, low] = (number + (97 << 16)).to_be_bytes();
    let vip = if number == 0 { SERVICE.to_owned() } else { format!("10.{high}.{middle}.{low}") };
    Service {
        namespace: "bench".into(),
        name: format!("s{number}"),
        cluster_ips: vec![vip],
        ports: ports
            .iter()
            .map(|(name, protocol, port, _)| ServicePort {
                name: (*name).into(),
                protocol: (*protocol).into(),
                port: *port,
                node_port: 0,
            })
            .collect(),
        endpoints: backends
            .iter()
            .map(|ip| Endpoint {
                ip: ip.to_string(),
                ports: ports
                    .iter()
                    .map(|(name, protocol, _, port)| EndpointPort {
                        name: (*name).into(),
                        protocol: (*protocol).into(),
                        port: (*port).into(),
                    })
                    .collect(),
                ..Endpoint::default()
            })
            .collect(),
        ..Service::default()
    }
}

/// Measures every way.
fn ways(node: &Node, client: &std::path::Path, server: IpAddr) -> Result<Vec<Row>> {
    let mut connects = WAYS.map(|_| Vec::new());
    let mut spent = WAYS.map(|_| Duration::ZERO);
    let mut asks = WAYS.map(|_| Vec::new());
    let mut rates: [f64; 4] = [0.0; 4];
    for round in 0..ROUNDS + RUNS {
        for (index, way) in WAYS.into_iter().enumerate() {
            let (to, sink) = match way {
                Way::Pod | Way::PodHooked => (SocketAddr::new(server, PORT), SocketAddr::new(server, SINK_PORT)),
                Way::Socket | Way::Packet => {
                    (SocketAddr::new(SERVICE.parse()?, 80), SocketAddr::new(SERVICE.parse()?, 81))
                }
            };
            let hooked = matches!(way, Way::PodHooked | Way::Socket);
            let _inside = if hooked { Some(node.enter_cgroup()?) } else { None };
            if round >= ROUNDS {
                let rate = netns::run_in(client, || send(sink))?.with_context(|| format!("throughput to {sink}"))?;
                rates[index] = rates[index].max(rate);
                continue;
            }
            let begin = process::instant();
            let mut times = netns::run_in(client, || (0..CONNECTS).map(|_| connect(to)).collect::<Result<Vec<_>>>())??;
            spent[index] += begin.elapsed();
            connects[index].append(&mut times);
            let mut times = netns::run_in(client, || (0..CONNECTS).map(|_| ask(to)).collect::<Result<Vec<_>>>())??;
            asks[index].append(&mut times);
        }
    }
    Ok(WAYS
        .into_iter()
        .enumerate()
        .map(|(i, way)| Row {
            way,
            connect_p50_us: micros(&mut connects[i], 50),
            connect_p99_us: micros(&mut connects[i], 99),
            connects_per_s: connects[i].len() as f64 / spent[i].as_secs_f64(),
            udp_p50_us: micros(&mut asks[i], 50),
            gbit_per_s: rates[i],
        })
        .collect())
}

/// Connects and resets: no port stays in TIME_WAIT.
fn connect(to: SocketAddr) -> Result<Duration> {
    let begin = process::instant();
    let stream = TcpStream::connect_timeout(&to, DEADLINE).with_context(|| format!("connect to {to}"))?;
    let spent = begin.elapsed();
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(spent)
}

/// A datagram there and back from a new socket.
fn ask(to: SocketAddr) -> Result<Duration> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let begin = process::instant();
    socket.send_to(b"?", to)?;
    socket.recv_from(&mut [0; 16]).with_context(|| format!("answer from {to}"))?;
    Ok(begin.elapsed())
}

/// Sends [`BYTES`] and waits for the receipt; Gbit/s.
fn send(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&to, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE * 4))?;
    stream.set_write_timeout(Some(DEADLINE * 4))?;
    let chunk = vec![7_u8; 256 << 10];
    let begin = process::instant();
    for _ in 0..BYTES / chunk.len() {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_exact(&mut [0; 1])?;
    Ok(BYTES as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9)
}

/// A percentile in microseconds.
fn micros(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Accepts and drops, answers datagrams, swallows streams.
struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(netns: &std::path::Path, ip: IpAddr) -> Result<Server> {
        let (tcp, udp, sink) = netns::run_in(netns, || -> std::io::Result<_> {
            Ok((
                listen(SocketAddr::new(ip, PORT))?,
                UdpSocket::bind((ip, PORT))?,
                listen(SocketAddr::new(ip, SINK_PORT))?,
            ))
        })??;
        let stop = Arc::new(AtomicBool::new(false));
        let flags = [stop.clone(), stop.clone(), stop.clone()];
        let [first, second, third] = flags;
        let threads = vec![
            thread::spawn(move || while_running(&first, &tcp, || drop(tcp.accept()))),
            thread::spawn(move || {
                while_running(&second, &udp, || {
                    if let Ok((_, peer)) = udp.recv_from(&mut [0; 16]) {
                        let _ = udp.send_to(b"!", peer);
                    }
                });
            }),
            thread::spawn(move || {
                while_running(&third, &sink, || {
                    if let Ok((mut stream, _)) = sink.accept() {
                        let _ = std::io::copy(&mut stream, &mut std::io::sink());
                        let _ = stream.write_all(b"!");
                    }
                });
            }),
        ];
        Ok(Server { stop, threads })
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

/// A listener that takes a whole round before it has to accept: with std's 128 the client would wait for the server's
/// thread, a second at a time.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&socket, Backlog::new(4096)?)?;
    Ok(TcpListener::from(socket))
}

fn while_running(stop: &AtomicBool, socket: &impl AsFd, mut serve: impl FnMut()) {
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(50_u8)).is_ok_and(|ready| ready > 0) {
            serve();
        }
    }
}
