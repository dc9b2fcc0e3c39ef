use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ApplyError, FieldSet, Writer, apply_alike as apply, check, same_but_times, versions};
use crate::shape::{DEDUCED, Shape};
use crate::{Gvk, Schema, Status};

fn update(old: Option<&Value>, new: &mut Value, shape: &dyn Shape, writer: &Writer<'_>) {
    versions::ready(super::update(old, new, &super::Alike(shape), writer));
}

fn shape(group: &str, kind: &str) -> &'static dyn Shape {
    Schema::for_kind(&Gvk::new(group, "v1", kind)).expect("built in").definition()
}

fn pod() -> &'static dyn Shape {
    shape("", "Pod")
}

fn deployment() -> &'static dyn Shape {
    shape("apps", "Deployment")
}

fn by<'a>(manager: &'a str, now: &'a str) -> Writer<'a> {
    Writer { manager, api_version: "v1", subresource: "", now }
}

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";
const T3: &str = "2026-01-01T00:00:03Z";

fn applied(live: Option<&Value>, config: Value, manager: &str, now: &str, shape: &dyn Shape) -> Value {
    apply(live, &config, shape, &by(manager, now), &FieldSet::default(), false).expect("applies")
}

fn refused(live: &Value, config: Value, manager: &str, shape: &dyn Shape) -> Status {
    apply(Some(live), &config, shape, &by(manager, T3), &FieldSet::default(), false).expect_err("conflicts").into()
}

/// `manager operation` to its fields.
fn owners(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .map(|e| {
            let name = format!("{} {}", e["manager"].as_str().unwrap(), e["operation"].as_str().unwrap());
            (name, e["fieldsV1"].clone())
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn web() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "uid": "u",
        "labels": {"app": "w"}, "ownerReferences": [{"uid": "o", "name": "n"}]},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {}, "args": ["a"],
            "ports": [{"containerPort": 80, "protocol": "TCP"}]}], "nodeSelector": {"a": "b"},
            "securityContext": {}, "restartPolicy": "Always"}})
}

#[test]
fn a_create_owns_what_it_sets() {
    let mut object = web();
    update(None, &mut object, pod(), &by("m", T1));
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        *entry,
        json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "time": T1, "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:ownerReferences": {".": {}, "k:{\"uid\":\"o\"}": {}}},
            "f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:resources": {}, "f:args": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}}}},
                "f:nodeSelector": {}, "f:securityContext": {}, "f:restartPolicy": {}}}})
    );
}

#[test]
fn an_update_takes_what_it_changes() {
    let mut object = web();
    update(None, &mut object, pod(), &by("m", T1));
    let before = object.clone();
    update(Some(&before), &mut object, pod(), &by("n", T2));
    assert_eq!(object, before, "nothing changed");
    object["spec"]["containers"][0]["image"] = "j".into();
    object["metadata"]["labels"] = json!({"x": "y"});
    update(Some(&before), &mut object, pod(), &by("n", T2));
    assert_eq!(
        owners(&object)["n Update"],
        json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:image": {}}}}})
    );
    let first = &owners(&object)["m Update"];
    assert_eq!(first["f:metadata"]["f:labels"], json!({}));
    assert_eq!(first["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"].get("f:image"), None);
    // The same again by the first, through a subresource: an entry of its own.
    let before = object.clone();
    object["spec"]["restartPolicy"] = "Never".into();
    update(Some(&before), &mut object, pod(), &Writer { subresource: "status", ..by("m", T3) });
    let entry = &object["metadata"]["managedFields"][2];
    assert_eq!((&entry["subresource"], &entry["time"]), (&json!("status"), &json!(T3)));
}

#[test]
fn removal_is_nobodys_gain() {
    let mut object = web();
    update(None, &mut object, pod(), &by("m", T1));
    let before = object.clone();
    object["spec"].as_object_mut().unwrap().remove("nodeSelector");
    update(Some(&before), &mut object, pod(), &by("n", T2));
    let all = owners(&object);
    assert_eq!(all.get("n Update"), None);
    assert_eq!(all["m Update"]["f:spec"].get("f:nodeSelector"), None);
    assert_eq!(object["metadata"]["managedFields"][0]["time"], T1);
}

#[test]
fn a_writer_may_set_or_reset_the_owners() {
    let mut object = web();
    update(None, &mut object, pod(), &by("m", T1));
    let before = object.clone();
    object["metadata"]["managedFields"] = json!([{}]);
    let mut through_status = object.clone();
    update(Some(&before), &mut object, pod(), &by("m", T2));
    assert_eq!(object["metadata"].get("managedFields"), None);
    update(Some(&before), &mut through_status, pod(), &Writer { subresource: "status", ..by("m", T2) });
    assert_eq!(through_status, before);
    // Once there are none, updates track nothing.
    let bare = object.clone();
    object["spec"]["restartPolicy"] = "Never".into();
    update(Some(&bare), &mut object, pod(), &by("m", T2));
    assert_eq!(object["metadata"].get("managedFields"), None);
    // So does an empty list; an absent or damaged one leaves them.
    let mut empty = before.clone();
    empty["metadata"]["managedFields"] = json!([]);
    update(Some(&before), &mut empty, pod(), &by("m", T2));
    assert_eq!(empty["metadata"].get("managedFields"), None);
    let without = |field: &str| {
        let mut list = before["metadata"]["managedFields"].clone();
        list[0].as_object_mut().expect("an entry").remove(field);
        list
    };
    let damaged = [without("apiVersion"), without("fieldsType"), without("operation")];
    for list in [Value::Null, json!([{"operation": "Guess"}]), json!("x")].into_iter().chain(damaged) {
        let mut object = before.clone();
        object["metadata"]["managedFields"] = list;
        update(Some(&before), &mut object, pod(), &by("m", T2));
        assert_eq!(object, before);
    }
    // As kubectl migrates from client-side apply.
    let mut object = before.clone();
    object["metadata"]["managedFields"][0]["operation"] = "Apply".into();
    object["metadata"]["managedFields"][0]["manager"] = "kubectl".into();
    update(Some(&before), &mut object, pod(), &by("kubectl", T2));
    assert_eq!(owners(&object).as_object().unwrap().keys().collect::<Vec<_>>(), ["kubectl Apply"]);
}

#[test]
fn the_oldest_updaters_share_an_entry() {
    let map = shape("", "ConfigMap");
    let mut object = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    update(None, &mut object, map, &by("m0", T1));
    for i in 1..20 {
        let before = object.clone();
        object["data"][format!("k{i}")] = "v".into();
        let now = format!("2026-01-01T00:01:{i:02}Z");
        update(Some(&before), &mut object, map, &by(&format!("m{i}"), &now));
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[0]["time"], "2026-01-01T00:01:10Z");
    assert_eq!(entries[0]["fieldsV1"]["f:data"].as_object().unwrap().len(), 12);
    assert_eq!(entries[9]["manager"], "m19");
}

#[test]
fn apply_owns_adds_and_removes() {
    let config = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"l": "1"}}, "data": data});
    let map = shape("", "ConfigMap");
    let made = applied(None, config(json!({"x": "1", "y": "1"})), "a", T1, map);
    assert_eq!(
        owners(&made),
        json!({"a Apply": {"f:metadata": {"f:labels": {"f:l": {}}}, "f:data": {"f:x": {}, "f:y": {}}}})
    );
    let mut live = made.clone();
    live["metadata"]["uid"] = "u".into();
    let again = applied(Some(&live), config(json!({"x": "1", "y": "1"})), "a", T2, map);
    assert_eq!(again, live, "nothing changed");
    // A field that is no longer applied goes; what another added stays.
    let before = live.clone();
    live["data"]["z"] = "2".into();
    update(Some(&before), &mut live, map, &by("b", T2));
    let next = applied(Some(&live), config(json!({"x": "3"})), "a", T3, map);
    assert_eq!(next["data"], json!({"x": "3", "z": "2"}));
    assert_eq!(next["metadata"]["uid"], "u");
    let last = applied(Some(&next), json!({"metadata": {"name": "a"}}), "a", T3, map);
    assert_eq!(last["data"], json!({"z": "2"}));
    assert_eq!(last["metadata"].get("labels"), None);
    assert_eq!(owners(&last), json!({"b Update": {"f:data": {"f:z": {}}}}));
}

#[test]
fn conflicts_are_told_and_forced() {
    let config = |replicas: i64| json!({"metadata": {"name": "a"}, "spec": {"replicas": replicas, "paused": true}});
    let live = applied(None, config(1), "a", T1, deployment());
    let one = refused(&live, json!({"metadata": {"name": "a"}, "spec": {"replicas": 2}}), "b", deployment());
    assert_eq!(
        (one.code, one.message.as_str()),
        (409, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas")
    );
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 5.into();
    update(
        Some(&live),
        &mut scaled,
        deployment(),
        &Writer { subresource: "scale", api_version: "apps/v1", ..by("hpa", T2) },
    );
    let mut config2 = config(7);
    config2["spec"]["paused"] = false.into();
    let many = refused(&scaled, config2.clone(), "b", deployment());
    assert_eq!(
        many.message,
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\nconflicts with \"hpa\" with subresource \"scale\" using apps/v1:\n- .spec.replicas"
    );
    let causes = many.details.unwrap().causes;
    assert_eq!(
        (causes[1].reason.as_str(), causes[1].message.as_str(), causes[1].field.as_str()),
        ("FieldManagerConflict", "conflict with \"hpa\" with subresource \"scale\" using apps/v1", ".spec.replicas")
    );
    let forced = apply(Some(&scaled), &config2, deployment(), &by("b", T3), &FieldSet::default(), true).unwrap();
    assert_eq!(owners(&forced), json!({"b Apply": {"f:spec": {"f:paused": {}, "f:replicas": {}}}}));
    // The same value is no conflict: both own it, and it goes with the last.
    let shared = applied(Some(&live), config(1), "b", T2, deployment());
    let left = applied(Some(&shared), json!({"metadata": {"name": "a"}}), "a", T3, deployment());
    assert_eq!(left["spec"], json!({"replicas": 1, "paused": true}));
    assert_eq!(owners(&left).as_object().unwrap().len(), 1);
    let none = applied(Some(&left), json!({"metadata": {"name": "a"}}), "b", T3, deployment());
    assert_eq!(none.get("spec"), None);
}

#[test]
fn lists_by_their_types() {
    let config = |containers: Value, tolerations: Value| json!({"metadata": {"name": "p", "finalizers": ["x/f"]}, "spec": {"containers": containers, "tolerations": tolerations}});
    let live = applied(
        None,
        config(
            json!([{"name": "b", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "c", "image": "1"}]),
            json!([{"key": "a"}]),
        ),
        "a",
        T1,
        pod(),
    );
    let fields = &owners(&live)["a Apply"];
    assert_eq!(fields["f:metadata"]["f:finalizers"], json!({"v:\"x/f\"": {}}));
    assert_eq!(fields["f:spec"]["f:tolerations"], json!({}));
    assert_eq!(
        fields["f:spec"]["f:containers"]["k:{\"name\":\"b\"}"]["f:ports"],
        json!({"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}})
    );
    // Defaulted on the way to the store: still the same element.
    let mut stored = live.clone();
    stored["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP".into();
    stored["spec"]["containers"][1]["terminationMessagePath"] = "/dev/log".into();
    let sidecar = applied(
        Some(&stored),
        json!({"metadata": {"name": "p", "finalizers": ["y/f"]}, "spec": {"containers": [{"name": "s", "image": "2"}]}}),
        "b",
        T2,
        pod(),
    );
    let names = |o: &Value| {
        o["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&sidecar), ["b", "c", "s"]);
    assert_eq!(sidecar["metadata"]["finalizers"], json!(["x/f", "y/f"]));
    // An element that goes takes its defaults with it; an atomic list is one field.
    let less =
        applied(Some(&sidecar), config(json!([{"name": "b", "image": "1"}]), json!([{"key": "z"}])), "a", T3, pod());
    assert_eq!(names(&less), ["b", "s"]);
    assert_eq!(less["spec"]["containers"][0], json!({"name": "b", "image": "1"}));
    assert_eq!(less["spec"]["tolerations"], json!([{"key": "z"}]));
    let other = refused(
        &less,
        json!({"metadata": {"name": "p"}, "spec": {"tolerations": [{"key": "q"}], "containers": [{"name": "b", "image": "9"}]}}),
        "b",
        pod(),
    );
    assert_eq!(
        other.message,
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.containers[name=\"b\"].image\n- .spec.tolerations"
    );
}

#[test]
fn an_untracked_object_had_an_owner() {
    let live = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let status = refused(&live, json!({"metadata": {"name": "a"}, "data": {"x": "2"}}), "a", shape("", "ConfigMap"));
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x");
}

#[test]
fn kubectl_takes_over_from_itself() {
    let map = shape("", "ConfigMap");
    let last = "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"1\",\"y\":\"1\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n";
    let mut live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {super::LAST_APPLIED: last}}, "data": {"x": "1", "y": "1"}});
    update(None, &mut live, map, &by("kubectl-client-side-apply", T1));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "2"}});
    assert_eq!(refused(&live, config.clone(), "other", map).code, 409);
    let next = applied(Some(&live), config.clone(), "kubectl", T2, map);
    assert_eq!(next["data"]["x"], "2");
    let kept = next["metadata"]["annotations"][super::LAST_APPLIED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), config);
    // What somebody else changed since is no longer its own.
    let before = live.clone();
    live["data"]["x"] = "9".into();
    update(Some(&before), &mut live, map, &by("edit", T2));
    assert_eq!(
        refused(&live, config, "kubectl", map).message,
        "Apply failed with 1 conflict: conflict with \"edit\" using v1: .data.x"
    );
}

#[test]
fn what_is_unknown_is_deduced() {
    let config = json!({"metadata": {"name": "a"}, "spec": {"m": {"a": {"b": 1}}, "l": [1, 2], "e": {}}});
    let live = applied(None, config, "a", T1, DEDUCED);
    assert_eq!(
        owners(&live)["a Apply"]["f:spec"],
        json!({".": {}, "f:m": {".": {}, "f:a": {".": {}, "f:b": {}}}, "f:l": {}, "f:e": {}})
    );
    let more = applied(Some(&live), json!({"metadata": {"name": "a"}, "spec": {"m": {"c": 1}}}), "b", T2, DEDUCED);
    assert_eq!(more["spec"]["m"], json!({"a": {"b": 1}, "c": 1}));
    let less = applied(Some(&more), json!({"metadata": {"name": "a"}, "spec": {"l": [3]}}), "a", T3, DEDUCED);
    assert_eq!(less["spec"], json!({"m": {"c": 1}, "l": [3]}));
}

#[test]
fn what_is_applied_must_fit() {
    let config = json!({"metadata": {"name": "p", "unknownMeta": 1}, "spec": {"foo": 1,
        "containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]}, {"name": "a"}], "volumes": [{}, 3]}});
    assert_eq!(
        check(&config, pod()),
        [
            ".metadata.unknownMeta: field not declared in schema",
            ".spec.containers[name=\"a\"].ports: duplicate entries for key [containerPort=1,protocol=\"TCP\"]",
            ".spec.containers: duplicate entries for key [name=\"a\"]",
            ".spec.foo: field not declared in schema",
            ".spec.volumes[name=\"\"]: expected map, got 3",
            ".spec.volumes: duplicate entries for key [name=\"\"]",
        ]
    );
}

#[test]
fn times_alone_are_no_change() {
    let a =
        json!({"metadata": {"managedFields": [{"manager": "a", "time": T1}, {"manager": "b", "time": T2}]}, "x": 1});
    let b =
        json!({"metadata": {"managedFields": [{"manager": "b", "time": T1}, {"manager": "a", "time": T3}]}, "x": 1});
    assert!(same_but_times(&a, &b));
    let mut c = b.clone();
    c["metadata"]["managedFields"][0]["manager"] = "c".into();
    assert!(!same_but_times(&a, &c));
    c = b;
    c["x"] = 2.into();
    assert!(!same_but_times(&a, &c));
}

fn a_config() -> impl Strategy<Value = Value> {
    let container =
        ("[a-c]", prop::option::of("[x-z]"), prop::option::of(80..82_i64)).prop_map(|(name, image, port)| {
            let mut c = json!({"name": name});
            if let Some(image) = image {
                c["image"] = image.into();
            }
            if let Some(port) = port {
                c["ports"] = json!([{"containerPort": port}]);
            }
            c
        });
    let containers = prop::collection::vec(container, 0..4).prop_map(|mut list| {
        let mut seen = Vec::new();
        list.retain(|c| {
            let new = !seen.contains(&c["name"]);
            seen.push(c["name"].clone());
            new
        });
        list
    });
    (
        containers,
        prop::collection::btree_map("[a-c]", "[x-z]", 0..3),
        prop::collection::btree_set("[a-c]/f", 0..3),
        prop::option::of(0..2_i64),
    )
        .prop_map(|(containers, labels, finalizers, grace)| {
            let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
            if !labels.is_empty() {
                object["metadata"]["labels"] = json!(labels);
            }
            if !finalizers.is_empty() {
                object["metadata"]["finalizers"] = json!(finalizers);
            }
            if !containers.is_empty() {
                object["spec"]["containers"] = containers.into();
            }
            if let Some(grace) = grace {
                object["spec"]["terminationGracePeriodSeconds"] = grace.into();
            }
            object
        })
}

fn force(live: Option<&Value>, config: &Value, manager: &str, now: &str) -> Value {
    apply(live, config, pod(), &by(manager, now), &FieldSet::default(), true).expect("forced")
}

fn without_owners(object: &Value) -> Value {
    let mut plain = object.clone();
    crate::meta::remove(&mut plain, "managedFields");
    plain
}

proptest! {
    /// A second apply of the same changes nothing, not even a time.
    #[test]
    fn apply_is_idempotent(first in a_config(), other in a_config(), config in a_config()) {
        let live = force(Some(&force(None, &first, "a", T1)), &other, "b", T1);
        let once = force(Some(&live), &config, "a", T2);
        prop_assert_eq!(&force(Some(&once), &config, "a", T3), &once);
    }

    /// A sole applier's object is what it applied last, and its owner has exactly those fields.
    #[test]
    fn a_sole_applier_gets_what_it_applies(configs in prop::collection::vec(a_config(), 1..5)) {
        let mut live = None;
        for config in &configs {
            live = Some(force(live.as_ref(), config, "a", T1));
        }
        let live = live.expect("one at least");
        let last = configs.last().expect("one at least");
        let fresh = force(None, last, "a", T1);
        prop_assert_eq!(owners(&live), owners(&fresh));
        let sorted = |v: &Value| {
            let mut v = without_owners(v);
            for list in ["/spec/containers", "/metadata/finalizers"] {
                if let Some(Value::Array(items)) = v.pointer_mut(list) {
                    items.sort_by_key(Value::to_string);
                }
            }
            v
        };
        prop_assert_eq!(sorted(&live), sorted(&fresh));
    }

    /// Every field of the object that somebody owns is there, and without force nothing of another changes.
    #[test]
    fn nobody_loses_without_force(a in a_config(), b in a_config(), c in a_config()) {
        let live = force(Some(&force(None, &a, "a", T1)), &b, "b", T1);
        match apply(Some(&live), &c, pod(), &by("a", T2), &FieldSet::default(), false) {
            Ok(next) => {
                prop_assert_eq!(&owners(&next)["b Apply"], &owners(&live)["b Apply"]);
                let present = super::diff::fields(&next, pod());
                for (_, fields) in owners(&next).as_object().expect("a map") {
                    let mut owned = FieldSet::read(fields).expect("FieldsV1");
                    owned.subtract(&present);
                    prop_assert!(owned.is_empty(), "{:?}", owned.paths());
                }
            }
            Err(ApplyError::Conflicts(conflicts)) => prop_assert!(!conflicts.is_empty()),
            Err(ApplyError::Entries | ApplyError::Convert(_)) => prop_assert!(false),
        }
    }

    /// After an update, every changed field is the writer's and no one else's.
    #[test]
    fn an_update_owns_its_changes(a in a_config(), b in a_config()) {
        let mut old = a;
        update(None, &mut old, pod(), &by("a", T1));
        let mut new = b;
        new["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
        update(Some(&old), &mut new, pod(), &by("b", T2));
        let all = owners(&new);
        let read = |name: &str| FieldSet::read(&all[name]).unwrap_or_default();
        let (first, second) = (read("a Update"), read("b Update"));
        prop_assert!(first.intersection(&second).is_empty());
    }

    /// What is only a new time and what is taken apart come to the same.
    #[test]
    fn a_renewal_is_an_update(steps in prop::collection::vec((a_config(), 0..2_usize, 0..9_u32, any::<bool>()), 1..6)) {
        // This form of a list is read like the usual one, and is not the usual one.
        let unusual = |object: &Value| {
            let mut object = object.clone();
            for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
                entry["more"] = true.into();
            }
            object
        };
        let usual = |mut object: Value| {
            for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
                entry.as_object_mut().expect("an entry").remove("more");
            }
            object
        };
        let mut live: Option<Value> = None;
        for (config, manager, time, again) in steps {
            let now = format!("2026-01-01T00:00:0{time}Z");
            let writer = by(["a", "b"][manager], &now);
            let mut new = match &live {
                Some(live) if again => without_owners(live),
                _ => config,
            };
            new["metadata"]["labels"]["time"] = now.as_str().into();
            let mut slow = new.clone();
            update(live.as_ref(), &mut new, pod(), &writer);
            update(live.as_ref().map(unusual).as_ref(), &mut slow, pod(), &writer);
            prop_assert_eq!(&new, &usual(slow));
            live = Some(new);
        }
    }

    #[test]
    fn sets_obey_their_laws(a in a_config(), b in a_config()) {
        let (a, b) = (super::diff::fields(&a, pod()), super::diff::fields(&b, pod()));
        let mut both = a.clone();
        both.unite(&b);
        let mut only_a = a.clone();
        only_a.subtract(&b);
        let mut again = only_a.clone();
        again.unite(&a.intersection(&b));
        prop_assert_eq!(&again, &a);
        prop_assert!(only_a.intersection(&b).is_empty());
        let mut rest = both;
        rest.subtract(&only_a);
        prop_assert_eq!(&rest, &b);
        prop_assert_eq!(FieldSet::read(&a.clone().into_value()), Some(a));
    }
}

/// A kind whose version `v2` calls the list `names` of `v1` `tags`, and has it as one piece.
struct TwoVersions;

impl super::Versions for TwoVersions {
    type Error = &'static str;

    fn shape(&self, api_version: &str) -> Option<&dyn Shape> {
        matches!(api_version, "v1" | "v2").then_some(DEDUCED)
    }

    fn are_fixed(&self) -> bool {
        true
    }

    async fn convert(&self, mut object: Value, api_version: &str) -> Result<Value, &'static str> {
        let (from, to) = if api_version == "v1" { ("tags", "names") } else { ("names", "tags") };
        if let Some(names) = object.as_object_mut().expect("an object").remove(from) {
            object[to] = names;
        }
        object["apiVersion"] = api_version.into();
        if object["broken"].is_null() { Ok(object) } else { Err("broken") }
    }
}

fn in_version<'a>(manager: &'a str, api_version: &'a str, now: &'a str) -> Writer<'a> {
    Writer { api_version, ..by(manager, now) }
}

#[test]
fn owners_at_another_version_lose_what_changes_in_it() {
    let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {}, "names": ["a"], "other": 1});
    versions::ready(super::update(None, &mut object, &TwoVersions, &in_version("one", "v1", T1)));
    let mut next = json!({"apiVersion": "v2", "kind": "K", "metadata": object["metadata"], "tags": ["b"], "other": 1});
    let mut old = versions::ready(super::Versions::convert(&TwoVersions, object.clone(), "v2")).expect("converts");
    versions::ready(super::update(Some(&old), &mut next, &TwoVersions, &in_version("two", "v2", T2)));
    assert_eq!(owners(&next), json!({"one Update": {"f:other": {}}, "two Update": {"f:tags": {}}}));
    // A version that cannot be converted to leaves the owners as they were.
    old["broken"] = true.into();
    let mut broken = old.clone();
    broken["tags"] = json!(["c"]);
    versions::ready(super::update(Some(&old), &mut broken, &TwoVersions, &in_version("two", "v2", T2)));
    assert_eq!(owners(&broken), owners(&old));
}

#[test]
fn an_applier_may_change_the_version_it_applies() {
    let run = |live: Option<&Value>, config: Value, manager: &str, version: &str, force: bool| {
        let writer = in_version(manager, version, T1);
        versions::ready(super::apply(live, &config, &TwoVersions, &writer, &FieldSet::default(), force))
    };
    let first = json!({"apiVersion": "v1", "kind": "K", "metadata": {}, "names": ["a"], "other": 1});
    let live = run(None, first, "m", "v1", false).expect("applies");
    let live =
        run(Some(&live), json!({"apiVersion": "v1", "kind": "K", "metadata": {}, "names": ["a"]}), "n", "v1", false)
            .expect("applies");
    let live = versions::ready(super::Versions::convert(&TwoVersions, live, "v2")).expect("converts");
    let other = json!({"apiVersion": "v2", "kind": "K", "metadata": {}, "tags": ["b"]});
    let refused = run(Some(&live), other.clone(), "o", "v2", false).expect_err("m and n own the list");
    assert_eq!(
        Status::from(refused).message,
        "Apply failed with 2 conflicts: conflicts with \"m\":\n- .names\nconflicts with \"n\":\n- .names"
    );
    // What m applied in the other version and applies no more goes, unless somebody else has it.
    let kept =
        run(Some(&live), json!({"apiVersion": "v2", "kind": "K", "metadata": {}}), "m", "v2", false).expect("applies");
    assert_eq!((&kept["tags"], kept.get("other")), (&json!(["a"]), None));
    assert_eq!(owners(&kept), json!({"n Apply": {"f:names": {}}}));
}

#[test]
fn replicas_are_owned_through_scale_and_back() {
    let path = |version: &str| (version == "v1").then(|| ".spec.replicas".to_owned());
    let replicas = super::Replicas { api_version: "v1", path: &path };
    let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {}, "spec": {"replicas": 1, "x": 2}});
    update(None, &mut object, DEDUCED, &by("maker", T1));
    let live =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 1}});
    let mut scale = live.clone();
    super::to_scale(&object, &mut scale, &replicas).expect("readable");
    assert_eq!(owners(&scale), json!({"maker Update": {"f:spec": {"f:replicas": {}}}}));
    let mut config = live.clone();
    config["spec"]["replicas"] = 3.into();
    let writer = Writer { subresource: "scale", ..in_version("hand", "autoscaling/v1", T2) };
    let none = FieldSet::default();
    apply(Some(&scale), &config, DEDUCED, &writer, &none, false).expect_err("maker owns them");
    let forced = apply(Some(&scale), &config, DEDUCED, &writer, &none, true).expect("forced");
    super::from_scale(&forced, &mut object, &replicas).expect("readable");
    assert_eq!(
        owners(&object),
        json!({"maker Update": {"f:spec": {".": {}, "f:x": {}}}, "hand Apply": {"f:spec": {"f:replicas": {}}}})
    );
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["apiVersion"], &entry["subresource"], &entry["time"]),
        (&json!("v1"), &json!("scale"), &json!(T2))
    );
    // What changes nothing leaves the owners.
    let before = object.clone();
    let mut scale = live;
    super::to_scale(&object, &mut scale, &replicas).expect("readable");
    super::from_scale(&scale, &mut object, &replicas).expect("readable");
    assert_eq!(object, before);
}
