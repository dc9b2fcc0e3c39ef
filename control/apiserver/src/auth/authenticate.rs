//! Who makes a request: an in-process caller, a client certificate, a bearer token, or nobody.

use super::{CREDENTIAL, User, legacy_token, token};
use crate::{Apiserver, http::listener::Peer, storage};
use api::Status;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use serde_json::Value;
use std::sync::Arc;

/// Finds out who makes the request, and takes the credentials out of it. A credential that does not hold is 401, never
/// nobody.
pub(crate) async fn authenticate(server: &Apiserver, request: &mut Parts) -> Result<User, Status> {
    if let Some(user) = request.extensions.get::<Arc<User>>() {
        return Ok(user.as_ref().clone());
    }
    let token = bearer(&mut request.headers);
    if let Some(peer) = request.extensions.get::<Arc<Peer>>().cloned() {
        match &peer.certificate {
            Some(certificate) if certificate.holds_at(process::now()) => return Ok(certificate.user.clone()),
            Some(_) => return Err(Status::unauthorized()),
            None => {}
        }
    }
    let Some(token) = token? else { return Ok(User::anonymous()) };
    let claims = token::verify(&server.signer, &token, process::now())?;
    if !claims.audiences.contains(&server.config.issuer) {
        return Err(Status::unauthorized());
    }
    account(server, &claims).await
}

/// A websocket subprotocol that carries a token, for browsers, which cannot set headers.
const PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The token of an `Authorization: Bearer` header, or of a websocket subprotocol. Neither goes further than this.
fn bearer(headers: &mut HeaderMap) -> Result<Option<String>, Status> {
    if let Some(value) = headers.remove(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| Status::unauthorized())?;
        return match text.trim().split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
                Ok(Some(token.trim().to_owned()))
            }
            _ => Err(Status::unauthorized()),
        };
    }
    let upgrades =
        headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !upgrades {
        return Ok(None);
    }
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    let offered: Vec<String> = headers
        .get_all(&name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .collect();
    let (tokens, others): (Vec<String>, Vec<String>) =
        offered.into_iter().partition(|protocol| protocol.starts_with(PROTOCOL));
    let Some(token) = tokens.first() else { return Ok(None) };
    // The server has to choose a subprotocol, and it must not be the one with the token.
    if tokens.len() > 1 || others.is_empty() {
        return Err(Status::unauthorized());
    }
    let rest = HeaderValue::from_str(&others.join(", ")).map_err(|_| Status::unauthorized())?;
    headers.insert(name, rest);
    let bytes = URL_SAFE_NO_PAD.decode(&token[PROTOCOL.len()..]).map_err(|_| Status::unauthorized())?;
    String::from_utf8(bytes).map(Some).map_err(|_| Status::unauthorized())
}

/// The user behind verified claims, once the service account and all that the token is bound to are still there.
pub(crate) async fn account(server: &Apiserver, claims: &token::Claims) -> Result<User, Status> {
    let (namespace, name) = (&claims.namespace, &claims.account);
    let found = object(server, "serviceaccounts", namespace, name).await?;
    let found = found.filter(|object| api::meta::uid(object) == claims.account_uid);
    found.filter(|object| !api::meta::is_deleting(object)).ok_or_else(Status::unauthorized)?;
    let mut user = User::account(namespace, name);
    user.uid.clone_from(&claims.account_uid);
    if let Some(secret) = &claims.legacy_secret {
        legacy_token::confirm(server, claims, secret).await?;
        return Ok(user);
    }
    if !claims.id.is_empty() {
        user.extra.insert(CREDENTIAL.to_owned(), vec![format!("JTI={}", claims.id)]);
    }
    for bound in &claims.bound {
        let (resource, of) = match bound.kind.as_str() {
            "pod" => ("pods", namespace.as_str()),
            "secret" => ("secrets", namespace.as_str()),
            _ => ("nodes", ""),
        };
        // A pod's token also says on which node the pod was: a fact of the token, whether or not the node still is.
        let only_told = bound.kind == "node" && claims.bound.len() > 1;
        if !only_told {
            let found = object(server, resource, of, &bound.name).await?;
            found.filter(|found| api::meta::uid(found) == bound.uid).ok_or_else(Status::unauthorized)?;
        }
        if bound.kind != "secret" {
            let mut tell = |what: &str, value: &str| {
                if !value.is_empty() {
                    let key = format!("authentication.kubernetes.io/{}-{what}", bound.kind);
                    user.extra.insert(key, vec![value.to_owned()]);
                }
            };
            tell("name", &bound.name);
            tell("uid", &bound.uid);
        }
    }
    Ok(user)
}

pub(super) async fn object(
    server: &Apiserver,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Status> {
    let key = storage::core_key(resource, namespace, name);
    let found = server.config.store.get(&key).await.map_err(storage::unavailable)?;
    Ok(found.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}
