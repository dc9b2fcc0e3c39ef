//! The ledger: which node has which epoch live.

use std::collections::BTreeMap;

use crate::state::Epoch;

/// How far one node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// The last epoch whose maps are live there.
    pub applied: Epoch,
    /// The last epoch that was sent to it.
    pub sent: Epoch,
    /// Whether its stream is open.
    pub connected: bool,
    /// What went wrong with the last delta; empty if nothing did.
    pub error: String,
}

/// Which node has which epoch live. A node that has gone away keeps its entry until it is removed: its data plane
/// still forwards by the epoch it applied last.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    nodes: BTreeMap<String, NodeProgress>,
}

impl Ledger {
    /// A node's stream is open.
    pub fn connect(&mut self, node: &str) {
        let progress = self.nodes.entry(node.to_owned()).or_default();
        progress.connected = true;
        progress.sent = Epoch::default();
    }

    /// A node's stream has ended.
    pub fn disconnect(&mut self, node: &str) {
        if let Some(progress) = self.nodes.get_mut(node) {
            progress.connected = false;
        }
    }

    /// An epoch was sent to a node.
    pub fn sent(&mut self, node: &str, epoch: Epoch) {
        let progress = self.nodes.entry(node.to_owned()).or_default();
        progress.sent = epoch;
    }

    /// A node says how far it is. An epoch it was never sent on this stream is what it had live before.
    pub fn acknowledge(&mut self, node: &str, epoch: Epoch, error: &str) {
        let progress = self.nodes.entry(node.to_owned()).or_default();
        progress.error = error.to_owned();
        if error.is_empty() {
            progress.applied = epoch;
        }
    }

    /// A node has left the cluster.
    pub fn remove(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// Every node's progress, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeProgress)> {
        self.nodes.iter().map(|(name, progress)| (name.as_str(), progress))
    }

    /// The epoch that every one of these nodes has live; `None` if one of them has none.
    pub fn applied_by_all<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> Option<Epoch> {
        let mut least = Epoch(u64::MAX);
        for node in nodes {
            least = least.min(self.nodes.get(node)?.applied);
        }
        Some(least)
    }
}
