//! A definition that is being deleted: its objects go first, then its finalizer, and with it the definition.

use super::definitions::set_status;
use crate::{
    Apiserver,
    admission::Origin,
    auth::User,
    generic::{
        delete::{self, Options},
        owners,
        write::{self, Via, Write},
    },
    storage,
};
use api::{Status, meta, time};
use registry::{Resource, apiextensions::conditions, apiextensions::definition::CLEANUP};
use serde_json::Value;
use std::sync::Arc;
use store::{Expect, Op};

/// Objects looked at in one step.
const CHUNK: usize = 500;

/// Brings the deletion one step nearer to its end; whether there is nothing more to do.
pub(super) async fn step(
    server: &Arc<Apiserver>,
    definitions: &Arc<Resource>,
    definition: &Value,
) -> Result<bool, Status> {
    if !meta::finalizers(definition).contains(&CLEANUP) {
        return Ok(true);
    }
    let left =
        if conditions::is_true(definition, "Established") { delete_objects(server, definition).await? } else { 0 };
    let now = time::format(process::now());
    let mut told = definition.clone();
    if left > 0 {
        conditions::set(
            &mut told,
            "Terminating",
            "True",
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
            &now,
        );
        if told != *definition {
            set_status(server, definition, &told["status"]).await?;
        }
        return Ok(false);
    }
    let user = User::gannet();
    let write = Write {
        server,
        user: &user,
        resource: definitions,
        namespace: "",
        name: meta::name(definition),
        via: Via::Server,
        dry_run: false,
        origin: &Origin::default(),
        manager: owners::SERVER,
        subresource: "",
        owners: owners::Owners::Tracked,
    };
    write::modify(&write, |old| {
        let mut new = old.value.clone();
        let left: Vec<&str> = meta::finalizers(&old.value).into_iter().filter(|name| *name != CLEANUP).collect();
        meta::set_finalizers(&mut new, &left);
        conditions::set(&mut new, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances", &now);
        Ok(new)
    })
    .await?;
    Ok(true)
}

/// Deletes the objects of a definition; how many are still there.
async fn delete_objects(server: &Arc<Apiserver>, definition: &Value) -> Result<usize, Status> {
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let plural = definition["status"]["acceptedNames"]["plural"].as_str().unwrap_or_default();
    let snapshot = server.kinds.snapshot();
    let mut served = snapshot.resources.iter().filter(|r| r.is_custom() && r.group == group && r.resource == plural);
    let stored = |r: &&Arc<Resource>| r.strategy.custom().is_some_and(|v| v.storage_version == r.version);
    let resource = served.clone().find(stored).or_else(|| served.next());
    let prefix = format!("/registry/{group}/{plural}/");
    let listing = server.config.store.list(&prefix, None, Some(CHUNK), None).await.map_err(storage::unavailable)?;
    let user = User::gannet();
    let mut left = listing.remaining;
    for entry in &listing.entries {
        let Some(resource) = resource else {
            let _ = server.config.store.commit(&entry.key, Expect::Revision(entry.modified), Op::Delete).await;
            continue;
        };
        let value: Value = storage::parse(&entry.value)?;
        let write = Write {
            server,
            user: &user,
            resource,
            namespace: meta::namespace(&value),
            name: meta::name(&value),
            via: Via::Server,
            dry_run: false,
            origin: &Origin::default(),
            manager: owners::SERVER,
            subresource: "",
            owners: owners::Owners::Tracked,
        };
        match delete::delete_one(&write, &Options::default()).await {
            Ok(delete::Deleted::Gone(_)) => {}
            Ok(delete::Deleted::Marked(_)) => left += 1,
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    Ok(left)
}
