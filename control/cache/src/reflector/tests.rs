use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::Uid;

fn pod(name: &str, node: &str, owner: &str, revision: u64) -> Object {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "default", "name": name, "uid": format!("uid-{name}"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner}],
        },
        "spec": {"nodeName": node, "containers": []},
    });
    object(&pod, revision)
}

fn object(pod: &Value, revision: u64) -> Object {
    Object::decode(Kind::Pod, pod.to_string().as_bytes(), Revision(revision)).expect("a pod")
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn restarted(objects: Vec<Object>, revision: u64) -> Input {
    Input::Restarted { kinds: vec![Kind::Pod], objects, revision: Revision(revision) }
}

/// Pods with their node, and what the indexes say.
fn dump(view: &View) -> String {
    let pods: Vec<String> = view.all::<Pod>().map(|pod| pod.metadata.name.clone().unwrap_or_default()).collect();
    let nodes = ["n1", "n2"].map(|node| (node, view.pods_on(node).count())).into_iter().filter(|(_, pods)| *pods > 0);
    let nodes: Vec<String> = nodes.map(|(node, pods)| format!("{node}:{pods}")).collect();
    let owned = |owner: &str| view.owned_by(&Uid::of(owner)).count();
    format!("{} [{}] [{}] rs:{} rs2:{}", view.revision, pods.join(" "), nodes.join(" "), owned("rs"), owned("rs2"))
}

#[test]
fn folds_a_list_and_its_events() {
    let mut reflector = Reflector::default();
    assert_eq!(reflector.phase(), Phase::Empty);
    reflector.apply(restarted(vec![pod("a", "n1", "rs", 3), pod("b", "n1", "rs", 4)], 5));
    assert_eq!(reflector.phase(), Phase::Synced);
    assert_eq!(dump(reflector.view()), "5 [a b] [n1:2] rs:2 rs2:0");
    reflector.apply(Input::Applied(pod("b", "n2", "rs2", 6), Revision(6)));
    assert_eq!(dump(reflector.view()), "6 [a b] [n1:1 n2:1] rs:1 rs2:1");
    reflector.apply(Input::Deleted(Kind::Pod, key("a"), Revision(7)));
    assert_eq!(dump(reflector.view()), "7 [b] [n2:1] rs:0 rs2:1");
    reflector.apply(Input::Bookmark(Revision(9)));
    assert_eq!(dump(reflector.view()), "9 [b] [n2:1] rs:0 rs2:1");
}

#[test]
fn repeated_events_change_nothing() {
    let mut reflector = Reflector::default();
    reflector.apply(restarted(vec![pod("a", "n1", "rs", 3)], 5));
    let before = reflector.view().clone();
    reflector.apply(Input::Applied(pod("old", "n1", "rs", 4), Revision(4)));
    reflector.apply(Input::Deleted(Kind::Pod, key("a"), Revision(5)));
    reflector.apply(Input::Bookmark(Revision(1)));
    assert!(Arc::ptr_eq(&before, reflector.view()));
}

#[test]
fn a_relist_finds_what_was_missed_and_touches_nothing_else() {
    let mut reflector = Reflector::default();
    reflector.apply(restarted(vec![pod("a", "n1", "rs", 3), pod("b", "n1", "rs", 4)], 5));
    let before = reflector.view().clone();
    reflector.apply(restarted(vec![pod("a", "n1", "rs", 3), pod("c", "n2", "rs", 8)], 9));
    assert_eq!(dump(reflector.view()), "9 [a c] [n1:1 n2:1] rs:2 rs2:0");
    let changes = reflector.view().changes_since(&before);
    let shown: Vec<String> =
        changes.map(|change| format!("{} {} {}", change.key, change.old.is_some(), change.new.is_some())).collect();
    assert_eq!(shown, ["default/b true false", "default/c false true"]);
}

#[test]
fn a_view_does_not_change_once_it_is_given_out() {
    let mut reflector = Reflector::default();
    reflector.apply(restarted(vec![pod("a", "n1", "rs", 3)], 5));
    let view = reflector.view().clone();
    reflector.apply(Input::Deleted(Kind::Pod, key("a"), Revision(6)));
    assert_eq!(dump(&view), "5 [a] [n1:1] rs:1 rs2:0");
}

#[test]
fn a_successor_of_the_same_name_keeps_its_uid_in_the_index() {
    let mut view = View::default();
    view.insert(pod("a", "n1", "rs", 1));
    let mut successor = pod("a", "n2", "rs2", 2).to_value();
    successor["metadata"]["uid"] = "uid-next".into();
    view.insert(object(&successor, 2));
    assert!(view.by_uid(&Uid::of("uid-a")).is_none());
    assert!(view.by_uid(&Uid::of("uid-next")).is_some());
}

#[test]
fn namespaces_do_not_run_into_each_other() {
    let mut view = View::default();
    for namespace in ["a", "a-b", "b", "ab"] {
        let mut pod = pod("p", "n1", "rs", 1).to_value();
        pod["metadata"]["namespace"] = namespace.into();
        view.insert(object(&pod, 1));
    }
    for namespace in ["a", "a-b", "b", "ab"] {
        assert_eq!(view.list::<Pod>(namespace).count(), 1, "{namespace}");
    }
    assert_eq!(view.tables.keys(Kind::Pod, Some("a")), [Key::new("a", "p")]);
}

#[test]
fn store_keys() {
    let shown = |store_key: &str| Kind::from_store_key(store_key).map(|(kind, key)| format!("{kind:?} {key}"));
    assert_eq!(shown("/registry/core/pods/default/web").as_deref(), Some("Pod default/web"));
    assert_eq!(shown("/registry/core/nodes/n1").as_deref(), Some("Node n1"));
    assert_eq!(shown("/registry/apps/replicasets/default/web-1").as_deref(), Some("ReplicaSet default/web-1"));
    assert_eq!(
        shown("/registry/coordination.k8s.io/leases/kube-node-lease/n1").as_deref(),
        Some("Lease kube-node-lease/n1")
    );
    assert_eq!(shown("/registry/core/events/default/e"), None);
    assert_eq!(shown("/other/core/pods/default/web"), None);
    assert_eq!(shown("/registry/core/pods/web"), None);
}
