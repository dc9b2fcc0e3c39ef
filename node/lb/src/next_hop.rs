//! Where what is sent goes first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use kernel::netlink::{self, Mac, Netlink};

use crate::config::Gateway;

/// Nothing listens there (RFC 863); a datagram to it makes the kernel resolve the address.
const DISCARD: u16 = 9;

/// Why the next hop is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{interface} has no default route, so `gateway: auto` names nobody; give the gateway's MAC or IP address")]
    NoRoute { interface: String },
    #[error("the gateway {ip} does not answer on {interface}")]
    Silent { ip: IpAddr, interface: String },
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
}

/// The next hop's MAC, as far as the kernel knows it now. If it does not, asks it to find out; the answer is there a moment
/// later.
///
/// # Errors
/// If there is none, or not yet.
pub fn resolve(netlink: &Netlink, interface: &str, gateway: Gateway) -> Result<Mac, Error> {
    let ip = match gateway {
        Gateway::Mac(mac) => return Ok(mac),
        Gateway::Ip(ip) => ip,
        Gateway::Auto => {
            let routes = netlink.routes()?;
            let hops = routes.iter().filter(|route| route.to.prefix_len() == 0 && route.dev == interface);
            // IPv4's if both families have one: usually it is the same router.
            let via = hops.filter_map(|route| route.via).min_by_key(IpAddr::is_ipv6);
            via.ok_or_else(|| Error::NoRoute { interface: interface.to_owned() })?
        }
    };
    let known = netlink.neighbours(interface)?.into_iter().find(|neighbour| neighbour.address == ip);
    // Asked again even if known, so that an entry that grew stale is looked after.
    ask(ip);
    known.map(|neighbour| neighbour.mac).ok_or_else(|| Error::Silent { ip, interface: interface.to_owned() })
}

/// What goes wrong here shows as an address that is not known.
fn ask(ip: IpAddr) {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let sent = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| socket.send_to(&[], (ip, DISCARD)));
    if let Err(error) = sent {
        tracing::debug!(%ip, %error, "cannot ask for the gateway's address");
    }
}
