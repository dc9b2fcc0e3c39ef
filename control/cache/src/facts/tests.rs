//! The partial decode says what the typed decode says.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Any of these, or no field at all.
fn maybe(values: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![Just(None), Just(Some(Value::Null)), values.prop_map(Some)]
}

fn text(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(values).prop_map(Value::from)
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> impl Strategy<Value = Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    values.prop_map(move |values| {
        names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect::<Value>()
    })
}

fn list(of: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop::collection::vec(of, 0..3).prop_map(Value::from)
}

const UIDS: &[&str] = &["", "rs", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "esc\"ap\u{e9}d\n"];

fn meta() -> impl Strategy<Value = Value> {
    let reference = object(vec![
        ("apiVersion", Just(Some(json!("apps/v1"))).boxed()),
        ("kind", Just(Some(json!("ReplicaSet"))).boxed()),
        ("name", Just(Some(json!("rs"))).boxed()),
        ("uid", maybe(text(UIDS)).boxed()),
        ("controller", maybe(any::<bool>().prop_map(Value::from)).boxed()),
    ]);
    let labels = prop::collection::btree_map("[a-c\"]", "[a-c\\\\]?", 0..4).prop_map(|labels| json!(labels));
    object(vec![
        ("name", Just(Some(json!("p"))).boxed()),
        ("uid", maybe(text(UIDS)).boxed()),
        ("deletionTimestamp", maybe(text(&["2026-01-01T00:00:00Z"])).boxed()),
        ("ownerReferences", maybe(list(reference)).boxed()),
        ("labels", maybe(labels).boxed()),
        ("annotations", maybe(Just(json!({"nodeName": "not this", "uid": "nor this"}))).boxed()),
    ])
}

fn status() -> impl Strategy<Value = Value> {
    let condition = object(vec![
        ("type", maybe(text(&["Ready", "DisruptionTarget", "Initialized"])).boxed()),
        ("status", maybe(text(&["True", "False", "Unknown"])).boxed()),
        ("lastTransitionTime", maybe(text(&["2026-01-01T00:00:00Z", "2026-01-02T03:04:05.678901Z"])).boxed()),
    ]);
    object(vec![
        ("phase", maybe(text(&["Pending", "Running", "Succeeded", "Failed"])).boxed()),
        ("conditions", maybe(list(condition)).boxed()),
    ])
}

fn of_kind(spec: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Vec<u8>> {
    let whole = object(vec![
        ("metadata", maybe(meta()).boxed()),
        ("spec", maybe(spec).boxed()),
        ("status", maybe(status()).boxed()),
    ]);
    whole.prop_map(|value| value.to_string().into_bytes())
}

fn same_meta(facts: &Facts, meta: &ObjectMeta) {
    assert_eq!(facts.uid.to_string(), meta.uid.clone().unwrap_or_default());
    assert_eq!(facts.deleting, meta.deletion_timestamp.is_some());
    let owners =
        meta.owner_references.iter().flatten().map(|owner| (owner.uid.clone(), owner.controller == Some(true)));
    let known = facts.owners.iter().map(|owner| (owner.uid.to_string(), owner.controller));
    assert_eq!(known.collect::<Vec<_>>(), owners.collect::<Vec<_>>());
}

fn ready<'a>(mut conditions: impl Iterator<Item = (&'a str, &'a str, Option<Timestamp>)>) -> Ready {
    match conditions.find(|(type_, _, _)| *type_ == "Ready") {
        None => Ready::Unsaid,
        Some((_, "True", since)) => Ready::Yes(since),
        Some((_, "Unknown", _)) => Ready::Unknown,
        Some(_) => Ready::No,
    }
}

proptest! {
    #[test]
    fn of_a_pod(bytes in of_kind(object(vec![("nodeName", maybe(text(&["", "n1"])).boxed())]))) {
        // What the typed decode refuses is not in a store.
        let Ok(pod) = serde_json::from_slice::<Pod>(&bytes) else { return Ok(()) };
        let facts = read(Kind::Pod, "default", &bytes).expect("as the typed decode");
        same_meta(&facts, &pod.metadata);
        let labels = facts.labels.iter().flat_map(|labels| labels.iter());
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(labels, pod.metadata.labels.unwrap_or_default());
        let Special::Pod(known) = facts.special else { panic!("a pod") };
        let status = pod.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let node = pod.spec.and_then(|spec| spec.node_name).filter(|node| !node.is_empty());
        prop_assert_eq!(known.node.as_deref(), node.as_deref());
        prop_assert_eq!(known.ended, matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")));
        prop_assert_eq!(known.disrupted, conditions.iter().any(|condition| condition.type_ == "DisruptionTarget"));
        let shown = conditions.iter().map(|one| {
            (one.type_.as_str(), one.status.as_str(), one.last_transition_time.as_ref().map(|time| time.0))
        });
        prop_assert_eq!(known.ready, ready(shown));
    }

    #[test]
    fn of_a_node(bytes in of_kind(object(vec![
        ("taints", maybe(list(object(vec![
            ("key", Just(Some(json!("k"))).boxed()),
            ("effect", maybe(text(&["NoExecute", "NoSchedule"])).boxed()),
        ]))).boxed()),
    ]))) {
        let Ok(node) = serde_json::from_slice::<Node>(&bytes) else { return Ok(()) };
        let facts = read(Kind::Node, "", &bytes).expect("as the typed decode");
        same_meta(&facts, &node.metadata);
        prop_assert_eq!(facts.labels, None);
        let Special::Node(known) = facts.special else { panic!("a node") };
        let mut taints = node.spec.into_iter().flat_map(|spec| spec.taints.unwrap_or_default());
        prop_assert_eq!(known.evicts, taints.any(|taint| taint.effect == "NoExecute"));
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let shown = conditions.iter().map(|one| {
            (one.type_.as_str(), one.status.as_str(), one.last_transition_time.as_ref().map(|time| time.0))
        });
        prop_assert_eq!(known.ready, ready(shown));
    }
}

#[test]
fn what_is_no_object_is_an_error() {
    for bytes in ["", "[", "7", "{\"metadata\": 7}", "{\"metadata\": {\"ownerReferences\": 7}}"] {
        assert!(read(Kind::Pod, "default", bytes.as_bytes()).is_err(), "{bytes}");
    }
}
