//! update: the whole object, or its status.

use super::{
    Context,
    conform::conform,
    decode::decode_object,
    encode,
    options::{Apply, Options},
    write::{self, Modified},
};
use api::{Status, meta};
use bytes::Bytes;
use client::Body;
use http::Response;

pub(crate) async fn update(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let Options { dry_run, validation, .. } = Options::read(context, Apply::No)?;
    let decoded = decode_object(&body, context.content_type.as_ref())?;
    let mut object = conform(&context.resource, decoded, validation, context.warnings)?;
    let name = meta::name(&object);
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            context.target.name
        )));
    }
    if name != context.target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            context.target.name
        )));
    }
    let write = context.write(context.via(), dry_run);
    let unconditional = !context.via().is_object() || context.resource.strategy.unconditional_update();
    let pinned = !matches!(meta::resource_version(&object), "" | "0");
    let replace = |_: &_| {
        // Only a whole object can overwrite what its author has not seen; a patch is made on the present one.
        if !unconditional && !pinned {
            let error = api::FieldError {
                kind: api::FieldErrorKind::Invalid,
                field: "metadata.resourceVersion".to_owned(),
                value: None,
                detail: "0x0: must be specified for an update".to_owned(),
            };
            // Kubernetes names the resource here, not the kind.
            let gvk = api::Gvk::new(&context.resource.group, &context.resource.version, &context.resource.resource);
            return Err(Status::invalid(&gvk, &context.target.name, vec![error]));
        }
        // Who names the revision has one attempt: the next would find another one.
        Ok(if pinned { std::mem::take(&mut object) } else { object.clone() })
    };
    let modified = match write::modify(&write, replace).await {
        Err(status) if status.is_not_found() && creates(context, &object) => {
            context.may_create().await?;
            let stored = write::insert(&write, object.clone()).await?;
            Modified { stored, created: true }
        }
        other => other?,
    };
    encode::object(context, if modified.created { 201 } else { 200 }, &modified.stored)
}

fn creates(context: &Context<'_>, object: &serde_json::Value) -> bool {
    context.resource.strategy.create_on_update()
        && context.via().is_object()
        && meta::resource_version(object).is_empty()
        && meta::uid(object).is_empty()
}
