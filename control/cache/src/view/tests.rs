use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn object(kind: Kind, revision: u64, value: &serde_json::Value) -> Object {
    Object::decode(kind, value.to_string().as_bytes(), Revision(revision)).expect("an object")
}

fn pod(name: &str, labels: &[(&str, &str)], node: &str) -> Object {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    let meta = json!({"namespace": "default", "name": name, "uid": format!("uid-{name}"), "labels": labels});
    object(Kind::Pod, 1, &json!({"metadata": meta, "spec": {"containers": [], "nodeName": node}}))
}

fn selector(labels: &[(&str, &str)]) -> LabelSelector {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    LabelSelector { match_labels: Some(labels.collect()), match_expressions: None }
}

fn names<'a>(objects: impl IntoIterator<Item = &'a Object>) -> String {
    objects.into_iter().map(Object::name).collect::<Vec<_>>().join(" ")
}

#[test]
fn selects_by_labels_without_decoding() {
    let mut view = View::default();
    for (name, labels) in [
        ("a", &[("app", "web"), ("tier", "x")][..]),
        ("b", &[("app", "web")]),
        ("c", &[("app", "db"), ("tier", "x")]),
        ("d", &[]),
    ] {
        view.insert(pod(name, labels, "n1"));
    }
    let select = |labels: &[(&str, &str)]| names(view.select(Kind::Pod, "default", &selector(labels)));
    assert_eq!(select(&[("app", "web")]), "a b");
    assert_eq!(select(&[("app", "web"), ("tier", "x")]), "a");
    assert_eq!(select(&[("app", "none")]), "");
    assert_eq!(select(&[]), "a b c d", "an empty selector selects everything");
    assert_eq!(names(view.select_pairs(Kind::Pod, "default", &Labels::new())), "", "of a Service it selects nothing");
    assert_eq!(names(view.select(Kind::Pod, "other", &selector(&[("app", "web")]))), "");
    assert_eq!(names(view.pods_on("n1")), "a b c d");
    assert!(!view.tables.all(Kind::Pod).any(Object::was_decoded));
}

#[test]
fn finds_who_selects() {
    let mut view = View::default();
    let named = |name: &str| json!({"namespace": "default", "name": name});
    for (name, selector) in
        [("web", json!({"tier": "x", "app": "web"})), ("db", json!({"app": "db"})), ("none", json!({}))]
    {
        view.insert(object(Kind::Service, 1, &json!({"metadata": named(name), "spec": {"selector": selector}})));
    }
    for (name, selector) in [
        ("rs", json!({"matchLabels": {"app": "web"}})),
        ("any", json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})),
    ] {
        let spec = json!({"selector": selector, "template": {}});
        view.insert(object(Kind::ReplicaSet, 1, &json!({"metadata": named(name), "spec": spec})));
    }
    let of = |kind, pod: &Object| names(view.selecting(kind, "default", pod.labels()));
    let web = pod("p", &[("app", "web"), ("more", "y")], "");
    assert_eq!(of(Kind::Service, &web), "web", "a candidate by one of its labels: the caller asks the selector");
    assert_eq!(of(Kind::ReplicaSet, &web), "rs any");
    assert_eq!(of(Kind::ReplicaSet, &pod("p", &[], "")), "any");
    assert_eq!(of(Kind::Service, &pod("p", &[], "")), "");
}

#[test]
fn replicas_share_their_labels_and_their_nodes_name() {
    let mut view = View::default();
    for name in ["a", "b"] {
        view.insert(pod(name, &[("app", "web"), ("pod-template-hash", "1")], "n1"));
    }
    let pods: Vec<&Object> = view.tables.all(Kind::Pod).collect();
    assert!(std::ptr::eq(pods[0].labels().expect("labels"), pods[1].labels().expect("labels")));
    assert!(std::ptr::eq(pods[0].node().expect("a node"), pods[1].node().expect("a node")));
}

/// What a View should say, from a plain map.
fn check(view: &View, model: &BTreeMap<String, Object>) {
    assert_eq!(names(view.tables.all(Kind::Pod)), names(model.values()));
    for node in ["n0", "n1"] {
        assert_eq!(names(view.pods_on(node)), names(model.values().filter(|pod| pod.node() == Some(node))), "{node}");
    }
    for value in ["x", "y"] {
        let wanted = selector(&[("app", value)]);
        let matching = model.values().filter(|pod| pod.labels().is_some_and(|labels| labels.matches(&wanted)));
        assert_eq!(names(view.select(Kind::Pod, "default", &wanted)), names(matching), "{value}");
    }
    for uid in ["u0", "u1", "u2"] {
        let own = |pod: &&Object| *pod.uid() == Uid::of(uid);
        assert_eq!(view.by_uid(&Uid::of(uid)).is_some_and(|pod| own(&pod)), model.values().any(|pod| own(&pod)));
        let owned = model.values().filter(|pod| pod.controller() == Some(&Uid::of(uid)));
        assert_eq!(names(view.owned_by(&Uid::of(uid))), names(owned), "{uid}");
    }
}

proptest! {
    /// Whatever comes and goes, the indexes are those of what is there.
    #[test]
    fn indexes_follow(steps in prop::collection::vec((0..4_usize, 0..3_u8, 0..3_u8, 0..3_u8, any::<bool>()), 1..40)) {
        let (mut view, mut model) = (View::default(), BTreeMap::new());
        for (revision, (pod, node, app, owner, gone)) in (1..).zip(steps) {
            let name = format!("p{pod}");
            let before = view.clone();
            if gone {
                view.remove(Kind::Pod, &Key::new("default", &name));
                model.remove(&name);
            } else {
                let app = ["", "x", "y"][usize::from(app)];
                let labels = if app.is_empty() { json!({}) } else { json!({"app": app, "all": "z"}) };
                let node = if node == 0 { json!(null) } else { json!(format!("n{}", node - 1)) };
                let owners = json!([{"uid": format!("u{owner}"), "controller": true}]);
                // No two objects have one uid at a time.
                let uid = format!("u{pod}");
                let meta = json!({"namespace": "default", "name": name, "uid": uid, "labels": labels, "ownerReferences": owners});
                let new = object(Kind::Pod, revision, &json!({"metadata": meta, "spec": {"containers": [], "nodeName": node}}));
                view.insert(new.clone());
                model.insert(name, new);
            }
            check(&view, &model);
            let changed = view.changes_since(&before).count();
            prop_assert!(changed <= 1);
            prop_assert_eq!(before.changes_since(&view).count(), changed);
        }
        prop_assert!(!view.tables.all(Kind::Pod).any(Object::was_decoded));
        prop_assert_eq!(view.all::<Pod>().count(), model.len());
    }
}
