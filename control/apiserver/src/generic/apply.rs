//! Server-side apply: the fields that a manifest has are set and owned; those that its applier no longer has go.

use super::{
    Context, complaints,
    decode::{Decoded, yaml},
    encode,
    options::{Apply, Options},
    owners::{self, Owners},
    write::{self, FieldValidation, Modified, Write},
};
use crate::storage::Stored;
use api::{Gvk, Schema, Status, managed, meta, schema, shape::Shape};
use bytes::Bytes;
use client::Body;
use http::Response;
use registry::Resource;
use serde_json::Value;

pub(crate) async fn apply(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let options = Options::read(context, Apply::Yes)?;
    let resource = context.resource.clone();
    let manifest = read(context, body, options.validation, &Applied::to(&resource))?;
    let owners = Owners::Applied { manifest: &manifest, force: options.force };
    let write = Write { owners, ..context.write(context.via(), options.dry_run) };
    let present = |old: &Stored| Ok(old.value.clone());
    let modified = match write::modify(&write, present).await {
        Err(status) if status.is_not_found() && context.via().is_object() => {
            let uid = meta::uid(&manifest);
            if !uid.is_empty() {
                let what =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Status::conflict(&context.resource.gvr(), &context.target.name, &what));
            }
            context.may_create().await?;
            match write::insert(&write, owners::applied(&write, &manifest, None, options.force).await?).await {
                Ok(stored) => Modified { stored, created: true },
                // Somebody else created it in between.
                Err(status) if status.is_already_exists() => write::modify(&write, present).await?,
                Err(status) => return Err(status),
            }
        }
        other => other?,
    };
    encode::object(context, if modified.created { 201 } else { 200 }, &modified.stored)
}

/// What a manifest is applied to: the object, or a subresource with a kind of its own.
pub(crate) struct Applied<'a> {
    pub(crate) kind: Gvk,
    pub(crate) shape: &'a dyn Shape,
}

impl<'a> Applied<'a> {
    fn to(resource: &'a Resource) -> Self {
        Self { kind: resource.gvk(), shape: resource.shape() }
    }
}

/// The applied manifest, fit to be merged.
pub(crate) fn read(
    context: &mut Context<'_>,
    body: &[u8],
    validation: FieldValidation,
    to: &Applied<'_>,
) -> Result<Value, Status> {
    let Decoded { value: mut manifest, duplicates, .. } =
        yaml(body).map_err(|status| Status::bad_request(format!("error decoding YAML: {}", status.message)))?;
    if !manifest.is_object() {
        return Err(Status::bad_request("error decoding YAML: the body is no object"));
    }
    let given = meta::gvk(&manifest);
    if given != to.kind {
        return Err(Status::bad_request(format!("invalid object type: {}", named(&given))));
    }
    if manifest["metadata"].get("managedFields").is_some_and(|list| !list.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    match meta::name(&manifest) {
        "" => meta::set_name(&mut manifest, &context.target.name),
        name if name != context.target.name => {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                context.target.name
            )));
        }
        _ => {}
    }
    fits(context, &manifest, to)?;
    if let Some(errors) = (!duplicates.is_empty()).then(|| complaints::yaml_errors(body)).flatten() {
        let text = format!("error converting YAML to JSON: {errors}");
        match validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => context.warnings.push(text.replace("\n ", "")),
            FieldValidation::Strict => return Err(Status::bad_request(format!("error strict decoding YAML: {text}"))),
        }
    }
    Ok(manifest)
}

/// Refuses a manifest whose fields the kind does not have, or whose values are of other types.
fn fits(context: &Context<'_>, manifest: &Value, to: &Applied<'_>) -> Result<(), Status> {
    let mut complaints = managed::check(manifest, to.shape);
    if complaints.is_empty()
        && let Some(schema) = Schema::for_kind(&to.kind)
        && let Err(error) = schema::type_check(&schema, manifest)
    {
        complaints.push(error.to_string());
    }
    let listed = match &complaints[..] {
        [] => return Ok(()),
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    let namespace = match meta::namespace(manifest) {
        "" => &context.target.namespace,
        own => own,
    };
    let place = match namespace {
        "" => context.target.name.clone(),
        namespace => format!("{namespace}/{}", context.target.name),
    };
    // Kubernetes answers 500 without a reason here. The fault is the client's, so ours is a 400: clients show the message.
    let message = format!("failed to create typed patch object ({place}; {}): {listed}", named(&to.kind));
    Err(Status::bad_request(message))
}

/// A kind as Go prints it.
fn named(kind: &Gvk) -> String {
    format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind)
}
