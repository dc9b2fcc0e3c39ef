//! Bad input: a clear refusal and bounded work, never a panic or a 5xx.

use crate::fixture::*;
use proptest::prelude::*;
use serde_json::json;

#[tokio::test]
async fn bodies_that_are_none() {
    let f = Fixture::new().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(","));
    }
    let labels: String = (0..100_000).map(|index| format!("\"l{index}\":\"v\",")).collect();
    let many = format!("{{\"metadata\":{{\"name\":\"a\",\"labels\":{{{labels}\"z\":\"z\"}}}}}}");
    for (kind, body, want) in [
        ("application/json", String::new(), 400),
        ("application/json", "{".to_owned(), 400),
        ("application/json", "null".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        ("application/json", "\u{0}".to_owned(), 400),
        ("application/json", deep, 400),
        ("application/json", deep_object, 400),
        ("application/json", json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}).to_string(), 400),
        ("application/json", json!({"apiVersion": "v2", "metadata": {"name": "a"}}).to_string(), 400),
        ("application/json", json!({"metadata": {"name": 1}}).to_string(), 400),
        ("application/json", json!({"metadata": []}).to_string(), 400),
        ("application/json", json!({"metadata": {"name": "a"}, "data": {"k": 1}}).to_string(), 400),
        ("application/json", json!({"metadata": {"name": "a"}, "binaryData": {"k": "%%%"}}).to_string(), 400),
        ("application/json", json!({"metadata": {"name": "A B"}}).to_string(), 422),
        ("application/json", json!({"metadata": {"name": "a/b"}}).to_string(), 422),
        ("application/json", json!({"metadata": {"name": "a".repeat(300)}}).to_string(), 422),
        ("application/json", json!({"metadata": {"name": "a", "namespace": "other"}}).to_string(), 400),
        ("application/json", json!({"metadata": {"name": "a", "resourceVersion": "7"}}).to_string(), 400),
        ("application/json", "x".repeat(4 << 20), 413),
        ("application/yaml", bomb, 400),
        ("application/yaml", "a: [".to_owned(), 400),
        ("application/yaml", "- a".to_owned(), 400),
        ("application/xml", "<a/>".to_owned(), 415),
        ("application/vnd.kubernetes.protobuf", "k8s".to_owned(), 400),
        ("application/vnd.kubernetes.protobuf", "k8s\0\n\u{7f}\u{7f}".to_owned(), 400),
    ] {
        let answer = f.call("POST", MAPS, Some(kind), body.clone()).await;
        let (code, reason, message) = answer.refused();
        assert_eq!(code, want, "{kind} {}: {message}", &body.chars().take(60).collect::<String>());
        assert!(!reason.is_empty() && !message.is_empty());
    }
    assert!(f.call("POST", MAPS, Some("application/json"), many).await.code < 500);
}

#[tokio::test]
async fn paths_that_are_none() {
    let f = Fixture::new().await;
    for (path, want) in [
        ("/api/v1/namespaces/default/configmaps/a%2Fb", 400),
        ("/api/v1/namespaces/default%2F..%2Fkube-system/configmaps", 400),
        ("/api/v1/namespaces/../configmaps", 400),
        ("/api/v1//configmaps", 400),
        ("//api/v1/configmaps", 400),
        ("/api/v1/namespaces/default/configmaps/%00", 400),
        ("/api/v1/namespaces/default/configmaps/%c3%28", 400),
        ("/api/v1/namespaces/default/nodes", 404),
        ("/api/v1/configmaps/a", 404),
        ("/api/v2/configmaps", 404),
        ("/apis/apps/v1/namespaces/default/pods", 404),
        ("/api/v1/namespaces/default/configmaps/a/status", 404),
        ("/api/v1/namespaces/default/pods/a/nonsense", 404),
        ("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=x", 400),
        ("/api/v1/namespaces/default/configmaps?labelSelector=%zz", 400),
        ("/nonsense", 404),
    ] {
        assert_eq!(f.get(path).await.code, want, "{path}");
    }
    for (method, path) in [
        ("POST", "/api/v1/configmaps"),
        ("BREW", MAPS),
        ("PUT", MAPS),
        ("PATCH", MAPS),
        ("POST", &format!("{MAPS}/a") as &str),
    ] {
        let code = f.call(method, path, Some("application/json"), r#"{"metadata":{"name":"a"}}"#).await.code;
        assert!((400..500).contains(&code), "{method} {path}: {code}");
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let key = prop::sample::select(vec![
            "metadata",
            "name",
            "labels",
            "spec",
            "containers",
            "template",
            "selector",
            "matchLabels",
            "ports",
            "status",
            "replicas",
            "image",
            "finalizers",
            "ownerReferences",
            "volumes",
            "$patch",
            "conditions",
            "type",
            "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is created or patched in: an answer, and never a 5xx.
    #[test]
    fn generated_objects_are_answered(objects in prop::collection::vec(json_value(), 8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let f = Fixture::new().await;
            f.post(PODS, pod("a")).await.ok();
            f.post(DEPLOYMENTS, deployment("a")).await.ok();
            f.post(SERVICES, json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}})).await.ok();
            for object in &objects {
                for collection in [PODS, DEPLOYMENTS, SERVICES, MAPS] {
                    assert!(f.post(collection, object.clone()).await.code < 500, "POST {collection} {object}");
                    for kind in ["merge-patch", "strategic-merge-patch", "json-patch"] {
                        for sub in ["", "/status"] {
                            let kind = format!("application/{kind}+json");
                            let answer = f.call("PATCH", &format!("{collection}/a{sub}"), Some(&kind), object.to_string()).await;
                            assert!(answer.code < 500, "PATCH {kind} {collection}{sub} {object}: {}", answer.body);
                        }
                    }
                    assert!(f.call("DELETE", &format!("{collection}/nope"), None, object.to_string()).await.code < 500);
                }
                assert!(f.post(&format!("{PODS}/a/binding"), object.clone()).await.code < 500, "binding {object}");
                assert!(f.post(&format!("{PODS}/a/eviction"), object.clone()).await.code < 500, "eviction {object}");
                for form in [PODS, DEPLOYMENTS, SERVICES] {
                    assert_eq!(f.fetch(form, "application/json;as=Table;v=v1;g=meta.k8s.io").await.status(), 200);
                }
            }
        });
    }
}
