//! What the socket hooks cost by themselves: system calls of a namespace from which no route leads anywhere. A call runs the hook and then
//! fails for want of a route, so next to nothing is measured beside it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Result, ensure};
use aya::sys::{Stats, enable_stats};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockType, SockaddrStorage};
use serde::Serialize;

use super::client::{CLIENT_CPU, Maker, pin};
use super::compare::{Dice, Figure, Shape, interleave};
use super::{LEAN, PORT, vip};
use crate::node::Node;

const CALLS: Shape = Shape { blocks: 60, turns: 50 };
/// Calls while the kernel counts the programs' time.
const COUNTED: usize = 2_000;

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// connect(2) of a TCP socket.
    Connect,
    /// The same a second time.
    ConnectAgain,
    /// close(2) after it.
    Close,
    /// sendto(2) of a UDP socket.
    Send,
    SendAgain,
}

/// Whom it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// A pod, from a socket without hooks.
    PodPlain,
    Pod,
    /// One Service.
    Service,
    /// With each call another of all Services.
    AnyService,
}

/// What a call costs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    pub call: Call,
    pub peer: Peer,
    /// Against the same call to [`Peer::PodPlain`].
    pub figure: Figure,
    /// Mean of the hook's program, by the kernel's own count, which costs some 30 ns itself; 0 where that does not tell them apart.
    pub program_ns: f64,
}

const PEERS: [Peer; 4] = [Peer::PodPlain, Peer::Pod, Peer::Service, Peer::AnyService];
const KINDS: [Call; 5] = [Call::Connect, Call::ConnectAgain, Call::Close, Call::Send, Call::SendAgain];

/// Measures every call to every peer.
pub fn measure(node: &Node, nowhere: &std::path::Path, pod: IpAddr, services: u32) -> Result<Vec<Cost>> {
    let (group, _home) = node.open_cgroup()?;
    let (hooked, plain) = (Maker::start(nowhere, Some(group))?, Maker::start(nowhere, None)?);
    let work = || -> Result<Vec<Cost>> {
        pin(CLIENT_CPU)?;
        let mut dice = Dice(0xa076_1d64_78bd_642f);
        let mut once = |call: Call, peer: Peer| -> Result<Duration> {
            let maker = if peer == Peer::PodPlain { &plain } else { &hooked };
            let stream = matches!(call, Call::Connect | Call::ConnectAgain | Call::Close);
            let limit = if stream { services } else { services.min(LEAN) };
            let to = match peer {
                Peer::PodPlain | Peer::Pod => SocketAddr::new(pod, PORT),
                Peer::Service => SocketAddr::new(vip(0).parse()?, 80),
                Peer::AnyService => SocketAddr::new(vip(dice.roll(limit as usize) as u32).parse()?, 80),
            };
            let socket = maker.make(if stream { SockType::Stream } else { SockType::Datagram }, 0)?;
            let first = attempt(&socket, to, stream)?;
            match call {
                Call::Connect | Call::Send => Ok(first),
                Call::ConnectAgain | Call::SendAgain => attempt(&socket, to, stream),
                Call::Close => {
                    let begin = process::instant();
                    drop(socket);
                    Ok(begin.elapsed())
                }
            }
        };
        let mut costs = Vec::new();
        for call in KINDS {
            let samples = interleave(PEERS.len(), CALLS, |peer| once(call, PEERS[peer]))?;
            for (index, peer) in PEERS.into_iter().enumerate() {
                let program = match call {
                    Call::Connect => Some(abi::program::CONNECT4),
                    Call::Send => Some(abi::program::SENDMSG4),
                    Call::ConnectAgain | Call::Close | Call::SendAgain => None,
                };
                let program_ns = match program {
                    Some(name) if peer != Peer::PodPlain => counted(node, name, || once(call, peer).map(|_| ()))?,
                    _ => 0.0,
                };
                costs.push(Cost { call, peer, figure: samples.figure(index, 0), program_ns });
            }
        }
        Ok(costs)
    };
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// As a table.
pub fn table(costs: &[Cost]) -> String {
    let mut text =
        "\n| call alone | to | ns | more than without hooks | program ns |\n|---|---|---|---|---|\n".to_owned();
    for Cost { call, peer, figure, program_ns } in costs {
        let call = match call {
            Call::Connect => "connect",
            Call::ConnectAgain => "connect again",
            Call::Close => "close after connect",
            Call::Send => "sendto",
            Call::SendAgain => "sendto again",
        };
        let peer = match peer {
            Peer::PodPlain => "pod, no hook",
            Peer::Pod => "pod",
            Peer::Service => "one Service",
            Peer::AnyService => "any Service",
        };
        text +=
            &format!("| {call} | {peer} | {:.0} | {:.0} | {program_ns:.0} |\n", figure.p50_us * 1e3, figure.plus_ns);
    }
    text
}

/// The time of a call that finds no route.
fn attempt(socket: &OwnedFd, to: SocketAddr, stream: bool) -> Result<Duration> {
    let address = SockaddrStorage::from(to);
    let begin = process::instant();
    let result = if stream {
        socket::connect(socket.as_raw_fd(), &address)
    } else {
        socket::sendto(socket.as_raw_fd(), b"?", &address, MsgFlags::empty()).map(|_| ())
    };
    let spent = begin.elapsed();
    ensure!(result == Err(Errno::ENETUNREACH), "{to} was to be out of reach: {result:?}");
    Ok(spent)
}

/// Mean nanoseconds of a program during calls.
fn counted(node: &Node, program: &str, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let read = || -> Result<(u64, u64)> {
        let all = node.seen().programs()?;
        Ok(all.iter().find(|one| one.program == program).map_or((0, 0), |one| (one.runs, one.run_ns)))
    };
    let _counting = enable_stats(Stats::RunTime)?;
    let before = read()?;
    for _ in 0..COUNTED {
        once()?;
    }
    let after = read()?;
    Ok((after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64)
}
