//! The one place that decides whether a request may go on: every route, stream and upgrade passes here.
//!
//! Asked in this order, the first yes counts: the group `system:masters`, the node authorizer, RBAC. No is the answer
//! when nobody says yes.

use super::{MASTERS, User, node, rbac};
use crate::{
    Apiserver,
    http::{path::Target, query::Query},
};
use api::{FieldSelector, Gvr, Status};
use rbac::index::Grant;
use std::{borrow::Cow, sync::Arc};

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    /// A Kubernetes verb; for other paths the HTTP method in lower case.
    pub(crate) verb: &'a str,
    pub(crate) object: Object<'a>,
}

/// To what.
#[derive(Debug, Clone)]
pub(crate) enum Object<'a> {
    Resource {
        target: &'a Target,
        /// The field selector of a list, watch or deletecollection.
        field_selector: &'a str,
    },
    Path(&'a str),
}

/// The decision.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// By this grant of RBAC; none if something else allows it.
    Allow(Option<Arc<Grant>>),
    /// With a reason, which may be empty.
    Deny(String),
}

impl Decision {
    pub(crate) fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    /// Why; may be empty.
    pub(crate) fn reason(&self) -> String {
        match self {
            Decision::Allow(grant) => grant.as_ref().map(|grant| grant.reason()).unwrap_or_default(),
            Decision::Deny(reason) => reason.clone(),
        }
    }
}

/// Refuses with Kubernetes' 403, or lets pass.
pub(crate) async fn authorize(server: &Apiserver, user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
    match may(server, user, attributes).await? {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(refusal(user, attributes, &reason)),
    }
}

/// [`authorize`] for a request to a resource, as its path and query say.
pub(crate) async fn authorize_request(
    server: &Apiserver,
    user: &User,
    verb: &str,
    target: &Target,
    query: &Query,
) -> Result<(), Status> {
    let field_selector = query.get("fieldSelector").unwrap_or_default();
    let target = subject(verb, target, field_selector);
    authorize(server, user, &Attributes { verb, object: Object::Resource { target: &target, field_selector } }).await
}

/// A request's target as authorization sees it. A namespace is in itself, and a list of the one object that
/// `metadata.name` selects is about that object.
fn subject<'a>(verb: &str, target: &'a Target, field_selector: &str) -> Cow<'a, Target> {
    let mut target = Cow::Borrowed(target);
    if target.group.is_empty() && target.resource == "namespaces" && !target.name.is_empty() {
        let target = target.to_mut();
        target.namespace.clone_from(&target.name);
    }
    if target.name.is_empty() && matches!(verb, "list" | "watch") && field_selector.contains("metadata.name") {
        let selector = FieldSelector::parse(field_selector).unwrap_or_default();
        if let Some(name) = selector.required("metadata.name").filter(|name| !name.is_empty()) {
            target.to_mut().name = name.to_owned();
        }
    }
    target
}

/// The decision alone, for whoever has to know it without refusing the request.
///
/// # Errors
/// When roles and bindings cannot be read.
pub(crate) async fn may(server: &Apiserver, user: &User, attributes: &Attributes<'_>) -> Result<Decision, Status> {
    if user.is_in(MASTERS) {
        return Ok(Decision::Allow(None));
    }
    let (verb, object) = (attributes.verb, &attributes.object);
    let mut reasons = Vec::new();
    if let Some(name) = user.node()
        && let Object::Resource { target, field_selector } = object
    {
        match node::decide(server, name, verb, target, field_selector).await? {
            node::Verdict::Allow => return Ok(Decision::Allow(None)),
            node::Verdict::NoOpinion(reason) => reasons.push(reason),
        }
    }
    let index = server.auth.roles(server).await?;
    match rbac::decide(&index, user, verb, object) {
        Ok(grant) => return Ok(Decision::Allow(Some(grant))),
        Err(reason) => reasons.push(reason),
    }
    reasons.retain(|reason| !reason.is_empty());
    Ok(Decision::Deny(reasons.join("\n")))
}

/// The 403 for a decision that is no.
pub(crate) fn refusal(user: &User, attributes: &Attributes<'_>, reason: &str) -> Status {
    let who = format!("User {:?} cannot {}", user.name, attributes.verb);
    let tail = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match &attributes.object {
        Object::Path(path) => Status::forbidden(&Gvr::new("", "", ""), "", &format!("{who} path {path:?}{tail}")),
        Object::Resource { target, .. } => {
            let mut resource = target.resource.clone();
            if !target.subresource.is_empty() {
                resource = format!("{resource}/{}", target.subresource);
            }
            let scope = if target.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", target.namespace)
            };
            let what = format!("{who} resource {resource:?} in API group {:?} {scope}{tail}", target.group);
            Status::forbidden(&Gvr::new(&target.group, &target.version, &target.resource), &target.name, &what)
        }
    }
}
