//! pods/ephemeralcontainers and pods/resize: a pod is written, but only one part of it is taken.

use crate::generic::{
    Context,
    decode::{Decoded, decode},
    encode, get, patch,
    write::{self, FieldValidation, Part, Via},
};
use api::{Status, meta};
use bytes::Bytes;
use client::Body;
use http::Response;
use registry::core::pod::{ephemeral, resize};
use serde_json::Value;

pub(super) const EPHEMERAL_CONTAINERS: Part = Part { merge: ephemeral::merge, validate: ephemeral::validate };
pub(super) const RESIZE: Part = Part { merge: resize::merge, validate: resize::validate };

pub(super) async fn part(context: &mut Context<'_>, body: Bytes, part: Part) -> Result<Response<Body>, Status> {
    if context.verb == "get" {
        return encode::object(context, 200, &get::read(context).await?);
    }
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let gvk = context.resource.gvk();
    let name = context.target.name.clone();
    let take = |old: &Value, sent: &Value| {
        let mut new = (part.merge)(old, sent);
        let errors = (part.validate)(&new, old);
        if !errors.is_empty() {
            return Err(Status::invalid(&gvk, &name, errors));
        }
        for field in ["uid", "resourceVersion"] {
            if let Some(pinned) = sent["metadata"].get(field) {
                meta::metadata_mut(&mut new).insert(field.to_owned(), pinned.clone());
            }
        }
        Ok(new)
    };
    let modified = if context.verb == "update" {
        let decoded = decode(&body, context.content_type.as_ref())?;
        let sent = write::conform(&gvk, decoded, validation, context.warnings)?;
        if meta::name(&sent) != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                meta::name(&sent)
            )));
        }
        write::modify(&context.write(Via::Part(part), dry_run), |old| take(&old.value, &sent)).await?
    } else {
        let (patch, complaints) = patch::read(context, body)?;
        if validation == FieldValidation::Warn {
            context.warnings.extend(complaints);
        }
        let mut warnings = Vec::new();
        let modified = write::modify(&context.write(Via::Part(part), dry_run), |old| {
            warnings.clear();
            let value = patch.apply(&context.resource, old)?;
            let decoded = Decoded::of(value);
            take(&old.value, &write::conform(&gvk, decoded, validation, &mut warnings)?)
        })
        .await?;
        context.warnings.append(&mut warnings);
        modified
    };
    encode::object(context, 200, &modified.stored)
}
