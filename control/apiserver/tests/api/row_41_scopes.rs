//! Row 41: what quotas count by their scopes and names, and what limit ranges say of claims and pods.

use crate::{
    fixture::*,
    row_33::{CRONTABS, crontab, definition, establish},
    row_41::{RANGES, asking, quota, until_used, used},
    streams::serve,
};
use serde_json::{Value, json};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

fn with(name: &str, field: &str, value: Value) -> Value {
    let mut pod = pod(name);
    pod["spec"][field] = value;
    pod
}

async fn counts(f: &Fixture, quotas: &[&str]) -> Vec<String> {
    let mut counts = Vec::new();
    for name in quotas {
        counts.push(used(f, name).await["pods"].as_str().unwrap_or("0").to_owned());
    }
    counts
}

#[tokio::test]
async fn row_41_scopes_choose_pods() {
    let f = Fixture::new().await;
    f.post("/apis/scheduling.k8s.io/v1/priorityclasses", json!({"metadata": {"name": "high"}, "value": 1000}))
        .await
        .ok();
    let selector = |scope: &str, operator: &str, values: Value| json!({"hard": {"pods": "2"}, "scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}});
    let scope = |scope: &str| json!({"hard": {"pods": "2"}, "scopes": [scope]});
    let all = ["ends", "stays", "besteffort", "promised", "high", "nothigh", "across"];
    for (name, spec) in [
        ("ends", scope("Terminating")),
        ("stays", scope("NotTerminating")),
        ("besteffort", scope("BestEffort")),
        ("promised", scope("NotBestEffort")),
        ("high", selector("PriorityClass", "In", json!(["high", "other"]))),
        ("nothigh", selector("PriorityClass", "NotIn", json!(["high"]))),
        ("across", scope("CrossNamespacePodAffinity")),
    ] {
        quota(&f, name, spec).await;
    }
    let requests = asking("a", json!({"cpu": "1"}), json!({}));
    f.post(PODS, requests).await.ok();
    assert_eq!(counts(&f, &all).await, ["0", "1", "0", "1", "0", "1", "0"]);
    f.post(PODS, with("b", "activeDeadlineSeconds", json!(60))).await.ok();
    assert_eq!(counts(&f, &all).await, ["1", "1", "1", "1", "0", "2", "0"]);
    let mut high = with("c", "priorityClassName", json!("high"));
    high["spec"]["activeDeadlineSeconds"] = json!(60);
    high["spec"]["resources"] = json!({"requests": {"memory": "1Mi"}});
    f.post(PODS, high).await.ok();
    assert_eq!(counts(&f, &all).await, ["2", "1", "1", "2", "1", "2", "0"]);
    let term = json!({"topologyKey": "kubernetes.io/hostname", "namespaceSelector": {}, "labelSelector": {}});
    let affinity = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}});
    let mut across = with("d", "affinity", affinity);
    across["spec"]["priorityClassName"] = json!("high");
    f.post(PODS, across).await.ok();
    assert_eq!(counts(&f, &all).await, ["2", "2", "2", "2", "2", "2", "1"]);
    let (code, _, message) = f.post(PODS, with("e", "activeDeadlineSeconds", json!(1))).await.refused();
    assert_eq!(code, 403);
    assert!(
        message.contains("exceeded quota: ") && message.ends_with("requested: pods=1, used: pods=2, limited: pods=2"),
        "{message}"
    );
    // A pod that comes into a scope by an update is counted there, and not refused.
    let (_, shutdown, task) = serve(&f).await;
    f.merge(&format!("{PODS}/a"), json!({"spec": {"activeDeadlineSeconds": 5}})).await.ok();
    until_used(&f, "ends", json!({"pods": "3"})).await;
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_41_services_are_counted_by_what_they_take() {
    let f = Fixture::new().await;
    quota(&f, "q", json!({"hard": {"services": "9", "services.nodeports": "5", "services.loadbalancers": "1", "count/services": "9"}})).await;
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    f.post(SERVICES, service("plain", json!({"ports": ports}))).await.ok();
    f.post(SERVICES, service("node", json!({"type": "NodePort", "ports": ports}))).await.ok();
    f.post(SERVICES, service("balanced", json!({"type": "LoadBalancer", "ports": ports}))).await.ok();
    // With the Service `kubernetes`.
    let all = json!({"services": "4", "services.nodeports": "4", "services.loadbalancers": "1", "count/services": "4"});
    assert_eq!(used(&f, "q").await, all);
    let refused = f.post(SERVICES, service("more", json!({"type": "LoadBalancer", "ports": ports}))).await.refused();
    let what = "services \"more\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1,services.nodeports=2, \
                used: services.loadbalancers=1,services.nodeports=4, limited: services.loadbalancers=1,services.nodeports=5";
    assert_eq!(refused, (403, "Forbidden".to_owned(), what.to_owned()));
    let (_, _, message) = f.merge(&format!("{SERVICES}/plain"), json!({"spec": {"type": "NodePort"}})).await.refused();
    assert!(
        message.ends_with("requested: services.nodeports=2, used: services.nodeports=4, limited: services.nodeports=5"),
        "{message}"
    );
    f.delete(&format!("{SERVICES}/balanced"), json!({})).await.ok();
    let (_, shutdown, task) = serve(&f).await;
    let left =
        json!({"services": "3", "services.nodeports": "2", "services.loadbalancers": "0", "count/services": "3"});
    until_used(&f, "q", left).await;
    // Without node ports, only those are counted that are asked for.
    let spec = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [
        {"name": "a", "port": 80, "nodePort": 30003}, {"name": "b", "port": 81},
    ]});
    f.post(SERVICES, service("direct", spec)).await.ok();
    assert_eq!(used(&f, "q").await["services.nodeports"], "3");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_41_any_kind_is_counted_by_its_name() {
    let f = Fixture::new().await;
    establish(&f, definition(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))).await;
    quota(&f, "q", json!({"hard": {"count/crontabs.stable.example.com": "1", "count/deployments.apps": "1", "count/pods": "1", "pods": "9"}})).await;
    f.post(CRONTABS, crontab("a", json!({}))).await.ok();
    let (code, _, message) = f.post(CRONTABS, crontab("b", json!({}))).await.refused();
    let what = "crontabs.stable.example.com \"b\" is forbidden: exceeded quota: q, requested: \
                count/crontabs.stable.example.com=1, used: count/crontabs.stable.example.com=1, limited: \
                count/crontabs.stable.example.com=1";
    assert_eq!((code, message.as_str()), (403, what));
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    assert_eq!(f.post(DEPLOYMENTS, deployment("b")).await.code, 403);
    // A pod that has ended takes no place among pods, but is still an object.
    f.post(PODS, pod("a")).await.ok();
    f.merge(&format!("{PODS}/a/status"), json!({"status": {"phase": "Succeeded"}})).await.ok();
    let (_, shutdown, task) = serve(&f).await;
    let left = json!({"count/crontabs.stable.example.com": "1", "count/deployments.apps": "1", "count/pods": "1", "pods": "0"});
    until_used(&f, "q", left.clone()).await;
    assert_eq!(f.post(PODS, pod("b")).await.code, 403);
    f.delete(&format!("{CRONTABS}/a"), json!({})).await.ok();
    let mut left = left;
    left["count/crontabs.stable.example.com"] = json!("0");
    until_used(&f, "q", left).await;
    shutdown.cancel();
    task.await.unwrap();
}

fn claim(name: &str, size: &str, class: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}},
    }})
}

#[tokio::test]
async fn row_41_storage_is_counted_by_its_class_too() {
    let f = Fixture::new().await;
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    f.post(
        classes,
        json!({"metadata": {"name": "fast"}, "provisioner": "x.example.com", "allowVolumeExpansion": true}),
    )
    .await
    .ok();
    quota(
        &f,
        "q",
        json!({"hard": {
            "persistentvolumeclaims": "9", "requests.storage": "10Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "fast.storageclass.storage.k8s.io/requests.storage": "4Gi",
        }}),
    )
    .await;
    f.post(CLAIMS, claim("a", "3Gi", "fast")).await.ok();
    let mut annotated = claim("b", "5Gi", "");
    annotated["spec"].as_object_mut().unwrap().remove("storageClassName");
    annotated["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": "slow"});
    f.post(CLAIMS, annotated).await.ok();
    assert_eq!(
        used(&f, "q").await,
        json!({
            "persistentvolumeclaims": "2", "requests.storage": "8Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "fast.storageclass.storage.k8s.io/requests.storage": "3Gi",
        })
    );
    let (code, _, message) = f.post(CLAIMS, claim("c", "1Gi", "fast")).await.refused();
    assert_eq!(code, 403);
    assert!(
        message.contains("requested: fast.storageclass.storage.k8s.io/persistentvolumeclaims=1, used"),
        "{message}"
    );
    f.merge(&format!("{CLAIMS}/a/status"), json!({"status": {"phase": "Bound"}})).await.ok();
    let size = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let (_, _, message) = f.merge(&format!("{CLAIMS}/a"), size("6Gi")).await.refused();
    assert!(
        message.contains("requested: fast.storageclass.storage.k8s.io/requests.storage=3Gi,requests.storage=3Gi"),
        "{message}"
    );
    f.merge(&format!("{CLAIMS}/a"), size("4Gi")).await.ok();
    assert_eq!(used(&f, "q").await["requests.storage"], "9Gi");
}

#[tokio::test]
async fn row_41_claims_are_chosen_by_their_attributes() {
    let f = Fixture::new().await;
    let selector = |operator: &str, values: Value| {
        json!({"hard": {"persistentvolumeclaims": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "VolumeAttributesClass", "operator": operator, "values": values},
        ]}})
    };
    quota(&f, "gold", selector("In", json!(["gold"]))).await;
    quota(&f, "any", selector("Exists", json!([]))).await;
    let mut gold = claim("a", "1Gi", "");
    gold["spec"]["volumeAttributesClassName"] = json!("gold");
    f.post(CLAIMS, claim("plain", "1Gi", "")).await.ok();
    f.post(CLAIMS, gold.clone()).await.ok();
    gold["metadata"]["name"] = json!("b");
    let (_, _, message) = f.post(CLAIMS, gold).await.refused();
    assert!(message.contains("exceeded quota: "), "{message}");
    assert_eq!(used(&f, "gold").await, json!({"persistentvolumeclaims": "1"}));
    let mut silver = claim("c", "1Gi", "");
    silver["spec"]["volumeAttributesClassName"] = json!("silver");
    let (_, _, message) = f.post(CLAIMS, silver).await.refused();
    assert!(message.contains("exceeded quota: any"), "{message}");
}

#[tokio::test]
async fn row_41_limit_ranges_bound_claims_and_whole_pods() {
    let f = Fixture::new().await;
    let limits = json!([
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "4Gi"}},
        {"type": "Pod", "max": {"cpu": "2"}, "min": {"memory": "10Mi"}, "maxLimitRequestRatio": {"cpu": "3"}},
    ]);
    f.post(RANGES, json!({"metadata": {"name": "lr"}, "spec": {"limits": limits}})).await.ok();
    for (size, what) in [
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("5Gi", "maximum storage usage per PersistentVolumeClaim is 4Gi, but request is 5Gi"),
    ] {
        let wanted = format!("persistentvolumeclaims \"a\" is forbidden: {what}");
        assert_eq!(f.post(CLAIMS, claim("a", size, "")).await.refused(), (403, "Forbidden".to_owned(), wanted));
    }
    f.post(CLAIMS, claim("a", "2Gi", "")).await.ok();
    let two = |cpu: &str, limit: &str| {
        let mut pod = asking("p", json!({"cpu": cpu, "memory": "8Mi"}), json!({"cpu": limit}));
        let mut second = pod["spec"]["containers"][0].clone();
        second["name"] = json!("d");
        pod["spec"]["containers"].as_array_mut().unwrap().push(second);
        pod
    };
    for (pod, what) in [
        (
            pod("p"),
            "[minimum memory usage per Pod is 10Mi.  No request is specified, maximum cpu usage per Pod is 2.  No limit is specified, \
            cpu max limit to request ratio per Pod is 3, but no request is specified or request is 0]",
        ),
        (two("1", "1500m"), "maximum cpu usage per Pod is 2, but limit is 3"),
        (two("200m", "900m"), "cpu max limit to request ratio per Pod is 3, but provided ratio is 4.500000"),
    ] {
        assert_eq!(f.post(PODS, pod).await.refused().2, format!("pods \"p\" is forbidden: {what}"));
    }
    f.post(PODS, two("500m", "1")).await.ok();
    // A pod may not grow out of its bounds either.
    let resize = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1500m"}}}]}});
    let strategic = Some("application/strategic-merge-patch+json");
    let refused = f.call("PATCH", &format!("{PODS}/p/resize"), strategic, resize.to_string()).await.refused();
    assert_eq!(refused.2, "pods \"p\" is forbidden: maximum cpu usage per Pod is 2, but limit is 2500m");
}
