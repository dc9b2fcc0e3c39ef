//! Updates: resourceVersion, no-op writes, generation, creation by update, owners of what is written.

use crate::fixture::*;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

#[tokio::test]
async fn row_15_a_stale_update_conflicts() {
    let f = Fixture::new().await;
    let first = f.post(MAPS, config_map("a", json!({}))).await.ok();
    let path = format!("{MAPS}/a");
    let mut second = first.clone();
    second["data"]["k"] = "w".into();
    f.put(&path, &second).await.ok();
    second["data"]["k"] = "x".into();
    let (code, reason, message) = f.put(&path, &second).await.refused();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let (_, _, message) = f
        .put(&format!("{DEPLOYMENTS}/d"), &{
            let mut d = f.post(DEPLOYMENTS, deployment("d")).await.ok();
            d["metadata"]["resourceVersion"] = "1".into();
            d
        })
        .await
        .refused();
    assert!(
        message.starts_with("Operation cannot be fulfilled on deployments.apps \"d\": the object has been"),
        "{message}"
    );
}

#[tokio::test]
async fn row_15_without_a_version_the_last_wins() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let mut plain = config_map("a", json!({}));
    plain["data"]["k"] = "z".into();
    let after = f.put(&format!("{MAPS}/a"), &plain).await.ok();
    assert_eq!(after["data"]["k"], "z");
    let wrong = f.put(&format!("{MAPS}/b"), &plain).await.refused();
    assert_eq!(wrong.2, "the name of the object (a) does not match the name on the URL (b)");
    let unnamed = f.put(&format!("{MAPS}/a"), &json!({"data": {}})).await.refused();
    assert_eq!(unnamed.2, "the name of the object (a based on URL) was undeterminable: name must be provided");
    assert_eq!(f.put(&format!("{MAPS}/none"), &config_map("none", json!({}))).await.code, 404);
}

#[tokio::test]
async fn row_15_leases_are_created_by_update() {
    let f = Fixture::new().await;
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "h", "leaseDurationSeconds": 15}});
    let made = f.put(&format!("{LEASES}/l"), &lease).await;
    assert_eq!(made.code, 201);
    let (code, _, message) = f.put(&format!("{LEASES}/l"), &lease).await.refused();
    assert_eq!(code, 422);
    assert_eq!(
        message,
        "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    );
    assert_eq!(f.put(&format!("{LEASES}/l"), &made.body).await.code, 200);
}

#[tokio::test]
async fn row_15_nothing_changed_nothing_written() {
    let f = Fixture::new().await;
    let made = f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let path = format!("{DEPLOYMENTS}/a");
    assert_eq!(f.put(&path, &made).await.ok(), made);
    assert_eq!(f.merge(&path, json!({"spec": {"replicas": 2}})).await.ok(), made);
    assert_eq!(made["metadata"]["generation"], 1);
    let relabelled = f.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(relabelled["metadata"]["generation"], 1);
    assert_ne!(relabelled["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let scaled = f.merge(&path, json!({"spec": {"replicas": 3}, "status": {"replicas": 9}})).await.ok();
    assert_eq!(scaled["metadata"]["generation"], 2);
    assert_ne!(scaled["status"]["replicas"], 9);
    let status =
        f.merge(&format!("{path}/status"), json!({"spec": {"replicas": 7}, "status": {"replicas": 9}})).await.ok();
    assert_eq!((&status["spec"]["replicas"], &status["status"]["replicas"]), (&json!(3), &json!(9)));
    assert_eq!(status["metadata"]["generation"], 2);
}

fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                text(&e["manager"]),
                text(&e["operation"]),
                text(&e["apiVersion"]),
                text(&e["subresource"])
            )
        })
        .map(|t| t.trim_end().to_owned())
        .collect()
}

#[tokio::test]
async fn row_15_each_write_has_its_owner() {
    let f = Fixture::new().await;
    let agent = |method: &str, path: &str, kind: &str, body: Value| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind.to_owned())
            .header("user-agent", "kubectl/v1.36.0 (linux/amd64) kubernetes/abc")
            .body(Bytes::from(body.to_string()))
            .unwrap()
    };
    let made =
        answer(f.admin.raw(agent("POST", DEPLOYMENTS, "application/json", deployment("a"))).await.unwrap()).await.ok();
    assert_eq!(owners(&made), ["kubectl Update apps/v1"]);
    let fields = &made["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields["f:spec"]["f:selector"], json!({}));
    assert_eq!(fields["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["."], json!({}));
    let path = format!("{DEPLOYMENTS}/a");
    f.merge(&format!("{path}?fieldManager=me"), json!({"spec": {"replicas": 4}})).await.ok();
    let status = f.merge(&format!("{path}/status?fieldManager=me"), json!({"status": {"replicas": 4}})).await.ok();
    let mut all = owners(&status);
    all.sort();
    assert_eq!(all, ["kubectl Update apps/v1", "me Update apps/v1", "me Update apps/v1 status"]);
    let listed = f.get(DEPLOYMENTS).await.ok();
    assert_eq!(owners(&listed["items"][0]).len(), 3);
    // A reset forgets them all.
    let reset = f.merge(&path, json!({"metadata": {"managedFields": [{}]}})).await.ok();
    assert_eq!(reset["metadata"].get("managedFields"), None);
}

#[tokio::test]
async fn row_15_options_are_checked() {
    let f = Fixture::new().await;
    let refused = |answer: Answer| {
        let (code, reason, message) = answer.refused();
        assert_eq!((code, reason.as_str()), (422, "Invalid"));
        message
    };
    assert_eq!(
        refused(f.post(&format!("{MAPS}?fieldValidation=x"), config_map("a", json!({}))).await),
        "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"x\": supported values: \"Ignore\", \"Strict\", \"Warn\""
    );
    let long = "m".repeat(129);
    assert_eq!(
        refused(f.post(&format!("{MAPS}?fieldManager={long}"), config_map("a", json!({}))).await),
        "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"
    );
    assert_eq!(
        refused(f.merge(&format!("{MAPS}/a?force=true"), json!({})).await),
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
}
