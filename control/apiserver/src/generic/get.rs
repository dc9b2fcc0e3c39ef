//! get: one object.

use super::{Context, encode};
use crate::storage::{self, Stored};
use api::{Revision, Status};
use client::Body;
use http::Response;

pub(crate) async fn get(context: &Context<'_>) -> Result<Response<Body>, Status> {
    let stored = read(context).await?;
    if let Some(wanted) = context.query.get("resourceVersion") {
        let wanted: Revision =
            wanted.parse().map_err(|_| Status::bad_request(format!("invalid resource version: {wanted:?}")))?;
        let current = context.server.config.store.revision();
        if wanted > current {
            return Err(Status::too_large_resource_version(wanted.0, current.0));
        }
    }
    encode::object(context, 200, &stored)
}

/// The request's object, or 404.
pub(crate) async fn read(context: &Context<'_>) -> Result<Stored, Status> {
    let target = &context.target;
    let key = storage::key(&context.resource, &target.namespace, &target.name);
    match context.server.config.store.get(&key).await.map_err(storage::unavailable)? {
        Some(entry) => Stored::read(&context.resource, &entry),
        None => Err(Status::not_found(&context.resource.gvr(), &target.name)),
    }
}
