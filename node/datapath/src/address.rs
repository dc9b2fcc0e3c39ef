//! Addresses and prefixes between std's types and the table's bytes.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{Addr, RouteKey, ServiceKey, Source, SourceKey};
use ipnet::IpNet;

/// An address as the tables hold it (IPv4 is v4-mapped).
pub fn addr(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(ip) => Addr::v4(ip.octets()),
        IpAddr::V6(ip) => Addr::v6(ip.octets()),
    }
}

/// The address that the tables' bytes stand for.
pub fn ip(addr: Addr) -> IpAddr {
    if addr.is_v4() {
        return IpAddr::V4(Ipv4Addr::from(addr.v4_octets()));
    }
    let mut octets = [0; 16];
    for (chunk, word) in octets.chunks_exact_mut(4).zip(addr.0) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::V6(Ipv6Addr::from(octets))
}

/// A prefix as a key of the route table, host bits cleared.
pub fn route_key(net: IpNet) -> RouteKey {
    let bits = match net {
        IpNet::V4(_) => 96 + u32::from(net.prefix_len()),
        IpNet::V6(_) => u32::from(net.prefix_len()),
    };
    RouteKey { prefix_len: bits, addr: addr(net.network()) }
}

/// The prefix that a key of the route table stands for.
pub fn prefix(key: RouteKey) -> Option<IpNet> {
    let ip = ip(key.addr);
    let bits = match ip {
        IpAddr::V4(_) => key.prefix_len.checked_sub(96)?,
        IpAddr::V6(_) => key.prefix_len,
    };
    IpNet::new(ip, u8::try_from(bits).ok()?).ok()
}

/// Bits of the Service's key, which stands before the client in the key of a source range.
const SERVICE_BITS: u32 = 8 * size_of::<ServiceKey>() as u32;

/// A range of clients of one Service as a key of the source table, host bits cleared.
pub fn source_key(service: ServiceKey, net: IpNet) -> SourceKey {
    let RouteKey { prefix_len, addr } = route_key(net);
    SourceKey { prefix_len: SERVICE_BITS + prefix_len, source: Source { service, client: addr } }
}

/// The range of clients that a key of the source table stands for.
pub fn source_prefix(key: SourceKey) -> Option<IpNet> {
    prefix(RouteKey { prefix_len: key.prefix_len.checked_sub(SERVICE_BITS)?, addr: key.source.client })
}
