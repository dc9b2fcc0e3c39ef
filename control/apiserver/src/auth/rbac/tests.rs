use super::{cover, index::Index, rule::*, *};
use crate::{auth::follow::Fold, http::path::Target};
use bytes::Bytes;
use serde_json::{Value, json};

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Rule {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Rule { verbs: list(verbs), groups: list(groups), resources: list(resources), ..Rule::default() }
}

#[test]
fn rules_match_as_kubernetes_does() {
    let ask = |rule: &Rule, group, resource: &str, subresource, verb, name| {
        let combined = if subresource == "" { resource.to_owned() } else { format!("{resource}/{subresource}") };
        rule.allows(&Question::Resource { verb, group, resource: &combined, subresource, name })
    };
    let pods = rule(&[""], &["pods"], &["get"]);
    assert!(ask(&pods, "", "pods", "", "get", "x"));
    assert!(!ask(&pods, "", "pods", "log", "get", "x"));
    assert!(!ask(&pods, "apps", "pods", "", "get", "x"));
    assert!(!ask(&pods, "", "pods", "", "list", ""));
    let scale = rule(&["*"], &["*/scale"], &["*"]);
    assert!(ask(&scale, "apps", "deployments", "scale", "update", "x"));
    assert!(!ask(&scale, "apps", "deployments", "", "update", "x"));
    assert!(!ask(&scale, "apps", "deployments", "status", "update", "x"));
    let named = Rule { names: vec!["a".to_owned()], ..pods };
    assert!(ask(&named, "", "pods", "", "get", "a"));
    assert!(!ask(&named, "", "pods", "", "get", "b"));
    assert!(!ask(&named, "", "pods", "", "get", ""));
    let urls = Rule { verbs: vec!["get".into()], urls: vec!["/healthz/*".into(), "/a".into()], ..Rule::default() };
    for (path, want) in [("/healthz/x", true), ("/healthz", false), ("/a", true), ("/a/", false), ("/b", false)] {
        assert_eq!(urls.allows(&Question::Path { verb: "get", path }), want, "{path}");
    }
}

#[test]
fn missing_rights_are_told_together() {
    let held = [rule(&[""], &["pods", "*/scale"], &["get", "list"])];
    let wanted = [
        rule(&[""], &["pods", "pods/log"], &["get", "delete"]),
        rule(&[""], &["deployments/scale"], &["get"]),
        Rule { verbs: vec!["get".into()], urls: vec!["/x".into()], ..Rule::default() },
    ];
    assert_eq!(
        cover::describe(&cover::missing(&held, &wanted)),
        [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#,
            r#"{APIGroups:[""], Resources:["pods/log"], Verbs:["get" "delete"]}"#,
            r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#,
        ]
    );
    let named = Rule { names: vec!["a".into()], ..rule(&[""], &["pods"], &["get"]) };
    assert!(cover::missing(&held, std::slice::from_ref(&named)).is_empty());
    assert!(!cover::missing(&[named], &held).is_empty());
}

#[test]
fn the_index_follows_bindings() {
    let mut index: Arc<Index> = Arc::default();
    let put = |index: &mut Arc<Index>, key: &str, value: Value| {
        index.put(&format!("{}{key}", index::PREFIX), &Bytes::from(value.to_string()));
    };
    let reads = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    put(&mut index, "clusterroles/reader", json!({"rules": reads}));
    put(
        &mut index,
        "rolebindings/a/b",
        json!({"roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "s"}, {"kind": "Group", "name": "g"}]}),
    );
    let target = |namespace: &str| Target {
        namespace: namespace.to_owned(),
        resource: "pods".to_owned(),
        name: "x".to_owned(),
        ..Target::default()
    };
    let asked = |index: &Index, user: &User, namespace: &str| {
        let target = target(namespace);
        decide(index, user, "get", &Object::Resource { target: &target, field_selector: "" })
    };
    let account = User::account("a", "s");
    let grant = asked(&index, &account, "a").unwrap();
    assert_eq!(grant.reason(), r#"RBAC: allowed by RoleBinding "b/a" of ClusterRole "reader" to ServiceAccount "s/a""#);
    assert!(asked(&index, &account, "b").is_err());
    assert!(asked(&index, &account, "").is_err());
    assert!(asked(&index, &User::new("u", ["g"]), "a").is_ok());
    index.remove(&format!("{}clusterroles/reader", index::PREFIX));
    assert_eq!(
        asked(&index, &account, "a").unwrap_err(),
        r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#
    );
    index.remove(&format!("{}rolebindings/a/b", index::PREFIX));
    assert_eq!(asked(&index, &account, "a").unwrap_err(), "");
}
