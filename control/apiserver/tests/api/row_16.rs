//! The patch languages and what they refuse.

use crate::fixture::*;
use serde_json::{Value, json};

const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn patch(f: &Fixture, path: &str, kind: &str, body: Value) -> Answer {
    f.call("PATCH", path, Some(kind), body.to_string()).await
}

#[tokio::test]
async fn row_16_json_patch() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let path = format!("{MAPS}/a");
    let all = json!([
        {"op": "add", "path": "/data/x", "value": "1"},
        {"op": "copy", "from": "/data/x", "path": "/data/y"},
        {"op": "move", "from": "/data/x", "path": "/data/z"},
        {"op": "test", "path": "/data/z", "value": "1"},
        {"op": "remove", "path": "/data/k"},
    ]);
    assert_eq!(patch(&f, &path, JSON, all).await.ok()["data"], json!({"y": "1", "z": "1"}));
    let failed = patch(&f, &path, JSON, json!([{"op": "test", "path": "/data/z", "value": "2"}])).await.refused();
    assert_eq!(failed.0, 422);
    assert_eq!(failed.2, "the server rejected our request due to an error in our request");
    let missing = patch(&f, &path, JSON, json!([{"op": "remove", "path": "/data/none"}])).await;
    assert_eq!(missing.code, 422);
    assert_eq!(patch(&f, &path, JSON, json!({"op": "add"})).await.code, 400);
    assert_eq!(patch(&f, &path, JSON, json!([{"op": "explode", "path": "/a"}])).await.code, 400);
    let many: Vec<Value> = (0..10_001).map(|_| json!({"op": "test", "path": "/kind", "value": "ConfigMap"})).collect();
    let (code, _, message) = patch(&f, &path, JSON, Value::Array(many)).await.refused();
    assert_eq!(code, 413);
    assert!(message.ends_with("The allowed maximum operations in a JSON patch is 10000, got 10001"), "{message}");
}

#[tokio::test]
async fn row_16_patches_do_not_grow_without_bound() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let path = format!("{MAPS}/a");
    // Each copy doubles the depth.
    let mut ops = vec![json!({"op": "add", "path": "/data/d", "value": {"a": {}}})];
    for i in 1..30_u32 {
        let at = "/a".repeat(2_usize.pow(i.min(10)));
        ops.push(json!({"op": "copy", "from": "/data/d", "path": format!("/data/d{at}")}));
    }
    assert_eq!(patch(&f, &path, JSON, ops.into()).await.code, 422);
    // Each adds a hundred levels below the last.
    let mut at = "/data/d".to_owned();
    let mut ops = Vec::new();
    let deep = (0..100).fold(json!({}), |below, _| json!({"a": below}));
    for _ in 0..100 {
        ops.push(json!({"op": "add", "path": at, "value": deep}));
        at += &"/a".repeat(101);
    }
    assert_eq!(patch(&f, &path, JSON, ops.into()).await.code, 422);
    let deep = (0..100_000).fold(String::new(), |text, _| text + "{\"a\":");
    for kind in [JSON, STRATEGIC, "application/merge-patch+json", "application/apply-patch+yaml"] {
        let answer = f.call("PATCH", &format!("{path}?fieldManager=m"), Some(kind), deep.clone()).await;
        assert_eq!(answer.code, if kind.starts_with("application/a") { 400 } else { answer.code }, "{kind}");
        assert!((400..500).contains(&answer.code), "{kind}");
    }
}

#[tokio::test]
async fn row_16_strategic_directives() {
    let f = Fixture::new().await;
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    object["metadata"]["finalizers"] = json!(["x.io/a", "x.io/b"]);
    f.post(DEPLOYMENTS, object).await.ok();
    let path = format!("{DEPLOYMENTS}/a");
    let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let after = patch(
        &f,
        &path,
        STRATEGIC,
        pod(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}], "containers": [{"name": "b", "image": "i"}],
            "volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]})),
    )
    .await
    .ok();
    let names: Vec<&Value> =
        after["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(after["spec"]["template"]["spec"]["volumes"][0].get("emptyDir"), None);
    let after = patch(&f, &path, STRATEGIC, pod(json!({"containers": [{"name": "b", "$patch": "delete"}]}))).await.ok();
    assert_eq!(after["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    let after =
        patch(&f, &path, STRATEGIC, pod(json!({"containers": [{"$patch": "replace"}, {"name": "z", "image": "i"}]})))
            .await
            .ok();
    assert_eq!(after["spec"]["template"]["spec"]["containers"][0]["name"], "z");
    let after = patch(&f, &path, STRATEGIC, json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.io/a"]}}))
        .await
        .ok();
    assert_eq!(after["metadata"]["finalizers"], json!(["x.io/b"]));
    let (code, _, message) = patch(&f, &path, STRATEGIC, pod(json!({"containers": [{"image": "j"}]}))).await.refused();
    assert_eq!(code, 400);
    assert_eq!(message, "map: map[image:j] does not contain declared merge key: name");
}

#[tokio::test]
async fn row_16_wrong_values_and_types() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let path = format!("{DEPLOYMENTS}/a");
    let (code, reason, message) = patch(&f, &path, STRATEGIC, json!({"spec": {"replicas": "x"}})).await.refused();
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(
        message.starts_with(" \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:x]]\": "),
        "{message}"
    );
    let (code, _, message) = f.merge(&path, json!({"spec": {"replicas": "x"}})).await.refused();
    assert_eq!(code, 422);
    assert!(message.starts_with(" \"\" is invalid: patch: Invalid value: \"{"), "{message}");
    assert_eq!(f.call("PATCH", &path, Some("application/merge-patch+json"), "{").await.code, 400);
    assert_eq!(f.call("PATCH", &path, Some("application/merge-patch+json"), "[]").await.code, 422);
    assert_eq!(f.merge(&format!("{DEPLOYMENTS}/none"), json!({})).await.code, 404);
    let (code, reason, message) = patch(&f, &path, "text/plain", json!({})).await.refused();
    assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
    assert_eq!(
        message,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    );
}
