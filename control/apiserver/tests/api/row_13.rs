//! Field selectors, kind by kind.

use crate::fixture::*;
use serde_json::{Value, json};

async fn names(f: &Fixture, path: &str, selector: &str) -> Vec<String> {
    let list = f.get(&format!("{path}?fieldSelector={}", selector.replace('=', "%3D").replace(',', "%2C"))).await.ok();
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn row_13_field_selectors_of_pods() {
    let f = Fixture::new().await;
    for (name, change) in [
        ("a", json!({"restartPolicy": "Never", "schedulerName": "mine"})),
        ("b", json!({"hostNetwork": true, "nodeName": "n1"})),
    ] {
        let mut wanted = pod(name);
        wanted["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        f.post(PODS, wanted).await.ok();
    }
    let status = json!({"status": {"phase": "Running", "podIP": "10.0.0.9", "nominatedNodeName": "n7"}});
    f.merge(&format!("{PODS}/b/status"), status).await.ok();
    for (selector, wanted) in [
        ("metadata.name=a", vec!["a"]),
        ("metadata.namespace=default", vec!["a", "b"]),
        ("metadata.namespace=other", vec![]),
        ("spec.nodeName=n1", vec!["b"]),
        ("spec.nodeName=", vec!["a"]),
        ("spec.nodeName!=", vec!["b"]),
        ("status.phase=Running", vec!["b"]),
        ("status.phase!=Running,metadata.name!=x", vec!["a"]),
        ("status.podIP=10.0.0.9", vec!["b"]),
        ("status.podIPs=10.0.0.9", vec!["b"]),
        ("spec.restartPolicy=Never", vec!["a"]),
        ("spec.schedulerName=mine", vec!["a"]),
        ("spec.serviceAccountName=default", vec!["a", "b"]),
        ("spec.hostNetwork=true", vec!["b"]),
        ("status.nominatedNodeName=n7", vec!["b"]),
    ] {
        assert_eq!(names(&f, PODS, selector).await, wanted, "{selector}");
    }
    let (code, reason, message) = f.get(&format!("{PODS}?fieldSelector=spec.foo%3Dx")).await.refused();
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert!(message.ends_with("field label not supported: spec.foo"), "{message}");
}

#[tokio::test]
async fn row_13_field_selectors_of_other_kinds() {
    let f = Fixture::new().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    f.post(secrets, json!({"metadata": {"name": "s"}, "type": "example.com/x"})).await.ok();
    assert_eq!(names(&f, secrets, "type=example.com/x").await, ["s"]);
    assert!(names(&f, secrets, "type=Opaque").await.is_empty());
    f.post("/api/v1/nodes", json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true}})).await.ok();
    assert_eq!(names(&f, "/api/v1/nodes", "spec.unschedulable=true").await, ["n"]);
    assert!(names(&f, "/api/v1/namespaces", "status.phase=Active").await.contains(&"default".to_owned()));
    let template = deployment("x")["spec"]["template"].clone();
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let mut own = template.clone();
    own["spec"]["restartPolicy"] = json!("Never");
    f.post(jobs, json!({"metadata": {"name": "j"}, "spec": {"template": own}})).await.ok();
    assert_eq!(names(&f, jobs, "status.successful=0").await, ["j"]);
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    f.post(controllers, json!({"metadata": {"name": "c"}, "spec": {"template": template.clone()}})).await.ok();
    assert_eq!(names(&f, controllers, "status.replicas=0").await, ["c"]);
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    f.post(sets, deployment("r")).await.ok();
    assert_eq!(names(&f, sets, "status.replicas=0").await, ["r"]);
    let events = "/api/v1/namespaces/default/events";
    let event: Value = json!({
        "metadata": {"name": "e"}, "reason": "Why", "type": "Warning", "reportingComponent": "me", "source": {"component": "it"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u", "apiVersion": "v1", "resourceVersion": "7", "fieldPath": "spec.x"},
    });
    f.post(events, event).await.ok();
    for selector in [
        "involvedObject.kind=Pod",
        "involvedObject.namespace=default",
        "involvedObject.name=p",
        "involvedObject.uid=u",
        "involvedObject.apiVersion=v1",
        "involvedObject.resourceVersion=7",
        "involvedObject.fieldPath=spec.x",
        "reason=Why",
        "reportingComponent=me",
        "source=it",
        "type=Warning",
    ] {
        assert_eq!(names(&f, events, selector).await, ["e"], "{selector}");
        assert!(names(&f, events, &selector.replace('=', "!=")).await.is_empty(), "{selector}");
    }
    for (path, label) in [
        (DEPLOYMENTS, "spec.replicas"),
        (MAPS, "data.x"),
        ("/apis/batch/v1/namespaces/default/cronjobs", "spec.schedule"),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", "spec.x"),
    ] {
        let (code, _, message) = f.get(&format!("{path}?fieldSelector={label}%3Dx")).await.refused();
        assert_eq!(code, 400);
        assert!(message.ends_with(&format!("field label not supported: {label}")), "{message}");
    }
}
