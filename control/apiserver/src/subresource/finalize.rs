//! namespaces/finalize: sets `spec.finalizers`; the last one gone, a deleted namespace goes.

use crate::generic::{
    Context,
    decode::decode,
    encode,
    write::{self, FieldValidation, Via},
};
use api::{Status, meta};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::json;

pub(super) async fn finalize(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let decoded = decode(body, context.content_type.as_ref())?;
    let wanted = write::conform(&context.resource.gvk(), decoded, validation, context.warnings)?;
    let finalizers = wanted["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    let modified = write::modify(&context.write(Via::Server, dry_run), |old| {
        let mut new = old.value.clone();
        meta::child_mut(&mut new, "spec").insert("finalizers".to_owned(), json!(finalizers));
        for field in ["uid", "resourceVersion"] {
            if let Some(pinned) = wanted["metadata"].get(field) {
                meta::metadata_mut(&mut new).insert(field.to_owned(), pinned.clone());
            }
        }
        Ok(new)
    })
    .await?;
    encode::object(context, 200, &modified.stored)
}
