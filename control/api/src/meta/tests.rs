use proptest::prelude::*;
use serde_json::json;

use super::*;

fn spliced(object: &Value) -> Value {
    let bytes = serde_json::to_vec(object).expect("serialises");
    serde_json::from_slice(&splice_revision(&bytes, Revision(42))).expect("still JSON")
}

#[test]
fn splices_into_metadata() {
    for mut object in [
        json!({"apiVersion": "v1", "data": {"a": "\"metadata\":{", "b": "\\"}, "kind": "ConfigMap", "metadata": {"name": "x"}}),
        json!({"apiVersion": "v1", "kind": "A", "metadata": {}}),
        json!({"kind": "A", "list": [{"metadata": {"no": 1}}, [2, {}]], "metadata": {"name": "x"}, "n": 1.5}),
        json!({"kind": "A"}),
        json!({}),
    ] {
        let got = spliced(&object);
        set_resource_version(&mut object, Revision(42));
        assert_eq!(got, object);
    }
    assert_eq!(splice_revision(b"[1]", Revision(1)), b"[1]");
    assert_eq!(splice_revision(b"{\"a\": \"b", Revision(1)), b"{\"a\": \"b");
    let spaced = splice_revision(b" { \"metadata\" : { } } ", Revision(7));
    assert_eq!(resource_version(&serde_json::from_slice(&spaced).expect("JSON")), "7");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\{}:,]{0,6}", inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn splice_equals_set(fields in prop::collection::btree_map("[a-z\"\\\\]{1,8}", json_value(), 0..5), with in any::<bool>(), inner in json_value()) {
        let mut object = Value::Object(fields.into_iter().filter(|(k, _)| k != "metadata").collect());
        if with {
            let inner = if inner.is_object() { inner } else { json!({}) };
            object["metadata"] = inner;
            remove_resource_version(&mut object);
        }
        let got = spliced(&object);
        set_resource_version(&mut object, Revision(42));
        prop_assert_eq!(got, object);
    }

    #[test]
    fn splice_never_panics(bytes in prop::collection::vec(prop::sample::select(b"{}[]\":,\\am1 ".to_vec()), 0..40)) {
        let _ = splice_revision(&bytes, Revision(1));
    }
}

#[test]
fn accessors() {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {
        "name": "web-1", "namespace": "default", "uid": "u", "generation": 3,
        "labels": {"app": "web"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}]}});
    assert_eq!(key(&object).to_string(), "default/web-1");
    assert_eq!(gvk(&object), Gvk::new("apps", "v1", "ReplicaSet"));
    assert_eq!(controller(&object).map(|o| o.uid).as_deref(), Some("d"));
    assert_eq!(label(&object, "app"), Some("web"));
    assert_eq!(generation(&object), 3);
    assert!(!is_deleting(&object));
    set_deletion(&mut object, Timestamp::UNIX_EPOCH, 30);
    set_finalizers(&mut object, &["a/b"]);
    assert_eq!(deletion_timestamp(&object), Some("1970-01-01T00:00:00Z"));
    assert_eq!(finalizers(&object), ["a/b"]);
    set_finalizers(&mut object, &[]);
    assert!(finalizers(&object).is_empty());
}
