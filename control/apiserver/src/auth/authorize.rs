//! The one place that decides whether a request may go on: every route, stream and upgrade passes here.
//!
//! Until RBAC objects are served: `system:masters` may do everything, a node what its pods need (`node`), everybody
//! who is known may discover the API and ask about themselves, and nobody may do anything else.

use super::{AUTHENTICATED, MASTERS, User, node};
use crate::{Apiserver, http::path::Target};
use api::{Gvr, Status};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    /// With a reason, which may be empty.
    Deny(String),
}

/// Open to everybody, also to nobody.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// Open to everybody who is known.
const DISCOVERY: [&str; 5] = ["/api", "/apis", "/openapi", "/.well-known", "/openid"];
/// Resources anybody who is known may create: they only tell about oneself.
const SELF_REVIEWS: [(&str, &str); 3] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

/// Refuses with Kubernetes' 403, or lets pass.
pub(crate) async fn authorize(server: &Apiserver, user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
    match decide(server, user, attributes).await {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) => Err(refusal(user, attributes, &reason)),
    }
}

/// The decision without the refusal's text, also for access reviews.
pub(crate) async fn decide(server: &Apiserver, user: &User, attributes: &Attributes<'_>) -> Decision {
    if user.is_in(MASTERS) {
        return Decision::Allow;
    }
    match &attributes.object {
        Object::Path(path) => {
            let reading = matches!(attributes.verb, "get" | "head");
            let open = PUBLIC.iter().any(|root| below(path, root))
                || user.is_in(AUTHENTICATED) && (path == &"/" || DISCOVERY.iter().any(|root| below(path, root)));
            if reading && open { Decision::Allow } else { Decision::Deny(String::new()) }
        }
        Object::Resource { target, .. } if user.is_in(AUTHENTICATED) && is_self_review(attributes.verb, target) => {
            Decision::Allow
        }
        Object::Resource { target, field_selector } => match user.node() {
            Some(name) => node::decide(server, name, attributes.verb, target, field_selector).await,
            None => Decision::Deny(String::new()),
        },
    }
}

fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_self_review(verb: &str, target: &Target) -> bool {
    verb == "create"
        && target.name.is_empty()
        && target.subresource.is_empty()
        && SELF_REVIEWS.contains(&(target.group.as_str(), target.resource.as_str()))
}

fn refusal(user: &User, attributes: &Attributes<'_>, reason: &str) -> Status {
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
