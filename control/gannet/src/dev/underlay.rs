//! The wires: a bridge in a namespace of its own, one namespace a node with a veth into the bridge, and one veth pair
//! into the root namespace. Each step looks first, so that a second run repairs and changes nothing else.

use std::path::PathBuf;

use anyhow::Context as _;
use ipnet::IpNet;
use kernel::netlink::{Netlink, PeerPlace, Route, Veth, compute_checksums};
use kernel::netns;

use super::cluster::{Cluster, Member};
use crate::teardown::Removed;

/// The bridge's name in its namespace.
const BRIDGE: &str = "br0";
/// The bridge's port towards the root namespace.
const HOST_PORT: &str = "host";
/// A node's interface.
pub const UPLINK: &str = "eth0";

/// Makes what is missing.
pub fn ensure(cluster: &Cluster) -> anyhow::Result<()> {
    let bridge_netns = ensure_netns(&cluster.bridge_netns())?;
    let bridge = Netlink::in_netns(&bridge_netns)?;
    bridge.set_up("lo")?;
    if bridge.find_link(BRIDGE)?.is_none() {
        bridge.add_bridge(BRIDGE)?;
    }
    bridge.set_up(BRIDGE)?;
    if cluster.host_access {
        ensure_host(cluster, &bridge, &bridge_netns).context("the machine's own link to the cluster")?;
    }
    for member in cluster.members() {
        ensure_member(cluster, &member, &bridge).with_context(|| format!("network of node {}", member.name))?;
    }
    Ok(())
}

fn ensure_netns(name: &str) -> anyhow::Result<PathBuf> {
    if !netns::exists(name) {
        netns::create(name)?;
    }
    Ok(netns::path(name))
}

fn ensure_host(cluster: &Cluster, bridge: &Netlink, bridge_netns: &std::path::Path) -> anyhow::Result<()> {
    let root = Netlink::here()?;
    let link = cluster.host_link();
    if root.find_link(&link)?.is_none() {
        root.add_veth(&Veth {
            name: &link,
            mac: None,
            peer_name: HOST_PORT,
            peer_mac: None,
            peer: PeerPlace::Netns(bridge_netns),
            mtu: None,
        })?;
    }
    bridge.set_master(HOST_PORT, BRIDGE)?;
    bridge.set_up(HOST_PORT)?;
    if cluster.has_xdp() {
        compute_checksums(&link)?;
    }
    ensure_addresses(&root, &link, &cluster.on_underlay(cluster.host_addresses()))?;
    Ok(root.set_up(&link)?)
}

fn ensure_member(cluster: &Cluster, member: &Member, bridge: &Netlink) -> anyhow::Result<()> {
    let node_netns = ensure_netns(&member.netns())?;
    let node = Netlink::in_netns(&node_netns)?;
    let port = format!("n{}", member.index);
    if bridge.find_link(&port)?.is_none() {
        bridge.add_veth(&Veth {
            name: &port,
            mac: None,
            peer_name: UPLINK,
            peer_mac: None,
            peer: PeerPlace::Netns(&node_netns),
            mtu: None,
        })?;
    }
    bridge.set_master(&port, BRIDGE)?;
    bridge.set_up(&port)?;
    node.set_up("lo")?;
    if cluster.has_xdp() {
        netns::run_in(&node_netns, || compute_checksums(UPLINK))??;
    }
    ensure_addresses(&node, UPLINK, &cluster.on_underlay(member.addresses))?;
    node.set_up(UPLINK)?;
    if cluster.host_access {
        for host in cluster.host_addresses().iter() {
            let anywhere = if host.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            let anywhere: IpNet = anywhere.parse().expect("a constant range parses");
            node.replace_route(&Route::through(anywhere, host, UPLINK))?;
        }
    }
    Ok(())
}

fn ensure_addresses(netlink: &Netlink, link: &str, addresses: &[IpNet]) -> anyhow::Result<()> {
    let there = netlink.addresses(link)?;
    for address in addresses.iter().filter(|address| !there.contains(address)) {
        netlink.add_address(link, *address)?;
    }
    Ok(())
}

/// Removes namespaces and the machine's link; its routes vanish with it.
pub fn remove(cluster: &Cluster, removed: &mut Removed) -> anyhow::Result<()> {
    let root = Netlink::here()?;
    if root.find_link(&cluster.host_link())?.is_some() {
        root.delete_link(&cluster.host_link())?;
        removed.add("interface", cluster.host_link());
    }
    let members = cluster.members().map(|member| member.netns());
    for name in members.chain([cluster.bridge_netns()]) {
        if netns::exists(&name) {
            netns::delete(&name)?;
            removed.add("network namespace", name);
        }
    }
    Ok(())
}
