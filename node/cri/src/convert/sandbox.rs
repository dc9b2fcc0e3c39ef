//! A pod's sandbox.

use k8s_openapi::api::core::v1::Pod;
use pod::spec::{host_network, spec, text};

use super::dns::{DnsOptions, dns_config};
use super::{labels, paths, security};
use crate::v1;

/// Longest hostname.
const MAX_HOSTNAME_BYTES: usize = 63;

/// What the daemon adds to the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxOptions {
    /// Which sandbox of this pod this is, from 0.
    pub attempt: u32,
    /// Where logs go, without a slash at the end.
    pub log_root: String,
    /// The cgroup below which the pod's containers run.
    pub cgroup_parent: String,
    /// Name resolution.
    pub dns: DnsOptions,
}

/// The sandbox of `pod`.
pub fn sandbox_config(pod: &Pod, options: &SandboxOptions) -> v1::PodSandboxConfig {
    let meta = &pod.metadata;
    let mut pod_labels = meta.labels.clone().unwrap_or_default();
    pod_labels.extend(identity(pod));
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: text(&meta.name).to_owned(),
            uid: text(&meta.uid).to_owned(),
            namespace: text(&meta.namespace).to_owned(),
            attempt: options.attempt,
        }),
        hostname: hostname(pod),
        log_directory: paths::pod_log_directory(&options.log_root, pod),
        dns_config: Some(dns_config(pod, &options.dns)),
        port_mappings: port_mappings(pod),
        labels: pod_labels,
        annotations: meta.annotations.clone().unwrap_or_default(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: options.cgroup_parent.clone(),
            security_context: Some(security::sandbox_context(pod)),
            sysctls: sysctls(pod),
            ..Default::default()
        }),
    }
}

/// The labels by which sandboxes and containers of `pod` are found.
pub(super) fn identity(pod: &Pod) -> [(String, String); 3] {
    let meta = &pod.metadata;
    [
        (labels::POD_NAME.to_owned(), text(&meta.name).to_owned()),
        (labels::POD_NAMESPACE.to_owned(), text(&meta.namespace).to_owned()),
        (labels::POD_UID.to_owned(), text(&meta.uid).to_owned()),
    ]
}

/// Ports of the node that lead to the pod; on the node's network every port does already.
fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    if host_network(pod) {
        return Vec::new();
    }
    let ports = pod::spec::containers(pod).flat_map(|(_, container)| container.ports.iter().flatten());
    let mapped = ports.filter_map(|port| Some((port, port.host_port.filter(|number| *number > 0)?)));
    mapped
        .map(|(port, host_port)| v1::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

/// The pod's hostname; none on the node's network, which has the node's.
fn hostname(pod: &Pod) -> String {
    if host_network(pod) {
        return String::new();
    }
    let wanted = spec(pod).hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(text(&pod.metadata.name));
    let cut = wanted.get(..MAX_HOSTNAME_BYTES).unwrap_or(wanted);
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn sysctls(pod: &Pod) -> std::collections::BTreeMap<String, String> {
    let context = spec(pod).security_context.as_ref();
    let wanted = context.and_then(|context| context.sysctls.as_ref());
    wanted.into_iter().flatten().map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone())).collect()
}
