//! `status` of the Node: what is observed, and the object made of it.

use cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::context::Context;

/// Port of the node's own API.
pub(crate) const API_PORT: u16 = 10250;
/// Images listed in the status.
const IMAGES_LIMIT: usize = 50;
/// Names listed of one image.
const NAMES_LIMIT: usize = 5;
const KUBELET_VERSION: &str = "v1.36.0+gannet";
/// Share of the disk that has to be free, in percent.
const DISK_FREE_PERCENT: u64 = 10;
/// Memory that has to be free.
const MEMORY_FREE_BYTES: u64 = 100 << 20;

/// What changes at run time.
pub(super) struct Observed {
    /// `containerd://1.6.20`.
    pub(super) runtime_version: String,
    /// Why the node is not ready.
    pub(super) trouble: Option<String>,
    /// Why its network is not.
    pub(super) network: Option<String>,
    /// What handles the uplink's packets.
    pub(super) uplink: Option<String>,
    pub(super) images: Vec<v1::Image>,
    pub(super) low_memory: bool,
    pub(super) low_disk: bool,
}

/// Asks the runtime and the machine.
pub(super) async fn observe(context: &Context) -> Observed {
    let version = context.runtime.version().await;
    let runtime_status = context.runtime.status().await;
    let runtime_trouble = match (&version, &runtime_status) {
        (Err(error), _) | (_, Err(error)) => Some(format!("container runtime is down: {}", error.message())),
        (Ok(_), Ok(status)) => {
            let failing = status.conditions.iter().find(|c| c.r#type == "RuntimeReady" && !c.status);
            failing.map(|c| format!("container runtime is not ready: {} {}", c.reason, c.message))
        }
    };
    let network = context.network_error();
    let trouble =
        runtime_trouble.or_else(|| network.clone().map(|why| format!("container network is not ready: {why}")));
    let disk = rustix::fs::statvfs(&context.config.data_dir);
    Observed {
        runtime_version: version.map_or_else(
            |_| "containerd://unknown".to_owned(),
            |v| format!("{}://{}", v.runtime_name, v.runtime_version.trim_start_matches('v')),
        ),
        trouble,
        network,
        uplink: context.uplink(),
        images: context.runtime.list_images().await.unwrap_or_default(),
        low_memory: available_memory().is_some_and(|bytes| bytes < MEMORY_FREE_BYTES),
        low_disk: disk.is_ok_and(|d| d.f_bavail * 100 < d.f_blocks * DISK_FREE_PERCENT),
    }
}

/// The status at `now`; conditions keep their transition times from `old`, conditions of others stay.
pub(super) fn compute(context: &Context, observed: &Observed, old: &NodeStatus, now: Timestamp) -> NodeStatus {
    let config = &context.config;
    let machine = &context.machine;
    let address = |kind: &str, value: String| NodeAddress { type_: kind.to_owned(), address: value };
    let own = [
        bad("MemoryPressure", observed.low_memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
        bad("DiskPressure", observed.low_disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
        bad("PIDPressure", false, "KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
        network_condition(observed),
        ready_condition(observed),
    ];
    NodeStatus {
        addresses: Some(
            config
                .node_ips
                .iter()
                .map(|ip| address("InternalIP", ip.to_string()))
                .chain([address("Hostname", config.node_name.clone())])
                .collect(),
        ),
        capacity: Some(machine.capacity()),
        allocatable: Some(machine.allocatable()),
        conditions: Some(conditions(own, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(API_PORT) }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: observed.runtime_version.clone(),
            kernel_version: machine.kernel.clone(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        images: Some(observed.images.iter().take(IMAGES_LIMIT).map(image).collect()),
        ..old.clone()
    }
}

/// Whether the two say the same apart from heartbeat times.
pub(super) fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    timeless(a) == timeless(b)
}

/// As Kubernetes names it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn conditions(own: [NodeCondition; 5], old: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    let mut list: Vec<NodeCondition> = own.into();
    for condition in &mut list {
        let before = old.conditions.iter().flatten().find(|c| c.type_ == condition.type_);
        let kept = before.filter(|c| c.status == condition.status).and_then(|c| c.last_transition_time.clone());
        condition.last_transition_time = Some(kept.unwrap_or(Time(now)));
        condition.last_heartbeat_time = Some(Time(now));
    }
    let foreign = old.conditions.iter().flatten().filter(|c| !list.iter().any(|own| own.type_ == c.type_));
    let foreign: Vec<NodeCondition> = foreign.cloned().collect();
    list.extend(foreign);
    list
}

fn condition(kind: &str, holds: bool, reason: &str, message: String) -> NodeCondition {
    NodeCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..NodeCondition::default()
    }
}

fn bad(kind: &str, holds: bool, if_so: &str, if_not: &str) -> NodeCondition {
    let reason = if holds { if_so } else { if_not };
    let words = match (kind, holds) {
        ("MemoryPressure", true) => "kubelet has insufficient memory available",
        ("MemoryPressure", false) => "kubelet has sufficient memory available",
        ("DiskPressure", true) => "kubelet has disk pressure",
        ("DiskPressure", false) => "kubelet has no disk pressure",
        (_, _) => "kubelet has sufficient PID available",
    };
    condition(kind, holds, reason, words.to_owned())
}

fn network_condition(observed: &Observed) -> NodeCondition {
    match &observed.network {
        None => {
            let uplink = observed.uplink.as_ref().map(|uplink| format!("; uplink: {uplink}")).unwrap_or_default();
            let message = format!("the data plane is programmed{uplink}");
            condition("NetworkUnavailable", false, "FabricLive", message)
        }
        Some(why) => condition("NetworkUnavailable", true, "FabricNotLive", why.clone()),
    }
}

fn ready_condition(observed: &Observed) -> NodeCondition {
    match &observed.trouble {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(why) => condition("Ready", false, "KubeletNotReady", why.clone()),
    }
}

fn image(image: &v1::Image) -> ContainerImage {
    let names = image.repo_digests.iter().chain(&image.repo_tags).take(NAMES_LIMIT).cloned().collect();
    ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size).ok() }
}

fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
