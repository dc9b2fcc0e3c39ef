//! Policies of the whole cluster from the API to the fabric: they are custom resources, so their definition comes first.

use std::time::Duration;

use api::Gvr;
use apiserver::{Apiserver, Config, User};
use client::Client;
use plane::pki::{Names, Pki};
use plane::views;
use process::Shutdown;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A definition with as much of a schema as the API server asks for.
fn definition(kind: &str, plural: &str, version: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.policy.networking.k8s.io"),
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api"},
        },
        "spec": {
            "group": "policy.networking.k8s.io", "scope": "Cluster",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

async fn create(client: &Client, group: &str, version: &str, resource: &str, object: &Value) {
    let gvr = Gvr::new(group, version, resource);
    let created = tokio::time::timeout(PATIENCE, async {
        // A definition takes a moment to be served.
        loop {
            match client.create_value(&gvr, "", object).await {
                Ok(_) => return,
                Err(error) if error.is_not_found() => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    created.await.unwrap_or_else(|_| panic!("{resource} are not served"));
}

#[tokio::test]
async fn they_reach_the_fabric_in_the_order_of_their_tiers() {
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
    let group = "policy.networking.k8s.io";
    let kinds = [
        ("AdminNetworkPolicy", "adminnetworkpolicies", "v1alpha1"),
        ("BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies", "v1alpha1"),
        ("ClusterNetworkPolicy", "clusternetworkpolicies", "v1alpha2"),
    ];
    for (kind, plural, version) in kinds {
        let definition = definition(kind, plural, version);
        create(&client, "apiextensions.k8s.io", "v1", "customresourcedefinitions", &definition).await;
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts = Gvr::new("", "v1", "serviceaccounts");
    client.create_value(&accounts, "default", &account).await.expect("the account is created");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "labels": {"app": "a"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    });
    client.create_value(&Gvr::new("", "v1", "pods"), "default", &pod).await.expect("the pod is created");
    for (kind, plural, version) in kinds {
        let all = json!([{"namespaces": {}}]);
        let action = if kind == "ClusterNetworkPolicy" { "Accept" } else { "Deny" };
        let mut spec = json!({"subject": {"namespaces": {}}, "ingress": [{"action": action, "from": all}]});
        if kind != "BaselineAdminNetworkPolicy" {
            spec["priority"] = if kind == "ClusterNetworkPolicy" { 1 } else { 2 }.into();
        }
        if kind == "ClusterNetworkPolicy" {
            spec["tier"] = "Admin".into();
        }
        let object = json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": "default"}, "spec": spec});
        create(&client, group, version, plural, &object).await;
    }
    let written = api::Revision(store.revision().0);
    let mut views = views::start(store, shutdown.clone()).await;
    let mut view = views.latest();
    while view.revision < written {
        view = tokio::time::timeout(PATIENCE, views.changed()).await.expect("the View follows");
    }
    let state = fabric::compile(&view, None);
    assert_eq!(state.policy.warnings(), []);
    let ruleset = state.policy.pods["n1"]["default/a"].ruleset;
    let rules = &state.policy.rulesets[&ruleset].rules;
    // The first of the Admin tier by priority accepts; nothing behind it matters.
    assert!(!rules.is_empty() && rules.iter().all(|rule| !rule.deny && !rule.egress), "{rules:?}");

    // A field that nobody knows opens nothing, and its author is told.
    let strange = json!({
        "apiVersion": format!("{group}/v1alpha2"), "kind": "ClusterNetworkPolicy", "metadata": {"name": "strange"},
        "spec": {"tier": "Admin", "priority": 3, "subject": {"namespaces": {}},
            "ingress": [{"action": "Accept", "from": [{"namespaces": {}}], "when": "noon"}]},
    });
    create(&client, group, "v1alpha2", "clusternetworkpolicies", &strange).await;
    let view = tokio::time::timeout(PATIENCE, views.changed()).await.expect("the View follows");
    let state = fabric::compile(&view, None);
    let mut complaints = plane::complaints::Complaints::new(client.clone());
    for _ in 0..2 {
        complaints.tell(&view, state.policy.warnings());
    }
    let events = Gvr::new("", "v1", "events");
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let list = client.list_value(&events, "", &client::ListParams::all()).await.expect("events are listed");
            let mut about = list.items.into_iter().filter(|event| event["involvedObject"]["name"] == "strange");
            if let Some(event) = about.next() {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let event = told.await.expect("an Event is written");
    assert_eq!(
        (&event["reason"], &event["type"], &event["count"]),
        (&json!("NotUnderstood"), &json!("Warning"), &json!(1))
    );
    assert!(event["message"].as_str().is_some_and(|message| message.contains("\"when\"")), "{event}");
    shutdown.cancel();
}
