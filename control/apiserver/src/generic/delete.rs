//! delete and deletecollection: at once, after a grace, or once finalizers are gone.

use super::{
    Context,
    decode::decode,
    dry_run, encode,
    metadata::may_go,
    selection::Selection,
    write::{Via, Write},
};
use crate::{
    admission, allocate,
    custom::convert,
    storage::{self, Stored},
};
use api::{FieldError, Gvk, Gvr, Status, meta};
use bytes::Bytes;
use client::Body;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use registry::Grace;
use serde_json::{Value, json};
use store::{Expect, Op};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Longest grace: a year. More is no grace but a mistake.
const GRACE_LIMIT_S: i64 = 365 * 24 * 3600;
const CONFLICT_ATTEMPTS: usize = 32;
/// Deletes what cannot be read; everything here can be, so it deletes as usual.
const UNSAFE: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";
/// Objects deleted between looks at the store in a deletecollection.
const CHUNK: usize = 500;

/// DeleteOptions, from the body or the query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    grace_s: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    resource_version: Option<String>,
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What a delete came to.
pub(crate) enum Deleted {
    /// Gone; its last state.
    Gone(Stored),
    /// Marked, or marked already: it goes later.
    Marked(Stored),
}

pub(crate) async fn delete(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = Options::read(context, &body)?;
    if !context.target.subresource.is_empty() {
        return Err(Status::method_not_allowed(&context.resource.gvr(), context.verb));
    }
    let write = context.write(Via::Server, options.dry_run);
    match delete_one(&write, &options).await? {
        Deleted::Gone(stored)
            if registry::delete_answers_with_object(&context.resource.group, &context.resource.kind) =>
        {
            encode::object(context, 200, &stored)
        }
        Deleted::Gone(stored) => {
            let status = Status::success(&context.resource.gvr(), &context.target.name, meta::uid(&stored.value));
            encode::media(context, 200, serde_json::to_vec(&status).map_err(Status::internal)?.into())
        }
        Deleted::Marked(stored) => encode::object(context, 200, &stored),
    }
}

pub(crate) async fn delete_collection(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = Options::read(context, &body)?;
    let selection = Selection::of(&context.resource, &context.query)?;
    let prefix = storage::key(&context.resource, &context.target.namespace, "");
    let limit = context.query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let limit = limit.unwrap_or(usize::MAX);
    let (mut start, mut deleted) = (None, Vec::new());
    let mut at = None;
    loop {
        let store = &context.server.config.store;
        let listing = store.list(&prefix, start.as_deref(), Some(CHUNK), at).await.map_err(storage::unavailable)?;
        at = Some(listing.revision);
        for entry in &listing.entries {
            start = Some(entry.key.to_string());
            let object = convert::read(context.server, &context.resource, entry).await?;
            if deleted.len() >= limit || !selection.matches(&context.resource, &object.value) {
                continue;
            }
            let (namespace, name) = (meta::namespace(&object.value), meta::name(&object.value));
            let write = Write { namespace, name, ..context.write(Via::Server, options.dry_run) };
            match delete_one(&write, &options).await {
                Ok(Deleted::Gone(stored) | Deleted::Marked(stored)) => deleted.push(stored.versioned()),
                Err(status) if status.is_not_found() => {}
                Err(status) => return Err(status),
            }
        }
        if !listing.more || deleted.len() >= limit {
            break;
        }
    }
    let list = json!({
        "kind": context.resource.list_kind,
        "apiVersion": context.resource.gvr().api_version(),
        "metadata": {"resourceVersion": context.server.config.store.revision().to_string()},
        "items": deleted,
    });
    encode::media(context, 200, storage::write(&list))
}

impl Options {
    fn read(context: &Context<'_>, body: &Bytes) -> Result<Self, Status> {
        let query = &context.query;
        if !body.is_empty() {
            let decoded = decode(body, context.content_type.as_ref())?.value;
            if !decoded.is_object() {
                return Err(Status::bad_request("the body of a delete must be DeleteOptions"));
            }
            if decoded.as_object().is_some_and(|fields| fields.keys().any(|key| key != "kind" && key != "apiVersion")) {
                return Self::from_value(&decoded);
            }
        }
        let mut value = json!({});
        if let Some(grace) = query.number("gracePeriodSeconds")? {
            value["gracePeriodSeconds"] = json!(grace);
        }
        if let Some(policy) = query.get("propagationPolicy") {
            value["propagationPolicy"] = json!(policy);
        }
        if query.get("orphanDependents").is_some() {
            value["orphanDependents"] = json!(query.flag("orphanDependents"));
        }
        if query.flag(UNSAFE) {
            value[UNSAFE] = json!(true);
        }
        value["dryRun"] = query.all("dryRun").collect();
        Self::from_value(&value)
    }

    /// From a DeleteOptions object.
    pub(crate) fn from_value(value: &Value) -> Result<Self, Status> {
        let kind = value["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "" | "DeleteOptions") {
            return Err(Status::bad_request(format!("the body of a delete must be DeleteOptions, not {kind}")));
        }
        let wrong = |field: &str| Status::bad_request(format!("DeleteOptions: {field} has the wrong type"));
        let grace_s = match &value["gracePeriodSeconds"] {
            Value::Null => None,
            grace => Some(grace.as_i64().ok_or_else(|| wrong("gracePeriodSeconds"))?),
        };
        let text = |value: &Value, field: &str| match value {
            Value::Null => Ok(None),
            value => value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| wrong(field)),
        };
        let policy = text(&value["propagationPolicy"], "propagationPolicy")?;
        let mut errors = Vec::new();
        let propagation = match (policy.as_deref(), &value["orphanDependents"]) {
            (Some(policy), Value::Bool(_)) => {
                let what = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(FieldError::invalid("propagationPolicy", policy, what));
                None
            }
            (Some("Background"), _) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) => Some(Propagation::Orphan),
            (Some(other), _) => {
                let known = ["Background", "Foreground", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", other, &known));
                None
            }
            (None, Value::Bool(true)) => Some(Propagation::Orphan),
            (None, Value::Bool(false)) => Some(Propagation::Background),
            (None, _) => None,
        };
        if value[UNSAFE] == true {
            let together = ["dryRun", "preconditions", "orphanDependents", "gracePeriodSeconds", "propagationPolicy"];
            let given = |field: &&str| match &value[*field] {
                Value::Null => false,
                Value::Array(list) => !list.is_empty(),
                _ => true,
            };
            let refused = together.iter().filter(|field| given(field));
            errors.extend(
                refused.map(|field| FieldError::invalid(UNSAFE, true, format!("cannot be set together with .{field}"))),
            );
        }
        if !errors.is_empty() {
            return Err(Status::invalid(&Gvk::new("meta.k8s.io", "v1", "DeleteOptions"), "", errors));
        }
        let dry = value["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            grace_s,
            propagation,
            uid: text(&value["preconditions"]["uid"], "preconditions.uid")?,
            resource_version: text(&value["preconditions"]["resourceVersion"], "preconditions.resourceVersion")?,
            dry_run: dry_run(dry)?,
        })
    }
}

/// Deletes one object, or brings it one step nearer to its end.
pub(crate) async fn delete_one(write: &Write<'_>, options: &Options) -> Result<Deleted, Status> {
    let (resource, store) = (write.resource, &write.server.config.store);
    let gvr = resource.gvr();
    let key = storage::key(resource, write.namespace, write.name);
    for _ in 0..CONFLICT_ATTEMPTS {
        let entry = store.get(&key).await.map_err(storage::unavailable)?;
        let Some(entry) = entry else { return Err(Status::not_found(&gvr, write.name)) };
        let old = convert::read(write.server, resource, &entry).await?;
        preconditions(write, options, &old)?;
        admission::delete(write, &old).await?;
        let new = next_state(resource, options, &old.value, process::now());
        let goes = may_go(resource, &new);
        if !goes && new == old.value {
            return Ok(Deleted::Marked(old));
        }
        let bytes = storage::write(&new);
        if write.dry_run {
            let stored = Stored { value: new, bytes, revision: old.revision };
            return Ok(if goes { Deleted::Gone(stored) } else { Deleted::Marked(stored) });
        }
        let op = match goes {
            true => Op::Delete,
            false => Op::Put(convert::to_store(write.server, resource, &new, &bytes).await?),
        };
        match store.commit(&key, Expect::Revision(old.revision), op).await {
            Ok(revision) if goes => {
                write.server.allocators.release(resource, &old.value);
                allocate::addresses::settle(write.server, resource, Some(&old.value), None).await;
                return Ok(Deleted::Gone(Stored { revision, ..old }));
            }
            Ok(revision) => return Ok(Deleted::Marked(Stored { value: new, bytes, revision })),
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::unavailable(error)),
        }
    }
    Err(Status::modified(&gvr, write.name))
}

fn preconditions(write: &Write<'_>, options: &Options, old: &Stored) -> Result<(), Status> {
    // Kubernetes names the kind here, where it names the resource everywhere else.
    let gvr = Gvr::new(&write.resource.group, &write.resource.version, &write.resource.kind);
    let conflict = |what: String| Err(Status::conflict(&gvr, write.name, &what));
    let present = meta::uid(&old.value);
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != present) {
        return conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({present}). The object might have \
             been deleted and then recreated"
        ));
    }
    let revision = old.revision.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != revision) {
        return conflict(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({revision}). The object might have been modified"
        ));
    }
    Ok(())
}

/// The object after this delete. If nothing holds it then, it is the state it goes in.
fn next_state(resource: &registry::Resource, options: &Options, old: &Value, now: Timestamp) -> Value {
    let mut new = old.clone();
    let kept = meta::finalizers(old).iter().any(|finalizer| matches!(*finalizer, ORPHAN | FOREGROUND));
    let by_default = resource.strategy.orphans_by_default() && !kept && !meta::is_deleting(old);
    set_propagation(&mut new, options.propagation.or(by_default.then_some(Propagation::Orphan)));
    let asked = options.grace_s.map(|seconds| match seconds {
        // Kubernetes reads a negative grace as "at once, but by the kubelet".
        negative if negative < 0 => 1,
        seconds => seconds.min(GRACE_LIMIT_S),
    });
    let grace_s = match resource.strategy.graceful_delete(old, asked) {
        Grace::Immediate => 0,
        Grace::Graceful { seconds } => seconds.clamp(0, GRACE_LIMIT_S),
    };
    let ends = now.saturating_add(SignedDuration::from_secs(grace_s)).unwrap_or(now);
    match (meta::deletion_timestamp(old), meta::deletion_grace_period_seconds(old)) {
        // Deleted before: a shorter grace counts, a longer one does not.
        (Some(_), Some(left)) if grace_s < left => {
            meta::set_deletion(&mut new, ends, grace_s);
        }
        (Some(_), _) => {}
        (None, _) => {
            meta::set_deletion(&mut new, ends, grace_s);
            if resource.strategy.has_generation() || meta::generation(old) > 0 {
                meta::set_generation(&mut new, meta::generation(old) + 1);
            }
            resource.strategy.mark_deleting(&mut new);
        }
    }
    new
}

/// Puts in or takes out the finalizers that the garbage collector serves. Without a policy, those that are there stay.
fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let mut finalizers: Vec<String> = meta::finalizers(object)
        .into_iter()
        .filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND)
        .map(str::to_owned)
        .collect();
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    let finalizers: Vec<&str> = finalizers.iter().map(String::as_str).collect();
    meta::set_finalizers(object, &finalizers);
}
