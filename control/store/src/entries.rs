//! The current entries in key order: a persistent B+ tree that knows its sizes. A snapshot is one reference count; a
//! write copies the nodes on its path that a snapshot shares; how many entries a range holds is found on two paths,
//! without walking the range.

use std::sync::Arc;

use crate::Entry;

/// Entries of a leaf, and children of an inner node, at most. A write copies a node of each level: larger nodes are
/// fewer and slower to copy.
const NODE_LIMIT: usize = 32;
/// A node with fewer than this is merged with its neighbour where that fits.
const NODE_LOW: usize = 8;

/// Entries by key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    root: Option<Arc<Node>>,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Child>),
}

#[derive(Debug, Clone)]
struct Child {
    /// No key of this child is lower, none of the child before is as high.
    low: Arc<str>,
    count: usize,
    node: Arc<Node>,
}

impl Entries {
    /// No entries.
    pub(crate) fn new() -> Entries {
        Entries::default()
    }

    /// From entries in ascending order of their keys.
    pub(crate) fn from_sorted(entries: Vec<Entry>) -> Entries {
        debug_assert!(entries.is_sorted_by(|one, next| one.key < next.key), "sorted, no key twice");
        let mut level: Vec<Child> = Vec::with_capacity(entries.len().div_ceil(NODE_LIMIT));
        let mut entries = entries.into_iter().peekable();
        while let Some(first) = entries.peek() {
            let low = Arc::clone(&first.key);
            let leaf: Vec<Entry> = entries.by_ref().take(NODE_LIMIT).collect();
            level.push(Child { low, count: leaf.len(), node: Arc::new(Node::Leaf(leaf)) });
        }
        while level.len() > 1 {
            let mut upper = Vec::with_capacity(level.len().div_ceil(NODE_LIMIT));
            let mut children = level.into_iter().peekable();
            while let Some(first) = children.peek() {
                let low = Arc::clone(&first.low);
                let inner: Vec<Child> = children.by_ref().take(NODE_LIMIT).collect();
                let count = inner.iter().map(|child| child.count).sum();
                upper.push(Child { low, count, node: Arc::new(Node::Inner(inner)) });
            }
            level = upper;
        }
        Entries { root: level.pop().map(|child| child.node) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.count())
    }

    /// The entry under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(entries) => return Some(&entries[position(entries, key.as_bytes()).ok()?]),
                Node::Inner(children) => node = &children[child_of(children, key)].node,
            }
        }
    }

    /// Puts an entry under its key. Returns what was there.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![entry])));
            return None;
        };
        let (prev, split) = insert(root, entry);
        if let Some(right) = split {
            let left = Arc::clone(root);
            let left = Child { low: left.low(), count: left.count(), node: left };
            *root = Arc::new(Node::Inner(vec![left, right]));
        }
        prev
    }

    /// Removes the entry under `key` and returns it.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        // Looked up first: a path is not copied for nothing.
        self.get(key)?;
        let root = self.root.as_mut()?;
        let removed = remove(root, key);
        match &**root {
            Node::Leaf(entries) if entries.is_empty() => self.root = None,
            Node::Inner(children) if children.len() == 1 => *root = Arc::clone(&children[0].node),
            Node::Leaf(_) | Node::Inner(_) => {}
        }
        removed
    }

    /// How many keys are lower than `key`.
    pub(crate) fn rank(&self, key: &[u8]) -> usize {
        let mut rank = 0;
        let Some(mut node) = self.root.as_deref() else { return 0 };
        loop {
            match node {
                Node::Leaf(entries) => return rank + position(entries, key).unwrap_or_else(|at| at),
                Node::Inner(children) => {
                    let at = children.partition_point(|child| child.low.as_bytes() <= key).saturating_sub(1);
                    rank += children[..at].iter().map(|child| child.count).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The entries whose keys are not lower than `from`, in order.
    pub(crate) fn iter_from(&self, from: &[u8]) -> Iter<'_> {
        let mut iter = Iter { path: Vec::new(), leaf: [].iter() };
        let Some(mut node) = self.root.as_deref() else { return iter };
        loop {
            match node {
                Node::Leaf(entries) => {
                    iter.leaf = entries[position(entries, from).unwrap_or_else(|at| at)..].iter();
                    return iter;
                }
                Node::Inner(children) => {
                    let at = children.partition_point(|child| child.low.as_bytes() <= from).saturating_sub(1);
                    iter.path.push(children[at + 1..].iter());
                    node = &children[at].node;
                }
            }
        }
    }
}

/// See [`Entries::iter_from`].
#[derive(Debug, Clone)]
pub(crate) struct Iter<'a> {
    /// What is left of each inner node on the path, the root's first.
    path: Vec<std::slice::Iter<'a, Child>>,
    leaf: std::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            let mut node = loop {
                let children = self.path.last_mut()?;
                if let Some(child) = children.next() {
                    break &*child.node;
                }
                self.path.pop();
            };
            while let Node::Inner(children) = node {
                let mut children = children.iter();
                let first = children.next()?;
                self.path.push(children);
                node = &first.node;
            }
            if let Node::Leaf(entries) = node {
                self.leaf = entries.iter();
            }
        }
    }
}

impl Node {
    fn count(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// How many parts the node itself has.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn low(&self) -> Arc<str> {
        match self {
            Node::Leaf(entries) => Arc::clone(&entries[0].key),
            Node::Inner(children) => Arc::clone(&children[0].low),
        }
    }
}

fn position(entries: &[Entry], key: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|entry| entry.key.as_bytes().cmp(key))
}

fn child_of(children: &[Child], key: &str) -> usize {
    children.partition_point(|child| *child.low <= *key).saturating_sub(1)
}

/// Returns what was under the key, and the right part of a node that became too large.
fn insert(node: &mut Arc<Node>, entry: Entry) -> (Option<Entry>, Option<Child>) {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => match position(entries, entry.key.as_bytes()) {
            Ok(at) => (Some(std::mem::replace(&mut entries[at], entry)), None),
            Err(at) => {
                let ascending = at == entries.len();
                entries.insert(at, entry);
                let split = split(entries, ascending).map(|right| {
                    let low = Arc::clone(&right[0].key);
                    Child { low, count: right.len(), node: Arc::new(Node::Leaf(right)) }
                });
                (None, split)
            }
        },
        Node::Inner(children) => {
            let at = child_of(children, &entry.key);
            let child = &mut children[at];
            if entry.key < child.low {
                child.low = Arc::clone(&entry.key);
            }
            let (prev, right) = insert(&mut child.node, entry);
            child.count += usize::from(prev.is_none());
            let Some(right) = right else { return (prev, None) };
            child.count -= right.count;
            let ascending = at + 1 == children.len();
            children.insert(at + 1, right);
            let split = split(children, ascending).map(|right| {
                let count = right.iter().map(|child| child.count).sum();
                Child { low: Arc::clone(&right[0].low), count, node: Arc::new(Node::Inner(right)) }
            });
            (prev, split)
        }
    }
}

/// Splits parts that are too many: in the middle, or before the last when keys come in ascending order, which leaves
/// full nodes behind.
fn split<T>(parts: &mut Vec<T>, ascending: bool) -> Option<Vec<T>> {
    let at = if ascending { parts.len() - 1 } else { parts.len() / 2 };
    (parts.len() > NODE_LIMIT).then(|| parts.split_off(at))
}

/// Removes a key that is there.
fn remove(node: &mut Arc<Node>, key: &str) -> Option<Entry> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => Some(entries.remove(position(entries, key.as_bytes()).ok()?)),
        Node::Inner(children) => {
            let at = child_of(children, key);
            let removed = remove(&mut children[at].node, key)?;
            children[at].count -= 1;
            if children[at].node.width() < NODE_LOW {
                merge(children, at);
            }
            Some(removed)
        }
    }
}

/// Merges the child with a neighbour if both fit one node; drops it if it is empty.
fn merge(children: &mut Vec<Child>, at: usize) {
    if children[at].count == 0 {
        children.remove(at);
        return;
    }
    let left = if at + 1 < children.len() { at } else { at.saturating_sub(1) };
    let Some(right) = children.get(left + 1) else { return };
    if children[left].node.width() + right.node.width() > NODE_LIMIT {
        return;
    }
    let right = children.remove(left + 1);
    let child = &mut children[left];
    child.count += right.count;
    match (Arc::make_mut(&mut child.node), Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
        (Node::Inner(children), Node::Inner(more)) => children.extend(more),
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {
            unreachable!("all leaves are at the same depth")
        }
    }
}

#[cfg(test)]
mod tests;
