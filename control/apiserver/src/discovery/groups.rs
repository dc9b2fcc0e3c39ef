//! Which groups and versions there are, in the order clients see them.

use crate::{auth::reviews::REVIEWS, kinds::Snapshot};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One group with its versions, the preferred one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Empty for the core group.
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
}

/// The built-in groups in Kubernetes' order, with the priorities of their APIServices.
const ORDER: [(&str, i64); 21] = [
    ("", 18_000),
    ("apiregistration.k8s.io", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("admissionregistration.k8s.io", 16_700),
    ("apiextensions.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("resource.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
];
/// The priority of groups of custom resources.
const CUSTOM_PRIORITY: i64 = 1000;

/// All groups served: the core group, the built-in ones in their order, then custom ones by name.
pub(crate) fn groups(snapshot: &Snapshot) -> Vec<Group> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let kinds = snapshot.resources.iter().map(|resource| (resource.group.as_str(), resource.version.as_str()));
    for (group, version) in kinds.chain(REVIEWS.iter().map(|review| (review.group, review.version))) {
        all.entry(group).or_default().insert(version);
    }
    let mut groups: Vec<Group> = all
        .into_iter()
        .map(|(name, versions)| {
            let mut versions: Vec<String> = versions.into_iter().map(str::to_owned).collect();
            versions.sort_by_key(|version| version_rank(version));
            Group { name: name.to_owned(), versions }
        })
        .collect();
    groups.sort_by_key(|group| place(&group.name));
    groups
}

fn place(group: &str) -> usize {
    ORDER.iter().position(|(name, _)| *name == group).unwrap_or(ORDER.len())
}

/// `groupPriorityMinimum` of a group's APIServices.
pub(crate) fn priority(group: &str) -> i64 {
    ORDER.iter().find(|(name, _)| *name == group).map_or(CUSTOM_PRIORITY, |(_, priority)| *priority)
}

/// Whether the group is none of Kubernetes' own.
pub(crate) fn is_custom(group: &str) -> bool {
    place(group) == ORDER.len()
}

/// Sorts versions: GA before beta before alpha, higher numbers first, then other names alphabetically.
fn version_rank(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, String) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        for (stage, word) in [(2, "alpha"), (1, "beta")] {
            if let Some((major, minor)) = rest.split_once(word) {
                return Some((stage, major.parse().ok()?, minor.parse().ok()?));
            }
        }
        Some((0, rest.parse().ok()?, 0))
    });
    match parsed {
        Some((stage, major, minor)) => (stage, Reverse(major), Reverse(minor), String::new()),
        None => (3, Reverse(0), Reverse(0), version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::version_rank;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut all = ["foo1", "v1alpha1", "v11alpha2", "v2", "v3beta1", "v10", "v12alpha1", "foo10", "v11beta2", "v1"];
        all.sort_by_key(|version| version_rank(version));
        let wanted = ["v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10"];
        assert_eq!(all, wanted);
    }
}
