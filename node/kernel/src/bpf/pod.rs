//! A pod's interface: a veth pair whose host side carries the programs before it comes up.
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use abi::{Addr, PodValue, VethValue, program};
use ipnet::IpNet;

use super::links::Side;
use super::{Datapath, Error};
use crate::netlink::{Link, Mac, Neighbour, Netlink, PeerPlace, Route, Veth};
use crate::{netns, sysctl};

/// Start of the names of pods' host-side interfaces.
const PREFIX: &str = "gn";

/// Whether an interface name is one of a pod's host side.
pub fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.len() == 11 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A pod to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// Host side: `gn` and 11 hex digits.
    pub host_ifname: String,
    /// Path of the pod's network namespace.
    pub netns: PathBuf,
    /// Name inside the pod, `eth0`.
    pub ifname: String,
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Where the pod's policy stands; not 0, below `abi::MAX_PODS`, no other pod's.
    pub seat: u32,
    pub bandwidth: Bandwidth,
}

/// Limits in bits a second, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Of what the pod receives.
    pub ingress: u64,
    /// Of what the pod sends.
    pub egress: u64,
}

impl Bandwidth {
    /// `LIMIT_*` bits.
    fn bits(self) -> u32 {
        let ingress = if self.ingress == 0 { 0 } else { abi::LIMIT_INGRESS };
        ingress | if self.egress == 0 { 0 } else { abi::LIMIT_EGRESS }
    }
}

/// An attached pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    pub host_index: u32,
    pub host_mac: Mac,
    pub pod_mac: Mac,
    pub mtu: u32,
}

impl Datapath {
    /// Attaches a pod; when this returns its packets flow. The programs are in place before the interface is up, so no
    /// packet ever passes unseen. Repeating it for a pod that stands changes nothing.
    pub fn attach_pod(&self, pod: &PodLink) -> Result<Attached, Error> {
        if let Some(attached) = self.check_pod(pod)? {
            return Ok(attached);
        }
        self.detach_pod(&pod.host_ifname)?;
        let result = self.build_pod(pod);
        if result.is_err() {
            // What was made of it must not stay; the first error is the one to report.
            let _ = self.detach_pod(&pod.host_ifname);
        }
        result
    }

    /// Detaches a pod and removes every trace. Absent is fine.
    pub fn detach_pod(&self, host_ifname: &str) -> Result<(), Error> {
        if let Some(link) = self.netlink.find_link(host_ifname)? {
            self.forget(link.index)?;
            self.netlink.delete_link(host_ifname)?;
        }
        self.links.remove(&link_name(program::FROM_POD, host_ifname))?;
        self.links.remove(&link_name(program::TO_POD, host_ifname))
    }

    /// Every attached pod: host-side interface, addresses and seat.
    pub fn attached_pods(&self) -> Result<Vec<(String, Vec<IpAddr>, u32)>, Error> {
        let veths = self.veths.entries()?;
        let links = self.netlink.links()?.into_iter().filter(|link| is_ours(&link.name));
        let found = links.filter_map(|link| {
            let (_, veth) = veths.iter().find(|(index, _)| *index == link.index)?;
            let set = [veth.addr4, veth.addr6].into_iter().filter(|ip| *ip != Addr::ANY);
            Some((link.name, set.map(datapath::ip).collect(), veth.seat))
        });
        Ok(found.collect())
    }

    /// How a pod is attached, if all of it stands.
    pub fn check_pod(&self, pod: &PodLink) -> Result<Option<Attached>, Error> {
        let Some(host) = self.netlink.find_link(&pod.host_ifname)? else { return Ok(None) };
        let inside = match Netlink::in_netns(&pod.netns) {
            Ok(inside) => inside,
            Err(_) => return Ok(None),
        };
        let Some(eth) = inside.find_link(&pod.ifname)? else { return Ok(None) };
        let has = inside.addresses(&pod.ifname)?;
        let entries = pod.addresses.iter().all(|ip| {
            let entry = self.pods.get(&datapath::addr(*ip));
            entry.is_ok_and(|entry| entry == Some(pod_value(pod, &host, eth.mac)))
        });
        let veth = self.veths.get(&host.index)? == Some(veth_value(pod, eth.mac));
        let whole =
            host.up && eth.up && entries && veth && pod.addresses.iter().all(|ip| has.contains(&IpNet::from(*ip)));
        Ok(whole.then_some(Attached { host_index: host.index, host_mac: host.mac, pod_mac: eth.mac, mtu: eth.mtu }))
    }

    fn build_pod(&self, pod: &PodLink) -> Result<Attached, Error> {
        let name = pod.host_ifname.as_str();
        let (host_mac, pod_mac) = (mac_of(name, 0), mac_of(name, 1));
        self.netlink.add_veth(&Veth {
            name,
            mac: Some(host_mac),
            peer_name: &pod.ifname,
            peer_mac: Some(pod_mac),
            peer: PeerPlace::Netns(&pod.netns),
            mtu: Some(self.pod_mtu),
        })?;
        let host = self.netlink.link(name)?;
        netns::run_in(&self.options.netns, || self.attach_programs(name, host.index))??;
        for (egress, limit) in [(false, pod.bandwidth.ingress), (true, pod.bandwidth.egress)] {
            self.rates.put(&abi::rate_index(pod.seat, egress), &abi::Rate::of_bits(limit))?;
        }
        self.veths.put(&host.index, &veth_value(pod, pod_mac))?;
        sysctl::write_in(
            &self.options.netns,
            &[
                (format!("ipv4/conf/{name}/rp_filter"), "0"),
                (format!("ipv6/conf/{name}/accept_ra"), "0"),
                (format!("ipv6/conf/{name}/addr_gen_mode"), "1"),
                (format!("ipv6/conf/{name}/disable_ipv6"), if has_v6(pod) { "0" } else { "1" }),
            ],
        )
        .or_else(ignore_absent)?;
        self.netlink.set_up(name)?;
        self.inside(pod, host_mac)?;
        for ip in &pod.addresses {
            self.pods.put(&datapath::addr(*ip), &pod_value(pod, &host, pod_mac))?;
            let route = Route { source: self.source(*ip), ..Route::on_link(IpNet::from(*ip), name) };
            self.netlink.replace_route(&route)?;
            self.netlink.replace_neighbour(&Neighbour { address: *ip, mac: pod_mac, dev: name.to_owned() })?;
        }
        Ok(Attached { host_index: host.index, host_mac, pod_mac, mtu: self.pod_mtu })
    }

    /// The pod's side: addresses, and a default route of each family to its gateway address, whose MAC is the host side's. The pod has no
    /// link-local address and solicits no routers: nothing on its link would answer.
    fn inside(&self, pod: &PodLink, host_mac: Mac) -> Result<(), Error> {
        let dev = pod.ifname.as_str();
        let v6 = has_v6(pod);
        sysctl::write_in(
            &pod.netns,
            &[
                (format!("ipv6/conf/{dev}/disable_ipv6"), if v6 { "0" } else { "1" }),
                (format!("ipv6/conf/{dev}/accept_ra"), "0"),
                (format!("ipv6/conf/{dev}/addr_gen_mode"), "1"),
                (format!("ipv6/conf/{dev}/dad_transmits"), "0"),
            ],
        )
        .or_else(ignore_absent)?;
        let inside = Netlink::in_netns(&pod.netns)?;
        inside.set_up("lo")?;
        for ip in &pod.addresses {
            inside.add_address(dev, IpNet::from(*ip))?;
        }
        inside.set_up(dev)?;
        for ip in &pod.addresses {
            let Some(gateway) = self.gateway(*ip) else { continue };
            inside.replace_neighbour(&Neighbour { address: gateway, mac: host_mac, dev: dev.to_owned() })?;
            let everywhere = match ip {
                IpAddr::V4(_) => IpNet::new_assert(IpAddr::from([0; 4]), 0),
                IpAddr::V6(_) => IpNet::new_assert(IpAddr::from([0; 16]), 0),
            };
            inside.replace_route(&Route { onlink: true, ..Route::through(everywhere, gateway, dev) })?;
        }
        Ok(())
    }

    /// The gateway address of a pod's address.
    fn gateway(&self, pod: IpAddr) -> Option<IpAddr> {
        self.options.gateways.iter().copied().find(|ip| ip.is_ipv4() == pod.is_ipv4())
    }

    fn attach_programs(&self, name: &str, index: u32) -> Result<(), Error> {
        let place = |which: &'static str, side| {
            self.links.attach_interface(&link_name(which, name), self.object.program(which)?, index, side)
        };
        place(program::FROM_POD, Side::Ingress)?;
        place(program::TO_POD, Side::Egress)
    }

    /// Brings the attachments of pods that stand up to date and forgets those whose interface is gone; runs in the
    /// node's namespace.
    pub(super) fn restore_pods(&self) -> Result<(), Error> {
        let mut expected = Vec::new();
        for link in self.netlink.links()?.into_iter().filter(|link| is_ours(&link.name)) {
            if self.veths.get(&link.index)?.is_some() {
                self.attach_programs(&link.name, link.index)?;
                expected.push(link);
            }
        }
        for (index, _) in self.veths.entries()? {
            if !expected.iter().any(|link| link.index == index) {
                self.forget(index)?;
            }
        }
        for (ip, pod) in self.pods.entries()? {
            if !expected.iter().any(|link| link.index == pod.ifindex) {
                self.pods.remove(&ip)?;
            }
        }
        for name in self.links.names()? {
            let ours = [program::FROM_POD, program::TO_POD]
                .into_iter()
                .find_map(|which| name.strip_prefix(which)?.strip_prefix('-'));
            if ours.is_some_and(|ifname| !expected.iter().any(|link| link.name == ifname)) {
                self.links.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Removes the table entries of an interface.
    fn forget(&self, index: u32) -> Result<(), Error> {
        if let Some(veth) = self.veths.get(&index)? {
            for ip in [veth.addr4, veth.addr6].into_iter().filter(|ip| *ip != Addr::ANY) {
                if self.pods.get(&ip)?.is_some_and(|pod| pod.ifindex == index) {
                    self.pods.remove(&ip)?;
                }
            }
        }
        self.veths.remove(&index)
    }
}

fn link_name(which: &str, ifname: &str) -> String {
    format!("{which}-{ifname}")
}

fn has_v6(pod: &PodLink) -> bool {
    pod.addresses.iter().any(IpAddr::is_ipv6)
}

/// A kernel without IPv6 has none of its settings.
fn ignore_absent(error: sysctl::Error) -> Result<(), sysctl::Error> {
    match &error {
        sysctl::Error::Io { path, source, .. }
            if source.kind() == std::io::ErrorKind::NotFound && path.starts_with(Path::new("/proc/sys/net/ipv6")) =>
        {
            Ok(())
        }
        sysctl::Error::Io { .. } | sysctl::Error::Netns(_) => Err(error),
    }
}

/// A locally administered address from the interface's name (IEEE 802c): the same again for the same pod.
pub(super) fn mac_of(name: &str, side: u8) -> Mac {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes().chain([side]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    Mac([0x02, a, b, c, d, e])
}

pub(super) fn pod_value(pod: &PodLink, host: &Link, pod_mac: Mac) -> PodValue {
    PodValue { ifindex: host.index, mac: pod_mac.0, host_mac: host.mac.0, seat: pod.seat, limits: pod.bandwidth.bits() }
}

pub(super) fn veth_value(pod: &PodLink, mac: Mac) -> VethValue {
    let of = |v4: bool| {
        let ip = pod.addresses.iter().copied().find(|ip| ip.is_ipv4() == v4);
        ip.map_or(Addr::ANY, datapath::addr)
    };
    VethValue {
        addr4: of(true),
        addr6: of(false),
        mac: mac.0,
        pad: [0; 2],
        seat: pod.seat,
        limits: pod.bandwidth.bits(),
    }
}
