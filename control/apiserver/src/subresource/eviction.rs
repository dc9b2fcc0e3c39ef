//! pods/eviction: a delete that disruption budgets may refuse. There are no budgets yet, so it deletes.

use crate::{
    generic::{
        Context,
        decode::decode,
        delete::{self, Options},
        dry_run,
        write::{self, FieldValidation, Via},
    },
    http::respond,
};
use api::{Gvk, Outcome, Reason, Status, meta};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;

pub(super) async fn evict(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let decoded = decode(body, context.content_type.as_ref())?;
    let gvk = Gvk::new("policy", "v1", "Eviction");
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let eviction = write::conform(&gvk, decoded, validation, context.warnings)?;
    if !["", &context.target.name].contains(&meta::name(&eviction)) {
        return Err(Status::bad_request("the name of the eviction does not match the name on the URL"));
    }
    let options = Options::from_value(&eviction["deleteOptions"])?;
    let dry = eviction["deleteOptions"]["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let dry = dry_run(dry)? || context.dry_run()?;
    delete::delete_one(&context.write(Via::Server, dry), &options).await?;
    let success =
        Status { status: Outcome::Success, code: 201, reason: Reason::Unknown, message: String::new(), details: None };
    Ok(respond::json(201, &success))
}
