//! Row 23: namespaces. How they are emptied is tested with the control plane.

use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_23_nothing_comes_into_a_namespace_that_goes_or_is_not() {
    let f = Fixture::new().await;
    let maps = "/api/v1/namespaces/n/configmaps";
    assert_eq!(f.post(maps, config_map("a", json!({}))).await.refused().2, "namespaces \"n\" not found");
    f.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    f.post(maps, config_map("old", json!({}))).await.ok();
    let marked = f.delete("/api/v1/namespaces/n", json!({})).await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused = f.post(maps, config_map("a", json!({}))).await;
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!(
        *cause,
        json!({
            "reason": "NamespaceTerminating", "message": "namespace n is being terminated", "field": "metadata.namespace",
        })
    );
    assert_eq!(
        refused.refused().2,
        "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    f.merge(&format!("{maps}/old"), json!({"data": {"still": "writable"}})).await.ok();
    let mut finalized = f.get("/api/v1/namespaces/n").await.ok();
    finalized["spec"]["finalizers"] = json!([]);
    f.put("/api/v1/namespaces/n/finalize", &finalized).await.ok();
    assert_eq!(f.get("/api/v1/namespaces/n").await.code, 404);
}

#[tokio::test]
async fn row_23_some_namespaces_stay() {
    let f = Fixture::new().await;
    for name in ["default", "kube-system", "kube-public"] {
        assert_eq!(
            f.delete(&format!("/api/v1/namespaces/{name}"), json!({})).await.refused(),
            (
                403,
                "Forbidden".to_owned(),
                format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted")
            )
        );
    }
}
