use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn an_object_gets_an_identity_and_a_life() {
    let f = Fixture::new().await;
    let made = f.post(MAPS, config_map("a", json!({"l": "1"}))).await;
    assert_eq!(made.code, 201);
    let made = made.body;
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(made["metadata"][field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    assert_eq!((made["kind"].as_str(), made["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(f.get(&format!("{MAPS}/a")).await.ok(), made);
    assert_eq!(
        f.post(MAPS, config_map("a", json!({}))).await.refused(),
        (409, "AlreadyExists".into(), "configmaps \"a\" already exists".into())
    );
    let gone = f.delete(&format!("{MAPS}/a"), json!({})).await;
    assert_eq!((gone.code, gone.body["status"].as_str()), (200, Some("Success")));
    assert_eq!(gone.body["details"]["uid"], made["metadata"]["uid"]);
    assert_eq!(
        f.get(&format!("{MAPS}/a")).await.refused(),
        (404, "NotFound".into(), "configmaps \"a\" not found".into())
    );
}

#[tokio::test]
async fn names_are_generated() {
    let f = Fixture::new().await;
    let made = f.post(MAPS, json!({"metadata": {"generateName": "a-"}})).await.ok();
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    let (code, reason, message) = f.post(MAPS, json!({"metadata": {}})).await.refused();
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(message.contains("metadata.name: Required value: name or generateName is required"), "{message}");
}

#[tokio::test]
async fn an_update_needs_the_latest_version_if_it_names_one() {
    let f = Fixture::new().await;
    let path = format!("{MAPS}/a");
    let first = f.post(MAPS, config_map("a", json!({}))).await.ok();
    let mut second = first.clone();
    second["data"]["k"] = json!("w");
    let second = f.put(&path, &second).await.ok();
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let (code, reason, message) = f.put(&path, &first).await.refused();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let mut unversioned = first.clone();
    unversioned["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(f.put(&path, &unversioned).await.ok()["data"]["k"], "v");
    let mut other = unversioned.clone();
    other["metadata"]["uid"] = json!("another");
    let (code, _, message) = f.put(&path, &other).await.refused();
    assert_eq!(code, 409);
    assert!(message.contains("Precondition failed: UID in precondition: another"), "{message}");
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_revision() {
    let f = Fixture::new().await;
    let made = f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let revision = f.store.revision();
    let path = format!("{DEPLOYMENTS}/a");
    assert_eq!(f.put(&path, &made).await.ok(), made);
    assert_eq!(f.merge(&path, json!({"spec": {"replicas": 2}})).await.ok(), made);
    assert_eq!(f.store.revision(), revision);
}

#[tokio::test]
async fn the_generation_counts_changes_of_the_spec_alone() {
    let f = Fixture::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    assert_eq!(f.post(DEPLOYMENTS, deployment("a")).await.ok()["metadata"]["generation"], 1);
    assert_eq!(f.merge(&path, json!({"metadata": {"labels": {"x": "y"}}})).await.ok()["metadata"]["generation"], 1);
    assert_eq!(f.merge(&path, json!({"spec": {"replicas": 3}})).await.ok()["metadata"]["generation"], 2);
    let status = json!({"status": {"replicas": 1, "observedGeneration": 2}, "spec": {"replicas": 9}});
    let after = f.merge(&format!("{path}/status"), status).await.ok();
    assert_eq!((&after["metadata"]["generation"], &after["spec"]["replicas"]), (&json!(2), &json!(3)));
    assert_eq!(after["status"]["replicas"], 1);
    let mut whole = after.clone();
    whole["status"] = json!({});
    whole["metadata"]["labels"]["x"] = json!("z");
    assert_eq!(f.put(&path, &whole).await.ok()["status"], after["status"]);
}

#[tokio::test]
async fn unknown_fields_are_ignored_told_or_refused() {
    let f = Fixture::new().await;
    let body = r#"{"metadata":{"name":"a"},"data":{"k":"v"},"foo":1,"data":{"k":"w"}}"#;
    let post = async |validation: &str| {
        f.call("POST", &format!("{MAPS}?dryRun=All&fieldValidation={validation}"), Some("application/json"), body).await
    };
    let warned = post("Warn").await;
    let told: Vec<&str> = warned.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(told, ["299 - \"unknown field \\\"foo\\\"\"", "299 - \"duplicate field \\\"data\\\"\""]);
    assert_eq!(warned.ok()["data"], json!({"k": "w"}));
    assert!(post("Ignore").await.headers.get("warning").is_none());
    let (code, reason, message) = post("Strict").await.refused();
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert_eq!(
        message,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\", \
         duplicate field \"data\""
    );
}

#[tokio::test]
async fn a_dry_run_answers_and_writes_nothing() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let revision = f.store.revision();
    assert_eq!(f.post(&format!("{MAPS}?dryRun=All"), config_map("b", json!({}))).await.code, 201);
    assert_eq!(f.post(&format!("{MAPS}?dryRun=All"), config_map("a", json!({}))).await.code, 409);
    let patched = f.merge(&format!("{MAPS}/a?dryRun=All"), json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(patched["data"]["k"], "w");
    f.delete(&format!("{MAPS}/a?dryRun=All"), json!({"dryRun": ["All"]})).await.ok();
    assert_eq!(f.store.revision(), revision);
    assert_eq!(f.post(&format!("{MAPS}?dryRun=Some"), config_map("c", json!({}))).await.code, 422);
}

#[tokio::test]
async fn scale_is_a_view_of_the_replicas() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let path = format!("{DEPLOYMENTS}/a/scale");
    let mut scale = f.get(&path).await.ok();
    assert_eq!((scale["kind"].as_str(), &scale["spec"]["replicas"]), (Some("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "app=a");
    scale["spec"]["replicas"] = json!(0);
    f.put(&path, &scale).await.ok();
    assert_eq!(f.get(&format!("{DEPLOYMENTS}/a")).await.ok()["spec"]["replicas"], 0);
    assert_eq!(f.put(&path, &scale).await.code, 409);
    f.merge(&path, json!({"spec": {"replicas": 7}})).await.ok();
    assert_eq!(f.get(&format!("{DEPLOYMENTS}/a")).await.ok()["metadata"]["generation"], 3);
    assert_eq!(f.merge(&path, json!({"spec": {"replicas": -1}})).await.code, 422);
}

#[tokio::test]
async fn concurrent_updates_are_all_counted() {
    let f = Fixture::new().await;
    f.post(MAPS, json!({"metadata": {"name": "a"}, "data": {}})).await.ok();
    let writes = (0..20).map(|index| {
        let client = f.admin.clone();
        let body = json!({"data": {index.to_string(): "x"}}).to_string();
        async move {
            call(&client, "PATCH", &format!("{MAPS}/a"), Some("application/merge-patch+json"), body).await.ok();
        }
    });
    futures::future::join_all(writes).await;
    assert_eq!(f.get(&format!("{MAPS}/a")).await.ok()["data"].as_object().unwrap().len(), 20);
}

#[tokio::test]
async fn an_update_creates_leases_and_not_config_maps() {
    let f = Fixture::new().await;
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 10}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_eq!(f.put(&format!("{leases}/a"), &lease).await.code, 201);
    assert_eq!(f.put(&format!("{MAPS}/a"), &config_map("a", json!({}))).await.code, 404);
}
