use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn a_pod_gets_an_account_a_token_and_tolerations() {
    let f = Fixture::new().await;
    let made = f.post(PODS, pod("a")).await.ok();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    let volume = made["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    let keys: Vec<&str> =
        made["spec"]["tolerations"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    assert_eq!((&made["spec"]["priority"], &made["status"]["phase"]), (&json!(0), &json!("Pending")));
    let mut other = pod("b");
    other["spec"]["serviceAccountName"] = json!("nobody");
    assert_eq!(
        f.post(PODS, other).await.refused(),
        (
            403,
            "Forbidden".into(),
            "pods \"b\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found".into()
        )
    );
    let mut classy = pod("c");
    classy["spec"]["priorityClassName"] = json!("gold");
    assert_eq!(f.post(PODS, classy).await.code, 403);
}

#[tokio::test]
async fn an_account_may_refuse_the_token() {
    let f = Fixture::new().await;
    let account = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "s"}]});
    f.post("/api/v1/namespaces/default/serviceaccounts", account).await.ok();
    let mut quiet = pod("a");
    quiet["spec"]["serviceAccountName"] = json!("quiet");
    let made = f.post(PODS, quiet).await.ok();
    assert_eq!(made["spec"].get("volumes"), None);
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let f = Fixture::new().await;
    let made = f.post(PODS, pod("a")).await.ok();
    let binding = |uid: &str| json!({"metadata": {"name": "a", "uid": uid}, "target": {"kind": "Node", "name": "n1"}});
    let path = format!("{PODS}/a/binding");
    assert_eq!(f.post(&path, binding("other")).await.code, 409);
    assert_eq!(f.post(&path, binding(made["metadata"]["uid"].as_str().unwrap())).await.code, 201);
    let bound = f.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(
        (&bound["status"]["conditions"][0]["type"], &bound["status"]["conditions"][0]["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );
    let (code, _, message) = f.post(&path, binding("")).await.refused();
    assert_eq!(code, 409);
    assert!(message.contains("pod a is already assigned to node \"n1\""), "{message}");
    assert_eq!(f.post(&path, json!({"target": {"kind": "Node"}})).await.code, 422);
    let selected = f.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1,status.phase%3DPending")).await.ok();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn conditions_merge_by_type() {
    let f = Fixture::new().await;
    f.post(PODS, pod("a")).await.ok();
    let path = format!("{PODS}/a/status");
    let kind = Some("application/strategic-merge-patch+json");
    for (condition, value) in [("Ready", "False"), ("Initialized", "True"), ("Ready", "True")] {
        let patch = json!({"status": {"phase": "Running", "conditions": [{"type": condition, "status": value}]}, "spec": {"nodeName": "x"}});
        f.call("PATCH", &path, kind, patch.to_string()).await.ok();
    }
    let after = f.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(after["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(after["spec"].get("nodeName"), None);
}

#[tokio::test]
async fn a_log_needs_a_container_and_a_node() {
    let f = Fixture::new().await;
    let mut two = pod("a");
    two["spec"]["containers"] = json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]);
    f.post(PODS, two).await.ok();
    let (code, _, message) = f.get(&format!("{PODS}/a/log")).await.refused();
    assert_eq!((code, message.as_str()), (400, "a container name must be specified for pod a, choose one of: [c d]"));
    let (_, _, message) = f.get(&format!("{PODS}/a/log?container=z")).await.refused();
    assert_eq!(message, "container z is not valid for pod a");
    assert_eq!(f.get(&format!("{PODS}/a/log?container=c")).await.ok(), "");
    let (code, _, message) = f.get(&format!("{PODS}/a/exec?container=c&command=ls")).await.refused();
    assert_eq!((code, message.as_str()), (400, "pod a does not have a host assigned"));
    assert_eq!(f.get(&format!("{PODS}/a/log?container=c&tailLines=-1")).await.code, 422);
}
