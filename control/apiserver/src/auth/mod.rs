//! Who asks, and whether they may.

pub(crate) mod authorize;
mod node;
pub(crate) mod reviews;
pub(crate) mod token;
pub(crate) mod x509;

use crate::{Apiserver, http::listener::Peer, storage};
use api::Status;
use http::{HeaderMap, header, request::Parts};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Who makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// e.g. `kubernetes-admin`, `system:node:n1`, `system:serviceaccount:ns:name`.
    pub name: String,
    /// e.g. `system:masters`.
    pub groups: Vec<String>,
    /// Of a service account.
    pub uid: String,
    /// More facts, e.g. the pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

pub(crate) const MASTERS: &str = "system:masters";
pub(crate) const NODES: &str = "system:nodes";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const NODE_PREFIX: &str = "system:node:";
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

impl User {
    /// An authenticated user.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The control plane itself.
    pub fn gannet() -> Self {
        Self::new("system:gannet", [MASTERS])
    }

    /// Nobody.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// Is the user in this group?
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node's name, if the user is a node.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty() && self.is_in(NODES))
    }
}

/// Finds out who makes the request: an in-process caller, a client certificate, a bearer token, or nobody. A token
/// that does not hold is 401, never nobody.
pub(crate) async fn authenticate(server: &Apiserver, request: &Parts) -> Result<User, Status> {
    if let Some(user) = request.extensions.get::<Arc<User>>() {
        return Ok(user.as_ref().clone());
    }
    if let Some(user) = request.extensions.get::<Arc<Peer>>().and_then(|peer| peer.certificate.clone()) {
        return Ok(user);
    }
    match bearer(&request.headers)? {
        Some(token) => {
            let claims = token::verify(&server.signer, &token, process::now())?;
            if !claims.audiences.contains(&server.config.issuer) {
                return Err(Status::unauthorized());
            }
            account(server, &claims).await
        }
        None => Ok(User::anonymous()),
    }
}

/// The token of an `Authorization: Bearer` header, or of a browser's websocket subprotocol.
fn bearer(headers: &HeaderMap) -> Result<Option<String>, Status> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Status::unauthorized())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim().to_owned()))
        }
        _ => Err(Status::unauthorized()),
    }
}

/// The user behind verified claims, once the service account and what the token is bound to are still there.
pub(crate) async fn account(server: &Apiserver, claims: &token::Claims) -> Result<User, Status> {
    let exists = async |resource: &str, namespace: &str, name: &str, uid: &str| -> Result<Option<Value>, Status> {
        let key = storage::core_key(resource, namespace, name);
        let found = server.config.store.get(&key).await.map_err(storage::unavailable)?;
        let object = found.and_then(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
        Ok(object.filter(|object| uid.is_empty() || api::meta::uid(object) == uid))
    };
    let (namespace, name) = (&claims.namespace, &claims.account);
    let object = exists("serviceaccounts", namespace, name, &claims.account_uid).await?;
    let object = object.filter(|object| !api::meta::is_deleting(object)).ok_or_else(Status::unauthorized)?;
    let mut user = User::new(
        format!("{ACCOUNT_PREFIX}{namespace}:{name}"),
        ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
    );
    user.uid = api::meta::uid(&object).to_owned();
    user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={}", claims.id)]);
    if let Some((kind, bound, uid)) = &claims.bound {
        let (resource, bound_namespace) = match kind.as_str() {
            "pod" => ("pods", namespace.as_str()),
            "secret" => ("secrets", namespace.as_str()),
            _ => ("nodes", ""),
        };
        exists(resource, bound_namespace, bound, uid).await?.ok_or_else(Status::unauthorized)?;
        user.extra.insert(format!("authentication.kubernetes.io/{kind}-name"), vec![bound.clone()]);
        user.extra.insert(format!("authentication.kubernetes.io/{kind}-uid"), vec![uid.clone()]);
    }
    Ok(user)
}
