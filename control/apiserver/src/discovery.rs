//! Discovery: which groups, versions and resources are served. Legacy documents and the aggregated one (v2), built
//! once from the registry's table.

use crate::{
    auth::reviews::{REVIEWS, Review},
    http::{negotiate, respond},
};
use api::{Status, names::api_version};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use registry::{Resource, Subresource};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// All documents, as bytes.
pub(crate) struct Documents {
    /// Legacy, by path.
    legacy: BTreeMap<String, Bytes>,
    /// Aggregated: of `/api` and of `/apis`, v2 and v2beta1.
    aggregated: BTreeMap<(&'static str, &'static str), (Bytes, HeaderValue)>,
}

const AGGREGATED_VERSIONS: [&str; 2] = ["v2", "v2beta1"];

impl Documents {
    pub(crate) fn new() -> Self {
        let versions = group_versions();
        let mut legacy = BTreeMap::new();
        let mut add = |path: String, document: Value| legacy.insert(path, document.to_string().into());
        let everywhere = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]);
        add(
            "api".to_owned(),
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": everywhere}),
        );
        let groups: Vec<Value> = versions
            .iter()
            .filter(|(group, _)| !group.is_empty())
            .map(|(group, versions)| describe_group(group, versions))
            .collect();
        for group in &groups {
            let mut document = group.clone();
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            add(format!("apis/{}", group["name"].as_str().unwrap_or_default()), document);
        }
        add("apis".to_owned(), json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        for (group, versions) in &versions {
            for version in versions {
                let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
                add(path, resource_list(group, version));
            }
        }
        let mut aggregated = BTreeMap::new();
        for root in ["api", "apis"] {
            for wire in AGGREGATED_VERSIONS {
                let items: Vec<Value> = versions
                    .iter()
                    .filter(|(group, _)| group.is_empty() == (root == "api"))
                    .map(|(group, versions)| aggregated_group(group, versions))
                    .collect();
                let document = json!({
                    "kind": "APIGroupDiscoveryList",
                    "apiVersion": format!("apidiscovery.k8s.io/{wire}"),
                    "metadata": {},
                    "items": items,
                });
                let bytes = Bytes::from(document.to_string());
                let tag = etag(&bytes);
                aggregated.insert((root, wire), (bytes, tag));
            }
        }
        Self { legacy, aggregated }
    }

    /// Answers a path below `/api` or `/apis`.
    pub(crate) fn answer(&self, segments: &[&str], headers: &HeaderMap) -> Result<Response<Body>, Status> {
        if let [root @ ("api" | "apis")] = segments
            && let Some(response) = self.aggregated(root, headers)
        {
            return Ok(response);
        }
        let bytes = self.legacy.get(&segments.join("/")).ok_or_else(Status::no_such_resource)?;
        negotiate::accept(headers)?;
        Ok(respond::json_bytes(200, bytes.clone()))
    }

    fn aggregated(&self, root: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        let wire = negotiate::ranges(headers).iter().find_map(|range| {
            let json = matches!(range.media, "application/json" | "*/*" | "application/*");
            let wanted = range.parameter("as") == Some("APIGroupDiscoveryList")
                && range.parameter("g") == Some("apidiscovery.k8s.io");
            match (json, wanted) {
                (true, true) => {
                    AGGREGATED_VERSIONS.into_iter().find(|wire| range.parameter("v") == Some(wire)).map(Some)
                }
                // Plain JSON is liked better than what follows.
                (true, false) if range.parameter("as").is_none() => Some(None),
                (true | false, _) => None,
            }
        })??;
        let (bytes, tag) = self.aggregated.iter().find(|((r, w), _)| *r == root && *w == wire)?.1;
        let content_type = format!("application/json;g=apidiscovery.k8s.io;v={wire};as=APIGroupDiscoveryList");
        let content_type = HeaderValue::from_str(&content_type).ok()?;
        Some(tagged(headers, content_type, bytes.clone(), tag.clone()))
    }
}

/// Answers with an ETag, or 304 if the client has it.
pub(crate) fn tagged(headers: &HeaderMap, content_type: HeaderValue, bytes: Bytes, tag: HeaderValue) -> Response<Body> {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|one| one.trim().as_bytes() == tag.as_bytes() || one.trim() == "*"))
    });
    let mut response = if known {
        respond::bytes_of(304, content_type, Bytes::new())
    } else {
        respond::bytes_of(200, content_type, bytes)
    };
    response.headers_mut().insert(header::ETAG, tag);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// The quoted digest of a document.
pub(crate) fn etag(bytes: &[u8]) -> HeaderValue {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    HeaderValue::from_str(&format!("\"{digest}\"")).expect("hex digits in quotes are a header value")
}

/// `/`: the paths there are.
pub(crate) fn paths() -> Response<Body> {
    let mut paths: BTreeSet<String> = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
        "/.well-known/openid-configuration",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    for (group, versions) in group_versions() {
        for version in versions {
            paths.insert(if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") });
        }
        if !group.is_empty() {
            paths.insert(format!("/apis/{group}"));
        }
    }
    respond::json(200, &json!({"paths": paths}))
}

/// Every group with its versions, core first.
pub(crate) fn group_versions() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let kinds = registry::resources().iter().map(|resource| (resource.group.as_str(), resource.version.as_str()));
    for (group, version) in kinds.chain(REVIEWS.iter().map(|review| (review.group, review.version))) {
        all.entry(group).or_default().insert(version);
    }
    all
}

fn describe_group(group: &str, versions: &BTreeSet<&str>) -> Value {
    let describe = |version: &&str| json!({"groupVersion": api_version(group, version), "version": version});
    let listed: Vec<Value> = versions.iter().map(describe).collect();
    json!({"name": group, "versions": listed, "preferredVersion": listed[0]})
}

fn of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + 'a {
    registry::resources()
        .iter()
        .map(AsRef::as_ref)
        .filter(move |resource| resource.group == group && resource.version == version)
}

fn reviews_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Review> + 'a {
    REVIEWS.iter().filter(move |review| review.group == group && review.version == version)
}

fn resource_list(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for resource in of(group, version) {
        let mut entry = json!({
            "name": resource.resource, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs, "storageVersionHash": storage_hash(resource),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
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
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": resources,
    })
}

fn storage_hash(resource: &Resource) -> String {
    let name = format!("{}/{}/{}", resource.group, resource.version, resource.kind);
    STANDARD.encode(&Sha256::digest(name)[..8])
}

fn aggregated_group(group: &str, versions: &BTreeSet<&str>) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let kinds = of(group, version).map(aggregated_resource);
            let reviews = reviews_of(group, version).map(|review| {
                json!({
                    "resource": review.resource,
                    "responseKind": {"group": review.group, "version": review.version, "kind": review.kind},
                    "scope": scope(review.namespaced), "singularResource": review.singular, "verbs": ["create"],
                })
            });
            let resources: Vec<Value> = kinds.chain(reviews).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut entry = json!({
        "resource": resource.resource,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": scope(resource.namespaced), "singularResource": resource.singular, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
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
