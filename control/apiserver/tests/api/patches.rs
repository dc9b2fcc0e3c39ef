use crate::fixture::*;
use serde_json::{Value, json};

async fn patch(f: &Fixture, kind: &str, body: Value) -> Answer {
    f.call("PATCH", &format!("{DEPLOYMENTS}/a"), Some(kind), body.to_string()).await
}

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

#[tokio::test]
async fn each_language_does_what_it_says() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let after = patch(
        &f,
        JSON,
        json!([
            {"op": "test", "path": "/spec/replicas", "value": 2},
            {"op": "replace", "path": "/spec/replicas", "value": 3},
        ]),
    )
    .await
    .ok();
    assert_eq!(after["spec"]["replicas"], 3);
    let failed = patch(&f, JSON, json!([{"op": "test", "path": "/spec/replicas", "value": 2}])).await;
    assert_eq!(failed.code, 422);
    let after = patch(&f, MERGE, json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    assert_eq!(after["metadata"]["labels"]["x"], "y");
    let sidecar = json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}}});
    let after = patch(&f, STRATEGIC, sidecar).await.ok();
    assert_eq!(after["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    let removal = json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "$patch": "delete"}]}}}});
    let after = patch(&f, STRATEGIC, removal).await.ok();
    assert_eq!(after["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    let (code, _, message) = patch(&f, "application/xml", json!({})).await.refused();
    assert_eq!(code, 415);
    assert!(message.contains("application/strategic-merge-patch+json"), "{message}");
}

#[tokio::test]
async fn a_patch_may_demand_a_version_or_an_identity() {
    let f = Fixture::new().await;
    let made = f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let version = &made["metadata"]["resourceVersion"];
    patch(&f, MERGE, json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": 5}})).await.ok();
    let late = patch(&f, MERGE, json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": 6}})).await;
    assert_eq!(late.code, 409);
    let other = patch(&f, MERGE, json!({"metadata": {"uid": "other"}, "spec": {"replicas": 6}})).await;
    assert_eq!(other.code, 409);
    patch(&f, MERGE, json!({"metadata": {"uid": made["metadata"]["uid"]}, "spec": {"replicas": 6}})).await.ok();
}

#[tokio::test]
async fn what_may_not_change_does_not() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let (code, reason, message) =
        patch(&f, MERGE, json!({"spec": {"selector": {"matchLabels": {"z": "z"}}}})).await.refused();
    assert_eq!((code, reason.as_str()), (422, "Invalid"), "{message}");
    assert_eq!(patch(&f, MERGE, json!({"metadata": {"name": "b"}})).await.code, 400);
    assert_eq!(patch(&f, MERGE, json!({"kind": "Pod"})).await.code, 400);
    assert_eq!(patch(&f, MERGE, json!({"spec": {"replicas": "many"}})).await.code, 422);
    let strict = format!("{DEPLOYMENTS}/a?fieldValidation=Strict");
    assert_eq!(f.merge(&strict, json!({"spec": {"replica": 3}})).await.code, 422);
}

#[tokio::test]
async fn apply_creates_and_merges() {
    let f = Fixture::new().await;
    let kind = Some("application/apply-patch+yaml");
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n";
    let path = format!("{MAPS}/a?fieldManager=t");
    assert_eq!(f.call("PATCH", &path, kind, manifest).await.code, 201);
    let second = f.call("PATCH", &path, kind, manifest.replace("x: '1'", "z: '2'")).await;
    assert_eq!(second.code, 200);
    assert_eq!(second.body["data"], json!({"z": "2"}));
    assert_eq!(f.call("PATCH", &format!("{MAPS}/a"), kind, manifest).await.code, 422);
}
