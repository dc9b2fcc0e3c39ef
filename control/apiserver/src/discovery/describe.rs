//! What discovery says of groups and resources: the legacy form and the aggregated one.

use super::groups::Group;
use crate::{
    auth::reviews::{REVIEWS, Review},
    kinds::Snapshot,
};
use api::names::api_version;
use base64::{Engine, engine::general_purpose::STANDARD};
use registry::{Resource, Subresource};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

/// `/api`.
pub(super) fn core_versions(advertise: SocketAddr) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": advertise.to_string()}],
    })
}

/// `/apis`.
pub(super) fn group_list(groups: &[Group]) -> Value {
    let listed: Vec<Value> = groups.iter().filter(|group| !group.name.is_empty()).map(describe).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
}

/// `/apis/G`.
pub(super) fn group(group: &Group) -> Value {
    let mut document = describe(group);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    document
}

fn describe(group: &Group) -> Value {
    let versions = group.versions.iter();
    let listed: Vec<Value> = versions
        .map(|version| json!({"groupVersion": api_version(&group.name, version), "version": version}))
        .collect();
    json!({"name": group.name, "versions": listed, "preferredVersion": listed[0]})
}

fn of<'a>(snapshot: &'a Snapshot, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Resource> {
    let all = snapshot.resources.iter().map(AsRef::as_ref);
    all.filter(move |resource: &&Resource| resource.group == group && resource.version == version)
}

fn reviews_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Review> + use<'a> {
    REVIEWS.iter().filter(move |review| review.group == group && review.version == version)
}

/// `/api/v1`, `/apis/G/V`.
pub(super) fn resource_list(snapshot: &Snapshot, group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for resource in of(snapshot, group, version) {
        let mut entry = json!({
            "name": resource.resource, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs,
        });
        if resource.has_verb("list") {
            entry["storageVersionHash"] = json!(storage_hash(resource));
        }
        add_names(&mut entry, resource);
        resources.push(entry);
        for sub in resource.subresources.iter() {
            let mut entry = json!({
                "name": format!("{}/{}", resource.resource, sub.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sub.verbs,
            });
            if (sub.group.as_ref(), sub.version.as_ref()) != (group, version) {
                entry["group"] = json!(sub.group);
                entry["version"] = json!(sub.version);
            }
            resources.push(entry);
        }
    }
    for review in reviews_of(group, version) {
        resources.push(json!({
            "name": review.resource, "singularName": review.singular, "namespaced": review.namespaced,
            "kind": review.kind, "verbs": ["create"],
        }));
    }
    resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
        "resources": resources,
    })
}

fn add_names(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
}

/// Tells the version in which objects are stored: the same for all views of one store.
fn storage_hash(resource: &Resource) -> String {
    let (group, version) = match (resource.group.as_str(), resource.resource.as_str()) {
        ("events.k8s.io", "events") => ("", "v1"),
        ("autoscaling", "horizontalpodautoscalers") => ("autoscaling", "v2"),
        (group, _) => (group, resource.version.as_str()),
    };
    STANDARD.encode(&Sha256::digest(format!("{group}/{version}/{}", resource.kind))[..8])
}

/// One group of the aggregated document.
pub(super) fn aggregated(snapshot: &Snapshot, group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let kinds = of(snapshot, &group.name, version).map(aggregated_resource);
            let reviews = reviews_of(&group.name, version).map(aggregated_review);
            let mut resources: Vec<Value> = kinds.chain(reviews).collect();
            resources.sort_by(|a, b| a["resource"].as_str().cmp(&b["resource"].as_str()));
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".to_owned(), json!(group.name));
    }
    metadata.insert("creationTimestamp".to_owned(), Value::Null);
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_review(review: &Review) -> Value {
    json!({
        "resource": review.resource,
        "responseKind": {"group": review.group, "version": review.version, "kind": review.kind},
        "scope": scope(review.namespaced), "singularResource": review.singular, "verbs": ["create"],
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut entry = json!({
        "resource": resource.resource,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": scope(resource.namespaced), "singularResource": resource.singular, "verbs": resource.verbs,
    });
    add_names(&mut entry, resource);
    if !resource.subresources.is_empty() {
        let describe = |sub: &Subresource| {
            json!({
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs,
            })
        };
        entry["subresources"] = resource.subresources.iter().map(describe).collect();
    }
    entry
}

fn scope(namespaced: bool) -> &'static str {
    if namespaced { "Namespaced" } else { "Cluster" }
}
