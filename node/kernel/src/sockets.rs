//! TCP connections that stand in network namespaces, as the kernel lists them.
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

use crate::netns;

/// Where the kernel hands out ports if nobody has set another range (Documentation/networking/ip-sysctl.rst).
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
/// States in which packets still come (include/net/tcp_states.h): all but TIME_WAIT, CLOSE and LISTEN.
const OPEN: [u8; 8] = [1, 2, 3, 4, 5, 8, 9, 11];
const LISTEN: u8 = 10;

/// A connection as its own end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// The peer opened it; else this end did.
    pub accepted: bool,
}

/// The connections of these addresses in the namespaces that are bound in a folder. Those of which it cannot be said who opened them are
/// left out, and so is a namespace that ends meanwhile.
pub fn connections(dir: &Path, addresses: &BTreeSet<IpAddr>) -> Vec<Connection> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let found = entries.filter_map(|entry| netns::run_in(&entry.ok()?.path(), here).ok()).flatten();
    found.filter(|one| addresses.contains(&one.local.ip())).collect()
}

/// Those of the thread's own namespace.
fn here() -> Vec<Connection> {
    let text = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|bound| bound.parse().ok());
    let ephemeral = bounds.next().zip(bounds.next()).map_or(EPHEMERAL, |(first, last)| first..=last);
    opened(&[text("tcp"), text("tcp6")].concat(), &ephemeral)
}

/// Reads the kernel's lists. A connection of a port that somebody listens on was accepted, one of a port out of the ephemeral range was
/// not.
fn opened(text: &str, ephemeral: &RangeInclusive<u16>) -> Vec<Connection> {
    let lines: Vec<(SocketAddr, SocketAddr, u8)> = text.lines().filter_map(line).collect();
    let listening: BTreeSet<u16> =
        lines.iter().filter(|(_, _, state)| *state == LISTEN).map(|(local, ..)| local.port()).collect();
    let open = lines.into_iter().filter(|(local, peer, state)| OPEN.contains(state) && local.ip() != peer.ip());
    open.filter_map(|(local, peer, _)| {
        let accepted = listening.contains(&local.port());
        (accepted || ephemeral.contains(&local.port())).then_some(Connection { local, peer, accepted })
    })
    .collect()
}

/// One line: number, local end, peer, state.
fn line(text: &str) -> Option<(SocketAddr, SocketAddr, u8)> {
    let mut words = text.split_whitespace().skip(1);
    let (local, peer) = (end(words.next()?)?, end(words.next()?)?);
    Some((local, peer, u8::from_str_radix(words.next()?, 16).ok()?))
}

/// `0100007F:1F90`: the address as words in the machine's order, the port as a number.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for (place, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(8 * place)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn who_opened_a_connection_follows_from_its_port() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
             0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n   \
             1: 0201F40A:1F90 0301F40A:C350 01 00000000:00000000\n   \
             2: 0201F40A:C351 0301F40A:0050 01 00000000:00000000\n   \
             3: 0201F40A:03E7 0301F40A:0050 01 00000000:00000000\n   \
             4: 0201F40A:C352 0301F40A:0050 06 00000000:00000000\n   \
             0: 0000000000000000FFFF00000201F40A:1F90 0000000000000000FFFF00000501F40A:C350 08 00000000:00000000\n";
        let list: Vec<String> = opened(text, &EPHEMERAL)
            .into_iter()
            .map(|one| format!("{} {} {}", one.local, if one.accepted { "<" } else { ">" }, one.peer))
            .collect();
        assert_eq!(
            list,
            [
                "10.244.1.2:8080 < 10.244.1.3:50000",
                "10.244.1.2:50001 > 10.244.1.3:80",
                "10.244.1.2:8080 < 10.244.1.5:50000"
            ]
        );
    }
}
