//! Owners of replicas through the subresource `scale`: the entries of an object as those of its `Scale`, and back.

use serde_json::Value;

use super::{
    entry::{self, Entry},
    versions::{has, path},
};
use crate::Status;

/// The version and the path of replicas in a `Scale`.
const SCALE: &str = "autoscaling/v1";
const REPLICAS: &str = ".spec.replicas";

/// Where an object has its replicas, by its version.
pub struct Replicas<'a> {
    /// The version that is written.
    pub api_version: &'a str,
    /// The path in a version (`.spec.replicas`); empty for a version without the subresource, `None` for one that the
    /// kind has not.
    pub path: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// Gives `scale`, the view of `object`, the owners of the object's replicas. 500 if they cannot be read.
pub fn to_scale(object: &Value, scale: &mut Value, replicas: &Replicas<'_>) -> Result<(), Status> {
    let mut entries = of(object)?;
    entries.retain_mut(|entry| {
        let owns = (replicas.path)(&entry.api_version).is_some_and(|own| has(&entry.fields, &path(&own)));
        SCALE.clone_into(&mut entry.api_version);
        entry.fields = path(REPLICAS);
        owns
    });
    entry::write(scale, entries);
    Ok(())
}

/// Gives `object` the owners that a written `scale` has: who owns its replicas there does so here, nobody else does.
pub fn from_scale(scale: &Value, object: &mut Value, replicas: &Replicas<'_>) -> Result<(), Status> {
    let is =
        |a: &Entry, b: &Entry| a.manager == b.manager && a.operation == b.operation && a.subresource == b.subresource;
    let mut owners = of(scale)?;
    owners.retain(|entry| has(&entry.fields, &path(REPLICAS)));
    let mut entries = of(object)?;
    entries.retain_mut(|entry| {
        let Some(own) = (replicas.path)(&entry.api_version) else { return false };
        if has(&entry.fields, &path(&own)) {
            match owners.iter().position(|owner| is(owner, entry)) {
                Some(at) => {
                    entry.time = owners.remove(at).time;
                }
                None => entry.fields.subtract(&path(&own)),
            }
        }
        !entry.fields.is_empty()
    });
    let own = (replicas.path)(replicas.api_version).unwrap_or_default();
    for mut owner in owners {
        replicas.api_version.clone_into(&mut owner.api_version);
        owner.fields = path(&own);
        match entries.iter_mut().find(|entry| entry.is(&owner)) {
            Some(present) => present.fields.unite(&owner.fields),
            None => entries.push(owner),
        }
    }
    entry::write(object, entries);
    Ok(())
}

fn of(object: &Value) -> Result<Vec<Entry>, Status> {
    entry::read(entry::raw(object)).ok_or_else(|| Status::internal("failed to decode managed fields"))
}
