//! Routes of the main table, and permanent neighbour entries.
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Error, Mac, Netlink};

/// A route of the main table through one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; a zero-length prefix is the default route.
    pub to: IpNet,
    /// Next hop; `None` means the destination is on the link (scope link).
    pub via: Option<IpAddr>,
    /// Name of the interface.
    pub dev: String,
    /// The next hop is reachable on the link although no address says so.
    pub onlink: bool,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

impl Route {
    /// A destination directly on the link.
    pub fn on_link(to: IpNet, dev: &str) -> Route {
        Route { to, via: None, dev: dev.to_owned(), onlink: false, source: None }
    }

    /// A destination behind a next hop.
    pub fn through(to: IpNet, via: IpAddr, dev: &str) -> Route {
        Route { to, via: Some(via), dev: dev.to_owned(), onlink: false, source: None }
    }
}

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub address: IpAddr,
    pub mac: Mac,
    /// Name of the interface.
    pub dev: String,
}

impl Netlink {
    /// Adds a route, or replaces the one to the same destination.
    pub fn replace_route(&self, route: &Route) -> Result<(), Error> {
        let message = message(route, self.link(&route.dev)?.index);
        let what = format!("add route to {} on {}", route.to, route.dev);
        self.change(&what, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes a route; absent is fine (a vanished interface took its routes along).
    pub fn delete_route(&self, route: &Route) -> Result<(), Error> {
        let Some(link) = self.find_link(&route.dev)? else { return Ok(()) };
        let message = message(route, link.index);
        let what = format!("delete route to {} on {}", route.to, route.dev);
        match self.change(&what, RouteNetlinkMessage::DelRoute(message), 0) {
            Err(e) if e.errno() == Some(nix::libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// The unicast routes of the main table.
    pub fn routes(&self) -> Result<Vec<Route>, Error> {
        let names: Vec<(u32, String)> = self.links()?.into_iter().map(|link| (link.index, link.name)).collect();
        let request = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let answers = self.dump("list routes", request)?;
        Ok(answers.into_iter().filter_map(|answer| parse(answer, &names)).collect())
    }

    /// The addresses on an interface's link that the kernel knows, permanent or resolved.
    pub fn neighbours(&self, dev: &str) -> Result<Vec<Neighbour>, Error> {
        let index = self.link(dev)?.index;
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let answers = self.dump(&format!("list neighbours on {dev}"), request)?;
        Ok(answers.into_iter().filter_map(|answer| neighbour(answer, index, dev)).collect())
    }

    /// Sets a permanent neighbour entry, replacing any other for the address.
    pub fn replace_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(neighbour.address);
        message.header.ifindex = self.link(&neighbour.dev)?.index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(match neighbour.address {
                IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
                IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
            }),
            NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()),
        ];
        let what = format!("set neighbour {} on {}", neighbour.address, neighbour.dev);
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.change(&what, message, NLM_F_CREATE | NLM_F_REPLACE)
    }
}

fn neighbour(answer: RouteNetlinkMessage, index: u32, dev: &str) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = answer else { return None };
    let is_known = !matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::Failed);
    if message.header.ifindex != index || !is_known {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes).ok(),
            _ => {}
        }
    }
    Some(Neighbour { address: address?, mac: Mac(mac?), dev: dev.to_owned() })
}

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

fn message(route: &Route, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.addr());
    message.header.destination_prefix_length = route.to.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match (route.via, route.to.addr()) {
        (None, IpAddr::V4(_)) => RouteScope::Link,
        (None, IpAddr::V6(_)) | (Some(_), _) => RouteScope::Universe,
    };
    if route.onlink {
        message.header.flags.insert(RouteFlags::Onlink);
    }
    if route.to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(address(route.to.network())));
    }
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(address(via)));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(address(source)));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

fn parse(answer: RouteNetlinkMessage, names: &[(u32, String)]) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut to = unspecified;
    let (mut via, mut source, mut dev) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => to = ip_of(ip)?,
            RouteAttribute::Gateway(ip) => via = ip_of(ip),
            RouteAttribute::PrefSource(ip) => source = ip_of(ip),
            RouteAttribute::Oif(index) => {
                dev = names.iter().find(|(i, _)| i == index).map(|(_, name)| name.clone());
            }
            _ => {}
        }
    }
    let to = IpNet::new(to, header.destination_prefix_length).ok()?;
    let onlink = header.flags.contains(RouteFlags::Onlink);
    Some(Route { to, via, dev: dev?, onlink, source })
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
