//! get: one object.

use super::{Context, encode, revision};
use crate::{
    custom::convert,
    http::{negotiate::Accept, respond},
    storage::{self, Stored},
};
use api::Status;
use client::Body;
use http::Response;
use store::Entry;

pub(crate) async fn get(context: &Context<'_>) -> Result<Response<Body>, Status> {
    if let Some(wanted) = revision::wanted(context)? {
        revision::reach(context.server.config.store.as_ref(), wanted).await?;
    }
    if context.accept != Accept::PLAIN {
        return encode::object(context, 200, &read(context).await?);
    }
    // What is asked for is what is stored: nothing needs to be parsed.
    let entry = entry(context).await?;
    let mut bytes = Vec::with_capacity(entry.value.len() + 64);
    encode::json_into(&mut bytes, &context.resource, context.accept, &entry.value, entry.modified)?;
    Ok(respond::json_bytes(200, bytes.into()))
}

/// The request's object, or 404.
pub(crate) async fn read(context: &Context<'_>) -> Result<Stored, Status> {
    let entry = entry(context).await?;
    Stored::new(&context.resource, &entry.value, entry.modified)
}

async fn entry(context: &Context<'_>) -> Result<Entry, Status> {
    let target = &context.target;
    let key = storage::key(&context.resource, &target.namespace, &target.name);
    let entry = context.server.config.store.get(&key).await.map_err(storage::unavailable)?;
    let mut entry = entry.ok_or_else(|| Status::not_found(&context.resource.gvr(), &target.name))?;
    convert::entries(context.server, &context.resource, std::slice::from_mut(&mut entry)).await?;
    Ok(entry)
}
