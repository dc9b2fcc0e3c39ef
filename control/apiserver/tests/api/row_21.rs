//! Row 21: what a delete may say, and what it answers.

use crate::fixture::*;
use serde_json::json;

#[tokio::test]
async fn row_21_options_are_checked() {
    let f = Fixture::new().await;
    let path = format!("{MAPS}/a");
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    let invalid = "DeleteOptions.meta.k8s.io \"\" is invalid";
    let unsafe_delete = "ignoreStoreReadErrorWithClusterBreakingPotential";
    for (options, message) in [
        (
            json!({"propagationPolicy": "Never"}),
            "propagationPolicy: Unsupported value: \"Never\": supported values: \"Background\", \"Foreground\", \
             \"Orphan\", \"nil\""
                .to_owned(),
        ),
        (
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"
                .to_owned(),
        ),
        (
            json!({unsafe_delete: true, "gracePeriodSeconds": 0}),
            format!("{unsafe_delete}: Invalid value: true: cannot be set together with .gracePeriodSeconds"),
        ),
    ] {
        let refused = f.delete(&path, options).await.refused();
        assert_eq!(refused, (422, "Invalid".to_owned(), format!("{invalid}: {message}")));
    }
}

#[tokio::test]
async fn row_21_preconditions_and_answers() {
    let f = Fixture::new().await;
    let path = format!("{MAPS}/a");
    let made = f.post(MAPS, config_map("a", json!({}))).await.ok();
    let (uid, version) =
        (made["metadata"]["uid"].as_str().unwrap(), made["metadata"]["resourceVersion"].as_str().unwrap());
    let prefix = "Operation cannot be fulfilled on ConfigMap \"a\": ";
    assert_eq!(
        f.delete(&path, json!({"preconditions": {"uid": "other"}})).await.refused(),
        (
            409,
            "Conflict".to_owned(),
            format!(
                "{prefix}the UID in the precondition (other) does not match the UID in record ({uid}). The object \
                 might have been deleted and then recreated"
            )
        )
    );
    assert_eq!(
        f.delete(&path, json!({"preconditions": {"resourceVersion": "1"}})).await.refused().2,
        format!(
            "{prefix}the ResourceVersion in the precondition (1) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        )
    );
    let dry = f.delete(&path, json!({"dryRun": ["All"]})).await.ok();
    assert_eq!(dry["status"], "Success");
    let gone = f.delete(&path, json!({"preconditions": {"uid": uid, "resourceVersion": version}})).await.ok();
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(gone["details"], json!({"name": "a", "kind": "configmaps", "uid": uid}));
}

#[tokio::test]
async fn row_21_a_jobs_pods_stay_unless_told_otherwise() {
    let f = Fixture::new().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    f.post(jobs, json!({"metadata": {"name": "j"}, "spec": {"template": template}})).await.ok();
    let marked = f.delete(&format!("{jobs}/j"), json!({})).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["orphan"]));
    let gone = f.delete(&format!("{jobs}/j"), json!({"propagationPolicy": "Background"})).await.ok();
    assert_eq!(gone["status"], "Success");
}

#[tokio::test]
async fn row_21_a_collection_by_selector_and_limit() {
    let f = Fixture::new().await;
    for name in ["a", "b", "c", "d"] {
        f.post(MAPS, config_map(name, json!({"l": if name == "d" { "2" } else { "1" }}))).await.ok();
    }
    let dry = f.delete(&format!("{MAPS}?labelSelector=l%3D1&dryRun=All"), json!({})).await.ok();
    assert_eq!(dry["items"].as_array().unwrap().len(), 3);
    let some = f.delete(&format!("{MAPS}?labelSelector=l%3D1&limit=2"), json!({})).await.ok();
    assert_eq!(some["items"].as_array().unwrap().len(), 2);
    let left = f.get(MAPS).await.ok();
    let names: Vec<&str> =
        left["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "d"]);
}
