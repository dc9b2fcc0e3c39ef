//! The node's resolv.conf.

use std::net::{IpAddr, SocketAddr};

/// Servers that are asked at most; libc reads as many.
const MAX_SERVERS: usize = 3;

/// The name servers of a resolv.conf, without `own` addresses, which would send queries round in a circle.
pub fn upstreams(resolv_conf: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()
        })
        // A zone id (fe80::1%eth0) is not understood: such servers are left out.
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .filter(|address| !own.contains(address))
        .take(MAX_SERVERS)
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}
