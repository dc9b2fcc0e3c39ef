//! OpenAPI documents, written from the schema table: v3 (an index and one document a group version) and v2 (one
//! document). Built when first asked for, then kept. They carry what clients compute with: types, required fields, list types,
//! merge keys, the kinds of schemas and operations, and the options of the verbs.

mod paths;
mod schemas;

use crate::{
    discovery::{etag, group_versions, tagged},
    health,
    http::{negotiate, query::Query},
};
use api::Status;
use bytes::Bytes;
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::OnceLock};

/// The documents, with their tags.
pub(crate) struct Documents {
    v3: OnceLock<BTreeMap<String, (Bytes, HeaderValue)>>,
    v2: OnceLock<(Bytes, HeaderValue)>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The only medium in which kubectl asks for v2, when v3 does not know a kind.
const V2_PROTOBUF: HeaderValue = HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");

impl Documents {
    pub(crate) fn new() -> Self {
        Self { v3: OnceLock::new(), v2: OnceLock::new() }
    }

    /// Answers a path below `/openapi`.
    pub(crate) fn answer(
        &self,
        segments: &[&str],
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response<Body>, Status> {
        if let [_, "v2"] = segments
            && asks_for_protobuf(headers)
        {
            let bytes = Bytes::from(v2_protobuf());
            let tag = etag(&bytes);
            return Ok(tagged(headers, V2_PROTOBUF, bytes, tag));
        }
        negotiate::accept(headers)?;
        match segments {
            [_, "v3"] => {
                let bytes = Bytes::from(self.index().to_string());
                let tag = etag(&bytes);
                Ok(tagged(headers, JSON, bytes, tag))
            }
            [_, "v3", path @ ..] => {
                let (bytes, tag) = self.v3().get(&path.join("/")).ok_or_else(Status::no_such_resource)?;
                let mut response = tagged(headers, JSON, bytes.clone(), tag.clone());
                // A path that names the digest never changes its meaning.
                if query.get("hash").is_some_and(|hash| hash == digest(tag)) {
                    let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
                    response.headers_mut().insert(header::CACHE_CONTROL, forever);
                }
                Ok(response)
            }
            [_, "v2"] => {
                let (bytes, tag) = self.v2.get_or_init(|| {
                    let bytes = Bytes::from(v2().to_string());
                    let tag = etag(&bytes);
                    (bytes, tag)
                });
                Ok(tagged(headers, JSON, bytes.clone(), tag.clone()))
            }
            _ => Err(Status::no_such_resource()),
        }
    }

    fn v3(&self) -> &BTreeMap<String, (Bytes, HeaderValue)> {
        self.v3.get_or_init(|| {
            let mut documents = BTreeMap::new();
            for (group, versions) in group_versions() {
                for version in versions {
                    let path =
                        if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
                    let bytes = Bytes::from(v3(group, version).to_string());
                    let tag = etag(&bytes);
                    documents.insert(path, (bytes, tag));
                }
            }
            documents
        })
    }

    fn index(&self) -> Value {
        let paths: Map<String, Value> = self
            .v3()
            .iter()
            .map(|(path, (_, tag))| {
                (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", digest(tag))}))
            })
            .collect();
        json!({"paths": paths})
    }
}

fn asks_for_protobuf(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).all(|range| range.contains("proto-openapi.spec.v2"))
        && headers.contains_key(header::ACCEPT)
}

/// The v2 document as protobuf (gnostic's openapi.v2.Document), without definitions: a client that finds no
/// definition of a kind leaves validation to the server, which is right, since v3 has what there is.
fn v2_protobuf() -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("titles and versions are shorter than 128 bytes");
        [&[number << 3 | 2, length], content].concat()
    };
    let info = [field(1, b"Kubernetes"), field(2, health::VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, &[]), field(9, &[])].concat()
}

fn digest(tag: &HeaderValue) -> &str {
    tag.to_str().unwrap_or_default().trim_matches('"')
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": health::VERSION})
}

fn v3(group: &str, version: &str) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths::v3(group, version),
        "components": {"schemas": schemas::of_group(group, version)},
    })
}

fn v2() -> Value {
    json!({"swagger": "2.0", "info": info(), "paths": paths::v2(), "definitions": schemas::all()})
}
