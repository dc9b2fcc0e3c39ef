//! Pod CIDRs: each node gets a range of its own out of the cluster's, and no two nodes ever the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::Key;
use cache::{Change, Kind, Object, View};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use reconcile::{Controller, EventRecord, Plan, Write};
use serde::Deserialize;
use serde_json::json;

/// The prefix length of a node's range: 254 pod addresses for IPv4.
pub const NODE_PREFIX_V4: u8 = 24;
/// The same for IPv6.
pub const NODE_PREFIX_V6: u8 = 64;

/// Hands out pod CIDRs. It has a single key for all nodes: two nodes decided at once from one View could be given the
/// same range.
#[derive(Debug)]
pub struct NodeIpamController {
    /// The cluster's ranges, one a family.
    pub cluster_cidrs: Vec<IpNet>,
}

impl Controller for NodeIpamController {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn keys(&self, change: &Change, _view: &View) -> Vec<Key> {
        // A node without a range wants one; one that goes may leave what another waits for.
        let wants = |node: &Object| node.part::<Ranged>().is_none_or(|node| node.cidrs().is_empty());
        let is_due = change.kind == Kind::Node && change.new.as_ref().is_none_or(wants);
        if is_due { vec![Key::cluster("all")] } else { Vec::new() }
    }

    fn reconcile(&self, _key: &Key, view: &View, _now: Timestamp) -> Plan {
        let (mut used, mut without) = (BTreeSet::<IpNet>::new(), Vec::new());
        for node in view.tables.all(Kind::Node) {
            let cidrs = node.part::<Ranged>().unwrap_or_default().cidrs();
            if cidrs.is_empty() && !node.is_deleting() {
                without.extend(node.typed::<Node>());
            }
            used.extend(cidrs);
        }
        let mut plan = Plan::none();
        for node in without {
            let free: Option<Vec<IpNet>> =
                self.cluster_cidrs.iter().map(|cluster| first_free(cluster, &used)).collect();
            let name = node.metadata.name.as_deref().unwrap_or_default();
            match free {
                Some(cidrs) if !cidrs.is_empty() => {
                    used.extend(&cidrs);
                    let body = json!({
                        "metadata": {"uid": node.metadata.uid},
                        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
                    });
                    plan.writes.push(Write::patch(Kind::Node, &Key::cluster(name), body));
                }
                Some(_) => {}
                None => plan.events.push(EventRecord::warning(
                    node.as_ref(),
                    "CIDRNotAvailable",
                    format!("Node {name} status is now: CIDRNotAvailable"),
                )),
            }
        }
        plan
    }
}

/// What is read of every node.
#[derive(Default, Deserialize)]
struct Ranged {
    spec: Option<RangedSpec>,
}

#[derive(Default, Deserialize)]
struct RangedSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

impl Ranged {
    fn cidrs(&self) -> Vec<IpNet> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let cidrs = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
        cidrs.filter_map(|cidr| cidr.parse().ok()).collect()
    }
}

/// The first range of a node's size within the cluster's that overlaps none in use.
fn first_free(cluster: &IpNet, used: &BTreeSet<IpNet>) -> Option<IpNet> {
    let (prefix, width) = match cluster {
        IpNet::V4(_) => (NODE_PREFIX_V4.max(cluster.prefix_len()), 32),
        IpNet::V6(_) => (NODE_PREFIX_V6.max(cluster.prefix_len()), 128),
    };
    let step = 1_u128 << (width - prefix);
    let count = 1_u128 << (prefix - cluster.prefix_len());
    let first = match cluster.network() {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    // Every range in use can block at most one candidate if it is no larger than a node's, so the search ends soon.
    (0..count).map(|index| first + index * step).find_map(|address| {
        let ip = match cluster {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(address).ok()?)),
            IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(address)),
        };
        let candidate = IpNet::new(ip, prefix).ok()?;
        let overlaps = used.iter().any(|used| used.contains(&candidate) || candidate.contains(used));
        (!overlaps).then_some(candidate)
    })
}

#[cfg(test)]
mod tests;
