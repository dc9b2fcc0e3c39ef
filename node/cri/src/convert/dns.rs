//! A pod's resolv.conf, by its DNS policy.

use k8s_openapi::api::core::v1::Pod;
use pod::spec::{host_network, spec, text};

use crate::v1;

/// Servers in a resolv.conf; libc reads no more.
const MAX_SERVERS: usize = 3;
/// Search domains; Kubernetes' limit.
const MAX_SEARCHES: usize = 32;

/// What the node knows about name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsOptions {
    /// Addresses of the cluster's DNS.
    pub cluster_servers: Vec<String>,
    /// The cluster's domain, e.g. `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolv.conf.
    pub host: v1::DnsConfig,
}

/// The resolv.conf of `pod`.
pub fn dns_config(pod: &Pod, options: &DnsOptions) -> v1::DnsConfig {
    let spec = spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" => v1::DnsConfig::default(),
        "ClusterFirstWithHostNet" => cluster_first(pod, options),
        "ClusterFirst" if !host_network(pod) => cluster_first(pod, options),
        // "Default", and "ClusterFirst" of a pod on the node's network.
        _ => options.host.clone(),
    };
    merge(cluster, spec.dns_config.as_ref())
}

fn cluster_first(pod: &Pod, options: &DnsOptions) -> v1::DnsConfig {
    if options.cluster_servers.is_empty() {
        return options.host.clone();
    }
    let domain = &options.cluster_domain;
    let namespace = text(&pod.metadata.namespace);
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    searches.extend(options.host.searches.iter().cloned());
    v1::DnsConfig { servers: options.cluster_servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

/// Adds what the pod asks for: servers and searches behind, options of the same name replaced.
fn merge(mut config: v1::DnsConfig, extra: Option<&k8s_openapi::api::core::v1::PodDNSConfig>) -> v1::DnsConfig {
    if let Some(extra) = extra {
        config.servers.extend(extra.nameservers.iter().flatten().cloned());
        config.searches.extend(extra.searches.iter().flatten().cloned());
        for option in extra.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            config.options.retain(|present| present.split(':').next() != Some(name));
            config.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    config.servers = first_distinct(config.servers, MAX_SERVERS);
    config.searches = first_distinct(config.searches, MAX_SEARCHES);
    config
}

fn first_distinct(items: Vec<String>, limit: usize) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for item in items {
        if kept.len() < limit && !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}
