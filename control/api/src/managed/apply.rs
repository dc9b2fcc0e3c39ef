//! Server-side apply.

use serde_json::Value;
use std::{collections::BTreeMap, fmt};

use super::{
    BEFORE_FIRST_APPLY, LAST_APPLIED, Writer,
    diff::{self, Diff},
    entry::{self, Entry, Operation},
    merge,
    set::FieldSet,
    versions::{self, Versions},
};
use crate::{Reason, Status, meta, shape::Shape, status::Details};

/// The manager for whom client-side apply gives way.
const KUBECTL: &str = "kubectl";

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that the apply would change.
    #[error("{}", message(.0))]
    Conflicts(Vec<Conflict>),
    /// The live object's owners cannot be read.
    #[error("failed to decode managed fields")]
    Entries,
    /// A state cannot be converted to the version in which somebody owns fields of it.
    #[error("failed to convert the object: {0}")]
    Convert(String),
}

/// One field with another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner, as messages name it.
    manager: String,
    path: String,
}

impl From<ApplyError> for Status {
    fn from(error: ApplyError) -> Self {
        let message = error.to_string();
        match error {
            ApplyError::Conflicts(conflicts) => {
                let status = Status::failure(409, Reason::Conflict, message).with_details(Details::default());
                conflicts.into_iter().fold(status, |status, conflict| {
                    let text = format!("conflict with {}", conflict.manager);
                    status.with_cause("FieldManagerConflict", &text, &conflict.path)
                })
            }
            ApplyError::Entries | ApplyError::Convert(_) => Status::internal(message),
        }
    }
}

/// The live object with the applied one merged in, without what the manager applied before and no longer does, and
/// with the owners of fields brought up to date. `live` is absent if the apply creates. `ignored` are the fields that
/// this way of writing does not reach. The result equals `live` if nothing changes.
pub async fn apply<V: Versions<Error: fmt::Display>>(
    live: Option<&Value>,
    applied: &Value,
    versions: &V,
    writer: &Writer<'_>,
    ignored: &FieldSet,
    force: bool,
) -> Result<Value, ApplyError> {
    let shape = versions::shape(versions, writer.api_version);
    let request = Request { applied, versions, shape, writer, ignored };
    let result = match request.once(live, force).await {
        Err((Some(conflicts), status)) if writer.manager == KUBECTL => {
            let Some(own) = live.and_then(|live| client_applied(live, shape)) else { return Err(status) };
            request.once_despite(live, &conflicts, &own).await?
        }
        other => other.map_err(|(_, error)| error)?,
    };
    Ok(sync_last_applied(result, live, applied, writer))
}

struct Request<'a, V> {
    applied: &'a Value,
    versions: &'a V,
    shape: &'a dyn Shape,
    writer: &'a Writer<'a>,
    ignored: &'a FieldSet,
}

/// Entries with the fields they would lose.
type Conflicts = Vec<(Entry, FieldSet)>;

impl<V: Versions<Error: fmt::Display>> Request<'_, V> {
    async fn once(&self, live: Option<&Value>, force: bool) -> Result<Value, (Option<Conflicts>, ApplyError)> {
        let unconverted = |error: V::Error| (None, ApplyError::Convert(error.to_string()));
        let nothing = Value::Object(serde_json::Map::new());
        let mut base = live.unwrap_or(&nothing).clone();
        let list = meta::object_mut(&mut base).get_mut("metadata").and_then(Value::as_object_mut);
        let list = list.and_then(|metadata| metadata.remove("managedFields"));
        let mut entries = entry::read(list.as_ref()).ok_or((None, ApplyError::Entries))?;
        if entries.is_empty() && live.is_some() {
            entries.extend(self.before(&base));
        }
        versions::reconcile(self.versions, &mut entries);
        let mut own = self.own_entry();
        let last = entries.iter().position(|entry| entry.is(&own)).map(|at| entries.remove(at));
        let mut merged = merge::merge(Some(&base), self.applied, self.shape);
        if let Some(last) = last.as_ref().filter(|last| !last.fields.is_empty()) {
            let mut last = last.clone();
            last.fields.subtract_below(self.ignored);
            merged = prune(merged, &own, &entries, &last, self.versions).await.map_err(unconverted)?;
        }
        let differing = diff::compare(&base, &merged, self.shape);
        let others = if differing.is_empty() { &[][..] } else { &entries[..] };
        let states = (&base, &merged);
        let all = versions::differences(self.versions, states, (self.writer.api_version, differing), others);
        let mut all = all.await.map_err(unconverted)?;
        all.values_mut().for_each(|diff| diff.ignore(self.ignored));
        let conflicts = conflicts(&entries, &all);
        if !force && !conflicts.is_empty() {
            let listed = listed(&conflicts);
            return Err((Some(conflicts), ApplyError::Conflicts(listed)));
        }
        for entry in &mut entries {
            if let Some(diff) = all.get(&entry.api_version) {
                diff.take_from(&mut entry.fields);
            }
        }
        own.fields.strip();
        if let Some(last) = last.filter(|last| last.fields == own.fields && merged == base) {
            own.time = last.time;
        }
        entries.push(own);
        entries.retain(|entry| !entry.fields.is_empty());
        entry::write(&mut merged, entries);
        Ok(merged)
    }

    /// Again, now that conflicts with what the same user applied by the client before are no conflicts.
    async fn once_despite(
        &self,
        live: Option<&Value>,
        conflicts: &Conflicts,
        own: &FieldSet,
    ) -> Result<Value, ApplyError> {
        let mut left = conflicts.clone();
        left.iter_mut().for_each(|(_, fields)| fields.subtract(own));
        left.retain(|(_, fields)| !fields.is_empty());
        if left.is_empty() {
            self.once(live, true).await.map_err(|(_, error)| error)
        } else {
            Err(ApplyError::Conflicts(listed(&left)))
        }
    }

    fn own_entry(&self) -> Entry {
        let mut fields = diff::fields(self.applied, self.shape);
        fields.subtract_below(self.ignored);
        Entry {
            manager: self.writer.manager.to_owned(),
            operation: Operation::Apply,
            api_version: self.writer.api_version.to_owned(),
            time: self.writer.now.to_owned(),
            subresource: self.writer.subresource.to_owned(),
            fields,
        }
    }

    /// The owner of what is there when nobody's fields have been tracked.
    fn before(&self, live: &Value) -> Option<Entry> {
        let fields = diff::created(live, self.shape);
        (!fields.is_empty()).then(|| Entry {
            manager: BEFORE_FIRST_APPLY.to_owned(),
            operation: Operation::Update,
            fields,
            ..self.own_entry()
        })
    }
}

/// Takes from the merged object what `last` has and nobody owns now: neither the applier, whose new fields are `own`,
/// nor the others. Parts of it that nobody owns, and that were not in `last`, stay. Each owner's fields are looked for
/// in the object as it is in the owner's version.
async fn prune<V: Versions>(
    merged: Value,
    own: &Entry,
    others: &[Entry],
    last: &Entry,
    versions: &V,
) -> Result<Value, V::Error> {
    let Some(shape) = versions.shape(&last.api_version) else { return Ok(merged) };
    let mut owned: Vec<(&str, FieldSet)> = vec![(&last.api_version, FieldSet::default())];
    for entry in others.iter().chain([own]) {
        match owned.iter_mut().find(|(version, _)| *version == entry.api_version) {
            Some((_, fields)) => fields.unite(&entry.fields),
            None => owned.push((&entry.api_version, entry.fields.clone())),
        }
    }
    let last_fields = merge::with_named(&last.fields, shape);
    let mut whole = versions::at(versions, merged, &last.api_version).await?;
    let mut pruned = whole.clone();
    merge::remove(&mut pruned, &last_fields, shape);
    // First in the version of `last`: what is missing may be needed by conversions.
    for (version, fields) in owned {
        let Some(shape) = versions.shape(version) else { continue };
        whole = versions::at(versions, whole, version).await?;
        pruned = versions::at(versions, pruned, version).await?;
        let mut gone = missing(&whole, &pruned, shape);
        gone.subtract(&merge::with_named(&fields, shape));
        pruned = whole.clone();
        merge::remove(&mut pruned, &gone, shape);
    }
    whole = versions::at(versions, whole, &last.api_version).await?;
    pruned = versions::at(versions, pruned, &last.api_version).await?;
    let gone = missing(&whole, &pruned, shape);
    merge::remove(&mut whole, &gone.intersection(&last_fields), shape);
    versions::at(versions, whole, &own.api_version).await
}

/// The fields that the second object has not.
fn missing(whole: &Value, pruned: &Value, shape: &dyn Shape) -> FieldSet {
    let mut gone = merge::with_named(&diff::fields(whole, shape), shape);
    gone.subtract(&merge::with_named(&diff::fields(pruned, shape), shape));
    gone
}

fn conflicts(entries: &[Entry], differing: &BTreeMap<String, Diff>) -> Conflicts {
    let lost = |entry: &Entry| {
        let changed = differing.get(&entry.api_version).map(Diff::won).unwrap_or_default();
        entry.fields.intersection(&changed)
    };
    let mut found: Conflicts =
        entries.iter().map(|entry| (entry.clone(), lost(entry))).filter(|(_, fields)| !fields.is_empty()).collect();
    found.sort_by(|(a, _), (b, _)| a.manager.cmp(&b.manager));
    found
}

fn listed(conflicts: &Conflicts) -> Vec<Conflict> {
    let each = |(entry, fields): &(Entry, FieldSet)| {
        let manager = entry.to_string();
        fields.paths().into_iter().map(move |path| Conflict { manager: manager.clone(), path })
    };
    conflicts.iter().flat_map(each).collect()
}

fn message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path);
    }
    let mut lines = Vec::new();
    let mut manager = "";
    for conflict in conflicts {
        if conflict.manager != manager {
            manager = &conflict.manager;
            lines.push(format!("conflicts with {manager}:"));
        }
        lines.push(format!("- {}", conflict.path));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// The fields that client-side apply set and that still are as it set them.
fn client_applied(live: &Value, shape: &dyn Shape) -> Option<FieldSet> {
    let text = meta::annotation(live, LAST_APPLIED)?;
    let applied: Value = serde_json::from_str(text).ok()?;
    let mut fields = diff::fields(&applied, shape);
    let Diff { added, modified, removed } = diff::compare(live, &applied, shape);
    for differing in [added, modified, removed] {
        fields.subtract(&differing);
    }
    Some(fields)
}

/// Keeps client-side apply's annotation true when kubectl goes on with server-side apply.
fn sync_last_applied(mut result: Value, live: Option<&Value>, applied: &Value, writer: &Writer<'_>) -> Value {
    if writer.manager != KUBECTL || live.is_none_or(|live| meta::annotation(live, LAST_APPLIED).is_none()) {
        return result;
    }
    let mut plain = applied.clone();
    let metadata = meta::metadata_mut(&mut plain);
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    meta::set_annotation(&mut result, LAST_APPLIED, &format!("{plain}\n"));
    result
}
