//! Which fields an object has, and in which two states of it differ.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::{
    UNOWNED, UNOWNED_METADATA, element,
    set::{FieldSet, Node},
};
use crate::shape::{DEDUCED, Form, Shape, child};

/// Paths that differ between two states; each in one of the sets at most.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Diff {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Diff {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The fields that the writer set.
    pub(super) fn won(&self) -> FieldSet {
        let mut won = self.added.clone();
        won.unite(&self.modified);
        won
    }

    /// Takes what differs from somebody's fields.
    pub(super) fn take_from(&self, fields: &mut FieldSet) {
        for differing in [&self.added, &self.modified, &self.removed] {
            if !differing.is_empty() {
                fields.subtract(differing);
            }
        }
    }

    /// Leaves out the paths of the set and all below them.
    pub(super) fn ignore(&mut self, ignored: &FieldSet) {
        for differing in [&mut self.added, &mut self.modified, &mut self.removed] {
            differing.subtract_below(ignored);
        }
    }
}

/// What a value consists of, by its shape.
pub(super) enum Parts<'a> {
    /// Absent or null.
    Nothing,
    Leaf,
    Fields(&'a Map<String, Value>),
    Items(&'a [Value]),
}

/// Where a walk is: only at the root and in the metadata are there fields that nobody owns.
#[derive(Clone, Copy)]
enum Level {
    Root,
    Metadata,
    Below,
}

impl Level {
    fn skips(self, field: &str) -> bool {
        match self {
            Self::Root => UNOWNED.contains(&field),
            Self::Metadata => UNOWNED_METADATA.contains(&field),
            Self::Below => false,
        }
    }

    fn below(self, field: &str) -> Self {
        match self {
            Self::Root if field == "metadata" => Self::Metadata,
            Self::Root | Self::Metadata | Self::Below => Self::Below,
        }
    }
}

pub(super) fn parts<'a>(value: Option<&'a Value>, shape: &dyn Shape) -> Parts<'a> {
    match (shape.form(), value) {
        (_, None | Some(Value::Null)) => Parts::Nothing,
        (Form::Struct | Form::Map | Form::Deduced, Some(Value::Object(fields))) => Parts::Fields(fields),
        (Form::Set | Form::Keyed, Some(Value::Array(items))) => Parts::Items(items),
        (Form::Scalar | Form::Atomic | Form::Struct | Form::Map | Form::Set | Form::Keyed | Form::Deduced, _) => {
            Parts::Leaf
        }
    }
}

pub(super) fn child_of<'a>(shape: &'a dyn Shape, name: &str) -> &'a dyn Shape {
    child(shape, name).unwrap_or(DEDUCED)
}

pub(super) fn element_of(shape: &dyn Shape) -> &dyn Shape {
    shape.element().unwrap_or(DEDUCED)
}

/// The list's elements by their steps. Of elements with the same step the first counts; those without one do not.
pub(super) fn by_step<'a>(items: &'a [Value], shape: &dyn Shape) -> BTreeMap<String, &'a Value> {
    let mut found = BTreeMap::new();
    for item in items {
        if let Some(step) = element::item(shape, item) {
            found.entry(step).or_insert(item);
        }
    }
    found
}

/// All fields of an object: what an apply of it owns.
pub(super) fn fields(object: &Value, shape: &dyn Shape) -> FieldSet {
    FieldSet(collect(object, shape).below)
}

fn collect(value: &Value, shape: &dyn Shape) -> Node {
    let mut node = Node::default();
    match parts(Some(value), shape) {
        Parts::Nothing | Parts::Leaf => node.member = true,
        Parts::Fields(fields) if fields.is_empty() => node.member = true,
        Parts::Fields(fields) => {
            for (name, value) in fields {
                let mut below = collect(value, child_of(shape, name));
                below.member |= shape.field(name).is_none();
                node.put(&element::field(name), below);
            }
        }
        Parts::Items(items) => {
            for (step, item) in by_step(items, shape) {
                let below = collect(item, element_of(shape));
                node.put(&step, Node { member: true, ..below });
            }
        }
    }
    node
}

/// The fields that the creator of an object set.
pub(super) fn created(object: &Value, shape: &dyn Shape) -> FieldSet {
    FieldSet(made(object, shape, Level::Root, true).below)
}

/// `there`: an empty object has the field too.
fn made(value: &Value, shape: &dyn Shape, level: Level, there: bool) -> Node {
    let mut node = Node { member: !there, ..Node::default() };
    match parts(Some(value), shape) {
        Parts::Nothing | Parts::Leaf => node.member = true,
        Parts::Fields(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !level.skips(name)) {
                let shape = child_of(shape, name);
                let is_metadata = matches!(level, Level::Root) && name == "metadata";
                let there = is_metadata || (there && shape.always_there());
                node.put(&element::field(name), made(value, shape, level.below(name), there));
            }
        }
        Parts::Items(items) => {
            for (step, item) in by_step(items, shape) {
                node.put(&step, made(item, element_of(shape), Level::Below, false));
            }
        }
    }
    node
}

/// What differs, but for the fields that nobody owns.
pub(super) fn compare(old: &Value, new: &Value, shape: &dyn Shape) -> Diff {
    let nodes = Nodes::between(Some(old), Some(new), shape, Level::Root);
    Diff {
        added: FieldSet(nodes.added.below),
        modified: FieldSet(nodes.modified.below),
        removed: FieldSet(nodes.removed.below),
    }
}

#[derive(Default)]
struct Nodes {
    added: Node,
    modified: Node,
    removed: Node,
}

impl Nodes {
    fn between(old: Option<&Value>, new: Option<&Value>, shape: &dyn Shape, level: Level) -> Self {
        let mut found = Self::default();
        if old == new {
            return found;
        }
        let empty = Map::new();
        match (parts(old, shape), parts(new, shape)) {
            (Parts::Fields(old), Parts::Fields(new)) => found.fields(old, new, shape, level),
            (Parts::Fields(old), Parts::Nothing) if !old.is_empty() => found.fields(old, &empty, shape, level),
            (Parts::Nothing, Parts::Fields(new)) if !new.is_empty() => found.fields(&empty, new, shape, level),
            (Parts::Items(old), Parts::Items(new)) => found.items(old, new, shape),
            (Parts::Items(old), Parts::Nothing) if !old.is_empty() => found.items(old, &[], shape),
            (Parts::Nothing, Parts::Items(new)) if !new.is_empty() => found.items(&[], new, shape),
            _ if old.is_some() && new.is_some() => found.modified.member = true,
            _ => {}
        }
        found.added.member = old.is_none();
        found.removed.member = new.is_none();
        found
    }

    fn put(&mut self, step: &str, below: Self) {
        self.added.put(step, below.added);
        self.modified.put(step, below.modified);
        self.removed.put(step, below.removed);
    }

    fn fields(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, shape: &dyn Shape, level: Level) {
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        for name in new.keys().chain(gone) {
            let (before, after) = (old.get(name), new.get(name));
            if before == after || level.skips(name) {
                continue;
            }
            let mut below = Self::between(before, after, child_of(shape, name), level.below(name));
            if matches!(level.below(name), Level::Metadata) {
                below.added.member = false;
                below.removed.member = false;
            }
            self.put(&element::field(name), below);
        }
    }

    fn items(&mut self, old: &[Value], new: &[Value], shape: &dyn Shape) {
        let (old, new) = (by_step(old, shape), by_step(new, shape));
        let gone = old.keys().filter(|step| !new.contains_key(*step));
        for step in new.keys().chain(gone) {
            let (before, after) = (old.get(step).copied(), new.get(step).copied());
            self.put(step, Self::between(before, after, element_of(shape), Level::Below));
        }
    }
}
