//! scale: an `autoscaling/v1 Scale` view of whatever has replicas.

use crate::generic::{
    Context,
    decode::{Decoded, decode},
    encode, get, patch,
    write::{self, FieldValidation, Via},
};
use crate::storage::{self, Stored};
use api::{Gvk, Status, meta};
use bytes::Bytes;
use client::Body;
use http::Response;
use registry::scale;
use serde_json::Value;

pub(super) async fn scale(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let gvk = Gvk::new("autoscaling", "v1", "Scale");
    let paths = context.resource.strategy.scale();
    let object = match context.verb {
        "get" => get::read(context).await?,
        "update" => {
            let decoded = decode(&body, context.content_type.as_ref())?;
            let wanted = write::conform(&gvk, decoded, validation, context.warnings)?;
            if !["", &context.target.name].contains(&meta::name(&wanted)) {
                return Err(Status::bad_request("the name of the object does not match the name on the URL"));
            }
            let write = context.write(Via::Object, dry_run);
            write::modify(&write, |old| scale::write(&old.value, &wanted, &paths)).await?.stored
        }
        _ => {
            let (patch, complaints) = patch::read(context, body)?;
            if validation == FieldValidation::Warn {
                context.warnings.extend(complaints);
            }
            let mut warnings = Vec::new();
            let write = context.write(Via::Object, dry_run);
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

fn view(stored: &Stored, paths: &scale::Paths) -> Result<Value, Status> {
    scale::read(&stored.versioned(), paths)
}
