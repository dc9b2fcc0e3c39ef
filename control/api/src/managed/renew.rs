//! The update that most writes are: a manager sets anew what it owns already and nobody else does (a lease renewed, a
//! status reported). Only the time of its entry changes then, which is seen without taking any set apart.

use serde_json::{Map, Value};

use super::{
    MAX_UPDATE_MANAGERS, Writer, diff,
    element::is_canonical,
    entry,
    set::{self, Tree},
};

/// The list, a plain one, after a write that made the difference; `None` where more than a time changes in it.
pub(super) fn renew(list: &Value, diff: &diff::Diff, writer: &Writer<'_>) -> Option<Value> {
    let entries = list.as_array().filter(|entries| (1..=MAX_UPDATE_MANAGERS).contains(&entries.len()))?;
    if !diff.removed.is_empty() || writer.now.is_empty() {
        return None;
    }
    if entries.iter().any(|entry| text(entry, "apiVersion") != writer.api_version) {
        return None;
    }
    let own = entries.iter().position(|entry| is_of(entry, writer))?;
    let changed = [&diff.added, &diff.modified];
    let fits = |(at, entry): (usize, &Value)| {
        let fields = fields(entry).expect("a plain entry has fields");
        changed.iter().all(|set| if at == own { contains(fields, &set.0) } else { is_disjoint(fields, &set.0) })
    };
    if !entries.iter().enumerate().all(fits) {
        return None;
    }
    let mut entries = entries.clone();
    entries[own]["time"] = writer.now.into();
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    Some(Value::Array(entries))
}

/// Whether a list is one with entries, all as this module writes them.
pub(super) fn is_plain_list(list: &Value) -> bool {
    list.as_array().is_some_and(|entries| !entries.is_empty() && entries.iter().all(is_plain))
}

fn is_plain(entry: &Value) -> bool {
    let Some(entry) = entry.as_object() else { return false };
    let texts = |field: &str| entry.get(field).is_some_and(Value::is_string);
    let absent_or_text = |field: &str| entry.get(field).is_none_or(|text| text.as_str().is_some_and(|t| !t.is_empty()));
    let optional = ["subresource", "time"].iter().filter(|field| entry.contains_key(**field)).count();
    entry.len() == 5 + optional
        && texts("apiVersion")
        && texts("manager")
        && absent_or_text("subresource")
        && absent_or_text("time")
        && entry.get("fieldsType").is_some_and(|kind| kind == "FieldsV1")
        && entry.get("operation").is_some_and(|operation| operation == "Apply" || operation == "Update")
        && entry.get("fieldsV1").and_then(Value::as_object).is_some_and(|fields| !fields.is_empty() && is_tree(fields))
}

fn is_tree(tree: &Map<String, Value>) -> bool {
    let lone = tree.len() == 1;
    tree.iter().all(|(step, node)| match node {
        Value::Object(node) if step == set::SELF => node.is_empty() && !lone,
        Value::Object(node) => is_canonical(step) && is_tree(node),
        _ => false,
    })
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn fields(entry: &Value) -> Option<&Tree> {
    entry.get("fieldsV1")?.as_object()
}

/// As [`entry::Entry::is`].
fn is_of(entry: &Value, writer: &Writer<'_>) -> bool {
    text(entry, "operation") == entry::Operation::Update.as_str()
        && text(entry, "manager") == writer.manager
        && text(entry, "subresource") == writer.subresource
        && text(entry, "apiVersion") == writer.api_version
}

/// As [`entry::write`] sorts them: `Apply` comes before `Update` as a text, too.
fn order(entry: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"].map(|field| text(entry, field))
}

/// Whether every path of `theirs` is in `ours`.
fn contains(ours: &Tree, theirs: &Tree) -> bool {
    set::children(theirs).all(|(element, theirs)| {
        let Some(ours) = set::below(ours, element) else { return false };
        (set::is_member(ours) || !set::is_member(theirs)) && contains(ours, theirs)
    })
}

/// Whether no path is in both.
fn is_disjoint(ours: &Tree, theirs: &Tree) -> bool {
    set::children(theirs).all(|(element, theirs)| {
        set::below(ours, element)
            .is_none_or(|ours| !(set::is_member(ours) && set::is_member(theirs)) && is_disjoint(ours, theirs))
    })
}
