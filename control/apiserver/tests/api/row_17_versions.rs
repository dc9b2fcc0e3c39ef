//! Owners of fields at other versions of a kind.

use crate::fixture::*;
use crate::row_17::apply;
use crate::row_33::{BETA, CRONTABS, DEFINITIONS, convert, crontab, definition, establish, two_versions};
use crate::webhook_server::Webhook;
use serde_json::{Value, json};

/// `manager version` to the fields below `spec`.
fn owners(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let named = entries.iter().filter(|entry| entry["subresource"].is_null()).map(|entry| {
        let version = text(entry, "apiVersion").rsplit('/').next().unwrap_or_default().to_owned();
        (format!("{} {version}", text(entry, "manager")), entry["fieldsV1"]["f:spec"].clone())
    });
    named.collect::<serde_json::Map<_, _>>().into()
}

fn beta(spec: Value) -> Value {
    let mut object = crontab("a", spec);
    object["apiVersion"] = "stable.example.com/v1beta1".into();
    object
}

#[tokio::test]
async fn row_17_a_webhook_converts_what_others_own() {
    let f = Fixture::new().await;
    let webhook = Webhook::raw(convert).await;
    let config = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": webhook.url, "caBundle": webhook.ca_bundle}}});
    establish(&f, two_versions(config)).await;
    let (old, new) = (format!("{BETA}/a"), format!("{CRONTABS}/a"));
    apply(&f, &old, "fieldManager=old", beta(json!({"hostPort": "h:1"}))).await.ok();
    let (code, _, message) =
        apply(&f, &new, "fieldManager=new", crontab("a", json!({"host": "h", "port": "2"}))).await.refused();
    assert_eq!((code, message.as_str()), (409, "Apply failed with 1 conflict: conflict with \"old\": .spec.hostPort"));
    // The same values are everybody's.
    let both = apply(&f, &new, "fieldManager=new", crontab("a", json!({"host": "h", "port": "1"}))).await.ok();
    assert_eq!(owners(&both), json!({"old v1beta1": {"f:hostPort": {}}, "new v1": {"f:host": {}, "f:port": {}}}));
    // An update in one version takes what it changes in the other.
    let after = f.merge(&format!("{new}?fieldManager=hand"), json!({"spec": {"port": "3"}})).await.ok();
    assert_eq!(owners(&after), json!({"new v1": {"f:host": {}}, "hand v1": {"f:port": {}}}));
    // An applier that goes on in the other version gives up what it applied before.
    let moved = apply(&f, &old, "fieldManager=new&force=true", beta(json!({"hostPort": "h:4"}))).await.ok();
    assert_eq!(moved["spec"], json!({"hostPort": "h:4"}));
    assert_eq!(owners(&moved), json!({"new v1beta1": {"f:hostPort": {}}}));
}

#[tokio::test]
async fn row_17_versions_of_one_form_share_their_fields() {
    let f = Fixture::new().await;
    let mut both = two_versions(json!({"strategy": "None"}));
    both["spec"]["versions"][1]["schema"] = both["spec"]["versions"][0]["schema"].clone();
    establish(&f, both).await;
    let (old, new) = (format!("{BETA}/a"), format!("{CRONTABS}/a"));
    apply(&f, &old, "fieldManager=m", beta(json!({"host": "h", "port": "1"}))).await.ok();
    let after = apply(&f, &new, "fieldManager=m", crontab("a", json!({"host": "h"}))).await.ok();
    assert_eq!(after["spec"], json!({"host": "h"}));
    assert_eq!(owners(&after), json!({"m v1": {"f:host": {}}}));
    let changed = f.merge(&format!("{old}?fieldManager=hand"), json!({"spec": {"host": "i"}})).await.ok();
    assert_eq!(owners(&changed), json!({"hand v1beta1": {"f:host": {}}}));
    // Of a built-in kind.
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a");
    let scaler = |version: &str, most: i64| {
        json!({"apiVersion": format!("autoscaling/{version}"),
        "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": {"maxReplicas": most,
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
    };
    apply(&f, &path("v1"), "fieldManager=old", scaler("v1", 3)).await.ok();
    let (code, _, message) = apply(&f, &path("v2"), "fieldManager=new", scaler("v2", 4)).await.refused();
    assert_eq!(
        (code, message.as_str()),
        (409, "Apply failed with 1 conflict: conflict with \"old\": .spec.maxReplicas")
    );
    let after = apply(&f, &path("v2"), "fieldManager=new&force=true", scaler("v2", 4)).await.ok();
    assert_eq!(owners(&after)["old v1"].get("f:maxReplicas"), None, "{after}");
}

#[tokio::test]
async fn row_17_a_list_that_becomes_one_piece_is_owned_whole() {
    let f = Fixture::new().await;
    let list = |kind: &str| {
        json!({"type": "object", "properties": {"x": {"type": "string"}, "hosts": {"type": "array", "x-kubernetes-list-type": kind,
            "items": {"type": "string"}}}})
    };
    establish(&f, definition(list("set"))).await;
    let path = format!("{CRONTABS}/a");
    let made = apply(&f, &path, "fieldManager=m", crontab("a", json!({"hosts": ["a", "b"]}))).await.ok();
    assert_eq!(owners(&made)["m v1"], json!({"f:hosts": {"v:\"a\"": {}, "v:\"b\"": {}}}));
    let definition_path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let versions = definition(list("atomic"))["spec"]["versions"].clone();
    f.merge(&definition_path, json!({"spec": {"versions": versions}})).await.ok();
    // Definitions are followed: the schema of another moment may still be in use.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    for write in 0.. {
        let change = json!({"spec": {"x": write.to_string()}});
        let after = f.merge(&format!("{path}?fieldManager=n"), change).await.ok();
        if owners(&after)["m v1"] == json!({"f:hosts": {}}) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{after}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (code, ..) = apply(&f, &path, "fieldManager=o", crontab("a", json!({"hosts": ["c"]}))).await.refused();
    assert_eq!(code, 409);
}
