//! Field validation: unknown and duplicate fields, ignored, told or refused.

use crate::fixture::*;

const BAD: &str = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "unknownMeta": "x"},
  "spec": {"unknown1": "val1", "unknownDupe": "valDupe", "unknownDupe": "valDupe2", "paused": true, "paused": false,
  "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}},
  "spec": {"containers": [{"name": "c", "image": "i", "unknownNested": 1, "imagePullPolicy": "Always", "imagePullPolicy": "Never"}]}}}}"#;

fn warnings(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("warning").iter().map(|v| v.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn row_19_strict_and_warn_in_json() {
    let f = Fixture::new().await;
    let strict = f.call("POST", &format!("{DEPLOYMENTS}?fieldValidation=Strict"), Some("application/json"), BAD).await;
    let (code, reason, message) = strict.refused();
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert_eq!(
        message,
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"metadata.unknownMeta\", unknown field \"spec.unknown1\", unknown field \"spec.unknownDupe\", duplicate field \"spec.paused\", unknown field \"spec.template.spec.containers[0].unknownNested\", duplicate field \"spec.template.spec.containers[0].imagePullPolicy\""
    );
    let told = f.call("POST", DEPLOYMENTS, Some("application/json"), BAD).await;
    assert_eq!(told.code, 201);
    assert_eq!(
        warnings(&told)[..2],
        ["299 - \"unknown field \\\"metadata.unknownMeta\\\"\"", "299 - \"unknown field \\\"spec.unknown1\\\"\""]
    );
    assert_eq!(warnings(&told).len(), 6);
    assert_eq!(told.body["spec"].get("unknown1"), None);
    f.delete(&format!("{DEPLOYMENTS}/a"), serde_json::json!({})).await.ok();
    let ignored = f.call("POST", &format!("{DEPLOYMENTS}?fieldValidation=Ignore"), Some("application/json"), BAD).await;
    assert_eq!((ignored.code, warnings(&ignored).len()), (201, 0));
    let put = f.call("PUT", &format!("{DEPLOYMENTS}/a?fieldValidation=Strict"), Some("application/json"), BAD).await;
    assert_eq!(put.code, 400);
}

#[tokio::test]
async fn row_19_yaml_tells_lines() {
    let f = Fixture::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: a\nfoo: 1\n";
    let (code, _, message) =
        f.call("POST", &format!("{MAPS}?fieldValidation=Strict"), Some("application/yaml"), yaml).await.refused();
    assert_eq!(code, 400);
    assert_eq!(
        message,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 5: key \"name\" already set in map, unknown field \"foo\""
    );
    let told = f.call("POST", MAPS, Some("application/yaml"), yaml).await;
    assert_eq!(
        warnings(&told),
        ["299 - \"line 5: key \\\"name\\\" already set in map\"", "299 - \"unknown field \\\"foo\\\"\""]
    );
}

#[tokio::test]
async fn row_19_patches_too() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("a")).await.ok();
    let path = format!("{DEPLOYMENTS}/a?fieldValidation=Strict");
    let body = r#"{"spec": {"unknown1": 1, "paused": true, "paused": false}}"#;
    for kind in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        let (code, _, message) = f.call("PATCH", &path, Some(kind), body).await.refused();
        assert_eq!(code, 422);
        assert!(
            message
                .ends_with("strict decoding error: duplicate field \"spec.paused\", unknown field \"spec.unknown1\""),
            "{message}"
        );
    }
    let operations = r#"[{"op": "add", "path": "/spec/foo", "value": 1, "foo": 1}, {"op": "add", "path": "/spec/bar", "path": "/spec/paused", "value": true}]"#;
    let (code, _, message) = f.call("PATCH", &path, Some("application/json-patch+json"), operations).await.refused();
    assert_eq!(code, 422);
    assert!(
        message.ends_with("strict decoding error: json patch unknown field \"[0].foo\", json patch duplicate field \"[1].path\", unknown field \"spec.foo\""),
        "{message}"
    );
    let told = f.call("PATCH", &format!("{DEPLOYMENTS}/a"), Some("application/merge-patch+json"), body).await;
    assert_eq!(
        warnings(&told),
        ["299 - \"duplicate field \\\"spec.paused\\\"\"", "299 - \"unknown field \\\"spec.unknown1\\\"\""]
    );
}
