//! What the machine tells about itself: capacity, names and versions for the Node object, and what limits the daemon.

use std::fs;
use std::path::Path;

use cri::v1::DnsConfig;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pod::resources::List;

/// Pods a node takes at most.
const PODS_LIMIT: u32 = 110;
/// Memory kept back for the node itself.
const RESERVED_MEMORY_BYTES: u64 = 100 << 20;
/// Capability number of CAP_SYS_RESOURCE.
const CAP_SYS_RESOURCE: u32 = 24;

/// The machine at the daemon's start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) cpus: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) machine_id: String,
    pub(crate) system_uuid: String,
    pub(crate) boot_id: String,
}

impl Machine {
    /// Reads /proc, /etc and the file system that holds `data_dir`.
    pub(crate) fn read(data_dir: &Path) -> Machine {
        let disk = rustix::fs::statvfs(data_dir).map(|stat| stat.f_blocks * stat.f_frsize).unwrap_or(0);
        Machine {
            cpus: count_cpus(),
            memory_bytes: memory_bytes(),
            disk_bytes: disk,
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_image(),
            machine_id: line("/etc/machine-id"),
            system_uuid: line("/sys/class/dmi/id/product_uuid"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// `status.capacity`.
    pub(crate) fn capacity(&self) -> List {
        self.list(self.memory_bytes, self.disk_bytes)
    }

    /// `status.allocatable`: capacity less what the node keeps for itself.
    pub(crate) fn allocatable(&self) -> List {
        self.list(self.memory_bytes.saturating_sub(RESERVED_MEMORY_BYTES), self.disk_bytes / 10 * 9)
    }

    fn list(&self, memory: u64, disk: u64) -> List {
        [
            ("cpu", self.cpus.to_string()),
            ("memory", format!("{}Ki", memory / 1024)),
            ("ephemeral-storage", format!("{}Ki", disk / 1024)),
            ("pods", PODS_LIMIT.to_string()),
        ]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .into()
    }
}

/// The lowest oom_score_adj the daemon may give away: its own when it lacks CAP_SYS_RESOURCE, else any.
pub(crate) fn oom_floor() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:")).map(str::trim);
    let mask = effective.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    if mask & (1 << CAP_SYS_RESOURCE) != 0 {
        return None;
    }
    Some(line("/proc/self/oom_score_adj").parse().unwrap_or(0))
}

/// The node's own resolv.conf, without loopback servers, which pods cannot reach.
pub(crate) fn resolv_conf() -> DnsConfig {
    let mut config = DnsConfig::default();
    for text in fs::read_to_string("/etc/resolv.conf").unwrap_or_default().lines() {
        let mut words = text.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.filter(|s| !is_loopback(s)).map(str::to_owned)),
            Some("search" | "domain") => config.searches = words.map(str::to_owned).collect(),
            Some("options") => config.options.extend(words.map(str::to_owned)),
            Some(_) | None => {}
        }
    }
    config
}

/// First line of a file, "" if it cannot be read.
pub(crate) fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn is_loopback(address: &str) -> bool {
    address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn count_cpus() -> u64 {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let listed = text.lines().filter(|l| l.starts_with("processor")).count();
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    u64::try_from(listed.max(usable)).unwrap_or(1)
}

fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}
