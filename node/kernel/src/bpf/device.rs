//! The devices of a node that programs hang on: uplink, VXLAN device, the gateway addresses on `lo`.
use std::net::IpAddr;
use std::path::Path;

use abi::program;
use ipnet::IpNet;

use super::links::Side;
use super::{Datapath, Error, LbMode, Options, UplinkPath, sys, uplink};
use crate::netlink::{Link, Netlink};
use crate::{mount, sysctl};

/// Name of the VXLAN device.
pub const OVERLAY: &str = "gannet.vxlan";
/// VXLAN network of the cluster.
const VNI: u32 = 1;
/// Outer Ethernet, IP, UDP and VXLAN headers: what the overlay takes from the uplink's MTU, by the outer family.
const OVERLAY_BYTES_V4: u32 = 50;
const OVERLAY_BYTES_V6: u32 = 70;
/// IPv6 needs links of 1280 bytes (RFC 8200 section 5).
const POD_MTU_MIN: u32 = 1280;
/// Lowest source port of masquerade.
pub const SNAT_FIRST: u16 = 1024;
/// Lowest NodePort; masquerade stays below.
const NODE_PORT_FIRST: u16 = 30_000;
/// Drops and new flows told of each second by each CPU: enough to see what goes wrong, too few to cost anything.
const EVENTS_PER_S: u32 = 200;
/// Fewer ports than this toward one destination are too few.
const SNAT_PORTS_MIN: u16 = 4096;

/// What [`prepare`] found and made.
pub struct Devices {
    pub uplink: Link,
    pub overlay: Link,
    pub pod_mtu: u32,
    /// Whether the uplink carries VLANs.
    tagged: bool,
    cookie: u64,
    snat: (u16, u16),
}

/// Makes what is missing; runs in the node's namespace.
pub fn prepare(netlink: &Netlink, options: &Options) -> Result<Devices, Error> {
    let uplink = netlink.link(&options.uplink)?;
    // Tunnels end at nodes' first addresses.
    let outer_v6 = options.node_ips.first().is_some_and(IpAddr::is_ipv6);
    let overlay_mtu = uplink.mtu.saturating_sub(if outer_v6 { OVERLAY_BYTES_V6 } else { OVERLAY_BYTES_V4 });
    if overlay_mtu < POD_MTU_MIN {
        return Err(Error::Mtu { name: uplink.name, mtu: uplink.mtu });
    }
    let pod_mtu = match (options.native, options.load_balancing.mode) {
        (false, _) => overlay_mtu,
        (true, LbMode::Snat) => uplink.mtu,
        // What comes from clients goes on through a tunnel, of the packet's family: backends ask for packets that fit.
        (true, LbMode::Dsr) => {
            let six = options.node_ips.iter().any(IpAddr::is_ipv6);
            uplink.mtu.saturating_sub(if six { OVERLAY_BYTES_V6 } else { OVERLAY_BYTES_V4 })
        }
    };
    netlink.set_up("lo")?;
    for gateway in &options.gateways {
        netlink.add_address("lo", IpNet::from(*gateway))?;
    }
    match netlink.find_link(OVERLAY)? {
        Some(link) if link.kind != "vxlan" => return Err(Error::Foreign(link.name)),
        Some(link) if link.bare_ipv6 => {}
        // Of an earlier version; what it takes cannot be changed.
        Some(link) => {
            netlink.delete_link(&link.name)?;
            netlink.add_vxlan_external(OVERLAY, abi::VXLAN_PORT.get(), None)?;
        }
        // A random MAC: a VXLAN device drops frames from its own (vxlan_set_mac in the kernel), so nodes' must differ.
        None => netlink.add_vxlan_external(OVERLAY, abi::VXLAN_PORT.get(), None)?,
    }
    let overlay = netlink.link(OVERLAY)?;
    if overlay.mtu != overlay_mtu {
        netlink.set_mtu(OVERLAY, overlay_mtu)?;
    }
    netlink.set_arp_off(OVERLAY)?;
    sysctl::write_here(&[
        ("ipv4/ip_forward".to_owned(), "1"),
        // The strictest of `all` and the interface holds (ip-sysctl.rst), so `all` must not be 1.
        ("ipv4/conf/all/rp_filter".to_owned(), "0"),
        (format!("ipv4/conf/{OVERLAY}/rp_filter"), "0"),
    ])?;
    // Neither solicitations into the overlay nor routes out of it; a kernel without IPv6 has no such settings.
    let quiet = ["addr_gen_mode", "accept_ra"].map(|key| format!("ipv6/conf/{OVERLAY}/{key}"));
    let _ = sysctl::write_here(&[(quiet[0].as_str(), "1"), (quiet[1].as_str(), "0")]);
    if options.node_ips.iter().any(IpAddr::is_ipv6) {
        // A namespace may have been made with IPv6 off for what comes later.
        sysctl::write_here(&[(format!("ipv6/conf/{OVERLAY}/disable_ipv6"), "0")])?;
        forward_ipv6(netlink)?;
    }
    if !overlay.up {
        netlink.set_up(OVERLAY)?;
    }
    let tagged = netlink.links()?.iter().any(|link| link.kind == "vlan" && link.below == Some(uplink.index));
    Ok(Devices {
        tagged,
        overlay: netlink.link(OVERLAY)?,
        uplink,
        pod_mtu,
        cookie: sys::netns_cookie().map_err(Error::Cookie)?,
        snat: snat_ports()?,
    })
}

impl Devices {
    /// The configuration table's value; the seed of an earlier one stays, and the range of pods until it is planned again.
    pub fn config(&self, options: &Options, before: abi::Config) -> abi::Config {
        let first = |v4: bool| {
            let ip = options.node_ips.iter().copied().find(|ip| ip.is_ipv4() == v4);
            ip.map_or(abi::Addr::ANY, datapath::addr)
        };
        // Any number serves; the namespace's cookie and the uplink's address differ between nodes.
        let mac = self.uplink.mac.0;
        let fresh = u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]) ^ self.cookie as u32 | 1;
        abi::Config {
            node4: first(true),
            node6: first(false),
            uplink_ifindex: self.uplink.index,
            overlay_ifindex: self.overlay.index,
            vni: VNI,
            snat_min: self.snat.0,
            snat_max: self.snat.1,
            uplink_mac: mac,
            lb_mode: options.load_balancing.mode.number(),
            overlay_mtu: if options.native { self.overlay.mtu } else { 0 },
            node_cookie: self.cookie,
            events_per_s: EVENTS_PER_S,
            seed: if before.seed == 0 { fresh } else { before.seed },
            pods6: before.pods6,
            ..abi::Config::default()
        }
    }
}

impl Datapath {
    /// Brings all interface attachments up to date: the node's devices, and the pods that earlier processes attached. Tells what the
    /// uplink's packets meet first.
    pub(super) fn attach(&self, devices: &Devices) -> Result<UplinkPath, Error> {
        let (below, overlay) = (devices.uplink.index, devices.overlay.index);
        let links = &self.links;
        let place =
            |name: &'static str, index, side| links.attach_interface(name, self.object.program(name)?, index, side);
        place(program::FROM_UPLINK, below, Side::Ingress)?;
        place(program::TO_UPLINK, below, Side::Egress)?;
        place(program::FROM_OVERLAY, overlay, Side::Ingress)?;
        place(program::TO_OVERLAY, overlay, Side::Egress)?;
        self.restore_pods()?;
        // Last, because it passes to tcx what it does not finish.
        uplink::attach(links, &self.object, &devices.uplink, devices.tagged, self.options.load_balancing.xdp)
    }
}

/// Removes what a node left in its namespace and its pins: pods' interfaces, the overlay, the gateway addresses, links.
/// The uplink loses our programs and nothing else. Absent is fine.
pub fn remove(pin_dir: &Path, netns: &Path, gateways: &[IpAddr]) -> Result<(), Error> {
    mount::unmount_below(pin_dir)?;
    if !netns.exists() {
        return Ok(());
    }
    let netlink = Netlink::in_netns(netns)?;
    for link in netlink.links()? {
        if link.name == OVERLAY || (link.kind == "veth" && super::pod::is_ours(&link.name)) {
            netlink.delete_link(&link.name)?;
        }
    }
    for gateway in gateways {
        netlink.delete_address("lo", IpNet::from(*gateway))?;
    }
    Ok(())
}

/// Makes the node a router of IPv6 as it is one of IPv4: the stack answers for what is too large for a tunnel, and without it XDP gets no
/// answer from the kernel's routes (bpf_ipv6_fib_lookup). Routers do not listen to others' advertisements unless told so
/// (`accept_ra`, ip-sysctl.rst); interfaces that did go on doing it.
fn forward_ipv6(netlink: &Netlink) -> Result<(), Error> {
    if sysctl::read_here("ipv6/conf/all/forwarding")? == "1" {
        return Ok(());
    }
    for link in netlink.links()? {
        let key = |name: &str| format!("ipv6/conf/{}/{name}", link.name.replace('/', "."));
        let listens = |key: &str| sysctl::read_here(key).is_ok_and(|value| value == "1");
        if listens(&key("accept_ra")) {
            sysctl::write_here(&[(key("accept_ra"), "2")])?;
        }
    }
    sysctl::write_here(&[("ipv6/conf/all/forwarding", "1")])?;
    Ok(())
}

/// Source ports that masquerade may use: none that the node's own sockets pick, nor NodePorts.
fn snat_ports() -> Result<(u16, u16), Error> {
    const KEY: &str = "ipv4/ip_local_port_range";
    let text = sysctl::read_here(KEY)?;
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let (low, high) = (numbers.next().unwrap_or(32_768), numbers.next().unwrap_or(60_999));
    let below = (SNAT_FIRST, low.min(NODE_PORT_FIRST).saturating_sub(1));
    if below.1.saturating_sub(below.0) >= SNAT_PORTS_MIN {
        return Ok(below);
    }
    if u16::MAX - high >= SNAT_PORTS_MIN {
        return Ok((high + 1, u16::MAX));
    }
    tracing::warn!(range = text, "local port range leaves no room for masquerade; set to 32768-60999");
    sysctl::write_here(&[(KEY, "32768\t60999")])?;
    Ok((SNAT_FIRST, NODE_PORT_FIRST - 1))
}
