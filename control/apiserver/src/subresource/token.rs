//! serviceaccounts/token: a token for the account, for an audience, for a while, perhaps bound to an object.

use crate::{
    auth::token::{self, Grant},
    generic::{
        Context,
        decode::decode,
        encode, get,
        write::{self, FieldValidation},
    },
    storage,
};
use api::{FieldError, Gvk, Gvr, Status, meta, time};
use bytes::Bytes;
use client::Body;
use http::Response;
use jiff::SignedDuration;
use serde_json::{Value, json};

const DEFAULT_S: i64 = 3600;
const SHORTEST_S: i64 = 600;
/// A longer wish is cut to this: a year.
const LONGEST_S: i64 = 365 * 24 * 3600;

pub(super) async fn create(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let gvk = Gvk::new("authentication.k8s.io", "v1", "TokenRequest");
    let decoded = decode(body, context.content_type.as_ref())?;
    let mut request = write::conform(&gvk, decoded, validation, context.warnings)?;
    let account = get::read(context).await?.value;
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_S);
    let mut audiences: Vec<String> = request["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(context.server.config.issuer.clone());
    }
    if seconds < SHORTEST_S {
        let error =
            FieldError::invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes");
        return Err(Status::invalid(&gvk, &context.target.name, vec![error]));
    }
    let seconds = seconds.min(LONGEST_S);
    let bound = bound(context, &gvk, &request["spec"]["boundObjectRef"]).await?;
    let now = process::now();
    let signed = token::sign(
        &context.server.signer,
        &Grant {
            namespace: &context.target.namespace,
            account: &context.target.name,
            account_uid: meta::uid(&account),
            bound: bound.as_ref().map(|(kind, name, uid)| (*kind, name.as_str(), uid.as_str())),
            audiences: &audiences,
            now,
            seconds,
            id: &process::uuid(),
        },
    )?;
    let ends = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
    meta::set_name(&mut request, &context.target.name);
    meta::set_namespace(&mut request, &context.target.namespace);
    meta::set_creation_timestamp(&mut request, now);
    let spec = meta::child_mut(&mut request, "spec");
    spec.insert("audiences".to_owned(), json!(audiences));
    spec.insert("expirationSeconds".to_owned(), json!(seconds));
    request["status"] = json!({"token": signed, "expirationTimestamp": time::format(ends)});
    encode::media(context, 201, storage::write(&request))
}

type Bound = (&'static str, String, String);

/// The object a token is to be bound to; it must be there, with the uid asked for, and a pod must run as the account.
/// A node may only ask for tokens bound to its own pods.
async fn bound(context: &Context<'_>, gvk: &Gvk, reference: &Value) -> Result<Option<Bound>, Status> {
    let forbid = |what: &str| Err(Status::forbidden(&context.resource.gvr(), &context.target.name, what));
    if !reference.is_object() {
        return match context.user.node() {
            Some(_) => forbid("node requested token not bound to a pod"),
            None => Ok(None),
        };
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let name = text("name");
    let (kind, resource, namespace) = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => ("pod", "pods", context.target.namespace.as_str()),
        ("v1", "Secret") => ("secret", "secrets", context.target.namespace.as_str()),
        ("v1", "Node") => ("node", "nodes", ""),
        (version, kind) => {
            return Err(Status::bad_request(format!("cannot bind token for object {kind} in version {version}")));
        }
    };
    if name.is_empty() {
        let error = FieldError::required("spec.boundObjectRef.name", "");
        return Err(Status::invalid(gvk, &context.target.name, vec![error]));
    }
    let entry = context.server.config.store.get(&storage::core_key(resource, namespace, name)).await;
    let entry = entry.map_err(storage::unavailable)?;
    let entry = entry.ok_or_else(|| Status::not_found(&Gvr::new("", "v1", resource), name))?;
    let object = storage::parse(&entry.value)?;
    let uid = meta::uid(&object);
    if !text("uid").is_empty() && text("uid") != uid {
        let what =
            format!("the UID in the bound object reference ({}) does not match the UID in record ({uid})", text("uid"));
        return Err(Status::conflict(&Gvr::new("", "v1", resource), name, &what));
    }
    if kind == "pod" && object["spec"]["serviceAccountName"] != context.target.name.as_str() {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            context.target.name
        )));
    }
    if let Some(node) = context.user.node()
        && (kind != "pod" || object["spec"]["nodeName"] != node)
    {
        return forbid("node requested token bound to a pod scheduled on a different node");
    }
    Ok(Some((kind, name.to_owned(), uid.to_owned())))
}
