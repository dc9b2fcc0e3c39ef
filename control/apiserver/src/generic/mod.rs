//! The verbs, the same for every kind. What differs between kinds comes from the registry's table and strategies.

pub(crate) mod apply;
mod complaints;
pub(crate) mod conform;
mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod encode;
pub(crate) mod get;
mod list;
mod metadata;
pub(crate) mod options;
pub(crate) mod owners;
pub(crate) mod patch;
mod revision;
mod selection;
mod table;
mod token;
mod update;
pub(crate) mod warnings;
pub(crate) mod watch;
pub(crate) mod write;
pub(crate) mod writer;

use crate::{
    Apiserver,
    admission::Origin,
    auth::User,
    http::{negotiate::Accept, path::Target, query::Query},
    subresource,
};
use api::Status;
use bytes::Bytes;
use client::Body;
use http::{HeaderValue, Response};
use registry::Resource;
use std::sync::Arc;

/// One request to a resource, authorized.
pub(crate) struct Context<'a> {
    pub(crate) server: &'a Arc<Apiserver>,
    pub(crate) user: User,
    pub(crate) resource: Arc<Resource>,
    pub(crate) target: Target,
    pub(crate) verb: &'static str,
    pub(crate) query: Query,
    pub(crate) accept: Accept,
    /// The client takes gzip.
    pub(crate) gzip: bool,
    pub(crate) content_type: Option<HeaderValue>,
    /// Who the fields belong to that the request sets.
    pub(crate) manager: String,
    /// Become `Warning` headers.
    pub(crate) warnings: &'a mut Vec<String>,
    pub(crate) origin: &'a Origin,
}

impl Context<'_> {
    /// `dryRun=All`; any other value is 422.
    pub(crate) fn dry_run(&self) -> Result<bool, Status> {
        match options::dry_run_errors(self.query.all("dryRun")) {
            Some(error) => Err(options::invalid(options::kind(self.verb), vec![error])),
            None => Ok(self.query.all("dryRun").any(|value| !value.is_empty())),
        }
    }
}

/// Reads the values of `dryRun` in DeleteOptions.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let values: Vec<&str> = values.collect();
    match options::dry_run_errors(values.iter().copied()) {
        Some(error) => Err(options::invalid("DeleteOptions", vec![error])),
        None => Ok(values.iter().any(|value| !value.is_empty())),
    }
}

/// Calls the verb.
pub(crate) async fn dispatch(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    if !matches!(context.target.subresource.as_str(), "" | "status" | "approval") {
        return subresource::dispatch(context, body).await;
    }
    if context.target.subresource.is_empty() {
        if !context.resource.verbs.contains(&context.verb) {
            return Err(Status::method_not_allowed(&context.resource.gvr(), context.verb));
        }
    } else if !serves(&context.resource, &context.target.subresource, context.verb)? {
        return Err(Status::method_not_allowed(&context.resource.gvr(), context.verb));
    }
    // Kinds that are never stored, though they have a row.
    match (context.resource.group.as_str(), context.resource.resource.as_str()) {
        ("", "componentstatuses") => return subresource::components::answer(context).await,
        ("", "bindings") => return subresource::bind(context, &body).await,
        _ => {}
    }
    if context.resource.is_custom()
        && matches!(context.verb, "create" | "update")
        && decode::media_type(context.content_type.as_ref()) == api::protobuf::MEDIA_TYPE
    {
        return Err(Status::unsupported_media_type(&["application/json", "application/yaml"]));
    }
    match context.verb {
        "get" => get::get(context).await,
        "list" => list::list(context).await,
        "watch" => watch::watch(context).await,
        "create" if !context.target.name.is_empty() => {
            Err(Status::method_not_allowed(&context.resource.gvr(), context.verb))
        }
        "create" => create::create(context, body).await,
        "update" if !context.target.name.is_empty() => update::update(context, body).await,
        "patch" if !context.target.name.is_empty() => patch::patch(context, body).await,
        "delete" => delete::delete(context, body).await,
        "deletecollection" => delete::delete_collection(context, body).await,
        _ => Err(Status::method_not_allowed(&context.resource.gvr(), context.verb)),
    }
}

/// Whether the resource's subresource has the verb; 404 if there is no such subresource.
pub(crate) fn serves(resource: &Resource, subresource: &str, verb: &str) -> Result<bool, Status> {
    resource
        .subresources
        .iter()
        .find(|candidate| candidate.name == subresource)
        .map(|found| found.verbs.contains(&verb))
        .ok_or_else(Status::no_such_resource)
}
