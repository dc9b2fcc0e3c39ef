//! The roles and bindings that every cluster has, made and repaired at start. What an administrator added stays; what
//! was taken away comes back, unless the object's annotation forbids it.

use super::{cover, rule::Rule};
use crate::{
    Apiserver, Error,
    admission::Origin,
    auth::User,
    generic::write::{self, Via, Write},
    storage,
};
use api::{Status, meta};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

const TABLE: &str = include_str!("roles.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const VERSION: &str = "v1";
/// An object with this annotation set to `false` is left as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";
/// Objects written at once.
const CONCURRENT: usize = 64;

/// One role of the table.
struct Role {
    name: &'static str,
    /// Of which roles it is a part.
    labels: Vec<&'static str>,
    /// The label of the parts it is made of.
    gathers: Option<&'static str>,
    /// Whom it is bound to; `Some` and empty makes a binding without subjects.
    subjects: Option<Vec<Value>>,
    rules: Vec<Rule>,
}

static ROLES: LazyLock<Vec<Role>> = LazyLock::new(|| read(TABLE));

/// The rules of `system:node`.
pub(crate) fn node_rules() -> &'static [Rule] {
    static RULES: LazyLock<&'static [Rule]> = LazyLock::new(|| {
        let role = ROLES.iter().find(|role| role.name == "system:node");
        role.map(|role| role.rules.as_slice()).expect("the table has system:node")
    });
    &RULES
}

fn read(table: &'static str) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        match (line.strip_prefix("role "), roles.last_mut()) {
            (Some(_), _) => roles.push(head(words.skip(1))),
            (None, Some(role)) => {
                let mut word = || words.next().unwrap_or_default();
                role.rules.push(rule(word(), word(), word(), word()));
            }
            (None, None) => panic!("the table of roles begins with a role"),
        }
    }
    for index in 0..roles.len() {
        if roles[index].gathers.is_some() {
            roles[index].rules = gather(&roles, index);
        }
    }
    roles
}

fn head(mut words: impl Iterator<Item = &'static str>) -> Role {
    let name = words.next().expect("a role has a name");
    let mut role = Role { name, labels: Vec::new(), gathers: None, subjects: None, rules: Vec::new() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let subject = match key {
            "label" => {
                role.labels.push(value);
                continue;
            }
            "gathers" => {
                role.gathers = Some(value);
                continue;
            }
            "nobody" => None,
            "group" => Some(json!({"kind": "Group", "apiGroup": GROUP, "name": value})),
            "user" => Some(json!({"kind": "User", "apiGroup": GROUP, "name": value})),
            "controller" => {
                let account = name.rsplit(':').next().unwrap_or_default();
                Some(json!({"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}))
            }
            "account" => {
                let (namespace, account) = value.split_once('/').expect("an account is namespace/name");
                Some(json!({"kind": "ServiceAccount", "name": account, "namespace": namespace}))
            }
            other => panic!("the table of roles knows no {other}"),
        };
        role.subjects.get_or_insert_default().extend(subject);
    }
    role
}

fn rule(groups: &str, resources: &str, verbs: &str, names: &str) -> Rule {
    let list = |text: &str| -> Vec<String> { text.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect() };
    let verbs = {
        let mut all: Vec<String> = Vec::new();
        for verb in verbs.split(',') {
            match verb {
                "READ" => all.extend(list("get,list,watch")),
                "WRITE" => all.extend(list("create,delete,deletecollection,patch,update")),
                other => all.push(other.to_owned()),
            }
        }
        all.sort();
        all
    };
    if groups == "url" {
        return Rule { verbs, urls: list(resources), ..Rule::default() };
    }
    let groups = groups.split(',').map(|group| if group == "core" { String::new() } else { group.to_owned() });
    Rule { verbs, groups: groups.collect(), resources: list(resources), names: list(names), ..Rule::default() }
}

/// The rules of the parts of a role, as the aggregation controller would join them.
fn gather(roles: &[Role], index: usize) -> Vec<Rule> {
    let label = roles[index].gathers.expect("only a role that gathers has parts");
    let mut parts: Vec<usize> =
        (0..roles.len()).filter(|part| *part != index && roles[*part].labels.contains(&label)).collect();
    parts.sort_by_key(|part| roles[*part].name);
    let mut rules: Vec<Rule> = Vec::new();
    for part in parts {
        let own = if roles[part].gathers.is_some() { gather(roles, part) } else { roles[part].rules.clone() };
        for rule in own {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

/// Creates what is missing and repairs what is not as it should be.
pub(crate) async fn reconcile(server: &Arc<Apiserver>) -> Result<(), Error> {
    let mut objects: Vec<(&str, &str, Value)> = Vec::new();
    for role in ROLES.iter() {
        objects.push(("clusterroles", "", cluster_role(role)));
        if let Some(subjects) = &role.subjects {
            objects.push(("clusterrolebindings", "", binding("ClusterRole", role.name, subjects)));
        }
    }
    for (namespace, name, rules, subjects) in namespaced() {
        let rules: Vec<Value> = rules.iter().map(Rule::write).collect();
        let mut role = json!({"metadata": {"name": name}, "rules": rules});
        let mut bound = binding("Role", name, &subjects);
        for object in [&mut role, &mut bound] {
            meta::set_namespace(object, namespace);
        }
        objects.push(("roles", namespace, role));
        objects.push(("rolebindings", namespace, bound));
    }
    let settled = objects.into_iter().map(|(resource, namespace, object)| settle(server, resource, namespace, object));
    stream::iter(settled).buffer_unordered(CONCURRENT).try_collect::<()>().await
}

fn cluster_role(role: &Role) -> Value {
    let rules: Vec<Value> = role.rules.iter().map(Rule::write).collect();
    let mut object = json!({"metadata": {"name": role.name}, "rules": rules});
    for label in &role.labels {
        meta::set_label(&mut object, &format!("{AGGREGATE}{label}"), "true");
    }
    if let Some(label) = role.gathers {
        let selector = json!({"matchLabels": {format!("{AGGREGATE}{label}"): "true"}});
        object["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
    }
    object
}

fn binding(kind: &str, role: &str, subjects: &[Value]) -> Value {
    let mut object = json!({"metadata": {"name": role}, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}});
    if !subjects.is_empty() {
        object["subjects"] = json!(subjects);
    }
    object
}

type Namespaced = (&'static str, &'static str, Vec<Rule>, Vec<Value>);

/// The roles of single namespaces, each bound under its own name.
fn namespaced() -> Vec<Namespaced> {
    const SYSTEM: &str = "kube-system";
    let user = |name: &str| json!({"kind": "User", "apiGroup": GROUP, "name": name});
    let account = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": SYSTEM});
    let leader =
        |name: &str| vec![rule("core", "configmaps", "get,update", name), rule("core", "configmaps", "watch", "")];
    let managers = || vec![user("system:kube-controller-manager")];
    let schedulers = || vec![user("system:kube-scheduler")];
    vec![
        (
            SYSTEM,
            "extension-apiserver-authentication-reader",
            vec![rule("core", "configmaps", "READ", "extension-apiserver-authentication")],
            vec![managers(), schedulers()].concat(),
        ),
        (SYSTEM, "system::leader-locking-kube-controller-manager", leader("kube-controller-manager"), managers()),
        (SYSTEM, "system::leader-locking-kube-scheduler", leader("kube-scheduler"), schedulers()),
        (
            SYSTEM,
            "system:controller:bootstrap-signer",
            vec![rule("core", "secrets", "READ", "")],
            vec![account("bootstrap-signer")],
        ),
        (
            SYSTEM,
            "system:controller:cloud-provider",
            vec![rule("core", "configmaps", "create,get,list,watch", "")],
            vec![account("cloud-provider")],
        ),
        (
            SYSTEM,
            "system:controller:token-cleaner",
            vec![rule("core", "secrets", "delete,get,list,watch", "")],
            vec![account("token-cleaner")],
        ),
        (
            "kube-public",
            "system:controller:bootstrap-signer",
            vec![
                rule("core", "configmaps", "READ", ""),
                rule("core", "configmaps", "update", "cluster-info"),
                rule("core,events.k8s.io", "events", "create,patch,update", ""),
            ],
            vec![account("bootstrap-signer")],
        ),
    ]
}

/// Creates the object, or adds to the one that is there what it lacks.
async fn settle(server: &Arc<Apiserver>, resource: &str, namespace: &str, mut object: Value) -> Result<(), Error> {
    let name = meta::name(&object).to_owned();
    let failed = |status: Status| Error::Bootstrap { what: format!("{resource} {name}"), status };
    let Some(resource) = registry::find(GROUP, VERSION, resource) else { return Ok(()) };
    let user = User::gannet();
    let (origin, via) = (Origin::default(), Via::Object);
    let write = Write::own(server, &user, resource, (namespace, &name), via, &origin);
    object["apiVersion"] = json!(resource.api_version());
    object["kind"] = json!(resource.kind);
    meta::set_label(&mut object, BOOTSTRAPPING.0, BOOTSTRAPPING.1);
    meta::set_annotation(&mut object, AUTOUPDATE, "true");
    let key = storage::key(resource, namespace, &name);
    let Some(entry) = server.config.store.get(&key).await? else {
        return write::insert(&write, object).await.map(drop).map_err(failed);
    };
    let present = storage::parse(&entry.value).map_err(failed)?;
    if meta::annotation(&present, AUTOUPDATE) == Some("false") {
        return Ok(());
    }
    if present["roleRef"] != object["roleRef"] {
        // What a binding is to cannot be changed: the wrong one goes, a right one comes.
        let options = crate::generic::delete::Options::default();
        crate::generic::delete::delete_one(&Write { via: Via::Server, ..write.clone() }, &options)
            .await
            .map_err(failed)?;
        return write::insert(&write, object).await.map(drop).map_err(failed);
    }
    if repaired(&present, &object) == present {
        return Ok(());
    }
    write::modify(&write, |old| Ok(repaired(&old.value, &object))).await.map(drop).map_err(failed)
}

/// The present object with all that the wanted one has.
fn repaired(present: &Value, wanted: &Value) -> Value {
    let mut new = present.clone();
    for (key, value) in meta::labels(wanted) {
        meta::set_label(&mut new, &key, &value);
    }
    for (key, value) in meta::annotations(wanted) {
        meta::set_annotation(&mut new, &key, &value);
    }
    if wanted["aggregationRule"].is_object() {
        // Its rules are the controller's.
        if present["aggregationRule"].is_null() {
            new["aggregationRule"] = wanted["aggregationRule"].clone();
        }
    } else if wanted["rules"].is_array() {
        let missing = cover::missing(&Rule::list(present), &Rule::list(wanted));
        if !missing.is_empty() {
            let rules = meta::object_mut(&mut new).entry("rules").or_insert_with(|| json!([]));
            if !rules.is_array() {
                *rules = json!([]);
            }
            rules.as_array_mut().expect("made an array above").extend(missing.iter().map(Rule::write));
        }
    }
    for subject in wanted["subjects"].as_array().into_iter().flatten() {
        let known = present["subjects"].as_array().is_some_and(|known| known.contains(subject));
        if !known {
            let subjects = meta::object_mut(&mut new).entry("subjects").or_insert_with(|| json!([]));
            if !subjects.is_array() {
                *subjects = json!([]);
            }
            subjects.as_array_mut().expect("made an array above").push(subject.clone());
        }
    }
    new
}
