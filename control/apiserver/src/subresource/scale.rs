//! scale: an `autoscaling/v1 Scale` view of whatever has replicas.

use crate::admission::{self, Call, Reserved};
use crate::generic::{
    Context, apply,
    decode::{Decoded, decode, media_type},
    encode, get,
    options::{Apply, Options},
    owners::Owners,
    patch,
    write::{self, FieldValidation, Via, Write},
};
use crate::storage::{self, Stored};
use api::{Gvk, Schema, Status, managed, meta};
use bytes::Bytes;
use client::Body;
use http::Response;
use registry::scale;
use serde_json::Value;

pub(super) async fn scale(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let gvk = gvk();
    let paths = context.resource.strategy.scale();
    let object = match context.verb {
        "get" => get::read(context).await?,
        "update" => {
            let decoded = decode(&body, context.content_type.as_ref())?;
            let wanted = write::conform(&gvk, decoded, validation, context.warnings)?;
            if !["", &context.target.name].contains(&meta::name(&wanted)) {
                return Err(Status::bad_request("the name of the object does not match the name on the URL"));
            }
            let write = context.write(Via::Scale, dry_run);
            write::modify(&write, |old| scale::write(&old.value, &wanted, &paths)).await?.stored
        }
        _ if media_type(context.content_type.as_ref()) == patch::APPLY_PATCH => applied(context, &body, &paths).await?,
        _ => {
            let (patch, complaints) = patch::read(context, body)?;
            if validation == FieldValidation::Warn {
                context.warnings.extend(complaints);
            }
            let mut warnings = Vec::new();
            let write = context.write(Via::Scale, dry_run);
            let modified = write::modify(&write, |old| {
                warnings.clear();
                let view = view(old, &paths)?;
                let value = patch.apply_to(&view, old.revision, &gvk)?;
                let decoded = Decoded::of(value);
                let wanted = write::conform(&gvk, decoded, validation, &mut warnings)?;
                scale::write(&old.value, &wanted, &paths)
            })
            .await?;
            context.warnings.append(&mut warnings);
            modified.stored
        }
    };
    encode::media(context, 200, storage::write(&view(&object, &paths)?))
}

/// Applies a `Scale`: the replicas' owners are those of the object, as the view shows them.
async fn applied(context: &mut Context<'_>, body: &Bytes, paths: &scale::Paths) -> Result<Stored, Status> {
    let options = Options::read(context, Apply::Yes)?;
    let kind = Gvk::new("autoscaling", "v1", "Scale");
    let schema = Schema::for_kind(&kind).ok_or_else(|| Status::internal("there is no Scale"))?;
    let shape = schema.definition();
    let manifest = apply::read(context, body, options.validation, &apply::Applied { kind: kind.clone(), shape })?;
    let kinds = context.server.kinds.snapshot();
    let resource = context.resource.clone();
    let replicas = managed::Replicas {
        api_version: &resource.api_version(),
        path: &|version| {
            let mut same = kinds.resources.iter().filter(|one| one.storage == resource.storage);
            let one = same.find(|one| one.api_version() == version)?;
            let scales = one.subresource("scale").is_some();
            Some(if scales { one.strategy.scale().wanted.into_owned() } else { String::new() })
        },
    };
    let write = Write { owners: Owners::Given, ..context.write(Via::Scale, options.dry_run) };
    let modified = write::modify(&write, |old| {
        let mut live = view(old, paths)?;
        managed::to_scale(&old.value, &mut live, &replicas)?;
        let now = api::time::format(process::now());
        let (manager, api_version) = (write.manager, "autoscaling/v1");
        let writer = managed::Writer { manager, api_version, subresource: "scale", now: &now };
        let none = managed::FieldSet::default();
        let mut wanted = managed::apply_alike(Some(&live), &manifest, shape, &writer, &none, options.force)?;
        if meta::resource_version(&manifest).is_empty() {
            meta::remove_resource_version(&mut wanted);
        }
        let mut object = scale::write(&old.value, &wanted, paths)?;
        managed::from_scale(&wanted, &mut object, &replicas)?;
        Ok(object)
    });
    Ok(modified.await?.stored)
}

fn view(stored: &Stored, paths: &scale::Paths) -> Result<Value, Status> {
    scale::read(&stored.versioned(), paths)
}

fn gvk() -> Gvk {
    Gvk::new("autoscaling", "v1", "Scale")
}

/// Admission of a changed object, as the Scale it was changed through. True if the Scale was changed further.
pub(crate) async fn mutate(call: &Call<'_>, new: &mut Value) -> Result<bool, Status> {
    let (gvk, paths) = (gvk(), call.write.resource.strategy.scale());
    let mut shown = scale::read(new, &paths)?;
    let old = call.old.map(|old| scale::read(old, &paths)).transpose()?;
    let call = Call { kind: &gvk, old: old.as_ref(), ..*call };
    let changed = admission::mutate(&call, &mut shown).await?;
    if changed {
        *new = scale::write(new, &shown, &paths)?;
    }
    Ok(changed)
}

/// As [`mutate`], for what may only refuse.
pub(crate) async fn validate(call: &Call<'_>, new: &Value) -> Result<Reserved, Status> {
    let (gvk, paths) = (gvk(), call.write.resource.strategy.scale());
    let shown = scale::read(new, &paths)?;
    let old = call.old.map(|old| scale::read(old, &paths)).transpose()?;
    admission::validate(&Call { kind: &gvk, old: old.as_ref(), ..*call }, &shown).await
}
