//! Operations: which verbs a path has, on which kind, with which options.

use super::schemas;
use crate::auth::reviews::REVIEWS;
use api::Gvk;
use registry::Resource;
use serde_json::{Map, Value, json};

/// The paths of a group version for its v3 document.
pub(super) fn v3(group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    for resource in
        registry::resources().iter().filter(|resource| resource.group == group && resource.version == version)
    {
        add(&mut paths, resource);
    }
    for review in REVIEWS.iter().filter(|review| review.group == group && review.version == version) {
        let gvk = Gvk::new(group, version, review.kind);
        let scope = if review.namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("/apis/{group}/{version}{scope}/{}", review.resource);
        paths.insert(path, json!({"post": operation("post", &gvk)}));
    }
    Value::Object(paths)
}

/// The v2 document has schemas only: clients that look for operations ask for v3.
pub(super) fn v2() -> Value {
    json!({})
}

fn add(paths: &mut Map<String, Value>, resource: &Resource) {
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{scope}/{}", resource.resource);
    let gvk = resource.gvk();
    let mut insert = |path: String, actions: &[(&str, &str, &str)], verbs: &[&str], gvk: &Gvk| {
        let operations: Map<String, Value> = actions
            .iter()
            .filter(|(_, verb, _)| verbs.contains(verb))
            .map(|(method, _, action)| ((*method).to_owned(), operation(action, gvk)))
            .collect();
        if !operations.is_empty() {
            paths.insert(path, Value::Object(operations));
        }
    };
    const COLLECTION: [(&str, &str, &str); 3] =
        [("get", "list", "list"), ("post", "create", "post"), ("delete", "deletecollection", "deletecollection")];
    const OBJECT: [(&str, &str, &str); 4] =
        [("get", "get", "get"), ("put", "update", "put"), ("patch", "patch", "patch"), ("delete", "delete", "delete")];
    const SUBRESOURCE: [(&str, &str, &str); 4] =
        [("get", "get", "get"), ("post", "create", "post"), ("put", "update", "put"), ("patch", "patch", "patch")];
    insert(collection.clone(), &COLLECTION, resource.verbs, &gvk);
    insert(format!("{collection}/{{name}}"), &OBJECT, resource.verbs, &gvk);
    for sub in resource.subresources.iter() {
        let gvk = Gvk::new(&sub.group, &sub.version, &sub.kind);
        insert(format!("{collection}/{{name}}/{}", sub.name), &SUBRESOURCE, sub.verbs, &gvk);
    }
    if resource.namespaced {
        insert(format!("{root}/{}", resource.resource), &[("get", "list", "list")], resource.verbs, &gvk);
    }
}

fn operation(action: &str, gvk: &Gvk) -> Value {
    let options: &[&str] = match action {
        "list" => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "delete" => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
        "deletecollection" => &[
            "continue",
            "dryRun",
            "fieldSelector",
            "gracePeriodSeconds",
            "labelSelector",
            "limit",
            "orphanDependents",
            "propagationPolicy",
            "resourceVersion",
            "resourceVersionMatch",
        ],
        _ => &[],
    };
    let parameters: Vec<Value> = options
        .iter()
        .chain(&["pretty"])
        .map(|name| {
            let kind = match *name {
                "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => "boolean",
                "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
                _ => "string",
            };
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect();
    let schema = match schemas::name_of(gvk) {
        Some(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        None => json!({"type": "object"}),
    };
    let mut operation = json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": gvk.group, "version": gvk.version, "kind": gvk.kind},
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
    });
    match action {
        "post" | "put" => {
            operation["requestBody"] = json!({"required": true, "content": {"*/*": {"schema": schema}}});
        }
        "patch" => {
            let any = json!({"schema": {"type": "object"}});
            operation["requestBody"] = json!({"required": true, "content": {
                "application/apply-patch+yaml": any, "application/json-patch+json": any,
                "application/merge-patch+json": any, "application/strategic-merge-patch+json": any,
            }});
        }
        _ => {}
    }
    operation
}
