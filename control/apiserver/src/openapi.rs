//! OpenAPI documents of the kinds served now: v3 (an index and one document a group version) and v2 (one document, as
//! JSON or protobuf). They carry what clients compute with: types, required fields, list types, merge keys, the kinds of
//! schemas and operations, and the options of the verbs. Written when asked for; only their digests are kept.

mod custom;
mod gnostic;
mod parameters;
mod paths;
mod roots;
mod schemas;

use crate::{
    auth::reviews::REVIEWS,
    discovery::{
        etag,
        groups::{self, Group},
        tagged,
    },
    health,
    http::{negotiate, query::Query, respond},
    kinds::{Kinds, Snapshot},
};
use api::{Gvk, Status};
use bytes::Bytes;
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use registry::Resource;
use roots::Root;
use schemas::{Defined, Dialect};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The documents' digests.
pub(crate) struct Documents {
    kept: Mutex<Option<Arc<Kept>>>,
    /// Of group versions that are built in as a whole: these never change.
    built_in: Mutex<BTreeMap<String, HeaderValue>>,
}

/// What is known of the documents of one snapshot.
struct Kept {
    snapshot: Arc<Snapshot>,
    groups: Vec<Group>,
    v3: OnceLock<BTreeMap<String, HeaderValue>>,
    v2_json: OnceLock<HeaderValue>,
    v2_protobuf: OnceLock<HeaderValue>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const V2_PROTOBUF: HeaderValue = HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
/// Both names by which clients ask for [`V2_PROTOBUF`].
const V2_PROTOBUF_ASKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];
const YEAR_SECONDS: i64 = 365 * 24 * 3600;

impl Documents {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(None), built_in: Mutex::new(BTreeMap::new()) }
    }

    fn kept(&self, kinds: &Kinds) -> Arc<Kept> {
        let snapshot = kinds.snapshot();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some(kept) if kept.snapshot.generation == snapshot.generation => kept.clone(),
            Some(_) | None => {
                let groups = groups::groups(&snapshot);
                let (v3, v2_json, v2_protobuf) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
                kept.insert(Arc::new(Kept { snapshot, groups, v3, v2_json, v2_protobuf })).clone()
            }
        }
    }

    /// Answers a path below `/openapi`.
    pub(crate) fn answer(
        &self,
        kinds: &Kinds,
        segments: &[&str],
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response<Body>, Status> {
        let kept = self.kept(kinds);
        match segments {
            [_, "v2"] => kept.v2(headers),
            [_, "v3"] => {
                negotiate::accept(headers)?;
                let paths: Map<String, Value> = self
                    .v3_tags(&kept)
                    .iter()
                    .map(|(path, tag)| {
                        let url = format!("/openapi/v3/{path}?hash={}", digest(tag));
                        (path.clone(), json!({"serverRelativeURL": url}))
                    })
                    .collect();
                let bytes = Bytes::from(json!({"paths": paths}).to_string());
                Ok(tagged(headers, JSON, etag(&bytes), || bytes))
            }
            [_, "v3", path @ ..] => {
                negotiate::accept(headers)?;
                let path = path.join("/");
                let tag = self.v3_tags(&kept).get(&path).ok_or_else(Status::no_such_resource)?;
                match query.get("hash") {
                    None | Some("") => Ok(tagged(headers, JSON, tag.clone(), || kept.v3_document(&path))),
                    Some(hash) if hash == digest(tag) => {
                        // A path that names the digest never changes its meaning.
                        let mut response = tagged(headers, JSON, tag.clone(), || kept.v3_document(&path));
                        let expires = process::now().checked_add(jiff::SignedDuration::from_secs(YEAR_SECONDS));
                        let expires = expires.map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
                        if let Some(at) = expires.ok().and_then(|text| HeaderValue::from_str(&text).ok()) {
                            response.headers_mut().insert(header::EXPIRES, at);
                        }
                        let forever = HeaderValue::from_static("public, immutable");
                        response.headers_mut().insert(header::CACHE_CONTROL, forever);
                        Ok(response)
                    }
                    Some(_) => Ok(moved(&path, tag)),
                }
            }
            _ => Err(Status::no_such_resource()),
        }
    }

    /// The digests of the v3 documents, by path below `/openapi/v3/`.
    fn v3_tags<'a>(&self, kept: &'a Kept) -> &'a BTreeMap<String, HeaderValue> {
        kept.v3.get_or_init(|| {
            let mut built_in = self.built_in.lock().unwrap_or_else(PoisonError::into_inner);
            let mut tags = BTreeMap::new();
            for root in kept.roots() {
                let tag = built_in.entry(root.document.clone());
                let tag = tag.or_insert_with(|| etag(&kept.v3_document(&root.document)));
                tags.insert(root.document, tag.clone());
            }
            for group in &kept.groups {
                for version in &group.versions {
                    let path = document_path(&group.name, version);
                    let changes = kept.resources(&group.name, version).iter().any(|resource| resource.is_custom());
                    let tag = match built_in.get(&path).filter(|_| !changes) {
                        Some(tag) => tag.clone(),
                        None => etag(&kept.v3_document(&path)),
                    };
                    if !changes {
                        built_in.insert(path.clone(), tag.clone());
                    }
                    tags.insert(path, tag);
                }
            }
            tags
        })
    }
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The digest in the request is an old one.
fn moved(path: &str, tag: &HeaderValue) -> Response<Body> {
    let mut response = respond::text(301, Bytes::new());
    if let Ok(url) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={}", digest(tag))) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}

fn digest(tag: &HeaderValue) -> &str {
    tag.to_str().unwrap_or_default().trim_matches('"')
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": health::VERSION})
}

impl Kept {
    fn resources(&self, group: &str, version: &str) -> Vec<&Arc<Resource>> {
        let all = self.snapshot.resources.iter();
        all.filter(|resource| resource.group == group && resource.version == version).collect()
    }

    /// The paths above the group versions; of groups, the built-in ones.
    fn roots(&self) -> Vec<Root> {
        let own = |group: &str| {
            registry::resources().iter().any(|one| one.group == group) || REVIEWS.iter().any(|one| one.group == group)
        };
        roots::all(self.groups.iter().map(|group| group.name.as_str()).filter(|group| own(group)))
    }

    /// Tells the paths of a group version.
    fn each_path(&self, group: &str, version: &str, dialect: Dialect, tell: &mut dyn FnMut(String, Value)) {
        paths::root(group, version, dialect, tell);
        for resource in self.resources(group, version) {
            paths::resource(resource, dialect, tell);
        }
        for review in REVIEWS.iter().filter(|review| review.group == group && review.version == version) {
            paths::review(review, dialect, tell);
        }
    }

    fn v3_document(&self, path: &str) -> Bytes {
        let root = self.roots().into_iter().find(|root| root.document == path);
        let mut parts = path.split('/').skip(1);
        let (group, version) = match (parts.next(), parts.next()) {
            (Some(group), Some(version)) => (group, version),
            (version, _) => ("", version.unwrap_or_default()),
        };
        let mut out = format!("{{\"openapi\":\"3.0.0\",\"info\":{},\"paths\":{{", info());
        let mut entries = Entries::default();
        let defined = match &root {
            Some(root) => {
                entries.add(&root.path(), &root.item(Dialect::V3), &mut out);
                Defined::named(root.schema)
            }
            None => {
                self.each_path(group, version, Dialect::V3, &mut |path, item| entries.add(&path, &item, &mut out));
                Defined::of(&self.resources(group, version), &review_kinds(Some((group, version))))
            }
        };
        out.push_str("},\"components\":{\"schemas\":{");
        let mut entries = Entries::default();
        defined.each(Dialect::V3, |name, schema| entries.add(name, &schema, &mut out));
        out.push_str("}}}");
        out.into()
    }

    fn v2(&self, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let ranges = negotiate::ranges(headers);
        let wants_protobuf = ranges.iter().find_map(|range| match range.media {
            "application/json" | "application/*" | "*/*" => Some(false),
            media if V2_PROTOBUF_ASKED.contains(&media) => Some(true),
            _ => None,
        });
        match wants_protobuf {
            Some(true) => {
                let tag = self.v2_protobuf.get_or_init(|| etag(&self.v2_protobuf_document()));
                Ok(tagged(headers, V2_PROTOBUF, tag.clone(), || self.v2_protobuf_document()))
            }
            Some(false) => {
                let tag = self.v2_json.get_or_init(|| etag(&self.v2_json_document()));
                Ok(tagged(headers, JSON, tag.clone(), || self.v2_json_document()))
            }
            None if ranges.is_empty() => {
                let tag = self.v2_json.get_or_init(|| etag(&self.v2_json_document()));
                Ok(tagged(headers, JSON, tag.clone(), || self.v2_json_document()))
            }
            None => Err(Status::not_acceptable(&["application/json", V2_PROTOBUF_ASKED[0]])),
        }
    }

    fn each_v2_path(&self, tell: &mut dyn FnMut(String, Value)) {
        for root in self.roots() {
            tell(root.path(), root.item(Dialect::V2));
        }
        for group in &self.groups {
            for version in &group.versions {
                self.each_path(&group.name, version, Dialect::V2, tell);
            }
        }
    }

    fn defined_v2(&self) -> Defined<'_> {
        let defined = Defined::of(&self.snapshot.resources.iter().collect::<Vec<_>>(), &review_kinds(None));
        defined.and(self.roots().iter().filter_map(|root| root.schema))
    }

    fn v2_json_document(&self) -> Bytes {
        let mut out = format!("{{\"swagger\":\"2.0\",\"info\":{},\"paths\":{{", info());
        let mut entries = Entries::default();
        self.each_v2_path(&mut |path, item| entries.add(&path, &item, &mut out));
        out.push_str("},\"definitions\":{");
        let mut entries = Entries::default();
        self.defined_v2().each(Dialect::V2, |name, schema| entries.add(name, &schema, &mut out));
        out.push_str("}}");
        out.into()
    }

    fn v2_protobuf_document(&self) -> Bytes {
        let mut out = gnostic::start(&info());
        let (mut paths, mut definitions) = (Vec::new(), Vec::new());
        self.each_v2_path(&mut |path, item| gnostic::path(&path, &item, &mut paths));
        self.defined_v2().each(Dialect::V2, |name, schema| gnostic::definition(name, &schema, &mut definitions));
        gnostic::finish(&paths, &definitions, &mut out);
        out.into()
    }
}

/// The kinds that only answer, of one group version or all, and those of options.
fn review_kinds(of: Option<(&str, &str)>) -> Vec<Gvk> {
    let reviews = REVIEWS.iter().filter(|review| of.is_none_or(|of| of == (review.group, review.version)));
    reviews.map(|review| Gvk::new(review.group, review.version, review.kind)).collect()
}

/// Entries of a JSON object that is written piece by piece.
#[derive(Default)]
struct Entries {
    count: usize,
}

impl Entries {
    fn add(&mut self, name: &str, value: &Value, out: &mut String) {
        let comma = if self.count == 0 { "" } else { "," };
        self.count += 1;
        write!(out, "{comma}{}:{value}", Value::from(name)).expect("a String takes what is written");
    }
}
