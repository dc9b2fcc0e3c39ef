//! Sets of field paths. Their memory form is FieldsV1 itself: a tree of objects by path element, where an empty
//! object, or one with a `.`, is a path in the set.

use serde_json::{Map, Value};

use super::element;

pub(super) type Tree = Map<String, Value>;

pub(super) const SELF: &str = ".";

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSet(pub(super) Tree);

impl FieldSet {
    /// The set of the named top-level fields and all below them.
    #[must_use]
    pub fn fields(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (format!("f:{name}"), leaf())).collect())
    }

    /// Reads FieldsV1; `None` for what is none.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        canonical(value.as_object()?).map(Self)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    pub fn unite(&mut self, other: &Self) {
        unite(&mut self.0, &other.0);
    }

    /// Takes out the paths of the other set.
    pub fn subtract(&mut self, other: &Self) {
        subtract(&mut self.0, &other.0);
    }

    /// Takes out the paths of the other set and all below them.
    pub fn subtract_below(&mut self, other: &Self) {
        subtract_below(&mut self.0, &other.0);
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(intersection(&self.0, &other.0))
    }

    /// The paths as messages write them, such as `.spec.containers[name="c"].image`.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.0, &mut String::new(), &mut found);
        found
    }

    /// Takes out what nobody owns.
    pub(super) fn strip(&mut self) {
        for name in super::UNOWNED {
            self.0.remove(&element::field(name));
        }
        let metadata = element::field("metadata");
        if let Some(Value::Object(below)) = self.0.get_mut(&metadata) {
            below.remove(SELF);
            for name in super::UNOWNED_METADATA {
                below.remove(&element::field(name));
            }
            if below.is_empty() {
                self.0.remove(&metadata);
            }
        }
    }
}

/// A path as a set is built from below.
#[derive(Default)]
pub(super) struct Node {
    /// The path itself is in the set.
    pub(super) member: bool,
    pub(super) below: Tree,
}

impl Node {
    pub(super) fn put(&mut self, element: &str, node: Self) {
        if let Some(value) = node.value() {
            self.below.insert(element.to_owned(), value);
        }
    }

    /// `None` for a node with nothing in it.
    fn value(mut self) -> Option<Value> {
        if self.member && !self.below.is_empty() {
            self.below.insert(SELF.to_owned(), leaf());
        }
        (self.member || !self.below.is_empty()).then_some(Value::Object(self.below))
    }
}

fn leaf() -> Value {
    Value::Object(Tree::new())
}

pub(super) fn is_member(node: &Tree) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

/// The tree below an element; a leaf if it is no tree.
pub(super) fn below<'a>(tree: &'a Tree, element: &str) -> Option<&'a Tree> {
    tree.get(element).and_then(Value::as_object)
}

/// The elements with what is below them.
pub(super) fn children(tree: &Tree) -> impl Iterator<Item = (&String, &Tree)> {
    tree.iter().filter(|(element, _)| *element != SELF).filter_map(|(element, node)| Some((element, node.as_object()?)))
}

fn child_count(tree: &Tree) -> usize {
    tree.len() - usize::from(tree.contains_key(SELF))
}

/// Puts the path itself in or takes it out, with its children as they are.
fn set_member(node: &mut Tree, member: bool) {
    if member && child_count(node) > 0 {
        node.insert(SELF.to_owned(), leaf());
    } else {
        node.remove(SELF);
    }
}

fn unite(tree: &mut Tree, other: &Tree) {
    for (element, theirs) in children(other) {
        match tree.get_mut(element) {
            Some(Value::Object(ours)) => {
                let member = is_member(ours) || is_member(theirs);
                unite(ours, theirs);
                set_member(ours, member);
            }
            _ => {
                tree.insert(element.clone(), Value::Object(theirs.clone()));
            }
        }
    }
}

fn subtract(tree: &mut Tree, other: &Tree) {
    tree.retain(|element, ours| {
        let (Some(theirs), Value::Object(ours)) = (below(other, element), ours) else { return true };
        if element == SELF {
            return true;
        }
        let member = is_member(ours) && !is_member(theirs);
        subtract(ours, theirs);
        if child_count(ours) == 0 && !member {
            return false;
        }
        set_member(ours, member);
        true
    });
}

fn subtract_below(tree: &mut Tree, other: &Tree) {
    tree.retain(|element, ours| {
        let (Some(theirs), Value::Object(ours)) = (below(other, element), ours) else { return true };
        if element == SELF {
            return true;
        }
        if is_member(theirs) {
            return false;
        }
        let member = is_member(ours);
        subtract_below(ours, theirs);
        if child_count(ours) == 0 && !member {
            return false;
        }
        set_member(ours, member);
        true
    });
}

fn intersection(ours: &Tree, theirs: &Tree) -> Tree {
    let mut found = Node::default();
    for (element, ours) in children(ours) {
        if let Some(theirs) = below(theirs, element) {
            let member = is_member(ours) && is_member(theirs);
            found.put(element, Node { member, below: intersection(ours, theirs) });
        }
    }
    found.below
}

fn list(tree: &Tree, path: &mut String, found: &mut Vec<String>) {
    for (step, node) in children(tree) {
        let length = path.len();
        element::display(step, path);
        if is_member(node) {
            found.push(path.clone());
        }
        list(node, path, found);
        path.truncate(length);
    }
}

/// The same set with each element in the one form that this module compares by.
fn canonical(tree: &Tree) -> Option<Tree> {
    let mut out = Tree::new();
    for (step, node) in tree {
        let node = node.as_object()?;
        if step == SELF {
            out.insert(step.clone(), leaf());
        } else {
            out.insert(element::canonical(step)?, Value::Object(canonical(node)?));
        }
    }
    if out.len() == 1 && out.contains_key(SELF) {
        out.clear();
    }
    Some(out)
}
