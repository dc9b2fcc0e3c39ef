//! What a create or an update does to the owners of fields.

use serde_json::Value;
use std::collections::BTreeMap;

use super::{
    MAX_UPDATE_MANAGERS, OLD_UPDATES, Writer,
    diff::{self, Diff},
    entry::{self, Entry, Operation},
    renew,
    set::FieldSet,
    versions::{self, Versions},
};

/// Brings `new.metadata.managedFields` up to date with a write that is no apply. What the writer changed, it owns, and
/// nobody else does. `old` is absent for a create. Owners that `new` names itself replace those of `old`, but not
/// through a subresource. Where an owner's version cannot be converted to, all owners stay.
pub async fn update<V: Versions>(old: Option<&Value>, new: &mut Value, versions: &V, writer: &Writer<'_>) {
    let shape = versions::shape(versions, writer.api_version);
    let live = old.and_then(entry::raw);
    let given = crate::meta::remove(new, "managedFields");
    let Some(old) = old else {
        let Source { mut entries, .. } = source(live, given.as_ref(), writer);
        let fields = diff::created(new, shape);
        take(&mut entries, &BTreeMap::new(), fields, writer);
        return entry::write(new, entries);
    };
    let own = diff::compare(old, new, shape);
    if versions.are_fixed()
        && let Some(list) = plain_source(live, given.as_ref(), writer)
    {
        let list = if own.is_empty() { Some(list.clone()) } else { renew::renew(list, &own, writer) };
        if list.is_some() {
            return entry::put_raw(new, list);
        }
    }
    let Source { mut entries, given } = source(live, given.as_ref(), writer);
    if entries.is_empty() {
        return;
    }
    if own.is_empty() {
        return if given { entry::write(new, entries) } else { entry::put_raw(new, live.cloned()) };
    }
    versions::reconcile(versions, &mut entries);
    let won = own.won();
    let Ok(all) = versions::differences(versions, (old, new), (writer.api_version, own), &entries).await else {
        return entry::put_raw(new, live.cloned());
    };
    take(&mut entries, &all, won, writer);
    cap(&mut entries);
    entry::write(new, entries);
}

/// The list that [`source`] would read, if it needs no reading: the live one, or the same given back.
fn plain_source<'a>(live: Option<&'a Value>, given: Option<&Value>, writer: &Writer<'_>) -> Option<&'a Value> {
    let named = given.filter(|list| writer.subresource.is_empty() && !list.is_null());
    live.filter(|live| named.is_none_or(|named| named == *live) && renew::is_plain_list(live))
}

/// The entries to start from.
struct Source {
    entries: Vec<Entry>,
    /// The writer brings them.
    given: bool,
}

fn source(live: Option<&Value>, given: Option<&Value>, writer: &Writer<'_>) -> Source {
    if writer.subresource.is_empty() {
        if entry::is_reset(given) {
            return Source { entries: Vec::new(), given: true };
        }
        if let Some(entries) = entry::read(given).filter(|entries| !entries.is_empty()) {
            return Source { entries, given: true };
        }
    }
    Source { entries: entry::read(live).unwrap_or_default(), given: false }
}

/// Takes what differs from all entries, each by its version, and gives `won` to the writer's.
fn take(entries: &mut Vec<Entry>, differing: &BTreeMap<String, Diff>, won: FieldSet, writer: &Writer<'_>) {
    for entry in entries.iter_mut() {
        if let Some(diff) = differing.get(&entry.api_version) {
            diff.take_from(&mut entry.fields);
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
