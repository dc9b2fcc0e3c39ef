//! The walk: every route and verb of our own discovery, and every other path, by users who may little. What each may
//! is the table `walk.txt`; anything else that passes is a hole. `UPDATE_EXPECT=1` writes the table anew: read the
//! difference as the review of a change of rights.

use crate::fixture::*;
use client::Client;
use http::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NAMESPACE: &str = "kube-system";
const TABLE: &str = include_str!("walk.txt");

/// One request: the line of the table it belongs to, the verb, the method and the path.
struct Route {
    what: String,
    verb: String,
    method: &'static str,
    path: String,
}

fn route(what: &str, verb: &str, collection: &str, object: &str, sub: bool) -> Route {
    let (method, path) = match verb {
        "list" => ("GET", collection.to_owned()),
        "watch" => ("GET", format!("{collection}?watch=1&timeoutSeconds=1")),
        "create" if sub => ("POST", format!("{object}?dryRun=All")),
        "create" => ("POST", format!("{collection}?dryRun=All")),
        "deletecollection" => ("DELETE", format!("{collection}?dryRun=All")),
        "get" => ("GET", object.to_owned()),
        "update" => ("PUT", format!("{object}?dryRun=All")),
        "patch" => ("PATCH", format!("{object}?dryRun=All")),
        "delete" => ("DELETE", format!("{object}?dryRun=All")),
        other => panic!("discovery has an unknown verb {other}"),
    };
    Route { what: what.to_owned(), verb: verb.to_owned(), method, path }
}

async fn routes(f: &Fixture) -> Vec<Route> {
    let mut roots = vec!["/api/v1".to_owned()];
    for group in f.get("/apis").await.ok()["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            roots.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
        }
    }
    let (mut routes, mut verbs) = (Vec::new(), 0);
    for root in roots {
        for resource in f.get(&root).await.ok()["resources"].as_array().unwrap() {
            let full = resource["name"].as_str().unwrap();
            let (name, sub) = full.split_once('/').unwrap_or((full, ""));
            let namespaced = resource["namespaced"] == true;
            let scope = if namespaced { format!("/namespaces/{NAMESPACE}") } else { String::new() };
            let collection = format!("{root}{scope}/{name}");
            let object = if sub.is_empty() { format!("{collection}/x") } else { format!("{collection}/x/{sub}") };
            let what = format!("{} {full}", root.trim_start_matches("/apis/").trim_start_matches("/api/"));
            for verb in resource["verbs"].as_array().unwrap() {
                verbs += 1;
                let verb = verb.as_str().unwrap();
                routes.push(route(&what, verb, &collection, &object, !sub.is_empty()));
                if namespaced && matches!(verb, "list" | "watch") {
                    let all = format!("{root}/{name}");
                    routes.push(route(&format!("{what} (all namespaces)"), verb, &all, &all, false));
                }
            }
        }
    }
    assert_eq!(verbs, aggregated(f).await, "the walk misses something that discovery has");
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for path in f.get("/").await.ok()["paths"].as_array().unwrap() {
        paths.insert(path.as_str().unwrap().to_owned());
    }
    let more = [
        "/",
        "/healthz/ping",
        "/livez",
        "/nonsense",
        "/gannet/v1/status",
        "/gannet/v1/other",
        "/version",
        "/openid/v1/jwks",
        "/.well-known/openid-configuration",
    ];
    paths.extend(more.map(str::to_owned));
    routes.extend(paths.into_iter().map(|path| Route {
        what: path.clone(),
        verb: "get".to_owned(),
        method: "GET",
        path,
    }));
    let join = "/gannet/v1/join".to_owned();
    routes.push(Route { what: join.clone(), verb: "post".to_owned(), method: "POST", path: join });
    routes
}

/// How many verbs the other form of discovery has.
async fn aggregated(f: &Fixture) -> usize {
    let mut verbs = 0;
    for root in ["/api", "/apis"] {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let list = answer(f.fetch(root, accept).await).await.ok();
        let each = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
        for version in each(&list, "items").iter().flat_map(|group| each(group, "versions")) {
            for resource in each(&version, "resources") {
                verbs += each(&resource, "verbs").len();
                verbs += each(&resource, "subresources").iter().map(|sub| each(sub, "verbs").len()).sum::<usize>();
            }
        }
    }
    verbs
}

/// Every route that is not answered with 403, one line a resource or path.
async fn allowed(client: &Client, routes: &[Route]) -> Vec<String> {
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for route in routes {
        let kind = if route.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = json!({"metadata": {"name": "x"}, "spec": {}}).to_string();
        let request = Request::builder().method(route.method).uri(&route.path).header("content-type", kind);
        // A delete's options are in its query, unless it has a body.
        let body = if matches!(route.method, "GET" | "DELETE") { String::new() } else { body };
        // Only the head: what is allowed may go on for long.
        let response = client.raw(request.body(body.into()).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        assert_ne!(code, 401, "{} {}", route.method, route.path);
        if code != 403 {
            // Which groups there are is not for this table to say.
            let what = if route.what.starts_with("/apis/") { "/apis/*" } else { &route.what };
            let verbs = lines.entry(what).or_default();
            if what != "/apis/*" || verbs.is_empty() {
                verbs.push(&route.verb);
            }
        }
    }
    lines.into_iter().map(|(what, verbs)| format!("{what}: {}", verbs.join(","))).collect()
}

#[tokio::test]
async fn row_29_walk() {
    let f = Fixture::new().await;
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}");
    let pods = json!({"metadata": {"name": "pods"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]});
    f.post(&format!("{rbac}/roles"), pods).await.ok();
    for (role, kind) in [("pods", "Role"), ("view", "ClusterRole"), ("edit", "ClusterRole"), ("admin", "ClusterRole")] {
        let binding = json!({"metadata": {"name": format!("walk-{role}")}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "User", "name": format!("walk-{role}")}]});
        f.post(&format!("{rbac}/rolebindings"), binding).await.ok();
    }
    // What node a may not touch: a pod of node b, its secret, its lease.
    f.post(&format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), json!({"metadata": {"name": "default"}})).await;
    let mut theirs = pod("x");
    theirs["spec"]["nodeName"] = json!("x");
    theirs["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "x"}}]);
    f.post(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), theirs).await.ok();
    f.post("/api/v1/nodes", json!({"metadata": {"name": "x"}})).await.ok();

    let routes = routes(&f).await;
    let users = [
        ("anonymous", f.anonymous()),
        ("nobody", f.as_user("nobody", &[])),
        ("pods", f.as_user("walk-pods", &[])),
        ("node", f.as_user("system:node:a", &["system:nodes"])),
        ("view", f.as_user("walk-view", &[])),
        ("edit", f.as_user("walk-edit", &[])),
        ("admin", f.as_user("walk-admin", &[])),
    ];
    let mut table = String::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (name, client) in users {
        let lines: BTreeSet<String> = allowed(&client, &routes).await.into_iter().collect();
        // What the user before may too is not told again; what he may not any more is.
        let base = if name == "node" { BTreeSet::new() } else { known.clone() };
        table.push_str(&format!("== {name}\n"));
        for line in lines.difference(&base) {
            table.push_str(&format!("+ {line}\n"));
        }
        for line in base.difference(&lines) {
            table.push_str(&format!("- {line}\n"));
        }
        if name != "node" {
            known = lines;
        }
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/walk.txt");
        return std::fs::write(path, table).unwrap();
    }
    let (got, want): (Vec<&str>, Vec<&str>) = (table.lines().collect(), TABLE.lines().collect());
    let unexpected: Vec<_> = got.iter().filter(|line| !want.contains(line)).collect();
    let missing: Vec<_> = want.iter().filter(|line| !got.contains(line)).collect();
    assert!(got == want, "new: {unexpected:#?}\ngone: {missing:#?}");
}
