//! The ways to one server, measured.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kernel::netns;
use nix::sys::socket::SockType;
use serde::Serialize;

use super::client::{CLIENT_CPU, DEADLINE, Maker, ask, ask_connected, connect, pin, reset};
use super::compare::{Dice, Figure, Shape, interleave};
use super::server::Server;
use super::{LEAN, PORT, SINK_PORT, vip};
use crate::node::Node;

/// Connections and datagrams of each way.
const CALLS: Shape = Shape { blocks: 60, turns: 50 };
/// Streams of each way, and bytes of one.
const STREAMS: Shape = Shape { blocks: 30, turns: 1 };
const STREAM_BYTES: usize = 64 << 20;

/// How the client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The pod's address, no socket hook.
    Pod,
    /// The pod's address, socket hooks on.
    PodHooked,
    /// One ClusterIP, translated by socket hooks.
    Socket,
    /// With each connection another of all Services', translated by socket hooks: what the hooks read is in no cache.
    SocketAny,
    /// One ClusterIP, translated packet by packet.
    Packet,
    /// With each connection another of all Services', translated packet by packet.
    PacketAny,
}

const WAYS: [Way; 6] = [Way::Pod, Way::PodHooked, Way::Socket, Way::SocketAny, Way::Packet, Way::PacketAny];

/// The figures of one way, all against [`Way::Pod`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    pub way: Way,
    /// connect(2).
    pub connect: Figure,
    /// From a new socket, one datagram there and back by sendto(2).
    pub datagram: Figure,
    /// The same by connect(2) and send(2). With socket hooks, too, a Service is translated packet by packet then.
    pub connected_datagram: Figure,
    pub gbit_per_s: f64,
    /// Throughput against the pod's, with the bounds of the median at 95 %.
    pub throughput: [f64; 3],
}

/// Measures every way to the first `services` Services.
pub fn measure(node: &Node, client: &Path, server: (&Server, IpAddr), services: u32) -> Result<Vec<Row>> {
    let (group, _home) = node.open_cgroup()?;
    let (hooked, plain) = (Maker::start(client, Some(group))?, Maker::start(client, None)?);
    netns::run_in(client, || {
        pin(CLIENT_CPU)?;
        let mut dice = Dice(0xd1b5_4a32_d192_ed03);
        let mut ports = [Ports { range: 40_000..=65_000, given: 0 }, Ports { range: 1_100..=39_999, given: 0 }];
        let mut socket_and_target = |way: Way, kind: SockType, sink: bool| {
            let mut number =
                || dice.roll(services.min(if kind == SockType::Stream && !sink { services } else { LEAN }) as usize);
            let (maker, number) = match way {
                Way::Pod => (&plain, None),
                Way::PodHooked => (&hooked, None),
                Way::Socket => (&hooked, Some(0)),
                Way::SocketAny => (&hooked, Some(number())),
                Way::Packet => (&plain, Some(0)),
                Way::PacketAny => (&plain, Some(number())),
            };
            let port = if sink { SINK_PORT } else { PORT };
            let to = match number {
                None => SocketAddr::new(server.1, port),
                Some(number) => SocketAddr::new(vip(number as u32).parse()?, if sink { 81 } else { 80 }),
            };
            let by_packet = matches!(way, Way::Packet | Way::PacketAny);
            maker.make(kind, ports[usize::from(by_packet)].next()).map(|socket| (socket, to))
        };
        let connects = interleave(WAYS.len(), CALLS, |way| {
            let (socket, to) = socket_and_target(WAYS[way], SockType::Stream, false)?;
            let (spent, stream) = connect(socket, to).with_context(|| format!("{:?}", WAYS[way]))?;
            reset(stream)?;
            server.0.settle()?;
            Ok(spent)
        })?;
        let datagrams = interleave(WAYS.len(), CALLS, |way| {
            let (socket, to) = socket_and_target(WAYS[way], SockType::Datagram, false)?;
            ask(socket, to).with_context(|| format!("{:?}", WAYS[way]))
        })?;
        let connected = interleave(WAYS.len(), CALLS, |way| {
            let (socket, to) = socket_and_target(WAYS[way], SockType::Datagram, false)?;
            ask_connected(socket, to).with_context(|| format!("{:?}", WAYS[way]))
        })?;
        let streams = interleave(WAYS.len(), STREAMS, |way| {
            let (socket, to) = socket_and_target(WAYS[way], SockType::Stream, true)?;
            stream(connect(socket, to)?.1).with_context(|| format!("{:?}", WAYS[way]))
        })?;
        let row = |(index, way)| {
            let stream = streams.figure(index, 0);
            Row {
                way,
                connect: connects.figure(index, 0),
                datagram: datagrams.figure(index, 0),
                connected_datagram: connected.figure(index, 0),
                gbit_per_s: STREAM_BYTES as f64 * 8.0 / (stream.p50_us * 1e3),
                throughput: [1.0 / stream.ratio, 1.0 / stream.ratio_high, 1.0 / stream.ratio_low],
            }
        };
        Ok(WAYS.into_iter().enumerate().map(row).collect())
    })?
}

/// As a table.
pub fn table(rows: &[Row]) -> String {
    let mut text = "\n| way | connect p50, p99 us | / pod | UDP by sendto p50 us | / pod | UDP by connect p50 us | / pod | Gbit/s | / pod |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let way = match row.way {
            Way::Pod => "pod, no hook",
            Way::PodHooked => "pod",
            Way::Socket => "ClusterIP by socket",
            Way::SocketAny => "any ClusterIP by socket",
            Way::Packet => "ClusterIP by packet",
            Way::PacketAny => "any ClusterIP by packet",
        };
        let (connect, datagram, connected) = (row.connect, row.datagram, row.connected_datagram);
        text += &format!(
            "| {way} | {:.2}, {:.1} | {} | {:.2} | {} | {:.2} | {} | {:.1} | {:.3} ({:.3} to {:.3}) |\n",
            connect.p50_us,
            connect.p99_us,
            connect.ratio(),
            datagram.p50_us,
            datagram.ratio(),
            connected.p50_us,
            connected.ratio(),
            row.gbit_per_s,
            row.throughput[0],
            row.throughput[1],
            row.throughput[2],
        );
    }
    text
}

/// Ports of sockets to be, each used again as late as can be. What is translated by packets leaves records behind, and a connection from
/// the same port that needs none would be given one to be told from them.
struct Ports {
    range: RangeInclusive<u16>,
    given: usize,
}

impl Ports {
    fn next(&mut self) -> u16 {
        self.given += 1;
        self.range.clone().nth(self.given % self.range.len()).unwrap_or(0)
    }
}

/// The time to send [`STREAM_BYTES`] and to get the receipt.
fn stream(mut stream: TcpStream) -> Result<Duration> {
    stream.set_read_timeout(Some(DEADLINE * 4))?;
    stream.set_write_timeout(Some(DEADLINE * 4))?;
    let chunk = vec![7_u8; 256 << 10];
    let begin = process::instant();
    for _ in 0..STREAM_BYTES / chunk.len() {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_exact(&mut [0; 1])?;
    let spent = begin.elapsed();
    reset(stream)?;
    Ok(spent)
}
