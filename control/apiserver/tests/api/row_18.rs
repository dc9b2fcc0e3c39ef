//! Dry run: the answer of the write, and no write.

use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_18_every_write_may_be_dry() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let before = f.get(&format!("{DEPLOYMENTS}/a")).await.ok();
    let revision = f.store.revision();
    let made = f.post(&format!("{DEPLOYMENTS}?dryRun=All"), deployment("b")).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.body["spec"]["strategy"]["type"], "RollingUpdate", "defaulted");
    assert!(made.body["metadata"]["uid"].is_string());
    let mut changed = before.clone();
    changed["spec"]["replicas"] = 9.into();
    let put = f.put(&format!("{DEPLOYMENTS}/a?dryRun=All"), &changed).await.ok();
    assert_eq!((&put["spec"]["replicas"], &put["metadata"]["generation"]), (&json!(9), &json!(2)));
    let manifest =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"paused": true}});
    let applied = f
        .call(
            "PATCH",
            &format!("{DEPLOYMENTS}/a?dryRun=All&fieldManager=m"),
            Some("application/apply-patch+yaml"),
            manifest.to_string(),
        )
        .await
        .ok();
    assert_eq!(applied["spec"]["paused"], true);
    let invalid = f.merge(&format!("{DEPLOYMENTS}/a?dryRun=All"), json!({"spec": {"replicas": -1}})).await;
    assert_eq!(invalid.code, 422);
    assert_eq!(f.store.revision(), revision);
    assert_eq!(f.get(&format!("{DEPLOYMENTS}/a")).await.ok(), before);
    let (code, _, message) = f.post(&format!("{DEPLOYMENTS}?dryRun=Maybe"), deployment("c")).await.refused();
    assert_eq!(code, 422);
    assert!(message.starts_with("CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: "), "{message}");
    assert!(message.ends_with("supported values: \"All\""), "{message}");
}
