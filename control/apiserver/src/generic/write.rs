//! The two ways an object comes to be stored: [`insert`] and [`modify`]. Every verb and every subresource that writes
//! goes through them.

use super::{
    metadata::{self, fit_namespace, may_go},
    owners::{self, Owners},
};
use crate::{
    Apiserver,
    admission::{self, Call, Operation, Origin, Reserved},
    allocate,
    auth::User,
    custom::convert,
    storage::{self, Stored},
    subresource::scale,
};
use api::{FieldError, Status, managed, meta};
use registry::{Resource, metadata as rules};
use serde_json::Value;
use std::sync::Arc;
use store::{Expect, Op};

pub(crate) use super::conform::conform_kind as conform;

/// Who writes where.
#[derive(Clone)]
pub(crate) struct Write<'a> {
    pub(crate) server: &'a Arc<Apiserver>,
    pub(crate) user: &'a User,
    pub(crate) resource: &'a Arc<Resource>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) via: Via,
    /// Everything but the write itself.
    pub(crate) dry_run: bool,
    pub(crate) origin: &'a Origin,
    /// Who the fields belong to that it sets.
    pub(crate) manager: &'a str,
    /// The subresource it goes through, or empty.
    pub(crate) subresource: &'a str,
    pub(crate) owners: Owners<'a>,
}

impl<'a> Write<'a> {
    /// A write of the server itself.
    pub(crate) fn own(
        server: &'a Arc<Apiserver>,
        user: &'a User,
        resource: &'a Arc<Resource>,
        (namespace, name): (&'a str, &'a str),
        via: Via,
        origin: &'a Origin,
    ) -> Self {
        let (manager, subresource, owners) = (owners::SERVER, "", Owners::Tracked);
        Self { server, user, resource, namespace, name, via, dry_run: false, origin, manager, subresource, owners }
    }
}

/// One part of an object, which has a subresource of its own (a pod's ephemeral containers, its resources).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The present object with the part of the one that was sent.
    pub(crate) merge: fn(old: &Value, sent: &Value) -> Value,
    pub(crate) validate: fn(new: &Value, old: &Value) -> Vec<FieldError>,
}

/// Which rules an update obeys.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    /// The object: status stays.
    Object,
    /// Its status: the rest stays.
    Status,
    /// What an approver decides.
    Approval,
    /// Its number of replicas; admission sees the Scale alone.
    Scale,
    /// One part of it: the rest stays.
    Part(Part),
    /// The server itself (binding, finalize): as given.
    Server,
}

impl Via {
    pub(crate) fn is_object(self) -> bool {
        matches!(self, Via::Object)
    }
}

/// What a modification came to.
pub(crate) struct Modified {
    pub(crate) stored: Stored,
    /// It did not exist before.
    pub(crate) created: bool,
}

/// How a body with fields the kind does not have is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Names tried for `generateName`.
const NAME_ATTEMPTS: usize = 8;
/// Attempts of a write that others keep overtaking.
const CONFLICT_ATTEMPTS: usize = 32;

impl FieldValidation {
    /// Reads the query parameter.
    pub(crate) fn of(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Stores a new object. `write.name` is not used: the object has its own, or gets one.
pub(crate) async fn insert(write: &Write<'_>, mut object: Value) -> Result<Stored, Status> {
    let resource = write.resource;
    let given = object["metadata"].get("managedFields").cloned();
    metadata::stamp(resource, write.namespace, &mut object)?;
    resource.strategy.default(&mut object);
    if let Some(given) = given {
        meta::metadata_mut(&mut object).insert("managedFields".to_owned(), given);
    }
    owners::track(write, None, &mut object).await;
    let kind = resource.gvk();
    let call = Call { write, operation: Operation::Create, kind: &kind, subresource: "", old: None, revision: None };
    admission::mutate(&call, &mut object).await?;
    resource.strategy.default(&mut object);
    // A name that is generated may be taken: then all begins again with another one.
    let generates = meta::name(&object).is_empty();
    for attempt in 1.. {
        let mut object = if generates { object.clone() } else { std::mem::take(&mut object) };
        let generated = metadata::generate_name(&mut object);
        if generated {
            // What is made of the name (a namespace's label) could not be made before.
            resource.strategy.default(&mut object);
        }
        resource.strategy.prepare_create(&mut object);
        if attempt == 1 {
            resource.strategy.warnings(&object, None).into_iter().for_each(|warning| write.origin.warn(warning));
        }
        let errors = rules::validate(resource, &object);
        if !errors.is_empty() {
            return Err(Status::invalid(&resource.gvk(), meta::name(&object), errors));
        }
        let reservation = write.server.allocators.reserve(resource, &mut object, None)?;
        let quota = admission::validate(&call, &object).await?;
        let key = storage::key(resource, write.namespace, meta::name(&object));
        let bytes = storage::write(&object);
        let kept = convert::to_store(write.server, resource, &object, &bytes).await?;
        if write.dry_run {
            let taken = write.server.config.store.get(&key).await.map_err(storage::unavailable)?;
            return match taken {
                Some(_) => Err(Status::already_exists(&resource.gvr(), meta::name(&object))),
                None => Ok(Stored { bytes, value: object, revision: api::Revision(0) }),
            };
        }
        match write.server.config.store.commit(&key, Expect::Absent, Op::Put(kept)).await {
            Ok(revision) => {
                reservation.keep();
                allocate::addresses::settle(write.server, resource, None, Some(&object)).await;
                return Ok(Stored { bytes, value: object, revision });
            }
            Err(store::Error::Conflict { .. }) => {
                quota.release().await;
                if !generated || attempt >= NAME_ATTEMPTS {
                    return Err(Status::already_exists(&resource.gvr(), meta::name(&object)));
                }
            }
            Err(error) => {
                quota.release().await;
                return Err(storage::unavailable(error));
            }
        }
    }
    unreachable!("the loop ends by returning")
}

/// Changes an object: `change` makes the new state from the present one, and is called again if somebody else wrote
/// meanwhile. A resourceVersion in its result must be the present one (else 409); none means whatever is there.
pub(crate) async fn modify(
    write: &Write<'_>,
    mut change: impl FnMut(&Stored) -> Result<Value, Status>,
) -> Result<Modified, Status> {
    let resource = write.resource;
    let gvr = resource.gvr();
    let key = storage::key(resource, write.namespace, write.name);
    let store = &write.server.config.store;
    for _ in 0..CONFLICT_ATTEMPTS {
        let entry = store.get(&key).await.map_err(storage::unavailable)?;
        let Some(entry) = entry else { return Err(Status::not_found(&gvr, write.name)) };
        let old = convert::read(write.server, resource, &entry).await?;
        let mut new = change(&old)?;
        if let Owners::Applied { manifest, force } = write.owners {
            new = owners::applied(write, manifest, Some(&new), force).await?;
        }
        let pinned = check_preconditions(write, &new, &old)?;
        fit_namespace(resource, write.namespace, &mut new)?;
        let quota = finish(write, &mut new, &old).await?;
        if managed::same_but_times(&new, &old.value) {
            return Ok(Modified { stored: old, created: false });
        }
        let reservation = write.server.allocators.reserve(resource, &mut new, Some(&old.value))?;
        let removed = may_go(resource, &new);
        let bytes = storage::write(&new);
        let op = match removed {
            true => Op::Delete,
            false => Op::Put(convert::to_store(write.server, resource, &new, &bytes).await?),
        };
        if write.dry_run {
            return Ok(Modified { stored: Stored { value: new, bytes, revision: old.revision }, created: false });
        }
        match store.commit(&key, Expect::Revision(old.revision), op).await {
            Ok(revision) => {
                reservation.keep();
                if removed {
                    write.server.allocators.release(resource, &new);
                }
                let left = (!removed).then_some(&new);
                allocate::addresses::settle(write.server, resource, Some(&old.value), left).await;
                return Ok(Modified { stored: Stored { value: new, bytes, revision }, created: false });
            }
            Err(error) => {
                if let Some(quota) = quota {
                    quota.release().await;
                }
                match error {
                    store::Error::Conflict { .. } if pinned => return Err(Status::modified(&gvr, write.name)),
                    store::Error::Conflict { .. } => {}
                    error => return Err(storage::unavailable(error)),
                }
            }
        }
    }
    Err(Status::modified(&gvr, write.name))
}

/// Compares resourceVersion, uid and name with the present object. True if the caller named the revision.
fn check_preconditions(write: &Write<'_>, new: &Value, old: &Stored) -> Result<bool, Status> {
    let gvr = write.resource.gvr();
    if !new.is_object() {
        return Err(Status::bad_request("the result is no object"));
    }
    let (uid, present) = (meta::uid(new), meta::uid(&old.value));
    if !uid.is_empty() && uid != present {
        let text = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {present}");
        return Err(Status::conflict(&gvr, write.name, &text));
    }
    let name = meta::name(new);
    if !name.is_empty() && name != write.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            write.name
        )));
    }
    match meta::resource_version(new) {
        "" | "0" => Ok(false),
        pinned if pinned == old.revision.to_string() => Ok(true),
        _ => Err(Status::modified(&gvr, write.name)),
    }
}

/// Brings a changed object into the form that is stored, by the rules of the way it came.
async fn finish(write: &Write<'_>, new: &mut Value, old: &Stored) -> Result<Option<Reserved>, Status> {
    let resource = write.resource;
    meta::remove_resource_version(new);
    new["apiVersion"] = resource.gvr().api_version().into();
    new["kind"] = resource.kind.as_str().into();
    let subresource = match write.via {
        Via::Server => return Ok(None),
        Via::Object => "",
        Via::Approval => "approval",
        Via::Status => "status",
        Via::Scale | Via::Part(_) => write.subresource,
    };
    rules::carry_over(new, &old.value);
    prepare(write, new, &old.value);
    owners::track(write, Some(&old.value), new).await;
    let kind = resource.gvk();
    let call = Call {
        write,
        operation: Operation::Update,
        kind: &kind,
        subresource,
        old: Some(&old.value),
        revision: Some(old.revision),
    };
    let changed = match write.via {
        Via::Scale => scale::mutate(&call, new).await?,
        Via::Server | Via::Object | Via::Approval | Via::Status | Via::Part(_) => admission::mutate(&call, new).await?,
    };
    if changed {
        // What webhooks changed obeys the same rules.
        meta::remove_resource_version(new);
        rules::carry_over(new, &old.value);
        prepare(write, new, &old.value);
    }
    let errors = match write.via {
        Via::Server | Via::Object | Via::Scale => rules::validate_update(resource, new, &old.value),
        Via::Approval | Via::Status => rules::validate_status_update(resource, new, &old.value),
        Via::Part(part) => (part.validate)(new, &old.value),
    };
    if !errors.is_empty() {
        return Err(Status::invalid(&kind, write.name, errors));
    }
    if write.via.is_object() {
        let warnings = resource.strategy.warnings(new, Some(&old.value));
        warnings.into_iter().for_each(|warning| write.origin.warn(warning));
    }
    match write.via {
        Via::Scale => scale::validate(&call, new).await.map(Some),
        Via::Server | Via::Object | Via::Approval | Via::Status | Via::Part(_) => {
            admission::validate(&call, new).await.map(Some)
        }
    }
}

/// What the kind does to an update that came this way.
fn prepare(write: &Write<'_>, new: &mut Value, old: &Value) {
    let strategy = &write.resource.strategy;
    match write.via {
        Via::Server => {}
        Via::Object | Via::Scale => {
            strategy.default(new);
            strategy.prepare_update(new, old);
        }
        Via::Approval => strategy.prepare_approval(new, old),
        Via::Status => strategy.prepare_status_update(new, old),
        Via::Part(part) => {
            let owners = new["metadata"]["managedFields"].take();
            *new = (part.merge)(old, new);
            if !owners.is_null() {
                meta::metadata_mut(new).insert("managedFields".to_owned(), owners);
            }
        }
    }
}
