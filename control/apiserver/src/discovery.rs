//! Discovery: which groups, versions and resources are served. Legacy documents and the aggregated one, made of the
//! kinds that are served now and kept until those change.

mod describe;
pub(crate) mod groups;

use crate::{
    http::{negotiate, respond},
    kinds::{Kinds, Snapshot},
};
use api::Status;
use bytes::Bytes;
use client::Body;
use groups::Group;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// The documents of the kinds that were served when they were last asked for.
pub(crate) struct Documents {
    advertise: SocketAddr,
    kept: Mutex<Option<Arc<Kept>>>,
}

struct Kept {
    snapshot: Arc<Snapshot>,
    groups: Vec<Group>,
    /// Aggregated: of `/api` and of `/apis`, v2 and v2beta1.
    aggregated: BTreeMap<(&'static str, &'static str), (Bytes, HeaderValue)>,
}

const AGGREGATED_VERSIONS: [&str; 2] = ["v2", "v2beta1"];

impl Documents {
    pub(crate) fn new(advertise: SocketAddr) -> Self {
        Self { advertise, kept: Mutex::new(None) }
    }

    fn kept(&self, kinds: &Kinds) -> Arc<Kept> {
        let snapshot = kinds.snapshot();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some(kept) if kept.snapshot.generation == snapshot.generation => kept.clone(),
            Some(_) | None => kept.insert(Arc::new(Kept::new(snapshot))).clone(),
        }
    }

    /// Answers a path below `/api` or `/apis`.
    pub(crate) fn answer(
        &self,
        kinds: &Kinds,
        segments: &[&str],
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Status> {
        let kept = self.kept(kinds);
        if let [root @ ("api" | "apis")] = segments
            && let Some(response) = kept.aggregated(root, headers)
        {
            return Ok(response);
        }
        let document = match segments {
            ["api"] => describe::core_versions(self.advertise),
            ["apis"] => describe::group_list(&kept.groups),
            ["apis", group] => describe::group(kept.group(group).ok_or_else(Status::no_such_resource)?),
            ["api", version] => kept.resource_list("", version).ok_or_else(Status::no_such_resource)?,
            ["apis", group, version] => kept.resource_list(group, version).ok_or_else(Status::no_such_resource)?,
            _ => return Err(Status::no_such_resource()),
        };
        negotiate::accept(headers)?;
        Ok(respond::json(200, &document))
    }

    /// `/`: the paths there are.
    pub(crate) fn paths(&self, kinds: &Kinds) -> Response<Body> {
        let mut paths: BTreeSet<String> = OTHER_PATHS.into_iter().map(str::to_owned).collect();
        for group in &self.kept(kinds).groups {
            let root = if group.name.is_empty() { "/api".to_owned() } else { format!("/apis/{}", group.name) };
            paths.extend(group.versions.iter().map(|version| format!("{root}/{version}")));
            paths.insert(root);
        }
        respond::json(200, &json!({"paths": paths}))
    }
}

const OTHER_PATHS: [&str; 22] = [
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/healthz",
    "/healthz/etcd",
    "/healthz/log",
    "/healthz/ping",
    "/livez",
    "/livez/etcd",
    "/livez/log",
    "/livez/ping",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/readyz",
    "/readyz/etcd",
    "/readyz/log",
    "/readyz/ping",
    "/readyz/shutdown",
    "/version",
];

impl Kept {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        let groups = groups::groups(&snapshot);
        let mut aggregated = BTreeMap::new();
        for root in ["api", "apis"] {
            let of_root = groups.iter().filter(|group| group.name.is_empty() == (root == "api"));
            let items: Value = of_root.map(|group| describe::aggregated(&snapshot, group)).collect();
            for wire in AGGREGATED_VERSIONS {
                let document = json!({
                    "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{wire}"),
                    "metadata": {}, "items": items,
                });
                let bytes = Bytes::from(document.to_string());
                let tag = etag(&bytes);
                aggregated.insert((root, wire), (bytes, tag));
            }
        }
        Self { snapshot, groups, aggregated }
    }

    fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| !group.name.is_empty() && group.name == name)
    }

    fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let found = self.groups.iter().find(|one| one.name == group)?;
        found.versions.iter().any(|one| one == version).then(|| describe::resource_list(&self.snapshot, group, version))
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
        Some(tagged(headers, content_type, tag.clone(), || bytes.clone()))
    }
}

/// Answers with an ETag, or 304 if the client has it; only then is the document not made.
pub(crate) fn tagged(
    headers: &HeaderMap,
    content_type: HeaderValue,
    tag: HeaderValue,
    document: impl FnOnce() -> Bytes,
) -> Response<Body> {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|one| one.trim().as_bytes() == tag.as_bytes() || one.trim() == "*"))
    });
    let mut response = if known {
        respond::bytes_of(304, content_type, Bytes::new())
    } else {
        respond::bytes_of(200, content_type, document())
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
