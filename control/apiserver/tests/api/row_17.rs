//! Server-side apply.

use crate::fixture::*;
use serde_json::{Value, json};

pub const APPLY: &str = "application/apply-patch+yaml";

pub async fn apply(f: &Fixture, path: &str, query: &str, body: Value) -> Answer {
    f.call("PATCH", &format!("{path}?{query}"), Some(APPLY), body.to_string()).await
}

fn web(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": {"app": "a"}}, "spec": spec})
}

fn full(replicas: i64) -> Value {
    let mut object = web(deployment("a")["spec"].clone());
    object["spec"]["replicas"] = replicas.into();
    object
}

#[tokio::test]
async fn row_17_apply_creates_then_keeps() {
    let f = Fixture::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    let made = apply(&f, &path, "fieldManager=m", full(2)).await;
    assert_eq!(made.code, 201);
    let entry = &made.body["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"], &entry["apiVersion"], &entry["fieldsType"]),
        (&json!("m"), &json!("Apply"), &json!("apps/v1"), &json!("FieldsV1"))
    );
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}})
    );
    let again = apply(&f, &path, "fieldManager=m", full(2)).await;
    assert_eq!((again.code, &again.body), (200, &made.body));
    let dry = apply(&f, &path, "fieldManager=m&dryRun=All", full(3)).await.ok();
    assert_eq!(dry["spec"]["replicas"], 3);
    assert_eq!(f.get(&path).await.ok(), made.body);
}

#[tokio::test]
async fn row_17_conflicts() {
    let f = Fixture::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    f.post(&format!("{DEPLOYMENTS}?fieldManager=maker"), deployment("a")).await.ok();
    let answer = apply(&f, &path, "fieldManager=m", full(3)).await;
    assert_eq!(answer.code, 409);
    assert_eq!(
        answer.body["message"],
        "Apply failed with 1 conflict: conflict with \"maker\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        answer.body["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"maker\" using apps/v1", "field": ".spec.replicas"}])
    );
    let forced = apply(&f, &path, "fieldManager=m&force=true", full(3)).await.ok();
    assert_eq!(forced["spec"]["replicas"], 3);
    let lost =
        forced["metadata"]["managedFields"].as_array().unwrap().iter().find(|e| e["manager"] == "maker").unwrap();
    assert_eq!(lost["fieldsV1"]["f:spec"].get("f:replicas"), None);
    let mut two = full(5);
    two["spec"]["template"]["spec"]["containers"][0]["image"] = "j".into();
    let (_, _, message) = apply(&f, &path, "fieldManager=n", two).await.refused();
    assert_eq!(
        message,
        "Apply failed with 3 conflicts: conflicts with \"m\":\n- .spec.replicas\n- .spec.template.spec.containers[name=\"c\"].image\nconflicts with \"maker\" using apps/v1:\n- .spec.template.spec.containers[name=\"c\"].image"
    );
}

#[tokio::test]
async fn row_17_what_is_not_applied_any_more_goes() {
    let f = Fixture::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    let mut first = full(2);
    first["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "s", "image": "s", "ports": [{"containerPort": 80}]}));
    first["metadata"]["annotations"] = json!({"x": "1"});
    apply(&f, &path, "fieldManager=m", first).await.ok();
    f.merge(&format!("{path}?fieldManager=other"), json!({"metadata": {"annotations": {"y": "2"}}})).await.ok();
    let next = apply(&f, &path, "fieldManager=m", full(2)).await.ok();
    assert_eq!(next["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(next["metadata"]["annotations"], json!({"y": "2"}));
    // Two appliers own the replicas; the field stays until neither applies it.
    let both = web(json!({"replicas": 2}));
    apply(&f, &path, "fieldManager=n", both).await.ok();
    let mut without = full(2);
    without["spec"].as_object_mut().unwrap().remove("replicas");
    let left = apply(&f, &path, "fieldManager=m", without.clone()).await.ok();
    assert_eq!(left["spec"]["replicas"], 2);
    let gone = apply(
        &f,
        &path,
        "fieldManager=n",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}),
    )
    .await
    .ok();
    assert_eq!(gone["spec"]["replicas"], 1, "the default");
    assert!(gone["metadata"]["managedFields"].as_array().unwrap().iter().all(|e| e["manager"] != "n"));
}

#[tokio::test]
async fn row_17_status_has_its_own_appliers() {
    let f = Fixture::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    let mut object = full(2);
    object["status"] = json!({"replicas": 7});
    let made = apply(&f, &path, "fieldManager=m", object).await.ok();
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"].get("f:status"), None);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 9},
        "status": {"conditions": [{"type": "Available", "status": "True"}]}});
    let after = apply(&f, &format!("{path}/status"), "fieldManager=m", status).await.ok();
    assert_eq!(after["spec"]["replicas"], 2);
    let entry =
        after["metadata"]["managedFields"].as_array().unwrap().iter().find(|e| e["subresource"] == "status").unwrap();
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:status": {"f:conditions": {"k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
    );
    assert_eq!(
        apply(
            &f,
            &format!("{DEPLOYMENTS}/none/status"),
            "fieldManager=m",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "none"}})
        )
        .await
        .code,
        404
    );
}

#[tokio::test]
async fn row_17_refusals() {
    let f = Fixture::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    let message = |answer: Answer| {
        let (code, _, message) = answer.refused();
        (code, message)
    };
    let none = f.call("PATCH", &path, Some(APPLY), full(2).to_string()).await;
    assert_eq!(
        message(none),
        (
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
                .to_owned()
        )
    );
    let mut managed = full(2);
    managed["metadata"]["managedFields"] = json!([]);
    assert_eq!(
        message(apply(&f, &path, "fieldManager=m", managed).await),
        (400, "metadata.managedFields must be nil".to_owned())
    );
    let mut other = full(2);
    other["apiVersion"] = "apps/v2".into();
    assert_eq!(
        message(apply(&f, &path, "fieldManager=m", other).await),
        (400, "invalid object type: apps/v2, Kind=Deployment".to_owned())
    );
    let mut unknown = full(2);
    unknown["spec"]["foo"] = 1.into();
    assert_eq!(
        message(apply(&f, &path, "fieldManager=m", unknown).await),
        (400, "failed to create typed patch object (default/a; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema".to_owned())
    );
    let mut uid = full(2);
    uid["metadata"]["uid"] = "u".into();
    assert_eq!(
        message(apply(&f, &path, "fieldManager=m", uid).await),
        (409, "Operation cannot be fulfilled on deployments.apps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found".to_owned())
    );
    assert_eq!(f.call("PATCH", &format!("{path}?fieldManager=m"), Some(APPLY), "a: [").await.code, 400);
    assert_eq!(f.call("PATCH", &format!("{path}?fieldManager=m"), Some(APPLY), "- a").await.code, 400);
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n  x: '2'\n";
    let strict = f.call("PATCH", &format!("{MAPS}/a?fieldManager=m&fieldValidation=Strict"), Some(APPLY), twice).await;
    assert_eq!(
        message(strict),
        (400, "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"x\" already set in map".to_owned())
    );
}

#[tokio::test]
async fn row_17_from_client_side_apply() {
    let f = Fixture::new().await;
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "data": {"x": "1"}});
    let mut object = config.clone();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = config.to_string().into();
    f.post(&format!("{MAPS}?fieldManager=kubectl-client-side-apply"), object).await.ok();
    let path = format!("{MAPS}/a");
    let mut next = config.clone();
    next["data"]["x"] = "2".into();
    assert_eq!(apply(&f, &path, "fieldManager=helm", next.clone()).await.code, 409);
    let after = apply(&f, &path, "fieldManager=kubectl", next).await.ok();
    assert_eq!(after["data"]["x"], "2");
    // As kubectl goes on: the list is rewritten by a JSON patch that names the version.
    let list = json!([{"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:x": {}}}}]);
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": list},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": after["metadata"]["resourceVersion"]}]);
    let migrated = f.call("PATCH", &path, Some("application/json-patch+json"), patch.to_string()).await.ok();
    assert_eq!(migrated["metadata"]["managedFields"], list);
    let emptied = apply(
        &f,
        &path,
        "fieldManager=kubectl",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
    )
    .await
    .ok();
    assert_eq!(emptied.get("data"), None);
}

/// Who owns `.spec.replicas`: manager, operation and subresource.
fn scalers(object: &Value) -> Vec<String> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let owners = entries.filter(|entry| entry["fieldsV1"]["f:spec"].get("f:replicas").is_some());
    let mut named: Vec<String> = owners
        .map(|entry| {
            assert!(!text(entry, "time").is_empty() && text(entry, "apiVersion") != "autoscaling/v1", "{entry}");
            format!("{} {} {}", text(entry, "manager"), text(entry, "operation"), text(entry, "subresource"))
        })
        .collect();
    named.sort();
    named
}

fn scale(replicas: i64) -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a", "namespace": "default"},
        "spec": {"replicas": replicas}})
}

#[tokio::test]
async fn row_17_replicas_are_owned_through_scale() {
    let f = Fixture::new().await;
    let template = deployment("a")["spec"]["template"].clone();
    for (path, version, kind, selector) in [
        (DEPLOYMENTS, "apps/v1", "Deployment", json!({"matchLabels": {"app": "a"}})),
        (
            "/apis/apps/v1/namespaces/default/statefulsets",
            "apps/v1",
            "StatefulSet",
            json!({"matchLabels": {"app": "a"}}),
        ),
        ("/apis/apps/v1/namespaces/default/replicasets", "apps/v1", "ReplicaSet", json!({"matchLabels": {"app": "a"}})),
        ("/api/v1/namespaces/default/replicationcontrollers", "v1", "ReplicationController", json!({"app": "a"})),
    ] {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"},
            "spec": {"replicas": 1, "selector": selector, "template": template}});
        let path = format!("{path}/a");
        let scaled = format!("{path}/scale");
        let now = async || {
            let object = f.get(&path).await.ok();
            (object["spec"]["replicas"].as_i64().unwrap(), scalers(&object))
        };
        let made = apply(&f, &path, "fieldManager=whole", object.clone()).await.ok();
        assert_eq!(scalers(&made), ["whole Apply "], "{kind}");
        f.merge(&format!("{scaled}?fieldManager=hand"), json!({"spec": {"replicas": 5}})).await.ok();
        assert_eq!(now().await, (5, vec!["hand Update scale".to_owned()]), "{kind}");
        assert_eq!(apply(&f, &path, "fieldManager=whole", object.clone()).await.code, 409);
        apply(&f, &path, "fieldManager=whole&force=true", object.clone()).await.ok();
        assert_eq!(now().await, (1, vec!["whole Apply ".to_owned()]));
        let (code, _, message) = apply(&f, &scaled, "fieldManager=part", scale(17)).await.refused();
        assert_eq!((code, message.contains("\"whole\": .spec.replicas")), (409, true), "{message}");
        let answer = apply(&f, &scaled, "fieldManager=part&force=true", scale(17)).await.ok();
        assert_eq!((&answer["kind"], &answer["spec"]["replicas"]), (&json!("Scale"), &json!(17)));
        assert_eq!(now().await, (17, vec!["part Apply scale".to_owned()]));
        f.put(&format!("{scaled}?fieldManager=other"), &scale(7)).await.ok();
        assert_eq!(now().await, (7, vec!["other Update scale".to_owned()]));
        apply(&f, &scaled, "fieldManager=part", scale(7)).await.ok();
        assert_eq!(now().await, (7, vec!["other Update scale".to_owned(), "part Apply scale".to_owned()]));
        f.merge(&format!("{scaled}?fieldManager=hand"), json!({"status": {"replicas": 42}})).await.ok();
        assert_eq!(now().await.0, 7);
        f.merge(&format!("{scaled}?fieldManager=hand"), json!({"spec": {"replicas": 5}})).await.ok();
        assert_eq!(now().await, (5, vec!["hand Update scale".to_owned()]));
    }
    let (code, _, message) = apply(&f, &format!("{DEPLOYMENTS}/a/scale"), "fieldManager=m", full(2)).await.refused();
    assert_eq!((code, message.as_str()), (400, "invalid object type: apps/v1, Kind=Deployment"));
}

#[tokio::test]
async fn row_17_lists_that_are_none_change_nothing() {
    let f = Fixture::new().await;
    let made = f.post(&format!("{MAPS}?fieldManager=maker"), config_map("a", json!({}))).await.ok();
    let path = format!("{MAPS}/a");
    let entry = |change: fn(&mut Value)| {
        let mut entry = made["metadata"]["managedFields"][0].clone();
        change(&mut entry);
        entry
    };
    for wrong in [
        entry(|entry| drop(entry.as_object_mut().unwrap().remove("apiVersion"))),
        entry(|entry| drop(entry.as_object_mut().unwrap().remove("fieldsType"))),
        entry(|entry| entry["operation"] = "Guess".into()),
        entry(|entry| entry["fieldsType"] = "FieldsV2".into()),
        entry(|entry| entry["fieldsV1"] = json!({"what": {}})),
    ] {
        let after = f.merge(&path, json!({"metadata": {"managedFields": [wrong]}})).await.ok();
        assert_eq!(after["metadata"]["managedFields"], made["metadata"]["managedFields"], "{wrong}");
    }
    let after = f.merge(&path, json!({"metadata": {"managedFields": null}})).await.ok();
    assert_eq!(after["metadata"]["managedFields"], made["metadata"]["managedFields"]);
    let given = entry(|entry| {
        entry["manager"] = "z".into();
        entry["time"] = "2026-01-01T01:00:00.5+01:00".into();
    });
    let early = entry(|entry| entry["operation"] = "Apply".into());
    let after = f.merge(&path, json!({"metadata": {"managedFields": [given, early]}})).await.ok();
    let told = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|entry| json!([entry["manager"], entry["operation"]])).collect()
    };
    assert_eq!(told(&after["metadata"]["managedFields"]), [json!(["maker", "Apply"]), json!(["z", "Update"])]);
    assert_eq!(after["metadata"]["managedFields"][1]["time"], "2026-01-01T00:00:00Z");
    for reset in [json!([]), json!([{}])] {
        let mut object = f.get(&path).await.ok();
        object["metadata"]["managedFields"] = reset;
        let after = f.put(&format!("{path}?fieldManager=x"), &object).await.ok();
        assert_eq!(after["metadata"].get("managedFields"), None);
    }
}
