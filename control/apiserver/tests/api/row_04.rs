//! OpenAPI: rows 4 and 5.

use crate::fixture::*;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The fields of a protobuf message that are messages or texts, by number.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        match key & 7 {
            0 => drop(varint(&mut message)),
            1 => message = &message[8..],
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                let (content, rest) = message.split_at(length);
                found.push((key >> 3, content));
                message = rest;
            }
            other => panic!("wire type {other}"),
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = message[0];
        *message = &message[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    unreachable!()
}

fn get(message: &[u8], number: u64) -> &[u8] {
    fields(message).into_iter().find(|(n, _)| *n == number).map_or(&[], |(_, content)| content)
}

/// Messages of name and value.
fn named(message: &[u8], number: u64) -> BTreeMap<String, Vec<u8>> {
    let entries = fields(message).into_iter().filter(|(n, _)| *n == number);
    entries.map(|(_, entry)| (text(get(entry, 1)), get(entry, 2).to_vec())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn whole(f: &Fixture, path: &str, accept: &str) -> (http::HeaderMap, Bytes) {
    let response = f.fetch(path, accept).await;
    assert_eq!(response.status(), 200, "{path}");
    let (parts, body) = response.into_parts();
    (parts.headers, client::collect(body).await.unwrap())
}

#[tokio::test]
async fn row_04_v2_is_the_same_as_json_and_protobuf() {
    let f = Fixture::new().await;
    let (_, bytes) = whole(&f, "/openapi/v2", "application/json").await;
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let (headers, bytes) = whole(&f, "/openapi/v2", PROTOBUF).await;
    assert_eq!(headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert_eq!(text(get(&bytes, 1)), "2.0");
    let paths = named(get(&bytes, 8), 2);
    let definitions = named(get(&bytes, 9), 1);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&document["paths"]), paths.keys().cloned().collect());
    assert_eq!(names(&document["definitions"]), definitions.keys().cloned().collect());
    // A schema, down to an extension, a reference and a type.
    let pod_spec = &definitions["io.k8s.api.core.v1.PodSpec"];
    assert_eq!(text(get(get(pod_spec, 22), 1)), "object");
    let properties = named(get(pod_spec, 25), 1);
    let containers = &properties["containers"];
    let extensions = named(containers, 31);
    assert_eq!(text(get(&extensions["x-kubernetes-patch-merge-key"], 2)), "\"name\"\n");
    let item = get(get(containers, 23), 1);
    assert_eq!(text(get(item, 1)), "#/definitions/io.k8s.api.core.v1.Container");
    let pod = named(&definitions["io.k8s.api.core.v1.Pod"], 31);
    let kinds = text(get(&pod["x-kubernetes-group-version-kind"], 2));
    assert_eq!(serde_json::from_str::<Value>(&kinds).unwrap(), json!([{"group": "", "kind": "Pod", "version": "v1"}]));
    // An operation with a parameter of the query, as kubectl looks for it.
    let patch = get(&paths["/api/v1/namespaces/{namespace}/pods/{name}"], 8).to_vec();
    assert_eq!(text(get(&patch, 5)), "patchCoreV1NamespacedPod");
    let query: Vec<String> = fields(&patch)
        .into_iter()
        .filter(|(number, _)| *number == 8)
        .map(|(_, item)| text(get(get(get(get(item, 1), 2), 3), 4)))
        .collect();
    assert!(query.contains(&"dryRun".to_owned()) && query.contains(&"fieldValidation".to_owned()), "{query:?}");
    let gvk = text(get(&named(&patch, 13)["x-kubernetes-group-version-kind"], 2));
    assert_eq!(serde_json::from_str::<Value>(&gvk).unwrap()["kind"], "Pod");
}

#[tokio::test]
async fn row_04_v2_is_tagged_and_negotiated() {
    let f = Fixture::new().await;
    for accept in ["application/json", PROTOBUF, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"] {
        let first = f.fetch("/openapi/v2", accept).await;
        let tag = first.headers()["etag"].clone();
        let request = http::Request::builder().uri("/openapi/v2").header("accept", accept).header("if-none-match", tag);
        let second = f.admin.raw(request.body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(second.status(), 304, "{accept}");
    }
    assert_eq!(f.fetch("/openapi/v2", "text/html").await.status(), 406);
}

#[tokio::test]
async fn row_04_every_reference_leads_somewhere() {
    let f = Fixture::new().await;
    let document = f.get("/openapi/v2").await.ok();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let name = reference.strip_prefix("#/definitions/").unwrap();
        assert!(document["definitions"].get(name).is_some(), "{reference}");
    }
    assert!(found.len() > 300, "{}", found.len());
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .filter(|id| !id.is_null())
        .collect();
    let unique: BTreeSet<&str> = ids.iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(ids.len(), unique.len(), "operations have names of their own");
}

#[tokio::test]
async fn row_05_v3_documents_are_named_by_their_digests() {
    let f = Fixture::new().await;
    let index = f.get("/openapi/v3").await.ok();
    let paths = index["paths"].as_object().unwrap();
    for path in ["api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1", "apis/authorization.k8s.io/v1"] {
        let url = paths[path]["serverRelativeURL"].as_str().unwrap();
        let (headers, bytes) = whole(&f, url, "application/json").await;
        assert_eq!(headers["cache-control"], "public, immutable");
        assert!(headers["expires"].to_str().unwrap().ends_with(" GMT"));
        let (plain, again) = whole(&f, &format!("/openapi/v3/{path}"), "application/json").await;
        assert_eq!(bytes, again);
        assert!(!plain.contains_key("expires"));
        let tag = headers["etag"].to_str().unwrap().trim_matches('"');
        assert!(url.ends_with(&format!("?hash={tag}")), "{url}");
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{path}: {reference}");
        }
    }
    let stale = f.fetch("/openapi/v3/api/v1?hash=0123", "application/json").await;
    assert_eq!(stale.status(), 301);
    assert_eq!(stale.headers()["location"], paths["api/v1"]["serverRelativeURL"].as_str().unwrap());
    assert_eq!(f.get("/openapi/v3/apis/nope/v1").await.code, 404);
}

#[tokio::test]
async fn row_05_v3_schemas_and_operations() {
    let f = Fixture::new().await;
    let apps = f.get("/openapi/v3/apis/apps/v1").await.ok();
    assert_eq!(apps["openapi"], "3.0.0");
    let schemas = &apps["components"]["schemas"];
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    let kinds = json!([{"group": "apps", "kind": "Deployment", "version": "v1"}]);
    assert_eq!(deployment["x-kubernetes-group-version-kind"], kinds);
    let spec = &deployment["properties"]["spec"];
    assert_eq!(spec["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec");
    assert_eq!(spec["default"], json!({}));
    let replicas = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["replicas"];
    assert!(replicas["description"].as_str().is_some_and(|text| text.contains("pods")), "{replicas}");
    let mut int_or_string = schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"].clone();
    let text = int_or_string.as_object_mut().and_then(|schema| schema.remove("description"));
    assert!(text.is_some_and(|text| text.is_string()));
    assert_eq!(int_or_string, json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}));
    let item = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(item["get"]["operationId"], "readAppsV1NamespacedDeploymentScale");
    let gvk = json!({"group": "autoscaling", "kind": "Scale", "version": "v1"});
    assert_eq!(item["get"]["x-kubernetes-group-version-kind"], gvk);
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get("application/apply-patch+yaml").is_some());
    assert!(patch["parameters"].as_array().unwrap().iter().any(|one| one["name"] == "force"));
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "$ref" => drop(found.insert(text.to_owned())),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn row_04_05_custom_kinds_are_published_and_taken_back() {
    let f = Fixture::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let before = f.get("/openapi/v3").await.ok();
    let mut events = Events::open(&f, &format!("{definitions}?watch=true")).await;
    f.post(
        definitions,
        json!({
            "metadata": {"name": "crontabs.stable.example.com"},
            "spec": {
                "group": "stable.example.com", "scope": "Namespaced",
                "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "port": {"x-kubernetes-int-or-string": true},
                        "size": {"type": "integer", "default": 1},
                    }}}}},
                }],
            },
        }),
    )
    .await
    .ok();
    let is_established = |event: &Value| {
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True")
    };
    while !is_established(&events.next().await.unwrap()) {}
    let list = f.get("/apis/stable.example.com/v1").await.ok();
    let names: Vec<&str> = list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["crontabs", "crontabs/status"]);
    let v2 = f.get("/openapi/v2").await.ok();
    let spec = &v2["definitions"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["properties"];
    assert_eq!(
        (&spec["size"], &spec["port"]),
        (&json!({"type": "integer"}), &json!({"x-kubernetes-int-or-string": true}))
    );
    assert!(v2["definitions"].get("com.example.stable.v1.CronTabList").is_some());
    let index = f.get("/openapi/v3").await.ok();
    assert_eq!(index["paths"]["apis/apps/v1"], before["paths"]["apis/apps/v1"], "others keep their digests");
    let v3 = f.get("/openapi/v3/apis/stable.example.com/v1").await.ok();
    let item = &v3["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"];
    assert_eq!(item["get"]["operationId"], "readStableExampleComV1NamespacedCronTab");
    let schema = &v3["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["default"], 1);
    f.delete(&format!("{definitions}/crontabs.stable.example.com"), json!({})).await.ok();
    while events.next().await.unwrap()["type"] != "DELETED" {}
    assert_eq!(f.get("/apis/stable.example.com/v1").await.code, 404);
    assert!(f.get("/openapi/v2").await.ok()["definitions"].get("com.example.stable.v1.CronTab").is_none());
    assert!(f.get("/openapi/v3").await.ok()["paths"].get("apis/stable.example.com/v1").is_none());
}

#[tokio::test]
async fn row_04_every_path_is_told() {
    let f = Fixture::new().await;
    let v2 = f.get("/openapi/v2").await.ok();
    let index = f.get("/openapi/v3").await.ok();
    for (path, id) in [
        ("/api/", "getCoreAPIVersions"),
        ("/apis/", "getAPIVersions"),
        ("/apis/apps/", "getAppsAPIGroup"),
        ("/apis/rbac.authorization.k8s.io/", "getRbacAuthorizationAPIGroup"),
        ("/version/", "getCodeVersion"),
        ("/.well-known/openid-configuration/", "getServiceAccountIssuerOpenIDConfiguration"),
        ("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset"),
    ] {
        assert_eq!(v2["paths"][path]["get"]["operationId"], id, "{path}");
        let url = index["paths"][path.trim_matches('/')]["serverRelativeURL"].as_str().unwrap_or_default();
        let v3 = f.get(url).await.ok();
        assert_eq!(v3["paths"][path]["get"]["operationId"], id, "{path} {url}");
    }
    let pods = "namespaces/{namespace}/pods";
    for (path, methods, id) in [
        (format!("/api/v1/{pods}/{{name}}/proxy"), 7, "connectCoreV1GetNamespacedPodProxy"),
        (format!("/api/v1/{pods}/{{name}}/proxy/{{path}}"), 7, "connectCoreV1GetNamespacedPodProxyWithPath"),
        (format!("/api/v1/watch/{pods}"), 1, "watchCoreV1NamespacedPodList"),
        (format!("/api/v1/watch/{pods}/{{name}}"), 1, "watchCoreV1NamespacedPod"),
        ("/api/v1/watch/pods".to_owned(), 1, "watchCoreV1PodListForAllNamespaces"),
        ("/api/v1/watch/nodes".to_owned(), 1, "watchCoreV1NodeList"),
    ] {
        let item = v2["paths"][&path].as_object().unwrap();
        assert_eq!((item.len(), &item["get"]["operationId"]), (methods + 1, &json!(id)), "{path}");
    }
}
