//! What a create or an update does to the owners of fields.

use serde_json::Value;
use std::collections::BTreeMap;

use super::{
    MAX_UPDATE_MANAGERS, OLD_UPDATES, Writer, diff,
    entry::{self, Entry, Operation},
    renew,
    set::FieldSet,
};
use crate::shape::Shape;

/// Brings `new.metadata.managedFields` up to date with a write that is no apply. What the writer changed, it owns, and
/// nobody else does. `old` is absent for a create. Owners that `new` names itself replace those of `old`, but not
/// through a subresource.
pub fn update(old: Option<&Value>, new: &mut Value, shape: &dyn Shape, writer: &Writer<'_>) {
    let live = old.and_then(entry::raw);
    let given = crate::meta::remove(new, "managedFields");
    let Some(old) = old else {
        let (_, mut entries) = source(live, given, writer);
        let fields = diff::created(new, shape);
        take(&mut entries, FieldSet::default(), fields, writer);
        return entry::write(new, entries);
    };
    let diff = diff::compare(old, new, shape);
    if let Some(list) = plain_source(live, given.as_ref(), writer) {
        let list = if diff.is_empty() { Some(list.clone()) } else { renew::renew(list, &diff, writer) };
        if list.is_some() {
            return entry::put_raw(new, list);
        }
    }
    let (source, mut entries) = source(live, given, writer);
    if entries.is_empty() {
        return;
    }
    let diff::Diff { added: mut changed, modified, removed } = diff;
    changed.unite(&modified);
    if changed.is_empty() && removed.is_empty() {
        return entry::put_raw(new, source);
    }
    let mut lost = changed.clone();
    lost.unite(&removed);
    take(&mut entries, lost, changed, writer);
    cap(&mut entries);
    entry::write(new, entries);
}

/// The list that [`source`] would read, if it needs no reading.
fn plain_source<'a>(live: Option<&'a Value>, given: Option<&'a Value>, writer: &Writer<'_>) -> Option<&'a Value> {
    let named = given.filter(|_| writer.subresource.is_empty()).filter(|list| !list.is_null());
    match named {
        Some(list) if list.as_array().is_some_and(Vec::is_empty) => live,
        Some(list) => Some(list),
        None => live,
    }
    .filter(|list| renew::is_plain_list(list))
}

/// The entries to start from, and the list they were read from.
fn source(live: Option<&Value>, given: Option<Value>, writer: &Writer<'_>) -> (Option<Value>, Vec<Entry>) {
    if writer.subresource.is_empty() {
        if entry::is_reset(given.as_ref()) {
            return (None, Vec::new());
        }
        if let Some(entries) = entry::read(given.as_ref()).filter(|entries| !entries.is_empty()) {
            return (given, entries);
        }
    }
    (live.cloned(), entry::read(live).unwrap_or_default())
}

/// Takes `lost` from all entries, and gives `won` to the writer's.
fn take(entries: &mut Vec<Entry>, lost: FieldSet, won: FieldSet, writer: &Writer<'_>) {
    if !lost.is_empty() {
        for entry in entries.iter_mut() {
            entry.fields.subtract(&lost);
        }
    }
    if !won.is_empty() {
        let mut own = Entry {
            manager: writer.manager.to_owned(),
            operation: Operation::Update,
            api_version: writer.api_version.to_owned(),
            time: writer.now.to_owned(),
            subresource: writer.subresource.to_owned(),
            fields: won,
        };
        match entries.iter_mut().find(|entry| entry.is(&own)) {
            Some(present) => {
                own.fields.unite(&present.fields);
                *present = own;
            }
            None => entries.push(own),
        }
    }
    entries.retain(|entry| !entry.fields.is_empty());
}

/// Merges the oldest managers of updates, a version at a time, until no more than the limit are left.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let mut updaters: Vec<usize> = (0..entries.len()).filter(|i| entries[*i].operation == Operation::Update).collect();
    let mut count = updaters.len();
    if count <= MAX_UPDATE_MANAGERS {
        return;
    }
    updaters.sort_by(|a, b| (&entries[*a].time, &entries[*a].manager).cmp(&(&entries[*b].time, &entries[*b].manager)));
    // The entry that holds the merged ones, by version.
    let mut buckets: BTreeMap<String, usize> = BTreeMap::new();
    let mut gone = vec![false; entries.len()];
    for i in updaters {
        if count <= MAX_UPDATE_MANAGERS {
            break;
        }
        let version = entries[i].api_version.clone();
        match buckets.get(&version) {
            None => {
                buckets.insert(version, i);
            }
            Some(&bucket) => {
                let (fields, time) = (std::mem::take(&mut entries[i].fields), entries[i].time.clone());
                let into = &mut entries[bucket];
                into.fields.unite(&fields);
                into.time = time;
                OLD_UPDATES.clone_into(&mut into.manager);
                into.subresource.clear();
                gone[i] = true;
                count -= 1;
            }
        }
    }
    let mut gone = gone.into_iter();
    entries.retain(|_| !gone.next().unwrap_or(false));
}
