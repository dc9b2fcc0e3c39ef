use crate::fixture::*;
use serde_json::json;
use std::collections::BTreeSet;

fn service(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}})
}

#[tokio::test]
async fn concurrent_services_share_no_number() {
    let f = Fixture::new().await;
    let writes = (0..16).map(|index| {
        let client = f.admin.clone();
        async move { call(&client, "POST", SERVICES, None, service(&format!("s{index}")).to_string()).await.ok() }
    });
    let made = futures::future::join_all(writes).await;
    let ips: BTreeSet<_> = made.iter().map(|s| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    let ports: BTreeSet<_> = made.iter().map(|s| s["spec"]["ports"][0]["nodePort"].as_u64().unwrap()).collect();
    assert_eq!((ips.len(), ports.len()), (16, 16));
    assert!(!ips.contains("10.96.0.1") && !ips.contains("10.96.0.10"));
    let (code, _, message) = f.post(SERVICES, service("full")).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("range is full"), "{message}");
    f.delete(&format!("{SERVICES}/s3"), json!({})).await.ok();
    f.post(SERVICES, service("again")).await.ok();
}

#[tokio::test]
async fn a_failed_create_gives_its_numbers_back() {
    let f = Fixture::new().await;
    f.post(SERVICES, service("a")).await.ok();
    for _ in 0..40 {
        assert_eq!(f.post(SERVICES, service("a")).await.code, 409);
        assert_eq!(f.post(&format!("{SERVICES}?dryRun=All"), service("b")).await.code, 201);
    }
    f.post(SERVICES, service("b")).await.ok();
}

#[tokio::test]
async fn an_applied_update_keeps_what_it_does_not_mention() {
    let f = Fixture::new().await;
    let made = f.post(SERVICES, service("a")).await.ok();
    let mut bare = service("a");
    bare["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    bare["spec"]["selector"] = json!({"a": "b"});
    let after = f.put(&format!("{SERVICES}/a"), &bare).await.ok();
    assert_eq!(after["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert_eq!(after["spec"]["ports"][0]["nodePort"], made["spec"]["ports"][0]["nodePort"]);
    let moved = f
        .merge(&format!("{SERVICES}/a"), json!({"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}}))
        .await;
    assert_eq!(moved.code, 422);
    let plain = f.merge(&format!("{SERVICES}/a"), json!({"spec": {"type": "ClusterIP"}})).await.ok();
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
    let taken =
        json!({"metadata": {"name": "b"}, "spec": {"clusterIP": made["spec"]["clusterIP"], "ports": [{"port": 1}]}});
    let (_, _, message) = f.post(SERVICES, taken).await.refused();
    assert!(message.contains("provided IP is already allocated"), "{message}");
}

#[tokio::test]
async fn the_cluster_has_its_service_and_a_restart_keeps_the_numbers() {
    let f = Fixture::new().await;
    let own = f.get(&format!("{SERVICES}/kubernetes")).await.ok();
    assert_eq!(own["spec"]["clusterIP"], "10.96.0.1");
    let slice = f.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.ok();
    assert_eq!(slice["endpoints"][0]["addresses"][0], "192.0.2.1");
    let made = f.post(SERVICES, service("a")).await.ok();
    let store = f.store.clone();
    let again = Fixture::with(|config| {
        config.store = store;
        config.advertise = "192.0.2.2:6443".parse().unwrap();
    })
    .await;
    let slice = again.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.ok();
    assert_eq!(slice["endpoints"][0]["addresses"][0], "192.0.2.2");
    let taken =
        json!({"metadata": {"name": "b"}, "spec": {"clusterIP": made["spec"]["clusterIP"], "ports": [{"port": 1}]}});
    assert_eq!(again.post(SERVICES, taken).await.code, 422);
}
