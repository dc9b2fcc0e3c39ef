use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_39_every_cluster_has_these() {
    let f = Fixture::new().await;
    for path in [
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces/kube-public",
        "/api/v1/namespaces/kube-node-lease",
        "/api/v1/namespaces/default/services/kubernetes",
        "/api/v1/namespaces/default/endpoints/kubernetes",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
        "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
        "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/exempt",
        "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/catch-all",
    ] {
        f.get(path).await.ok();
    }
    let class = f.get("/apis/scheduling.k8s.io/v1/priorityclasses/system-cluster-critical").await.ok();
    assert_eq!(class["value"], 2_000_000_000);
    let range = f.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await.ok();
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/24"]));
    assert_eq!(range["status"]["conditions"][0]["type"], "Ready");
    let trust = f.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication").await.ok();
    assert_eq!(trust["data"]["client-ca-file"], json!(f.pki.ca_pem));
    let schema = f.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/global-default").await.ok();
    assert_eq!(schema["spec"]["matchingPrecedence"], 9900);
    assert_eq!(schema["status"]["conditions"][0]["status"], "False");
    let all = f.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas").await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 13);
    let leases = f
        .get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?labelSelector=apiserver.kubernetes.io/identity=kube-apiserver")
        .await
        .ok();
    assert_eq!(leases["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn row_39_what_every_cluster_has_is_repaired() {
    let f = Fixture::new().await;
    let endpoints = "/api/v1/namespaces/default/endpoints/kubernetes";
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    f.delete(endpoints, json!({})).await.ok();
    f.merge(slice, json!({"endpoints": [{"addresses": ["192.0.2.99"]}]})).await.ok();
    f.delete("/api/v1/namespaces/default/services/kubernetes", json!({})).await.ok();
    f.server.repair().await;
    assert_eq!(f.get(endpoints).await.ok()["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
    let slice = f.get(slice).await.ok();
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["192.0.2.1"]));
    let service = f.get("/api/v1/namespaces/default/services/kubernetes").await.ok();
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let before = slice["metadata"]["resourceVersion"].clone();
    f.server.repair().await;
    let again = f.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], before, "a repair of nothing writes nothing");
}

#[tokio::test]
async fn row_39_built_in_group_versions_have_api_services() {
    let f = Fixture::new().await;
    let table = answer(
        f.fetch("/apis/apiregistration.k8s.io/v1/apiservices", "application/json;as=Table;v=v1;g=meta.k8s.io").await,
    )
    .await
    .ok();
    let rows: Vec<String> = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", row["cells"][0], row["cells"][1], row["cells"][2]))
        .collect();
    for name in ["v1.", "v1.apps", "v2.autoscaling", "v1.rbac.authorization.k8s.io", "v1.authentication.k8s.io"] {
        assert!(rows.contains(&format!("\"{name}\" \"Local\" \"True\"")), "{name} {rows:#?}");
    }
    let apps = f.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await.ok();
    assert_eq!(
        apps["spec"],
        json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15})
    );
}
