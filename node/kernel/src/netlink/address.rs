//! Addresses of interfaces.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};

use super::{Error, Netlink};

impl Netlink {
    /// Gives an interface an address; having it already is fine. IPv6 addresses are usable at once (no duplicate
    /// address detection: every address Gannet sets is allocated by it).
    pub fn add_address(&self, link: &str, address: IpNet) -> Result<(), Error> {
        let mut message = message(self.link(link)?.index, address);
        if address.addr().is_ipv6() {
            message.header.flags |= AddressHeaderFlags::Nodad;
        }
        let what = format!("add address {address} to {link}");
        self.change(&what, RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes an address away; absent is fine.
    pub fn delete_address(&self, link: &str, address: IpNet) -> Result<(), Error> {
        let message = message(self.link(link)?.index, address);
        let what = format!("delete address {address} from {link}");
        match self.change(&what, RouteNetlinkMessage::DelAddress(message), 0) {
            Err(e) if e.errno() == Some(nix::libc::EADDRNOTAVAIL) => Ok(()),
            other => other,
        }
    }

    /// All addresses of an interface.
    pub fn addresses(&self, link: &str) -> Result<Vec<IpNet>, Error> {
        let index = self.link(link)?.index;
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(&format!("list addresses of {link}"), request)?;
        Ok(answers.into_iter().filter_map(|answer| parse(answer, index)).collect())
    }
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    match address {
        IpNet::V4(net) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(net.addr(), net.prefix_len()).build()
        }
        IpNet::V6(net) => {
            AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(net.addr(), net.prefix_len()).build()
        }
    }
}

fn parse(answer: RouteNetlinkMessage, index: u32) -> Option<IpNet> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    if message.header.index != index {
        return None;
    }
    let mut found: Option<IpAddr> = None;
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => found = Some(ip),
            AddressAttribute::Address(ip) => found = found.or(Some(ip)),
            _ => {}
        }
    }
    IpNet::new(found?, message.header.prefix_len).ok()
}
