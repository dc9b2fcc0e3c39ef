//! The decision for one pod.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;

use crate::filter::{self, Demand};
use crate::score::{self, Candidate};
use crate::snapshot::Snapshot;

/// How much each score counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Free cpu and memory.
    pub least_allocated: i64,
    /// Like shares of cpu and memory.
    pub balanced_allocation: i64,
    /// Few taints that prefer the pod elsewhere.
    pub taint_toleration: i64,
    /// Preferred node affinity.
    pub node_affinity: i64,
    /// Replicas apart.
    pub spread: i64,
}

impl Default for Profile {
    fn default() -> Self {
        Profile { least_allocated: 1, balanced_allocation: 1, taint_toleration: 3, node_affinity: 2, spread: 2 }
    }
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this node.
    Bind(String),
    /// No node can take it.
    Unschedulable(Refusal),
}

/// Why no node can take a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many nodes each reason concerns.
    pub reasons: BTreeMap<String, usize>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut reasons: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, reasons.join(", "))
    }
}

/// Decides where a pod goes. Equal inputs give equal decisions; among nodes of the same score the seed chooses.
pub fn schedule(pod: &Pod, snapshot: &Snapshot, profile: &Profile, seed: u64) -> Decision {
    let demand = Demand::of(pod);
    let mut refusal = Refusal::default();
    let mut candidates = Vec::new();
    for (name, node, load) in snapshot.nodes() {
        refusal.nodes += 1;
        let reasons = filter::reasons(&demand, name, node, load);
        if reasons.is_empty() {
            candidates.push(Candidate { name, node, load });
        }
        for reason in reasons {
            *refusal.reasons.entry(reason).or_default() += 1;
        }
    }
    let totals = score::totals(&demand, &candidates, profile);
    let best = candidates
        .iter()
        .zip(totals)
        .max_by_key(|(candidate, total)| (*total, draw(seed, candidate.name), std::cmp::Reverse(candidate.name)));
    match best {
        Some((candidate, _)) => Decision::Bind(candidate.name.to_owned()),
        None => Decision::Unschedulable(refusal),
    }
}

/// A number for each name and seed: FNV-1a, finished by a multiply-xor so that near names end far apart.
fn draw(seed: u64, name: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    let hash = name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd)
}
