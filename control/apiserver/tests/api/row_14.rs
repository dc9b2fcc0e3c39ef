//! create: what the server sets, and what it refuses.

use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_14_the_server_sets_identity_and_defaults() {
    let f = Fixture::new().await;
    let wanted = json!({
        "metadata": {"name": "d", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9, "selfLink": "/x",
            "deletionTimestamp": "2001-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3},
        "spec": deployment("d")["spec"], "status": {"replicas": 4},
    });
    let made = f.post(DEPLOYMENTS, wanted).await;
    assert_eq!(made.code, 201);
    let metadata = &made.body["metadata"];
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert!(metadata["creationTimestamp"].as_str().unwrap() > "2020");
    assert_eq!((&metadata["generation"], &metadata["namespace"]), (&json!(1), &json!("default")));
    for gone in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        assert_eq!(metadata.get(gone), None);
    }
    assert!(metadata["resourceVersion"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(made.body["status"], json!({}));
    assert_eq!(made.body["spec"]["progressDeadlineSeconds"], 600);
    let (code, reason, message) = f.post(DEPLOYMENTS, deployment("d")).await.refused();
    assert_eq!(
        (code, reason.as_str(), message.as_str()),
        (409, "AlreadyExists", "deployments.apps \"d\" already exists")
    );
    let details = f.post(DEPLOYMENTS, deployment("d")).await.body["details"].clone();
    assert_eq!(details, json!({"name": "d", "group": "apps", "kind": "deployments"}));
}

#[tokio::test]
async fn row_14_generated_names() {
    let f = Fixture::new().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let made = f.post(MAPS, json!({"metadata": {"generateName": "map-"}})).await.ok();
        let name = made["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("map-") && name.len() == 9, "{name}");
        assert_eq!(made["metadata"]["generateName"], "map-");
        assert!(seen.insert(name));
    }
    let long = "x".repeat(80);
    let made = f.post(MAPS, json!({"metadata": {"generateName": long}})).await.ok();
    assert_eq!(made["metadata"]["name"].as_str().map(str::len), Some(63));
    // A name wins over what one would be made of; a Job's labels have the name that was made.
    let made = f.post(MAPS, json!({"metadata": {"name": "n", "generateName": "map-"}})).await.ok();
    assert_eq!(made["metadata"]["name"], "n");
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = f.post(jobs, json!({"metadata": {"generateName": "j-"}, "spec": {"template": template}})).await.ok();
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        assert_eq!(labels[key], job["metadata"]["name"]);
    }
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], job["metadata"]["uid"]);
    let space = f.post("/api/v1/namespaces", json!({"metadata": {"generateName": "ns-"}})).await.ok();
    assert_eq!(space["metadata"]["labels"]["kubernetes.io/metadata.name"], space["metadata"]["name"]);
}

#[tokio::test]
async fn row_14_names_are_checked() {
    let f = Fixture::new().await;
    let form = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let (code, reason, message) = f.post(MAPS, json!({"metadata": {"name": "Bad_Name"}})).await.refused();
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(
        message,
        format!("ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": {form}")
    );
    let (code, _, message) = f.post(MAPS, json!({})).await.refused();
    assert_eq!(code, 422);
    assert_eq!(message, "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required");
    let (_, _, message) = f.post("/api/v1/namespaces", json!({"metadata": {"name": "a.b"}})).await.refused();
    assert!(message.contains("a lowercase RFC 1123 label must consist of"), "{message}");
    let service = json!({"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}});
    let (_, _, message) = f.post(SERVICES, service).await.refused();
    assert!(message.contains("a DNS-1035 label must consist of"), "{message}");
    let (code, _, message) = f.post(MAPS, json!({"metadata": {"name": "a", "namespace": "other"}})).await.refused();
    assert_eq!(code, 400);
    assert_eq!(message, "the namespace of the provided object does not match the namespace sent on the request");
    let (code, _, message) = f.post(MAPS, json!({"metadata": {"name": "a", "resourceVersion": "1"}})).await.refused();
    assert_eq!((code, message.as_str()), (400, "resourceVersion should not be set on objects to be created"));
    let (code, _, message) =
        f.post(MAPS, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})).await.refused();
    assert_eq!(code, 400);
    assert!(message.contains("Secret"), "{message}");
    assert_eq!(f.post(&format!("{MAPS}/a"), json!({"metadata": {"name": "a"}})).await.code, 405);
}

/// Least objects of kinds without a controller here, and their defaults.
#[tokio::test]
async fn row_14_new_kinds_are_served() {
    let f = Fixture::new().await;
    let spec = deployment("x")["spec"].clone();
    let mut once = spec["template"].clone();
    once["spec"]["restartPolicy"] = json!("OnFailure");
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}});
    for (path, object, pointer, wanted) in [
        (
            "/apis/apps/v1/namespaces/default/statefulsets",
            json!({"spec": spec}),
            "/spec/podManagementPolicy",
            json!("OrderedReady"),
        ),
        (
            "/apis/apps/v1/namespaces/default/daemonsets",
            json!({"spec": {"selector": spec["selector"], "template": spec["template"]}}),
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        ),
        (
            "/apis/apps/v1/namespaces/default/controllerrevisions",
            json!({"data": {"a": 1}, "revision": 3}),
            "/revision",
            json!(3),
        ),
        ("/apis/batch/v1/namespaces/default/jobs", json!({"spec": {"template": once}}), "/spec/backoffLimit", json!(6)),
        (
            "/apis/batch/v1/namespaces/default/cronjobs",
            json!({"spec": {"schedule": "*/5 * * * *", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": once}}}}),
            "/spec/concurrencyPolicy",
            json!("Allow"),
        ),
        (
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3}}),
            "/spec/minReplicas",
            json!(1),
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            json!({"spec": {"maxUnavailable": "50%"}}),
            "/status/disruptionsAllowed",
            json!(0),
        ),
        (
            "/api/v1/namespaces/default/persistentvolumeclaims",
            json!({"spec": claim}),
            "/spec/resources/requests/storage",
            json!("1Gi"),
        ),
        (
            "/api/v1/persistentvolumes",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}}),
            "/spec/persistentVolumeReclaimPolicy",
            json!("Retain"),
        ),
        (
            "/api/v1/namespaces/default/limitranges",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]}}),
            "/spec/limits/0/defaultRequest",
            json!({"cpu": "2"}),
        ),
        ("/api/v1/namespaces/default/resourcequotas", json!({"spec": {"hard": {"pods": "4"}}}), "/status", json!({})),
        (
            "/api/v1/namespaces/default/podtemplates",
            json!({"template": spec["template"]}),
            "/template/spec/dnsPolicy",
            json!("ClusterFirst"),
        ),
        (
            "/api/v1/namespaces/default/replicationcontrollers",
            json!({"spec": {"template": spec["template"]}}),
            "/spec/selector",
            json!({"app": "x"}),
        ),
    ] {
        let mut object = object;
        object["metadata"] = json!({"name": "x"});
        let made = f.post(path, object).await;
        assert_eq!(made.code, 201, "{path} {}", made.body);
        assert_eq!(made.body.pointer(pointer), Some(&wanted), "{path} {}", made.body);
        let read = f.get(&format!("{path}/x")).await.ok();
        assert_eq!(read, made.body);
        // An update with what was read changes nothing.
        assert_eq!(f.put(&format!("{path}/x"), &read).await.ok(), read, "{path}");
        let table = f.fetch(path, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
        assert_eq!(table.status(), 200);
        assert_eq!(f.delete(&format!("{path}/x"), json!({})).await.code, 200);
    }
}

#[tokio::test]
async fn row_14_two_views_of_an_autoscaler() {
    let f = Fixture::new().await;
    let (old, new) = (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    );
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    f.post(old, json!({"metadata": {"name": "a"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}})).await.ok();
    let seen = f.get(&format!("{new}/a")).await.ok();
    assert_eq!(seen["apiVersion"], "autoscaling/v2");
    assert_eq!(
        seen["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}])
    );
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
    ]);
    f.merge(
        &format!("{new}/a"),
        json!({"spec": {"metrics": metrics, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}}),
    )
    .await
    .ok();
    let seen = f.get(&format!("{old}/a")).await.ok();
    assert_eq!(seen["spec"]["targetCPUUtilizationPercentage"], 60);
    let notes = &seen["metadata"]["annotations"];
    assert_eq!(
        notes["autoscaling.alpha.kubernetes.io/metrics"],
        "[{\"pods\":{\"metricName\":\"hits\",\"targetAverageValue\":\"10\"},\"type\":\"Pods\"}]"
    );
    // What the old view cannot show survives its writes.
    f.merge(&format!("{old}/a"), json!({"spec": {"maxReplicas": 5}})).await.ok();
    let seen = f.get(&format!("{new}/a")).await.ok();
    assert_eq!((&seen["spec"]["maxReplicas"], &seen["spec"]["metrics"]), (&json!(5), &metrics));
    assert_eq!(seen["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 60);
    assert_eq!(seen["metadata"].get("annotations"), None);
}

#[tokio::test]
async fn row_14_warnings_of_deprecated_fields() {
    let f = Fixture::new().await;
    let mut wanted = pod("a");
    wanted["spec"]["nodeSelector"] = json!({"beta.kubernetes.io/os": "linux"});
    let made = f.post(PODS, wanted).await;
    assert_eq!(made.code, 201);
    assert_eq!(
        made.headers["warning"],
        "299 - \"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\\"kubernetes.io/os\\\" instead\""
    );
}
