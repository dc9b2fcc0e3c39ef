//! patch: JSON patch, merge patch, strategic merge patch, and apply.

use super::{
    Context, apply,
    decode::{Decoded, decode, json, media_type},
    encode,
    write::{self, FieldValidation},
};
use crate::{custom::conform::conform, storage::Stored};
use api::{Gvk, Revision, Status, meta, patch};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";
const SUPPORTED: [&str; 4] = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH];
/// Operations in one JSON patch. Kubernetes' limit.
const OPERATION_LIMIT: usize = 10_000;

/// A patch that can be applied to one state after another.
pub(crate) enum Patch {
    Json(Bytes),
    Merge(Value),
    Strategic(Value),
}

pub(crate) async fn patch(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    if media_type(context.content_type.as_ref()) == APPLY_PATCH {
        return apply::apply(context, &body, validation, dry_run).await;
    }
    let (patch, duplicates) = read(context, body)?;
    let mut warnings = Vec::new();
    let modified = write::modify(&context.write(context.via(), dry_run), |old| {
        warnings.clear();
        let value = patch.apply(&context.resource, old)?;
        let decoded = Decoded { value, duplicates: duplicates.clone() };
        conform(&context.resource, decoded, validation, &mut warnings)
    })
    .await?;
    context.warnings.append(&mut warnings);
    encode::object(context, 200, &modified.stored)
}

/// Reads the request's patch by its content type.
pub(crate) fn read(context: &Context<'_>, body: Bytes) -> Result<(Patch, Vec<String>), Status> {
    match media_type(context.content_type.as_ref()) {
        JSON_PATCH => {
            let operations: Value = json(&body)?.value;
            if operations.as_array().is_some_and(|operations| operations.len() > OPERATION_LIMIT) {
                return Err(Status::too_large(&format!("the patch has more than {OPERATION_LIMIT} operations")));
            }
            Ok((Patch::Json(body), Vec::new()))
        }
        MERGE_PATCH => json(&body).map(|decoded| (Patch::Merge(decoded.value), decoded.duplicates)),
        STRATEGIC_PATCH => json(&body).map(|decoded| (Patch::Strategic(decoded.value), decoded.duplicates)),
        APPLY_PATCH => {
            let decoded = decode(&body, Some(&http::HeaderValue::from_static("application/yaml")))?;
            Ok((Patch::Strategic(decoded.value), decoded.duplicates))
        }
        _ => Err(Status::unsupported_media_type(&SUPPORTED)),
    }
}

impl Patch {
    /// The patched object.
    pub(crate) fn apply(&self, resource: &registry::Resource, old: &Stored) -> Result<Value, Status> {
        self.apply_to(&old.versioned(), old.revision, &resource.gvk())
    }

    /// Patches `versioned`, a view of an object that was written at `revision`. The result names the revision only if
    /// the patch does: one that the patch did not touch is no precondition, so that a conflict is tried again.
    pub(crate) fn apply_to(&self, versioned: &Value, revision: Revision, gvk: &Gvk) -> Result<Value, Status> {
        let mut new = match self {
            Patch::Json(operations) => patch::json::apply(versioned, operations)?,
            Patch::Merge(value) => patch::merge::apply(versioned, value),
            Patch::Strategic(value) => patch::strategic::apply_kind(versioned, value, gvk)?,
        };
        if !new.is_object() {
            return Err(Status::unprocessable("the patched value is no object"));
        }
        if meta::resource_version(&new) == revision.to_string() && !self.names_revision() {
            meta::remove_resource_version(&mut new);
        }
        Ok(new)
    }

    fn names_revision(&self) -> bool {
        match self {
            // A `test` of the resourceVersion has been made against the state read; a write in between makes it stale.
            Patch::Json(operations) => {
                operations.windows(b"resourceVersion".len()).any(|window| window == b"resourceVersion")
            }
            Patch::Merge(value) | Patch::Strategic(value) => !meta::resource_version(value).is_empty(),
        }
    }
}
