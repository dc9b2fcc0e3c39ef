//! Row 41: quota is taken in the request and counted promptly; limit ranges.

use crate::{fixture::*, streams::serve};
use serde_json::{Value, json};
use std::time::Duration;

pub const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
pub const RANGES: &str = "/api/v1/namespaces/default/limitranges";

pub async fn quota(f: &Fixture, name: &str, spec: Value) {
    f.post(QUOTAS, json!({"metadata": {"name": name}, "spec": spec})).await.ok();
}

pub async fn used(f: &Fixture, name: &str) -> Value {
    f.get(&format!("{QUOTAS}/{name}")).await.ok()["status"]["used"].clone()
}

/// Polls until the quota shows this, at most twenty seconds.
pub async fn until_used(f: &Fixture, name: &str, wanted: Value) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let now = used(f, name).await;
        if now == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{now} is not {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await; // until the deadline
    }
}

pub fn asking(name: &str, requests: Value, limits: Value) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": requests, "limits": limits});
    pod
}

#[tokio::test]
async fn row_41_no_more_than_the_quota_has() {
    let f = Fixture::new().await;
    f.post(PODS, pod("before")).await.ok();
    quota(&f, "q", json!({"hard": {"pods": "2", "count/configmaps": "1", "services.nodeports": "1"}})).await;
    f.post(PODS, pod("a")).await.ok();
    assert_eq!(used(&f, "q").await["pods"], "2");
    let (code, reason, message) = f.post(PODS, pod("b")).await.refused();
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(message, "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
    // What is refused for another reason is given back; a dry run takes nothing.
    assert_eq!(f.post(&format!("{MAPS}?dryRun=All"), config_map("m", json!({}))).await.code, 201);
    f.post(MAPS, config_map("m", json!({}))).await.ok();
    let refused = f.post(MAPS, config_map("n", json!({}))).await.refused();
    assert!(
        refused.2.ends_with("requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1")
    );
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [
        {"name": "a", "port": 80}, {"name": "b", "port": 81},
    ]}});
    let (_, _, message) = f.post(SERVICES, service).await.refused();
    assert!(message.contains("requested: services.nodeports=2, used: services.nodeports=0"), "{message}");
}

#[tokio::test]
async fn row_41_racing_requests_share_what_is_left() {
    let f = Fixture::new().await;
    quota(&f, "q", json!({"hard": {"pods": "5"}})).await;
    let names: Vec<String> = (0..20).map(|index| format!("p{index}")).collect();
    let answers = futures::future::join_all(names.iter().map(|name| f.post(PODS, pod(name)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.code == 201).count(), 5);
    assert_eq!(used(&f, "q").await, json!({"pods": "5"}));
}

#[tokio::test]
async fn row_41_compute_must_be_stated_and_fits() {
    let f = Fixture::new().await;
    quota(&f, "q", json!({"hard": {"limits.cpu": "1", "requests.memory": "100Mi"}})).await;
    let (_, _, message) = f.post(PODS, pod("a")).await.refused();
    assert_eq!(
        message,
        "pods \"a\" is forbidden: failed quota: q: must specify limits.cpu for: c; requests.memory for: c"
    );
    f.post(PODS, asking("a", json!({"memory": "60Mi"}), json!({"cpu": "500m"}))).await.ok();
    let (_, _, message) = f.post(PODS, asking("b", json!({"memory": "60Mi"}), json!({"cpu": "600m"}))).await.refused();
    assert_eq!(
        message,
        "pods \"b\" is forbidden: exceeded quota: q, requested: limits.cpu=600m,requests.memory=60Mi, \
         used: limits.cpu=500m,requests.memory=60Mi, limited: limits.cpu=1,requests.memory=100Mi"
    );
    // A quota for pods that promise nothing does not count one that does.
    quota(&f, "best", json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]})).await;
    f.post(PODS, asking("c", json!({"memory": "1Mi"}), json!({"cpu": "1m"}))).await.ok();
}

#[tokio::test]
async fn row_41_status_is_counted_promptly() {
    let f = Fixture::new().await;
    let (_, shutdown, task) = serve(&f).await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    quota(&f, "q", json!({"hard": {"configmaps": "3", "pods": "4"}})).await;
    until_used(&f, "q", json!({"configmaps": "1", "pods": "0"})).await;
    assert_eq!(f.get(&format!("{QUOTAS}/q")).await.ok()["status"]["hard"], json!({"configmaps": "3", "pods": "4"}));
    f.post(MAPS, config_map("b", json!({}))).await.ok();
    f.delete(&format!("{MAPS}/a"), json!({})).await.ok();
    f.delete(&format!("{MAPS}/b"), json!({})).await.ok();
    until_used(&f, "q", json!({"configmaps": "0", "pods": "0"})).await;
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_41_limit_ranges_default_and_bound() {
    let f = Fixture::new().await;
    let spec = json!({"limits": [{
        "type": "Container", "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "100m"},
        "max": {"cpu": "1"}, "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"cpu": "4"},
    }]});
    f.post(RANGES, json!({"metadata": {"name": "lr"}, "spec": spec})).await.ok();
    let made = f.post(PODS, pod("a")).await.ok();
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    for (requests, limits, message) in [
        (json!({"cpu": "2"}), json!({"cpu": "2"}), "maximum cpu usage per Container is 1, but limit is 2"),
        (json!({"cpu": "10m"}), json!({"cpu": "40m"}), "minimum cpu usage per Container is 50m, but request is 10m"),
        (
            json!({"cpu": "100m"}),
            json!({"cpu": "500m"}),
            "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000",
        ),
    ] {
        let (code, _, text) = f.post(PODS, asking("b", requests, limits)).await.refused();
        assert_eq!((code, text), (403, format!("pods \"b\" is forbidden: {message}")));
    }
}
