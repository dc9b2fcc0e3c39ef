//! Network interfaces: look up, make, change, remove.
use std::fmt;
use std::os::fd::AsRawFd;
use std::path::Path;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoGeneve, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};

use super::{Error, Netlink};
use crate::netns;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A network interface as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Mac,
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Index of the bridge it belongs to.
    pub master: Option<u32>,
    /// Index of the interface that a VLAN's is on.
    pub below: Option<u32>,
    /// `veth`, `bridge`, `vxlan`...; empty for real devices.
    pub kind: String,
    /// A VXLAN device that takes packets over IPv6 without an outer checksum.
    pub bare_ipv6: bool,
}

/// Where the other end of a veth pair is made.
#[derive(Clone, Copy, Debug)]
pub enum PeerPlace<'a> {
    /// In the same namespace as the first end.
    Here,
    /// In the namespace at this path.
    Netns(&'a Path),
}

/// A veth pair to make. MACs left `None` are random.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    pub name: &'a str,
    pub mac: Option<Mac>,
    pub peer_name: &'a str,
    pub peer_mac: Option<Mac>,
    pub peer: PeerPlace<'a>,
    pub mtu: Option<u32>,
}

impl Netlink {
    /// The interface of this name, if there is one.
    pub fn find_link(&self, name: &str) -> Result<Option<Link>, Error> {
        let message = LinkUnspec::new_with_name(name).build();
        match self.exchange(&format!("look up interface {name}"), RouteNetlinkMessage::GetLink(message), 0) {
            Ok(answers) => Ok(answers.into_iter().find_map(parse)),
            Err(e) if e.errno() == Some(nix::libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The interface of this name, or [`Error::NoLink`].
    pub fn link(&self, name: &str) -> Result<Link, Error> {
        self.find_link(name)?.ok_or_else(|| Error::NoLink(name.to_owned()))
    }

    /// All interfaces of the namespace.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Ok(self.dump("list interfaces", message)?.into_iter().filter_map(parse).collect())
    }

    /// Makes a veth pair, both ends down.
    pub fn add_veth(&self, veth: &Veth<'_>) -> Result<(), Error> {
        let mut peer = LinkUnspec::new_with_name(veth.peer_name);
        let mut link = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).name(veth.name.to_owned());
        if let Some(mtu) = veth.mtu {
            peer = peer.mtu(mtu);
            link = link.mtu(mtu);
        }
        if let Some(mac) = veth.peer_mac {
            peer = peer.address(mac.0.to_vec());
        }
        if let Some(mac) = veth.mac {
            link = link.address(mac.0.to_vec());
        }
        // Held open until the request is answered.
        let place = match veth.peer {
            PeerPlace::Here => None,
            PeerPlace::Netns(path) => Some(netns::open(path)?),
        };
        if let Some(file) = &place {
            peer = peer.setns_by_fd(file.as_raw_fd());
        }
        let link = link.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
        self.new_link(&format!("create veth pair {} and {}", veth.name, veth.peer_name), link)
    }

    /// Makes a bridge, down.
    pub fn add_bridge(&self, name: &str) -> Result<(), Error> {
        self.new_link(&format!("create bridge {name}"), LinkBridge::new(name).build())
    }

    /// Makes a VXLAN device in external (collect metadata) mode: tunnel endpoints come with each packet, no
    /// forwarding database, no learning. It accepts every VNI.
    pub fn add_vxlan_external(&self, name: &str, port: u16, mac: Option<Mac>) -> Result<(), Error> {
        let mut link = LinkMessageBuilder::<LinkVxlan>::new(name).port(port).learning(false).collect_metadata(true);
        // Over IPv6 nodes send without the outer checksum (RFC 6935).
        link = link.udp_zero_csum6_rx(true);
        if let Some(mac) = mac {
            link = link.address(mac.0.to_vec());
        }
        self.new_link(&format!("create VXLAN device {name} on UDP port {port}"), link.build())
    }

    /// Makes a Geneve device in external (collect metadata) mode.
    pub fn add_geneve_external(&self, name: &str, port: u16) -> Result<(), Error> {
        let data = InfoData::Geneve(vec![InfoGeneve::Port(port), InfoGeneve::CollectMetadata]);
        let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Geneve).name(name.to_owned());
        self.new_link(&format!("create Geneve device {name} on UDP port {port}"), link.set_info_data(data).build())
    }

    /// Makes a device of a kind that needs no attributes of its own.
    pub fn add_kind(&self, name: &str, kind: &str) -> Result<(), Error> {
        let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Other(kind.to_owned()));
        self.new_link(&format!("create {kind} device {name}"), link.name(name.to_owned()).build())
    }

    /// Makes `kind` the queueing discipline that an interface sends through.
    pub fn replace_root_queue(&self, name: &str, kind: &str) -> Result<(), Error> {
        let mut message = TcMessage::with_index(self.link(name)?.index as i32);
        message.header.parent = TcHandle::ROOT;
        message.attributes.push(TcAttribute::Kind(kind.to_owned()));
        let what = format!("queue {name} by {kind}");
        self.change(&what, RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Brings an interface up.
    pub fn set_up(&self, name: &str) -> Result<(), Error> {
        let index = self.link(name)?.index;
        self.set(&format!("bring {name} up"), LinkUnspec::new_with_index(index).up().build())
    }

    /// Takes an interface down.
    pub fn set_down(&self, name: &str) -> Result<(), Error> {
        let index = self.link(name)?.index;
        self.set(&format!("take {name} down"), LinkUnspec::new_with_index(index).down().build())
    }

    /// Sets the MTU.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), Error> {
        let index = self.link(name)?.index;
        self.set(&format!("set MTU {mtu} on {name}"), LinkUnspec::new_with_index(index).mtu(mtu).build())
    }

    /// Sets the Ethernet address.
    pub fn set_mac(&self, name: &str, mac: Mac) -> Result<(), Error> {
        let index = self.link(name)?.index;
        let message = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).build();
        self.set(&format!("set address {mac} on {name}"), message)
    }

    /// Stops address resolution on an interface: every next hop has the interface's own address.
    pub fn set_arp_off(&self, name: &str) -> Result<(), Error> {
        let index = self.link(name)?.index;
        let message = LinkUnspec::new_with_index(index).arp(false).build();
        self.set(&format!("switch off ARP on {name}"), message)
    }

    /// Puts an interface into a bridge.
    pub fn set_master(&self, name: &str, bridge: &str) -> Result<(), Error> {
        let master = self.link(bridge)?.index;
        let index = self.link(name)?.index;
        let message = LinkUnspec::new_with_index(index).controller(master).build();
        self.set(&format!("put {name} into bridge {bridge}"), message)
    }

    /// Renames an interface, which must be down.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), Error> {
        let index = self.link(name)?.index;
        let message = LinkUnspec::new_with_index(index).name(to).build();
        self.set(&format!("rename {name} to {to}"), message)
    }

    /// Moves an interface into the namespace at `netns`.
    pub fn move_to(&self, name: &str, netns: &Path) -> Result<(), Error> {
        let index = self.link(name)?.index;
        let file = netns::open(netns)?;
        let message = LinkUnspec::new_with_index(index).setns_by_fd(file.as_raw_fd()).build();
        self.set(&format!("move {name} to {}", netns.display()), message)
    }

    /// Removes an interface (and a veth's other end). Absent is fine.
    pub fn delete_link(&self, name: &str) -> Result<(), Error> {
        let Some(link) = self.find_link(name)? else { return Ok(()) };
        let message = RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(link.index).build());
        match self.change(&format!("delete interface {name}"), message, 0) {
            Err(e) if e.errno() == Some(nix::libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    fn new_link(&self, what: &str, message: LinkMessage) -> Result<(), Error> {
        self.change(what, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn set(&self, what: &str, message: LinkMessage) -> Result<(), Error> {
        self.change(what, RouteNetlinkMessage::SetLink(message), 0)
    }
}

fn parse(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: Mac::default(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
        below: None,
        kind: String::new(),
        bare_ipv6: false,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => link.below = Some(index),
            LinkAttribute::Address(bytes) => link.mac = Mac(bytes.try_into().unwrap_or_default()),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
                        LinkInfo::Data(InfoData::Vxlan(options)) => {
                            link.bare_ipv6 = options.contains(&InfoVxlan::UDPZeroCsumRX(true));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}
