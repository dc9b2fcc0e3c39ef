//! serviceaccounts/token: a token for the account, for an audience, for a while, perhaps bound to an object.

mod audience;

use crate::{
    admission,
    auth::token::{self, Bound, Grant},
    generic::{
        Context,
        decode::decode,
        encode, get,
        write::{self, FieldValidation, Via},
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
/// The longest that may be asked for.
const LONGEST_S: i64 = 1 << 32;
/// A longer wish is cut to this: a year.
const GRANTED_S: i64 = 365 * 24 * 3600;
/// Pods' tokens of this length (what the service account volume asks for, and clients of old read once only) live a
/// year, and tell by `warnafter` when they should have been read again.
const WARNED_S: i64 = 3607;

pub(super) async fn create(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let dry_run = context.dry_run()?;
    let gvk = Gvk::new("authentication.k8s.io", "v1", "TokenRequest");
    let decoded = decode(body, context.content_type.as_ref())?;
    let mut request = write::conform(&gvk, decoded, validation, context.warnings)?;
    meta::child_mut(&mut request, "spec").entry("expirationSeconds").or_insert(json!(DEFAULT_S));
    admission::mutate_posted(&context.write(Via::Server, dry_run), &gvk, "token", &mut request).await?;
    let account = get::read(context).await?.value;
    let issuer = &context.server.config.issuer;
    let asked = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_S);
    validate(context, &gvk, &request, asked)?;
    meta::object_mut(&mut request).remove("status");
    admission::validate_posted(&context.write(Via::Server, dry_run), &gvk, "token", &request).await?;
    let mut audiences: Vec<String> = request["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let bound = bound(context, &gvk, &request["spec"]["boundObjectRef"], &audiences).await?;
    if audiences.is_empty() {
        audiences.push(issuer.clone());
    }
    let extended = asked == WARNED_S && bound.iter().any(|b| b.kind == "pod") && audiences == [issuer.as_str()];
    let seconds = if extended { GRANTED_S } else { asked.min(GRANTED_S) };
    let now = process::now();
    let token = if dry_run {
        String::new()
    } else {
        token::sign(
            &context.server.signer,
            &Grant {
                namespace: &context.target.namespace,
                account: &context.target.name,
                account_uid: meta::uid(&account),
                bound: &bound,
                audiences: &audiences,
                now,
                seconds,
                warn_after: extended.then_some(asked),
                id: &process::uuid(),
            },
        )?
    };
    // Whoever asked is told what he asked for, so that he comes again in time.
    let told = if extended { asked } else { seconds };
    let ends = now.saturating_add(SignedDuration::from_secs(told)).unwrap_or(now);
    meta::set_name(&mut request, &context.target.name);
    meta::set_namespace(&mut request, &context.target.namespace);
    meta::set_creation_timestamp(&mut request, now);
    let spec = meta::child_mut(&mut request, "spec");
    spec.insert("audiences".to_owned(), json!(audiences));
    spec.insert("expirationSeconds".to_owned(), json!(told));
    spec.entry("boundObjectRef").or_insert(Value::Null);
    request["status"] = json!({"token": token, "expirationTimestamp": time::format(ends)});
    encode::media(context, 201, storage::write(&request))
}

fn validate(context: &Context<'_>, gvk: &Gvk, request: &Value, seconds: i64) -> Result<(), Status> {
    let (name, namespace) = (meta::name(request), meta::namespace(request));
    if !name.is_empty() && name != context.target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            context.target.name
        )));
    }
    if !namespace.is_empty() && namespace != context.target.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the URL ({})",
            context.target.namespace
        )));
    }
    let what = if seconds < SHORTEST_S {
        "may not specify a duration less than 10 minutes"
    } else if seconds > LONGEST_S {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    Err(Status::invalid(gvk, name, vec![FieldError::invalid("spec.expirationSeconds", seconds, what)]))
}

/// What a token is to be bound to; it must be there, with the uid asked for, and a pod must run as the account. A pod's
/// token also names the pod's node. A node may only ask for tokens bound to its own pods, and for audiences that these name.
async fn bound(
    context: &Context<'_>,
    gvk: &Gvk,
    reference: &Value,
    audiences: &[String],
) -> Result<Vec<Bound>, Status> {
    let forbid = |what: &str| Err(Status::forbidden(&context.resource.gvr(), &context.target.name, what));
    if !reference.is_object() {
        return match context.user.node() {
            Some(_) => forbid("node requested token not bound to a pod"),
            None => Ok(Vec::new()),
        };
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let name = text("name");
    let (kind, resource, namespace) = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => ("pod", "pods", context.target.namespace.as_str()),
        ("v1", "Secret") => ("secret", "secrets", context.target.namespace.as_str()),
        ("v1", "Node") => ("node", "nodes", ""),
        (version, kind) => {
            let gvk = Gvk::from_api_version(version, kind);
            return Err(Status::bad_request(format!(
                "cannot bind token for object of type {}, Kind={kind}",
                gvk.api_version()
            )));
        }
    };
    if name.is_empty() {
        let error = FieldError::required("spec.boundObjectRef.name", "");
        return Err(Status::invalid(gvk, &context.target.name, vec![error]));
    }
    if let Some(node) = context.user.node() {
        if kind != "pod" {
            return forbid("node requested token not bound to a pod");
        }
        if text("uid").is_empty() {
            return forbid(&format!("node requested token with a pod binding without a uid (node {node:?})"));
        }
    }
    let object = read(context, resource, namespace, name).await?;
    let object = object.ok_or_else(|| Status::not_found(&Gvr::new("", "v1", resource), name))?;
    if kind != "node" && meta::is_deleting(&object) && deleted_long_ago(&object) {
        return Err(Status::not_found(&Gvr::new("", "v1", resource), name));
    }
    let uid = meta::uid(&object);
    if !text("uid").is_empty() && text("uid") != uid {
        let what = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Status::conflict(&Gvr::new("", "v1", resource), name, &what));
    }
    if kind == "pod" && object["spec"]["serviceAccountName"] != context.target.name.as_str() {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            context.target.name
        )));
    }
    if let Some(node) = context.user.node() {
        if object["spec"]["nodeName"] != node {
            return forbid("node requested token bound to a pod scheduled on a different node");
        }
        audience::check(context, &object, audiences).await?;
    }
    let mut bound = vec![Bound { kind: kind.to_owned(), name: name.to_owned(), uid: uid.to_owned() }];
    if let Some(node) = object["spec"]["nodeName"].as_str().filter(|node| kind == "pod" && !node.is_empty()) {
        let known = read(context, "nodes", "", node).await?;
        let uid = known.as_ref().map(meta::uid).unwrap_or_default().to_owned();
        bound.push(Bound { kind: "node".to_owned(), name: node.to_owned(), uid });
    }
    Ok(bound)
}

/// A pod that should have ended a minute ago gets no more tokens.
fn deleted_long_ago(object: &Value) -> bool {
    let ends = meta::deletion_timestamp(object).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    ends.is_some_and(|ends| process::now().duration_since(ends) > SignedDuration::from_secs(60))
}

async fn read(context: &Context<'_>, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
    let entry = context.server.config.store.get(&storage::core_key(resource, namespace, name)).await;
    entry.map_err(storage::unavailable)?.map(|entry| storage::parse(&entry.value)).transpose()
}
