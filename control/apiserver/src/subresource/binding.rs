//! pods/binding, and bindings of old: a pod is put on a node.

use crate::{
    admission,
    generic::{
        Context,
        decode::decode,
        encode,
        write::{self, FieldValidation, Via},
    },
    storage,
};
use api::{Gvk, Gvr, Outcome, Reason, Status, meta, time};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::{Value, json};

pub(super) async fn bind(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let dry_run = context.dry_run()?;
    let decoded = decode(body, context.content_type.as_ref())?;
    let gvk = Gvk::new("", "v1", "Binding");
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let mut binding = write::conform(&gvk, decoded, validation, context.warnings)?;
    let subresource = context.target.subresource.clone();
    admission::post(&context.write(Via::Server, dry_run), &gvk, &subresource, &mut binding).await?;
    if context.target.name.is_empty() {
        // Posted to `bindings`: the pod is the one of the binding's name.
        if meta::name(&binding).is_empty() {
            return Err(Status::bad_request("name is required"));
        }
        context.target.name = meta::name(&binding).to_owned();
        context.resource = registry::find("", "v1", "pods").expect("the table has pods").clone();
    } else if !["", &context.target.name].contains(&meta::name(&binding)) {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    if !["", &context.target.namespace].contains(&meta::namespace(&binding)) {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    if !matches!(kind, "" | "Node") {
        errors.push(api::FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    if node.is_empty() {
        errors.push(api::FieldError::required("target.name", ""));
    }
    if !errors.is_empty() {
        return Err(Status::invalid(&gvk, &context.target.name, errors));
    }
    let gvr = Gvr::new("", "v1", "pods/binding");
    let name = context.target.name.clone();
    let conflict = |text: String| Status::conflict(&gvr, &name, &text);
    let now = time::format(process::now());
    write::modify(&context.write(Via::Server, dry_run), |old| {
        let pod = &old.value;
        let uid = meta::uid(&binding);
        if !uid.is_empty() && uid != meta::uid(pod) {
            return Err(conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::uid(pod)
            )));
        }
        if meta::is_deleting(pod) {
            return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
        }
        if let Some(present) = pod["spec"]["nodeName"].as_str().filter(|present| !present.is_empty()) {
            return Err(conflict(format!("pod {name} is already assigned to node {present:?}")));
        }
        if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
        }
        let mut new = pod.clone();
        meta::child_mut(&mut new, "spec").insert("nodeName".to_owned(), json!(node));
        for (key, value) in meta::annotations(&binding) {
            meta::set_annotation(&mut new, &key, &value);
        }
        set_scheduled(&mut new, &now);
        Ok(new)
    })
    .await?;
    let success =
        Status { status: Outcome::Success, code: 201, reason: Reason::Unknown, message: String::new(), details: None };
    encode::media(context, 201, storage::write(&serde_json::json!(success)))
}

fn set_scheduled(pod: &mut Value, now: &str) {
    let generation = meta::generation(pod);
    let mut condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    if generation > 0 {
        condition["observedGeneration"] = json!(generation);
    }
    let status = meta::child_mut(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let list = conditions.as_array_mut().expect("made an array above");
    list.retain(|condition| condition["type"] != "PodScheduled");
    list.push(condition);
}
