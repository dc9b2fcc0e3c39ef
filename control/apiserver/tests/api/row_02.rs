//! Discovery: rows 2 and 3.

use crate::fixture::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What a resource is said to be: scope, kind, verbs.
type Told = BTreeMap<String, (bool, String, BTreeSet<String>)>;

async fn legacy(f: &Fixture) -> Told {
    let mut told = Told::new();
    let mut versions = vec![("/api/v1".to_owned(), String::new(), "v1".to_owned())];
    for group in f.get("/apis").await.ok()["groups"].as_array().unwrap() {
        let name = group["name"].as_str().unwrap();
        for version in group["versions"].as_array().unwrap() {
            let version = version["version"].as_str().unwrap();
            versions.push((format!("/apis/{name}/{version}"), name.to_owned(), version.to_owned()));
        }
    }
    for (path, group, version) in versions {
        for resource in f.get(&path).await.ok()["resources"].as_array().unwrap() {
            let text = |field: &str, default: &str| resource[field].as_str().unwrap_or(default).to_owned();
            let kind = format!("{}/{}/{}", text("group", &group), text("version", &version), text("kind", ""));
            let verbs = resource["verbs"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
            let namespaced = resource["namespaced"].as_bool().unwrap();
            told.insert(format!("{group}/{version}/{}", text("name", "")), (namespaced, kind, verbs));
        }
    }
    told
}

#[tokio::test]
async fn row_02_discovery_has_all_that_kubernetes_serves() {
    let f = Fixture::new().await;
    let told = legacy(&f).await;
    let mut wrong = Vec::new();
    for line in include_str!("served.txt").lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.split(' ').collect();
        let &[place, scope, kind, verbs] = parts.as_slice() else { panic!("{line}") };
        let verbs: BTreeSet<String> = verbs.split(',').map(str::to_owned).collect();
        let wanted = (scope == "namespaced", kind.to_owned(), verbs);
        match told.get(place) {
            Some(found) if *found == wanted => {}
            found => wrong.push(format!("{place}: {found:?} instead of {wanted:?}")),
        }
    }
    // What Kubernetes serves only where it is told to.
    wrong.extend(told.into_keys().filter(|place| place.contains("alpha") || place.contains("beta")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn row_02_groups_are_told_as_kubernetes_does() {
    let f = Fixture::new().await;
    let api = f.get("/api").await.ok();
    let wanted = json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "192.0.2.1:6443"}],
    });
    assert_eq!(api, wanted);
    let groups = f.get("/apis").await.ok();
    let names: Vec<&str> = groups["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names[..4], ["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io"]);
    let autoscaling = f.get("/apis/autoscaling").await.ok();
    assert_eq!(autoscaling["kind"], "APIGroup");
    assert_eq!(autoscaling["preferredVersion"], json!({"groupVersion": "autoscaling/v2", "version": "v2"}));
    let core = f.get("/api/v1").await.ok();
    let named = |name: &str| {
        core["resources"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(
        named("pods"),
        json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": ["po"], "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8=",
        })
    );
    let eviction = named("pods/eviction");
    assert_eq!(
        (&eviction["group"], &eviction["version"], &eviction["kind"]),
        (&json!("policy"), &json!("v1"), &json!("Eviction"))
    );
    for path in ["/apis/nope", "/apis/apps/v7", "/api/v2"] {
        let (code, reason, message) = f.get(path).await.refused();
        assert_eq!((code, reason.as_str()), (404, "NotFound"), "{path}");
        assert_eq!(message, "the server could not find the requested resource");
    }
    let paths = f.get("/").await.ok();
    for path in ["/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v2", "/version"] {
        assert!(paths["paths"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
}

#[tokio::test]
async fn row_03_aggregated_discovery_tells_the_same() {
    let f = Fixture::new().await;
    let mut aggregated = Told::new();
    for root in ["/api", "/apis"] {
        let response = f.fetch(root, V2).await;
        assert_eq!(response.headers()["content-type"], V2);
        let document = answer(response).await.ok();
        assert_eq!(document["apiVersion"], "apidiscovery.k8s.io/v2");
        for group in document["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in group["versions"].as_array().unwrap() {
                assert_eq!(version["freshness"], "Current");
                let place = format!("{name}/{}", version["version"].as_str().unwrap());
                for resource in version["resources"].as_array().unwrap() {
                    let namespaced = resource["scope"] == "Namespaced";
                    let path = format!("{place}/{}", resource["resource"].as_str().unwrap());
                    for sub in resource["subresources"].as_array().into_iter().flatten() {
                        let path = format!("{path}/{}", sub["subresource"].as_str().unwrap());
                        aggregated.insert(path, one(namespaced, sub));
                    }
                    aggregated.insert(path, one(namespaced, resource));
                }
            }
        }
    }
    assert_eq!(aggregated, legacy(&f).await);
}

fn one(namespaced: bool, entry: &Value) -> (bool, String, BTreeSet<String>) {
    let kind = &entry["responseKind"];
    let text = |field: &str| kind[field].as_str().unwrap().to_owned();
    let kind = format!("{}/{}/{}", text("group"), text("version"), text("kind"));
    (namespaced, kind, entry["verbs"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn row_03_forms_by_accept_and_tags() {
    let f = Fixture::new().await;
    let beta = V2.replace("v=v2", "v=v2beta1");
    for (accept, kind, content_type) in [
        (format!("{V2},{beta},application/json"), "APIGroupDiscoveryList", V2),
        (format!("{beta},application/json"), "APIGroupDiscoveryList", beta.as_str()),
        (format!("application/json,{V2}"), "APIGroupList", "application/json"),
        (format!("application/json;q=0.5,{V2}"), "APIGroupDiscoveryList", V2),
        ("*/*".to_owned(), "APIGroupList", "application/json"),
        (V2.replace("v=v2", "v=v9") + ",application/json", "APIGroupList", "application/json"),
    ] {
        let response = f.fetch("/apis", &accept).await;
        assert_eq!(response.headers()["content-type"], content_type, "{accept}");
        assert_eq!(answer(response).await.ok()["kind"], kind, "{accept}");
    }
    assert_eq!(answer(f.fetch("/apis", "text/html").await).await.code, 406);
    let first = f.fetch("/apis", V2).await;
    let tag = first.headers()["etag"].clone();
    assert_eq!(first.headers()["vary"], "Accept");
    let request = http::Request::builder().uri("/apis").header("accept", V2).header("if-none-match", &tag);
    let second = f.admin.raw(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    assert_eq!((second.status().as_u16(), &second.headers()["etag"]), (304, &tag));
    let request = http::Request::builder().uri("/apis").header("accept", V2).header("if-none-match", "\"other\"");
    let third = f.admin.raw(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(third.status(), 200);
}
