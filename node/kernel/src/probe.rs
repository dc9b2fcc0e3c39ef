//! What the kernel and our rights must offer, tried for real in a scratch network namespace.
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};

use crate::netlink::{Netlink, PeerPlace, Veth};
use crate::{bpf, cgroup};

/// A feature that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub feature: &'static str,
    /// What was tried and how it failed.
    pub reason: String,
    /// What to do about it.
    pub fix: &'static str,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.feature, self.reason, self.fix)
    }
}

/// Capabilities of capabilities(7) by bit.
const CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN"), (39, "CAP_BPF")];

const FILE_SYSTEMS: [(&str, &str); 3] = [
    ("bpf", "use a kernel with CONFIG_BPF_SYSCALL"),
    ("cgroup2", "use a kernel with CONFIG_CGROUPS"),
    ("overlay", "load the overlay module or use a kernel with CONFIG_OVERLAY_FS"),
];

/// Everything a node needs that is not there; empty when it can start.
pub fn probe() -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut miss = |feature, reason: String, fix| missing.push(Missing { feature, reason, fix });

    let effective = effective_capabilities();
    for (bit, name) in CAPABILITIES {
        if effective & (1 << bit) == 0 {
            miss(name, "this process does not have it".into(), "run as root or with the capability");
        }
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        let reason = "/sys/kernel/btf/vmlinux is absent".into();
        miss("BTF", reason, "use a kernel with CONFIG_DEBUG_INFO_BTF");
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for (name, fix) in FILE_SYSTEMS {
        if !known.lines().any(|line| line.split_whitespace().next_back() == Some(name)) {
            miss(name, "not in /proc/filesystems".into(), fix);
        }
    }
    if let Err(e) = cgroup::v2_mount() {
        miss("cgroup v2", e.to_string(), "mount the hierarchy");
    }
    match std::thread::spawn(scratch).join() {
        Ok(found) => missing.extend(found),
        Err(_) => missing.push(Missing {
            feature: "network namespaces",
            reason: "the probe died".into(),
            fix: "report this as a bug",
        }),
    }
    missing
}

/// Tries devices and tcx in a namespace that dies with the thread.
fn scratch() -> Vec<Missing> {
    let lacking = |feature, reason: String, fix| Missing { feature, reason, fix };
    if let Err(e) = unshare(CloneFlags::CLONE_NEWNET) {
        let fix = "run as root on a kernel with CONFIG_NET_NS";
        return vec![lacking("network namespaces", e.to_string(), fix)];
    }
    let netlink = match Netlink::here() {
        Ok(netlink) => netlink,
        Err(e) => return vec![lacking("route netlink", e.to_string(), "use a kernel with CONFIG_INET")],
    };
    let mut missing = Vec::new();
    let veth =
        Veth { name: "probe0", mac: None, peer_name: "probe1", peer_mac: None, peer: PeerPlace::Here, mtu: None };
    if let Err(e) = netlink.add_veth(&veth) {
        missing.push(lacking("veth", e.to_string(), "load the veth module (CONFIG_VETH)"));
    }
    if let Err(e) = netlink.add_vxlan_external("probe2", 4789, None) {
        missing.push(lacking("VXLAN", e.to_string(), "load the vxlan module (CONFIG_VXLAN)"));
    }
    const BPF_TCX_INGRESS: u32 = 46;
    let tcx = bpf::load_empty_classifier().and_then(|program| bpf::link_create(program.as_fd(), 1, BPF_TCX_INGRESS));
    if let Err(e) = tcx {
        missing.push(lacking("tcx", e.to_string(), "use Linux 6.6 or newer"));
    }
    missing
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}
