//! AdmissionReview, both ways.

use super::matched::{Seen, Shown};
use crate::admission::Call;
use api::{Details, Gvk, Gvr, Reason, Status};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// What a webhook answered.
pub(super) struct Answer {
    /// The `status` of a refusal.
    pub(super) refusal: Option<Value>,
    /// A JSON patch.
    pub(super) patch: Option<Vec<u8>>,
    pub(super) warnings: Vec<String>,
}

/// The `request` of a review.
pub(super) fn request(call: &Call<'_>, seen: &Seen, shown: &Shown<'_>, uid: &str) -> Value {
    let (gvk, object, old) = (&seen.gvk, shown.object.as_deref(), shown.old.as_deref());
    let kind = |gvk: &Gvk| json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
    let resource = |gvr: &Gvr| json!({"group": gvr.group, "version": gvr.version, "resource": gvr.resource});
    let versioned = |object: &Value| {
        let mut object = object.clone();
        if let Some(revision) = call.revision {
            api::meta::set_resource_version(&mut object, revision);
        }
        object
    };
    let user = call.write.user;
    let mut who = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        who["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        who["extra"] = json!(user.extra);
    }
    let mut request = json!({
        "uid": uid,
        "kind": kind(gvk),
        "resource": resource(&seen.gvr),
        "requestKind": kind(call.kind),
        "requestResource": resource(&call.write.resource.gvr()),
        "operation": call.operation.as_str(),
        "userInfo": who,
        "object": object.map(versioned),
        "oldObject": old.map(versioned),
        "dryRun": call.write.dry_run,
        "options": call.write.origin.options(call.operation, call.write.dry_run),
    });
    if !call.subresource.is_empty() {
        request["subResource"] = json!(call.subresource);
        request["requestSubResource"] = json!(call.subresource);
    }
    let name = object.or(old).map(api::meta::name).filter(|name| !name.is_empty()).unwrap_or(call.write.name);
    if !name.is_empty() {
        request["name"] = json!(name);
    }
    let own = if gvk.kind == "Namespace" && gvk.group.is_empty() { name } else { call.write.namespace };
    if !own.is_empty() {
        request["namespace"] = json!(own);
    }
    request
}

pub(super) fn whole(request: Value) -> Value {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

/// Reads an answer; the text says what is wrong with one that cannot be used.
pub(super) fn read(answer: &Value, uid: &str) -> Result<Answer, String> {
    let (kind, version) = (&answer["kind"], &answer["apiVersion"]);
    if kind != "AdmissionReview" || version != "admission.k8s.io/v1" {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(version), text(kind));
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
        ));
    }
    let response = &answer["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let told = response["uid"].as_str().unwrap_or_default();
    if told != uid {
        return Err(format!("expected response.uid={uid:?}, got {told:?}"));
    }
    let patch = match response["patch"].as_str() {
        Some(text) if !text.is_empty() => {
            match response["patchType"].as_str() {
                None | Some("") => {
                    return Err("webhook returned response.patch but not response.patchType".to_owned());
                }
                Some("JSONPatch") => {}
                Some(other) => return Err(format!("unsupported patch type {other:?}")),
            }
            Some(STANDARD.decode(text).map_err(|error| format!("illegal base64 data in response.patch: {error}"))?)
        }
        _ if response["patchType"].is_string() => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        _ => None,
    };
    let warnings = response["warnings"].as_array().into_iter().flatten();
    Ok(Answer {
        refusal: (response["allowed"] != true).then(|| response["status"].clone()),
        patch,
        warnings: warnings.filter_map(|warning| warning.as_str().map(str::to_owned)).collect(),
    })
}

/// The error that a refusal becomes.
pub(super) fn refusal(webhook: &str, result: &Value) -> Status {
    let denied = format!("admission webhook {webhook:?} denied the request");
    let text = |field: &str| result[field].as_str().filter(|text| !text.is_empty());
    let message = match (text("message"), text("reason")) {
        (Some(message), _) => format!("{denied}: {message}"),
        (None, Some(reason)) => format!("{denied}: {reason}"),
        (None, None) => format!("{denied} without explanation"),
    };
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
    let reason = serde_json::from_value::<Reason>(result["reason"].clone()).unwrap_or(Reason::Unknown);
    let mut status = Status::failure(if code < 400 { 400 } else { code }, reason, message);
    if let Ok(details) = serde_json::from_value::<Details>(result["details"].clone()) {
        status = status.with_details(details);
    }
    status
}
