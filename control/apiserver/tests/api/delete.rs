use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let f = Fixture::new().await;
    let path = format!("{MAPS}/a");
    f.post(MAPS, json!({"metadata": {"name": "a", "finalizers": ["x.io/a", "x.io/b"]}})).await.ok();
    let marked = f.delete(&path, json!({})).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let (code, _, message) =
        f.merge(&path, json!({"metadata": {"finalizers": ["x.io/a", "x.io/b", "x.io/c"]}})).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("no new finalizers can be added if the object is being deleted"), "{message}");
    f.merge(&path, json!({"metadata": {"finalizers": ["x.io/b"]}})).await.ok();
    assert_eq!(f.get(&path).await.code, 200);
    f.merge(&path, json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(f.get(&path).await.code, 404);
}

#[tokio::test]
async fn preconditions_hold_or_it_is_a_conflict() {
    let f = Fixture::new().await;
    let path = format!("{MAPS}/a");
    let made = f.post(MAPS, config_map("a", json!({}))).await.ok();
    for preconditions in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let (code, reason, message) = f.delete(&path, json!({"preconditions": preconditions})).await.refused();
        assert_eq!((code, reason.as_str()), (409, "Conflict"), "{message}");
    }
    let (uid, version) = (&made["metadata"]["uid"], &made["metadata"]["resourceVersion"]);
    f.delete(&path, json!({"preconditions": {"uid": uid, "resourceVersion": version}})).await.ok();
}

#[tokio::test]
async fn propagation_leaves_its_finalizer() {
    let f = Fixture::new().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        f.post(MAPS, config_map("a", json!({}))).await.ok();
        let marked = f.delete(&format!("{MAPS}/a"), json!({"propagationPolicy": policy})).await.ok();
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        f.merge(&format!("{MAPS}/a"), json!({"metadata": {"finalizers": []}})).await.ok();
    }
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let gone = f.call("DELETE", &format!("{MAPS}/a?propagationPolicy=Background"), None, "").await.ok();
    assert_eq!(gone["kind"], "Status");
    assert_eq!(f.delete(&format!("{MAPS}/a"), json!({"propagationPolicy": "Never"})).await.code, 422);
}

#[tokio::test]
async fn a_pod_on_a_node_gets_its_grace() {
    let f = Fixture::new().await;
    let path = format!("{PODS}/a");
    f.post(PODS, pod("a")).await.ok();
    f.post(&format!("{path}/binding"), json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}))
        .await
        .ok();
    let marked = f.delete(&path, json!({})).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let again = f.delete(&path, json!({"gracePeriodSeconds": 60})).await.ok();
    assert_eq!(again["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    let shorter = f.delete(&path, json!({"gracePeriodSeconds": 5})).await.ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    assert_eq!(f.get(&path).await.code, 200);
    f.delete(&path, json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(f.get(&path).await.code, 404);
    // One that no node has is gone at once.
    f.post(PODS, pod("b")).await.ok();
    f.delete(&format!("{PODS}/b"), json!({})).await.ok();
    assert_eq!(f.get(&format!("{PODS}/b")).await.code, 404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let f = Fixture::new().await;
    for (name, label) in [("a", "1"), ("b", "2"), ("c", "1")] {
        f.post(MAPS, config_map(name, json!({"l": label}))).await.ok();
    }
    let deleted = f.delete(&format!("{MAPS}?labelSelector=l%3D1"), json!({})).await.ok();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = f.get(MAPS).await.ok();
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_goes_by_finalize() {
    let f = Fixture::new().await;
    let maps = "/api/v1/namespaces/n/configmaps";
    assert_eq!(
        f.post(maps, config_map("a", json!({}))).await.refused(),
        (404, "NotFound".into(), "namespaces \"n\" not found".into())
    );
    let made = f.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    assert_eq!((&made["spec"]["finalizers"], &made["status"]["phase"]), (&json!(["kubernetes"]), &json!("Active")));
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    f.post(maps, config_map("a", json!({}))).await.ok();
    let mut marked = f.delete("/api/v1/namespaces/n", json!({})).await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused = f.post(maps, config_map("b", json!({}))).await;
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(
        refused.refused(),
        (
            403,
            "Forbidden".into(),
            "configmaps \"b\" is forbidden: unable to create new content in namespace n because it is being terminated"
                .into()
        )
    );
    f.delete(&format!("{maps}/a"), json!({})).await.ok();
    marked["spec"]["finalizers"] = json!([]);
    f.put("/api/v1/namespaces/n/finalize", &marked).await.ok();
    assert_eq!(f.get("/api/v1/namespaces/n").await.code, 404);
    let (code, _, message) = f.delete("/api/v1/namespaces/default", json!({})).await.refused();
    assert_eq!(
        (code, message.as_str()),
        (403, "namespaces \"default\" is forbidden: this namespace may not be deleted")
    );
}

#[tokio::test]
async fn an_eviction_deletes() {
    let f = Fixture::new().await;
    f.post(PODS, pod("a")).await.ok();
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a", "namespace": "default"}});
    assert_eq!(f.post(&format!("{PODS}/a/eviction"), eviction.clone()).await.code, 201);
    assert_eq!(f.get(&format!("{PODS}/a")).await.code, 404);
    assert_eq!(f.post(&format!("{PODS}/a/eviction"), eviction).await.code, 404);
}
