use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json as json_patch, merge, strategic};
use crate::{Gvk, Reason, Schema};

fn deployment() -> Schema {
    Schema::for_kind(&Gvk::new("apps", "v1", "Deployment")).expect("built in")
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "x"}, "spec": spec})
}

/// Applies a patch of a pod's spec.
fn patched(spec: Value, patch: Value) -> Value {
    let schema = Schema::for_kind(&Gvk::new("", "v1", "Pod")).expect("built in");
    let result = strategic::apply(&pod(spec), &json!({"spec": patch}), &schema);
    result.map_or_else(|s| Value::from(s.message), |v| v["spec"].clone())
}

#[test]
fn merge_patch_examples_of_rfc_7386() {
    for (original, patch, want) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge::apply(&original, &patch), want, "{original} + {patch}");
    }
}

#[test]
fn json_patch_outcomes() {
    let object = json!({"a": {"b": [1, 2]}, "c/d": 1});
    let apply = |p: Value| json_patch::apply(&object, p.to_string().as_bytes());
    assert_eq!(apply(json!([{"op": "replace", "path": "/c~1d", "value": 2}])).expect("applies")["c/d"], 2);
    assert_eq!(
        apply(json!([{"op": "add", "path": "/a/b/-", "value": 3}])).expect("applies")["a"]["b"],
        json!([1, 2, 3])
    );
    let code = |p: Value| apply(p).expect_err("fails").code;
    assert_eq!(code(json!([{"op": "test", "path": "/a", "value": 1}])), 422);
    assert_eq!(code(json!([{"op": "remove", "path": "/x/y"}])), 422);
    assert_eq!(code(json!([{"op": "add", "path": "/x/y", "value": 1}])), 422);
    assert_eq!(code(json!([{"op": "jump", "path": "/x"}])), 400);
    assert_eq!(code(json!({"a": 1})), 400);
    assert_eq!(apply(json!([{"op": "test", "path": "/a", "value": 1}])).expect_err("fails").reason, Reason::Invalid);
    let doubling: Vec<Value> = (0..40).map(|i| json!({"op": "copy", "from": "", "path": format!("/k{i}")})).collect();
    assert_eq!(code(Value::from(doubling)), 422, "copies are bounded");
}

#[test]
fn strategic_lists_merge_by_key() {
    let spec = json!({"containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "b:1"}]});
    for (patch, want) in [
        (
            json!({"containers": [{"name": "a", "image": "a:2"}]}),
            json!({"containers": [{"name": "a", "image": "a:2", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "b:1"}]}),
        ),
        (
            json!({"containers": [{"name": "b", "$patch": "delete"}]}),
            json!({"containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]}),
        ),
        (
            json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": "c:1"}]}),
            json!({"containers": [{"name": "c", "image": "c:1"}]}),
        ),
        (
            json!({"containers": [{"name": "c", "image": "c:1"}], "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "b:1"}, {"name": "c", "image": "c:1"}, {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]}),
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 81, "name": "x"}]}]}),
            json!({"containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 81, "name": "x"}, {"containerPort": 80}]}, {"name": "b", "image": "b:1"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "ports": null}, {"name": "b", "image": null}]}),
            json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b"}]}),
        ),
        (json!({"containers": [{"image": "x"}]}), json!("map: map[image:x] does not contain declared merge key: name")),
        (json!({"containers": [{"name": "a", "$patch": "explode"}]}), json!("unknown patch type: explode")),
        (
            json!({"containers": [{"name": "a"}], "$setElementOrder/containers": [{"name": "b"}]}),
            json!("the order in patch list doesn't match containers list"),
        ),
    ] {
        assert_eq!(patched(spec.clone(), patch.clone()), want, "{patch}");
    }
}

#[test]
fn strategic_directives() {
    for (spec, patch, want) in [
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        ),
        (
            json!({"volumes": [{"name": "v"}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/x"}}]}),
            json!("patch content doesn't match retainKeys list: hostPath"),
        ),
        (
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
            json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
            json!({"nodeSelector": {"c": "3"}}),
        ),
        (
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"$patch": "delete"}}),
            json!({"nodeSelector": {}}),
        ),
        (
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"a": null, "b": "2"}}),
            json!({"nodeSelector": {"b": "2"}}),
        ),
        (
            json!({"tolerations": [{"key": "a"}]}),
            json!({"tolerations": [{"key": "b"}]}),
            json!({"tolerations": [{"key": "b"}]}),
        ),
        (json!({}), json!({"containers": [{"name": "a", "$patch": "delete"}]}), json!({"containers": []})),
        (json!({"hostNetwork": true}), json!({"hostNetwork": false}), json!({"hostNetwork": false})),
    ] {
        assert_eq!(patched(spec, patch.clone()), want, "{patch}");
    }
    let schema = Schema::for_kind(&Gvk::new("", "v1", "Pod")).expect("built in");
    let object = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "d", "a"], "finalizers": ["d"]}});
    let result = strategic::apply(&object, &patch, &schema).expect("applies");
    assert_eq!(result["metadata"]["finalizers"], json!(["c", "d", "a"]));
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}});
    let result = strategic::apply(&object, &patch, &schema).expect("applies");
    assert_eq!(result["metadata"]["finalizers"], json!(["a", "c"]));
    assert!(strategic::apply(&object, &json!([]), &schema).is_err());
    assert_eq!(strategic::apply_kind(&object, &patch, &Gvk::new("x.io", "v1", "Foo")).expect_err("415").code, 415);
}

#[test]
fn rollout_restart_and_set_image_patches() {
    let object = json!({"spec": {"template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "w", "image": "w:1"}]}}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}, "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "t"}},
        "spec": {"$setElementOrder/containers": [{"name": "w"}], "containers": [{"name": "w", "image": "w:2"}]}}}});
    let result = strategic::apply(&object, &patch, &deployment()).expect("applies");
    assert_eq!(
        result,
        json!({"spec": {"template": {"metadata": {"labels": {"app": "w"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "t"}}, "spec": {"containers": [{"name": "w", "image": "w:2"}]}}, "strategy": {"type": "Recreate"}}})
    );
}

fn containers() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::btree_map("[a-d]", ("[x-z]{1,2}", prop::option::of(1..4_i32)), 0..4).prop_map(|m| {
        m.into_iter()
            .map(|(name, (image, tty))| {
                let mut container = json!({"name": name, "image": image});
                if let Some(n) = tty {
                    container["ports"] = json!([{"containerPort": n}]);
                }
                container
            })
            .collect()
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i32).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "template",
        "containers",
        "name",
        "finalizers",
        "ports",
        "containerPort",
        "volumes",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "a",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    /// Patching a list with itself changes nothing.
    #[test]
    fn strategic_self_patch_is_identity(list in containers()) {
        let spec = json!({"containers": list});
        prop_assert_eq!(patched(spec.clone(), spec.clone()), spec);
    }

    /// Patching twice is the same as once.
    #[test]
    fn strategic_is_idempotent(old in containers(), new in containers()) {
        let once = patched(json!({"containers": old}), json!({"containers": new}));
        prop_assert_eq!(patched(once.clone(), json!({"containers": new})), once);
    }

    /// A diff in the form kubectl sends (deletions, whole items, order) turns old into new.
    #[test]
    fn strategic_diff_then_apply(old in containers(), mut new in containers(), reverse in any::<bool>()) {
        if reverse {
            new.reverse();
        }
        let mut list: Vec<Value> = new.iter().map(|c| {
            let mut c = c.clone();
            c["$patch"] = "replace".into();
            c.as_object_mut().expect("object").remove("$patch");
            let had_ports = old.iter().any(|o| o["name"] == c["name"] && o.get("ports").is_some());
            if had_ports {
                match c.get("ports").cloned() {
                    None => c["ports"] = Value::Null,
                    Some(Value::Array(mut p)) => {
                        p.insert(0, json!({"$patch": "replace"}));
                        c["ports"] = p.into();
                    }
                    Some(_) => unreachable!("ports are a list"),
                }
            }
            c
        }).collect();
        list.extend(old.iter().filter(|o| !new.iter().any(|n| n["name"] == o["name"])).map(|o| json!({"name": o["name"], "$patch": "delete"})));
        let order: Vec<Value> = new.iter().map(|c| json!({"name": c["name"]})).collect();
        let got = patched(json!({"containers": old}), json!({"containers": list, "$setElementOrder/containers": order}));
        prop_assert_eq!(got["containers"].as_array().cloned().unwrap_or_default(), new);
    }

    #[test]
    fn patches_never_panic(object in any_json(), patch in any_json()) {
        let _ = strategic::apply(&object, &patch, &deployment());
        let _ = merge::apply(&object, &patch);
        let _ = json_patch::apply(&object, patch.to_string().as_bytes());
    }

    #[test]
    fn merge_patch_is_idempotent(object in any_json(), patch in any_json()) {
        let once = merge::apply(&object, &patch);
        prop_assert_eq!(merge::apply(&once, &patch), once);
    }
}
