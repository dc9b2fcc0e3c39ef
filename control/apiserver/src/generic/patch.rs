//! patch: JSON patch, merge patch, strategic merge patch, and apply.

use super::{
    Context, apply,
    conform::{self, Refusal},
    decode::{Decoded, decode, json, media_type},
    encode,
    options::{Apply, Options},
    write::{self, FieldValidation},
};
use crate::storage::Stored;
use api::{FieldError, Gvk, Revision, Status, meta, patch};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";
const SUPPORTED: [&str; 4] = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH];
/// Of custom resources.
const SUPPORTED_CUSTOM: [&str; 3] = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH];

/// A patch that can be applied to one state after another.
pub(crate) enum Patch {
    Json(Bytes),
    Merge(Value),
    Strategic(Value),
}

pub(crate) async fn patch(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let media = media_type(context.content_type.as_ref());
    let supported: &[&str] = if context.resource.schema().is_some() { &SUPPORTED } else { &SUPPORTED_CUSTOM };
    if !supported.contains(&media) {
        return Err(Status::unsupported_media_type(supported));
    }
    if media == APPLY_PATCH {
        return apply::apply(context, &body).await;
    }
    let Options { dry_run, validation, .. } = Options::read(context, Apply::No)?;
    let (patch, duplicates) = read(context, body)?;
    let resource = context.resource.clone();
    let mut warnings = Vec::new();
    let modified = write::modify(&context.write(context.via(), dry_run), |old| {
        warnings.clear();
        let value = patch.apply(&resource, old)?;
        patch.fit(&resource, value, &duplicates, validation, &mut warnings)
    })
    .await?;
    context.warnings.append(&mut warnings);
    encode::object(context, 200, &modified.stored)
}

/// Reads the request's patch by its content type, with the complaints about the patch itself.
pub(crate) fn read(context: &Context<'_>, body: Bytes) -> Result<(Patch, Vec<String>), Status> {
    let undecodable = |status: Status| Status::bad_request(format!("error decoding patch: {}", status.message));
    match media_type(context.content_type.as_ref()) {
        JSON_PATCH => {
            let decoded = json(&body).map_err(undecodable)?;
            let complaints = patch::json::complaints(&decoded.value, &decoded.duplicates);
            // Of members given twice, the last counts.
            let operations = if decoded.duplicates.is_empty() { body } else { decoded.value.to_string().into() };
            Ok((Patch::Json(operations), complaints))
        }
        MERGE_PATCH => {
            let Decoded { value, duplicates, .. } = json(&body).map_err(undecodable)?;
            Ok((Patch::Merge(value), told(&duplicates)))
        }
        STRATEGIC_PATCH => {
            let Decoded { value, duplicates, .. } = json(&body).map_err(undecodable)?;
            Ok((Patch::Strategic(value), told(&duplicates)))
        }
        APPLY_PATCH => {
            let decoded = decode(&body, Some(&http::HeaderValue::from_static("application/yaml")))?;
            Ok((Patch::Strategic(decoded.value), told(&decoded.duplicates)))
        }
        _ => Err(Status::unsupported_media_type(&SUPPORTED)),
    }
}

fn told(duplicates: &[String]) -> Vec<String> {
    duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect()
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

    /// The patched object as one of its kind. `complaints` are those about the patch itself.
    fn fit(
        &self,
        resource: &registry::Resource,
        value: Value,
        complaints: &[String],
        validation: FieldValidation,
        warnings: &mut Vec<String>,
    ) -> Result<Value, Status> {
        // Only a refusal shows the patched object, or the patch.
        let shown = |value: Option<Value>| match (self, value) {
            (Patch::Strategic(patch), _) => patch::go_text(patch),
            (Patch::Json(_) | Patch::Merge(_), value) => value.unwrap_or_default().to_string(),
        };
        let refuse = |value: Option<Value>, what: &str| {
            let error = FieldError::invalid("patch", shown(value), what);
            Status::invalid(&Gvk::new("", "", ""), "", vec![error])
        };
        if conform::is_deeper(&value, conform::MAX_DEPTH) {
            return Err(Status::too_large("the patched object is nested too deeply"));
        }
        let original = (!matches!(self, Patch::Strategic(_))).then(|| value.clone());
        let mut told = Vec::new();
        // Warn and strict alike need the list of what is unknown.
        let probe = match validation {
            FieldValidation::Ignore => FieldValidation::Ignore,
            FieldValidation::Warn | FieldValidation::Strict => FieldValidation::Warn,
        };
        let decoded = Decoded::of(value);
        let new = match conform::fit(&resource.gvk(), Some(resource), decoded, probe, &mut told) {
            Ok(new) => new,
            Err(Refusal::Kind(status)) => return Err(status),
            Err(Refusal::Type(what)) => return Err(refuse(original, &what)),
            Err(Refusal::Strict(unknown)) => return Err(refuse(original, &conform::strict(&unknown))),
        };
        let all: Vec<String> = complaints.iter().cloned().chain(told).collect();
        match validation {
            FieldValidation::Strict if !all.is_empty() => Err(refuse(original, &conform::strict(&all))),
            FieldValidation::Warn => {
                warnings.extend(all);
                Ok(new)
            }
            FieldValidation::Ignore | FieldValidation::Strict => Ok(new),
        }
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
