//! Rows 22 and 23: garbage collection and namespaces over every kind that is served, against the real API server.

use std::time::Duration;

use api::Gvr;
use apiserver::{Apiserver, Config, User};
use client::{Client, DeleteParams, Error, ListParams, Patch, Propagation};
use plane::identities::Identities;
use plane::pki::{Names, Pki};
use plane::run_garbage::run_garbage;
use plane::run_namespaces::run_namespaces;
use process::Shutdown;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

struct Plane {
    client: Client,
    identities: Identities,
    shutdown: Shutdown,
    _dir: tempfile::TempDir,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn start() -> Plane {
    let dir = tempfile::tempdir().expect("a directory");
    let pki = Pki::open(dir.path(), &Names::default(), process::now()).expect("keys");
    let (store, shutdown) = (store::memory(), Shutdown::new());
    let server = Apiserver::new(Config {
        store: store.clone(),
        service_cidrs: vec!["10.96.0.0/16".parse().expect("a range")],
        node_port_range: 30000..=32767,
        client_ca_pem: pki.ca_pem.clone().into_bytes(),
        sa_key_pem: pki.sa_key_pem.clone().into_bytes(),
        issuer: "https://kubernetes.default.svc".to_owned(),
        kubelet_client: client::Identity::certificate(
            pki.kubelet_client.cert_pem.clone(),
            pki.kubelet_client.key_pem.clone(),
        ),
        kubelet_ca_pem: pki.ca_pem.clone().into_bytes(),
        extra: None,
        advertise: "127.0.0.1:6443".parse().expect("an address"),
        goaway_chance: 0.0,
        event_ttl: apiserver::EVENT_TTL,
        may_proxy_to: apiserver::is_proxyable,
    })
    .await
    .expect("the API server starts");
    let client = server.transport(User::gannet());
    let identities = Identities::new(server.clone());
    process::spawn(
        "garbage",
        run_garbage(server.clone(), store.clone(), identities.client("garbage-collector-controller"), shutdown.clone()),
    );
    process::spawn(
        "namespaces",
        run_namespaces(server, store, identities.client("namespace-controller"), shutdown.clone()),
    );
    Plane { client, identities, shutdown, _dir: dir }
}

fn maps() -> Gvr {
    Gvr::new("", "v1", "configmaps")
}

fn roles() -> Gvr {
    Gvr::new("rbac.authorization.k8s.io", "v1", "roles")
}

fn owner(of: &Value) -> Value {
    json!({
        "apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"], "uid": of["metadata"]["uid"],
        "blockOwnerDeletion": true,
    })
}

impl Plane {
    async fn make(&self, gvr: &Gvr, namespace: &str, name: &str, owners: &[Value], finalizers: &[&str]) -> Value {
        let metadata = json!({"name": name, "ownerReferences": owners, "finalizers": finalizers});
        self.client.create_value(gvr, namespace, &json!({"metadata": metadata})).await.expect("it is created")
    }

    async fn delete(&self, gvr: &Gvr, name: &str, propagation: Propagation) {
        let params = DeleteParams::default().propagation(propagation);
        self.client.delete_value(gvr, "default", name, &params).await.expect("it is deleted");
    }

    async fn find(&self, gvr: &Gvr, namespace: &str, name: &str) -> Option<Value> {
        match self.client.get_value(gvr, namespace, name).await {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Polls until the object, or its absence, is as wanted.
    async fn until(&self, gvr: &Gvr, namespace: &str, name: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let found = tokio::time::timeout(PATIENCE, async {
            while !wanted(self.find(gvr, namespace, name).await.as_ref()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if found.await.is_err() {
            panic!("{name} is {:?}", self.find(gvr, namespace, name).await);
        }
    }
}

#[tokio::test]
async fn row_22_dependents_of_every_kind_follow_their_owner() {
    let plane = start().await;
    let map = plane.make(&maps(), "default", "owner", &[], &[]).await;
    let role = plane.make(&roles(), "default", "role", &[owner(&map)], &[]).await;
    plane.make(&maps(), "default", "leaf", &[owner(&role)], &[]).await;
    plane.delete(&maps(), "owner", Propagation::Background).await;
    plane.until(&roles(), "default", "role", |found| found.is_none()).await;
    plane.until(&maps(), "default", "leaf", |found| found.is_none()).await;
    // An owner that never was.
    let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": map["metadata"]["uid"]});
    plane.make(&roles(), "default", "late", &[nobody], &[]).await;
    plane.until(&roles(), "default", "late", |found| found.is_none()).await;
}

#[tokio::test]
async fn row_22_foreground_waits_and_orphan_lets_go() {
    let plane = start().await;
    let map = plane.make(&maps(), "default", "owner", &[], &[]).await;
    plane.make(&roles(), "default", "held", &[owner(&map)], &["x.io/hold"]).await;
    plane.delete(&maps(), "owner", Propagation::Foreground).await;
    plane.until(&roles(), "default", "held", |found| found.is_some_and(api::meta::is_deleting)).await;
    let waiting = plane.find(&maps(), "default", "owner").await.expect("it waits");
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    plane.client.patch_value(&roles(), "default", "held", None, release).await.expect("it is released");
    plane.until(&maps(), "default", "owner", |found| found.is_none()).await;

    let map = plane.make(&maps(), "default", "owner", &[], &[]).await;
    plane.make(&roles(), "default", "stays", &[owner(&map)], &[]).await;
    plane.delete(&maps(), "owner", Propagation::Orphan).await;
    plane.until(&maps(), "default", "owner", |found| found.is_none()).await;
    let stays = plane.find(&roles(), "default", "stays").await.expect("it stays");
    assert!(stays["metadata"].get("ownerReferences").is_none_or(|owners| owners == &json!([])), "{stays}");
}

#[tokio::test]
async fn row_22_a_cycle_is_broken() {
    let plane = start().await;
    let a = plane.make(&maps(), "default", "a", &[], &[]).await;
    let b = plane.make(&roles(), "default", "b", &[owner(&a)], &[]).await;
    let back = Patch::Merge(json!({"metadata": {"ownerReferences": [owner(&b)]}}));
    plane.client.patch_value(&maps(), "default", "a", None, back).await.expect("it is patched");
    plane.delete(&maps(), "a", Propagation::Foreground).await;
    plane.until(&maps(), "default", "a", |found| found.is_none()).await;
    plane.until(&roles(), "default", "b", |found| found.is_none()).await;
}

#[tokio::test]
async fn row_22_an_owner_in_another_namespace_is_told() {
    let plane = start().await;
    let elsewhere = plane.make(&maps(), "kube-public", "owner", &[], &[]).await;
    plane.make(&roles(), "default", "r", &[owner(&elsewhere)], &[]).await;
    plane.until(&roles(), "default", "r", |found| found.is_none()).await;
    let events = Gvr::new("", "v1", "events");
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let list = plane.client.list_value(&events, "default", &ListParams::all()).await.expect("a list");
            if let Some(event) = list.items.into_iter().find(|event| event["reason"] == "OwnerRefInvalidNamespace") {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let event = told.await.expect("it is told");
    let uid = elsewhere["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(
        event["message"],
        format!(
            "ownerRef [v1/ConfigMap, namespace: default, name: owner, uid: {uid}] does not exist in namespace \"default\""
        )
    );
}

#[tokio::test]
async fn row_23_a_namespace_is_emptied_of_every_kind() {
    let plane = start().await;
    let namespaces = Gvr::new("", "v1", "namespaces");
    plane.client.create_value(&namespaces, "", &json!({"metadata": {"name": "n"}})).await.expect("a namespace");
    plane.make(&roles(), "n", "held", &[], &["a.b/c"]).await;
    plane.make(&maps(), "n", "free", &[], &[]).await;
    plane.client.delete_value(&namespaces, "", "n", &DeleteParams::default()).await.expect("it is marked");
    plane.until(&maps(), "n", "free", |found| found.is_none()).await;
    let said = |namespace: &Value, kind: &str, message: &str| {
        let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
        let found = conditions.filter(|one| one["type"] == kind && one["status"] == "True");
        found.map(|one| one["message"].as_str().unwrap_or_default()).any(|text| text == message)
    };
    plane
        .until(&namespaces, "", "n", |found| {
            found.is_some_and(|namespace| {
                let remaining =
                    "Some resources are remaining: roles.rbac.authorization.k8s.io has 1 resource instances";
                let held = "Some content in the namespace has finalizers remaining: a.b/c in 1 resource instances";
                said(namespace, "NamespaceContentRemaining", remaining)
                    && said(namespace, "NamespaceFinalizersRemaining", held)
            })
        })
        .await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    plane.client.patch_value(&roles(), "n", "held", None, release).await.expect("it is released");
    plane.until(&namespaces, "", "n", |found| found.is_none()).await;
    let refused: Result<Value, Error> =
        plane.client.create_value(&maps(), "n", &json!({"metadata": {"name": "x"}})).await;
    assert!(refused.is_err_and(|error| error.is_not_found()));
}

#[tokio::test]
async fn row_29_each_loop_has_an_account_with_a_role() {
    let plane = start().await;
    let config = controllers::Config { cluster_cidrs: Vec::new(), ca_pem: String::new(), started: process::now() };
    for controller in controllers::all(&config) {
        let client = plane.identities.client(controller.name());
        let reviews = Gvr::new("authentication.k8s.io", "v1", "selfsubjectreviews");
        let review = client.create_value(&reviews, "", &json!({})).await.expect("everybody may ask who he is");
        let user = &review["status"]["userInfo"];
        let account =
            user["username"].as_str().and_then(|name| name.strip_prefix("system:serviceaccount:kube-system:"));
        let account = account.unwrap_or_else(|| panic!("{} is {user}", controller.name()));
        assert!(!user["groups"].to_string().contains("system:masters"), "{user}");
        let bindings = Gvr::new("rbac.authorization.k8s.io", "v1", "clusterrolebindings");
        let binding = plane.find(&bindings, "", &format!("system:controller:{account}")).await;
        let subject = binding.unwrap_or_else(|| panic!("{account} has no role"))["subjects"][0].clone();
        assert_eq!((&subject["name"], &subject["namespace"]), (&json!(account), &json!("kube-system")));
        // Beside its role it may do nothing.
        let secrets = Gvr::new("", "v1", "secrets");
        let refused = client.create_value(&secrets, "default", &json!({"metadata": {"name": "x"}})).await;
        assert!(refused.is_err(), "{account}");
    }
}
