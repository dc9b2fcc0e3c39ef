//! Objects between the versions of a definition, where that takes its webhook.

use crate::{
    Apiserver,
    storage::{self, Stored},
    webhook::ClientConfig,
};
use api::{Reason, Status, meta};
use bytes::Bytes;
use registry::{Resource, custom::Version};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use store::{Entry, Event};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Objects in one call.
const BATCH: usize = 1_000;

/// An entry in the form of the resource.
pub(crate) async fn read(server: &Apiserver, resource: &Resource, entry: &Entry) -> Result<Stored, Status> {
    let bytes = served_form(server, resource, &entry.value).await?;
    Stored::new(resource, &bytes, entry.modified)
}

/// Stored bytes that need no webhook any more to be read through the resource.
pub(crate) async fn served_form(server: &Apiserver, resource: &Resource, bytes: &Bytes) -> Result<Bytes, Status> {
    let mut all = [bytes.clone()];
    served_forms(server, resource, &mut all).await?;
    let [bytes] = all;
    Ok(bytes)
}

/// [`served_form`] of all entries, in as few calls as may be.
pub(crate) async fn entries(server: &Apiserver, resource: &Resource, entries: &mut [Entry]) -> Result<(), Status> {
    if webhook_of(resource).is_none() {
        return Ok(());
    }
    let mut all: Vec<Bytes> = entries.iter().map(|entry| entry.value.clone()).collect();
    served_forms(server, resource, &mut all).await?;
    for (entry, bytes) in entries.iter_mut().zip(all) {
        entry.value = bytes;
    }
    Ok(())
}

/// [`served_form`] of what an event tells.
pub(crate) async fn event(server: &Apiserver, resource: &Resource, event: Arc<Event>) -> Result<Arc<Event>, Status> {
    if webhook_of(resource).is_none() {
        return Ok(event);
    }
    let mut all: Vec<Bytes> =
        event.value.iter().cloned().chain(event.prev.as_ref().map(|prev| prev.value.clone())).collect();
    served_forms(server, resource, &mut all).await?;
    let mut all = all.into_iter();
    let value = event.value.as_ref().and_then(|_| all.next());
    let prev = event.prev.clone().zip(all.next()).map(|(prev, value)| Entry { value, ..prev });
    Ok(Arc::new(Event::new(event.key.clone(), event.revision, value, prev)))
}

/// Whether reads through the resource may call a webhook.
pub(crate) fn webhook_of(resource: &Resource) -> Option<&Version> {
    resource.strategy.custom().filter(|version| version.webhook.is_some())
}

async fn served_forms(server: &Apiserver, resource: &Resource, all: &mut [Bytes]) -> Result<(), Status> {
    let Some(version) = webhook_of(resource) else { return Ok(()) };
    let mut foreign: Vec<(usize, Value)> = Vec::new();
    for (i, bytes) in all.iter().enumerate() {
        let value = storage::parse(bytes)?;
        if version.needs_webhook(value["apiVersion"].as_str().unwrap_or_default()) {
            foreign.push((i, value));
        }
    }
    for batch in foreign.chunks(BATCH) {
        let objects: Vec<&Value> = batch.iter().map(|(_, value)| value).collect();
        let converted = call(server, version, &objects, &version.gvk.api_version()).await?;
        for ((i, _), value) in batch.iter().zip(converted) {
            all[*i] = storage::write(&value);
        }
    }
    Ok(())
}

/// The bytes to store for an object of the resource, whose own are `bytes`.
pub(crate) async fn to_store(
    server: &Apiserver,
    resource: &Resource,
    object: &Value,
    bytes: &Bytes,
) -> Result<Bytes, Status> {
    let Some(version) = webhook_of(resource) else { return Ok(storage::to_store(resource, object, bytes)) };
    let wanted = version.storage_api_version();
    if object["apiVersion"] == wanted {
        return Ok(storage::to_store(resource, object, bytes));
    }
    let converted = call(server, version, &[object], &wanted).await?;
    Ok(storage::write(&converted[0]))
}

/// An object of one version of a kind as one of another.
pub(crate) async fn between(
    server: &Apiserver,
    from: &Resource,
    to: &Resource,
    mut object: Value,
) -> Result<Value, Status> {
    let wanted = to.api_version();
    if let Some(version) = webhook_of(to) {
        let mut converted = call(server, version, &[&object], &wanted).await?;
        return converted.pop().ok_or_else(|| Status::internal("the conversion webhook returned nothing"));
    }
    if !to.is_custom() {
        if let Some(conversion) = &from.conversion {
            conversion.to_storage(&mut object);
        }
        if let Some(conversion) = &to.conversion {
            conversion.from_storage(&mut object);
        }
        object["kind"] = to.kind.as_str().into();
    }
    object["apiVersion"] = wanted.into();
    Ok(object)
}

/// An object of one version of a resource as a webhook that asked for another is shown it. Of a custom resource, what
/// that version does not have is gone.
pub(crate) async fn shown(server: &Apiserver, from: &Resource, to: &Resource, object: &Value) -> Result<Value, Status> {
    let mut shown = between(server, from, to, object.clone()).await?;
    if let Some(version) = to.strategy.custom() {
        version.prune(&mut shown);
    }
    Ok(shown)
}

/// Asks the webhook, and holds it to its word: the same objects, in order, with their metadata.
async fn call(server: &Apiserver, version: &Version, objects: &[&Value], wanted: &str) -> Result<Vec<Value>, Status> {
    let webhook = version.webhook.as_ref().expect("the caller has seen one");
    let kind = objects.first().map(|object| gvk_text(object)).unwrap_or_default();
    let failed = |what: &dyn std::fmt::Display| broken(format!("conversion webhook for {kind} failed: {what}"));
    let config = ClientConfig::read(&webhook.client_config).map_err(|error| failed(&error))?;
    let review_version = webhook
        .review_versions
        .iter()
        .find(|version| matches!(version.as_str(), "v1" | "v1beta1"))
        .map_or("v1", String::as_str);
    let uid = process::uuid();
    let review = json!({
        "kind": "ConversionReview",
        "apiVersion": format!("apiextensions.k8s.io/{review_version}"),
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    });
    let answer = server.webhooks.call(&config, &review, TIMEOUT).await.map_err(|error| failed(&error))?;
    let response = &answer["response"];
    if !response.is_object() {
        return Err(failed(&"expected webhook response to contain a response"));
    }
    if review_version == "v1" {
        if answer["kind"] != "ConversionReview" || answer["apiVersion"] != review["apiVersion"] {
            return Err(failed(&format_args!(
                "expected webhook response of {}, Kind=ConversionReview, got {}",
                review["apiVersion"].as_str().unwrap_or_default(),
                gvk_text(&answer)
            )));
        }
        if response["uid"] != uid {
            return Err(failed(&format_args!(
                "expected response.uid={uid:?}, got {}",
                response["uid"].as_str().map_or_else(|| "\"\"".to_owned(), |text| format!("{text:?}"))
            )));
        }
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        let message = result["message"].as_str().unwrap_or_default();
        return Err(failed(&if message.is_empty() { "<empty>" } else { message }));
    }
    let converted = response["convertedObjects"].as_array().cloned().unwrap_or_default();
    if converted.len() != objects.len() {
        return Err(broken(format!(
            "conversion webhook for {kind} returned {} objects, expected {}",
            converted.len(),
            objects.len()
        )));
    }
    let mut all = Vec::with_capacity(converted.len());
    for (i, (mut new, old)) in converted.into_iter().zip(objects).enumerate() {
        check(&new, old, wanted).map_err(|wrong| {
            broken(format!("conversion webhook for {kind} returned invalid converted object at index {i}: {wrong}"))
        })?;
        restore_metadata(&mut new, old).map_err(|wrong| {
            broken(format!("conversion webhook for {kind} returned invalid metadata in object at index {i}: {wrong}"))
        })?;
        all.push(new);
    }
    Ok(all)
}

fn check(new: &Value, old: &Value, wanted: &str) -> Result<(), String> {
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    if text(new, "kind") != text(old, "kind") {
        return Err(format!("must have the same kind: {} != {}", text(new, "kind"), text(old, "kind")));
    }
    if text(new, "apiVersion") != wanted {
        return Err(format!("invalid groupVersion {}, expected {wanted}", text(new, "apiVersion")));
    }
    for (field, now, before) in [
        ("name", meta::name(new), meta::name(old)),
        ("namespace", meta::namespace(new), meta::namespace(old)),
        ("UID", meta::uid(new), meta::uid(old)),
    ] {
        if now != before {
            return Err(format!("must have the same {field}: {now} != {before}"));
        }
    }
    Ok(())
}

/// Of the metadata, a webhook may change labels and annotations only.
fn restore_metadata(new: &mut Value, old: &Value) -> Result<(), String> {
    let given = new["metadata"].clone();
    if !given.is_object() {
        return Err("invalid metadata of type <nil> in converted object".to_owned());
    }
    let mut metadata = old["metadata"].clone();
    for field in ["labels", "annotations"] {
        let wrong = given[field].as_object().is_some_and(|map| map.values().any(|value| !value.is_string()))
            || !(given[field].is_null() || given[field].is_object());
        if wrong {
            return Err(format!("metadata.{field}: Invalid value: must be a map of strings"));
        }
        if let Some(map) = metadata.as_object_mut() {
            match given.get(field).filter(|value| !value.is_null()) {
                Some(value) => map.insert(field.to_owned(), value.clone()),
                None => map.remove(field),
            };
        }
    }
    new["metadata"] = metadata;
    Ok(())
}

fn gvk_text(object: &Value) -> String {
    format!(
        "{}, Kind={}",
        object["apiVersion"].as_str().unwrap_or_default(),
        object["kind"].as_str().unwrap_or_default()
    )
}

/// A webhook's failure is the server's: 500, with nothing more to say about it than the message.
fn broken(message: String) -> Status {
    Status::failure(500, Reason::Unknown, message)
}
