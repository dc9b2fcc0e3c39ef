//! Scores: which of the nodes that can take a pod suits it best. Each score is 0 to 100; weights as in Kubernetes'
//! default profile.

use cache::taint;
use k8s_openapi::api::core::v1::Node;

use crate::affinity;
use crate::decide::Profile;
use crate::filter::Demand;
use crate::snapshot::NodeLoad;

const ZONE: &str = "topology.kubernetes.io/zone";
const MAX: i64 = 100;

/// A node that can take the pod.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// The node.
    pub node: &'a Node,
    /// Its load.
    pub load: &'a NodeLoad,
}

/// The weighted sum of every score, for each candidate.
pub fn totals(demand: &Demand<'_>, candidates: &[Candidate<'_>], profile: &Profile) -> Vec<i64> {
    let mut totals = vec![0; candidates.len()];
    let mut add = |scores: Vec<i64>, weight: i64| {
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * weight;
        }
    };
    let each = |score: &dyn Fn(&Candidate<'_>) -> i64| candidates.iter().map(score).collect::<Vec<i64>>();
    add(each(&|candidate| least_allocated(demand, candidate.load)), profile.least_allocated);
    add(each(&|candidate| balanced(demand, candidate.load)), profile.balanced_allocation);
    add(fewer_is_better(each(&|candidate| avoided_taints(demand, candidate.node))), profile.taint_toleration);
    add(more_is_better(each(&|candidate| affinity::preference(demand.pod, candidate.node))), profile.node_affinity);
    add(spread(demand, candidates), profile.spread);
    totals
}

/// How much is left, as a share of what there is, on average over cpu and memory.
fn least_allocated(demand: &Demand<'_>, load: &NodeLoad) -> i64 {
    let shares = ["cpu", "memory"].map(|name| {
        let allocatable = load.allocatable.get(name);
        let used = load.assumed.get(name) + demand.assumed.get(name);
        if allocatable == 0 || used > allocatable { 0 } else { (allocatable - used) * MAX / allocatable }
    });
    shares.iter().sum::<i64>() / 2
}

/// How alike the shares of cpu and memory in use are.
fn balanced(demand: &Demand<'_>, load: &NodeLoad) -> i64 {
    let [cpu, memory] = ["cpu", "memory"].map(|name| {
        let allocatable = load.allocatable.get(name);
        let used = load.requested.get(name) + demand.requests.get(name);
        // In units of 1/10000.
        if allocatable == 0 { 10_000 } else { (used.saturating_mul(10_000) / allocatable).min(10_000) }
    });
    // The standard deviation of two values is half their distance.
    MAX - (cpu - memory).abs() / 2 * MAX / 10_000
}

fn avoided_taints(demand: &Demand<'_>, node: &Node) -> i64 {
    i64::try_from(taint::untolerated(demand.pod, node, &["PreferNoSchedule"]).count()).unwrap_or(i64::MAX)
}

fn zone<'a>(candidate: &Candidate<'a>) -> Option<&'a String> {
    candidate.node.metadata.labels.as_ref()?.get(ZONE)
}

/// Replicas of one controller go to nodes, and zones, that have fewer of them.
fn spread(demand: &Demand<'_>, candidates: &[Candidate<'_>]) -> Vec<i64> {
    let Some(controller) = &demand.controller else { return vec![0; candidates.len()] };
    let replicas = |candidate: &Candidate<'_>| {
        let count = candidate.load.replicas.get(controller).copied().unwrap_or(0);
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let by_node: Vec<i64> = candidates.iter().map(replicas).collect();
    let by_zone: Vec<i64> = candidates
        .iter()
        .map(|candidate| match zone(candidate) {
            None => 0,
            mine => candidates.iter().filter(|other| zone(other) == mine).map(replicas).sum(),
        })
        .collect();
    let zones = fewer_is_better(by_zone);
    // The host counts twice as much as the zone.
    fewer_is_better(by_node).into_iter().zip(zones).map(|(host, zone)| (2 * host + zone) / 3).collect()
}

fn more_is_better(counts: Vec<i64>) -> Vec<i64> {
    let max = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| if max <= 0 { 0 } else { count * MAX / max }).collect()
}

fn fewer_is_better(counts: Vec<i64>) -> Vec<i64> {
    more_is_better(counts).into_iter().map(|score| MAX - score).collect()
}
