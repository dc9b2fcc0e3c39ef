//! Trials of network devices, queueing disciplines and what attaches to devices.
use std::os::fd::AsFd;

use super::{Scratch, programs, text};
use crate::bpf;
use crate::netlink::{PeerPlace, Veth};

/// The ends of the scratch namespace's veth pair.
const VETH: [&str; 2] = ["probe0", "probe1"];
/// `lo` of every namespace.
const LOOPBACK: u32 = 1;

/// Attach types of `enum bpf_attach_type` (include/uapi/linux/bpf.h).
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;

pub fn namespace(scratch: &Scratch) -> Result<(), String> {
    scratch.netlink().map(drop)
}

pub fn veth(scratch: &Scratch) -> Result<(), String> {
    let [name, peer_name] = VETH;
    let veth = Veth { name, mac: None, peer_name, peer_mac: None, peer: PeerPlace::Here, mtu: None };
    scratch.netlink()?.add_veth(&veth).map_err(text)
}

pub fn vxlan(scratch: &Scratch) -> Result<(), String> {
    scratch.netlink()?.add_vxlan_external("probe2", 4789, None).map_err(text)
}

pub fn geneve(scratch: &Scratch) -> Result<(), String> {
    scratch.netlink()?.add_geneve_external("probe3", 6081).map_err(text)
}

/// A kind of device that needs no further attributes.
pub fn device(scratch: &Scratch, kind: &str) -> Result<(), String> {
    let name = "probe4";
    let netlink = scratch.netlink()?;
    netlink.add_kind(name, kind).map_err(text)?;
    netlink.delete_link(name).map_err(text)
}

pub fn fair_queue(scratch: &Scratch) -> Result<(), String> {
    scratch.netlink()?.replace_root_queue(VETH[0], "fq").map_err(text)
}

pub fn tcx(scratch: &Scratch) -> Result<(), String> {
    scratch.netlink()?;
    let program = bpf::load_empty_classifier().map_err(text)?;
    bpf::link_create(program.as_fd(), LOOPBACK, BPF_TCX_INGRESS).map(drop).map_err(text)
}

/// Replaces the program of a link.
pub fn link_update(scratch: &Scratch) -> Result<(), String> {
    scratch.netlink()?;
    let [first, second] = [(); 2].map(|()| programs::xdp(0));
    let link = bpf::link_create(first?.as_fd(), LOOPBACK, BPF_XDP).map_err(text)?;
    bpf::link_update(link.as_fd(), second?.as_fd()).map_err(text)
}

/// XDP in the driver of a veth.
pub fn xdp(scratch: &Scratch) -> Result<(), String> {
    let index = scratch.netlink()?.link(VETH[0]).map_err(text)?.index;
    bpf::link_create(programs::xdp(0)?.as_fd(), index, BPF_XDP).map(drop).map_err(text)
}
