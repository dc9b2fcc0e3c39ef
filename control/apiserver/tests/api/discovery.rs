use crate::fixture::*;
use serde_json::Value;
use std::collections::BTreeSet;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

#[tokio::test]
async fn both_discoveries_tell_the_same() {
    let f = Fixture::new().await;
    let mut legacy = BTreeSet::new();
    let mut aggregated = BTreeSet::new();
    for (root, path) in [("/api", "/api"), ("/apis", "/apis")] {
        let document = answer(f.fetch(path, AGGREGATED).await).await.ok();
        assert_eq!(document["kind"], "APIGroupDiscoveryList");
        for group in document["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in group["versions"].as_array().unwrap() {
                let version_name = version["version"].as_str().unwrap();
                let path = if name.is_empty() {
                    format!("{root}/{version_name}")
                } else {
                    format!("{root}/{name}/{version_name}")
                };
                for resource in f.get(&path).await.ok()["resources"].as_array().unwrap() {
                    legacy.insert(format!("{path}/{} {}", resource["name"].as_str().unwrap(), resource["kind"]));
                }
                for resource in version["resources"].as_array().unwrap() {
                    let resource_name = resource["resource"].as_str().unwrap();
                    aggregated.insert(format!("{path}/{resource_name} {}", resource["responseKind"]["kind"]));
                    for sub in resource["subresources"].as_array().into_iter().flatten() {
                        let sub_name = sub["subresource"].as_str().unwrap();
                        aggregated.insert(format!("{path}/{resource_name}/{sub_name} {}", sub["responseKind"]["kind"]));
                    }
                }
            }
        }
    }
    assert_eq!(legacy, aggregated);
    assert!(legacy.contains("/api/v1/pods/log \"Pod\""));
    assert!(legacy.contains("/api/v1/pods/eviction \"Eviction\""));
}

#[tokio::test]
async fn documents_are_not_sent_twice() {
    let f = Fixture::new().await;
    for (path, accept) in
        [("/apis", AGGREGATED), ("/openapi/v3", "application/json"), ("/openapi/v3/apis/apps/v1", "application/json")]
    {
        let first = f.fetch(path, accept).await;
        let tag = first.headers()["etag"].clone();
        let request = http::Request::builder().uri(path).header("accept", accept).header("if-none-match", tag);
        let second = f.admin.raw(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(second.status(), 304, "{path}");
    }
}

#[tokio::test]
async fn openapi_has_what_clients_look_for() {
    let f = Fixture::new().await;
    let index = f.get("/openapi/v3").await.ok();
    let paths = index["paths"].as_object().unwrap();
    for path in ["api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1"] {
        let url = paths[path]["serverRelativeURL"].as_str().unwrap();
        let response = f.fetch(url, "application/json").await;
        assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        let document = answer(response).await.ok();
        // Every reference leads somewhere.
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut references = BTreeSet::new();
        collect_references(&document, &mut references);
        for reference in references {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{path}: {reference}");
        }
    }
    let apps = f.get("/openapi/v3/apis/apps/v1").await.ok();
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation"));
    let containers = &apps["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(
        (&containers["x-kubernetes-patch-merge-key"], &containers["x-kubernetes-patch-strategy"]),
        (&Value::from("name"), &Value::from("merge"))
    );
    assert_eq!(f.get("/openapi/v3/apis/nope/v1").await.code, 404);
    assert_eq!(f.get("/openapi/v2").await.ok()["swagger"], "2.0");
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "$ref" => drop(found.insert(text.to_owned())),
                    _ => collect_references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}
