//! Server-side apply, as far as it goes without field ownership: what the manifest says is merged over what is there,
//! and created where nothing is. Fields that a manifest no longer mentions stay.

use super::{
    Context,
    decode::yaml,
    encode,
    write::{self, FieldValidation, Modified, Via},
};
use crate::custom::conform::conform;
use api::{Status, meta, patch};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;

pub(crate) async fn apply(
    context: &mut Context<'_>,
    body: &Bytes,
    validation: FieldValidation,
    dry_run: bool,
) -> Result<Response<Body>, Status> {
    if context.query.get("fieldManager").is_none() {
        return Err(Status::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let gvk = context.resource.gvk();
    let mut manifest = conform(&context.resource, yaml(body)?, validation, context.warnings)?;
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
    if manifest["metadata"].get("managedFields").is_some() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let write = context.write(context.via(), dry_run);
    let merge = |old: &crate::storage::Stored| -> Result<Value, Status> {
        patch::strategic::apply_kind(&old.value, &manifest, &gvk)
    };
    let modified = match write::modify(&write, merge).await {
        Err(status) if status.is_not_found() && context.via() == Via::Object && meta::uid(&manifest).is_empty() => {
            context.may_create().await?;
            match write::insert(&write, manifest.clone()).await {
                Ok(stored) => Modified { stored, created: true },
                // Somebody else created it in between.
                Err(status) if status.is_already_exists() => write::modify(&write, merge).await?,
                Err(status) => return Err(status),
            }
        }
        other => other?,
    };
    encode::object(context, if modified.created { 201 } else { 200 }, &modified.stored)
}
