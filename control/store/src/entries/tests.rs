//! The tree against a BTreeMap.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Child, Entries, NODE_LIMIT, Node};
use crate::{Entry, Revision};

fn entry(key: u16, value: u64) -> Entry {
    let key = Arc::from(format!("/{key:05}"));
    Entry { key, value: Bytes::new(), created: Revision(value), modified: Revision(value) }
}

/// Depth, and the invariants of every node.
fn checked(node: &Node) -> usize {
    match node {
        Node::Leaf(entries) => {
            assert!(!entries.is_empty() && entries.len() <= NODE_LIMIT);
            assert!(entries.is_sorted_by(|one, next| one.key < next.key));
            1
        }
        Node::Inner(children) => {
            assert!(!children.is_empty() && children.len() <= NODE_LIMIT);
            let depths: Vec<usize> = children.iter().map(|child| checked(&child.node)).collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            for Child { low, count, node } in children {
                assert_eq!(*count, node.count());
                assert!(*low <= node.low());
            }
            assert!(children.is_sorted_by(|one, next| one.low < next.low));
            depths[0] + 1
        }
    }
}

fn same(entries: &Entries, model: &BTreeMap<Arc<str>, Entry>) {
    if let Some(root) = &entries.root {
        checked(root);
    }
    assert_eq!(entries.len(), model.len());
    assert!(entries.iter_from(b"").eq(model.values()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_a_sorted_map(
        start in proptest::collection::btree_set(0..3000u16, 0..1500),
        steps in proptest::collection::vec((0..3000u16, 0..3u8), 0..1500),
        probes in proptest::collection::vec(0..3100u16, 20),
    ) {
        let mut model: BTreeMap<Arc<str>, Entry> =
            start.iter().map(|key| entry(*key, 1)).map(|entry| (Arc::clone(&entry.key), entry)).collect();
        let mut entries = Entries::from_sorted(model.values().cloned().collect());
        same(&entries, &model);
        let (snapshot, then) = (entries.clone(), model.clone());
        for (key, what) in steps {
            let entry = entry(key, 2);
            if what == 0 {
                assert_eq!(entries.insert(entry.clone()), model.insert(Arc::clone(&entry.key), entry));
            } else {
                assert_eq!(entries.remove(&entry.key), model.remove(&entry.key));
            }
        }
        same(&entries, &model);
        same(&snapshot, &then);
        for probe in probes {
            let key = entry(probe, 0).key;
            assert_eq!(entries.get(&key), model.get(&key));
            assert_eq!(entries.rank(key.as_bytes()), model.range(..Arc::clone(&key)).count());
            assert!(entries.iter_from(key.as_bytes()).eq(model.range(key..).map(|(_, entry)| entry)));
        }
    }
}

#[test]
fn ascending_keys_fill_their_nodes_and_all_can_go() {
    let mut entries = Entries::new();
    for key in 0..10_000 {
        entries.insert(entry(key, 1));
    }
    let root = entries.root.as_ref().unwrap();
    assert_eq!(checked(root), 3, "10,000 entries in nodes of {NODE_LIMIT}");
    for key in (0..10_000).rev() {
        assert!(entries.remove(&entry(key, 1).key).is_some());
    }
    assert_eq!((entries.len(), entries.rank(b"/")), (0, 0));
    assert!(entries.iter_from(b"").next().is_none());
}
