//! What people do to the cluster.

use cache::View;
use client::{Client, DeleteParams, Patch, Propagation};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use serde_json::{Value, json};

use crate::kubelet::word;
use crate::rng::Rng;
use crate::world::now;

const NAMES: [&str; 3] = ["web", "api", "job"];
const NAMESPACES: [&str; 2] = ["default", "shop"];

/// Whether something disturbs what already runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Everything.
    Rough,
    /// Only what must not cost availability: a rolling update, begun when the one before is complete. (An update on
    /// top of an unfinished one may: pods that seem unready are removed first, and may have become ready meanwhile.)
    Gentle,
}

/// One deed, in words with its result.
pub fn act(client: &Client, view: &View, rng: &mut Rng, manner: Manner) -> String {
    let namespace = NAMESPACES[rng.below(2)];
    let name = NAMES[rng.below(3)];
    let deed = match manner {
        Manner::Rough => rng.below(16),
        Manner::Gentle => rng.below(6),
    };
    match deed {
        0 | 1 => create_deployment(client, namespace, name, rng, manner),
        2..=4 if manner == Manner::Gentle && !is_complete(view, namespace, name) => "nothing".to_owned(),
        2..=4 => {
            let image = format!("web:{}", rng.below(4));
            let spec = json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}});
            patch(client, namespace, name, "image", json!({"spec": spec}))
        }
        5 => create_service(client, namespace, name, rng),
        6..=8 => {
            let replicas = rng.below(7);
            patch(client, namespace, name, "scale", json!({"spec": {"replicas": replicas}}))
        }
        9 => {
            let propagation = if rng.once_in(2) { Propagation::Background } else { Propagation::Foreground };
            let params = DeleteParams { propagation: Some(propagation), ..Default::default() };
            let done = now(client.delete::<Deployment>(namespace, name, &params));
            format!("delete deployment {namespace}/{name} {}: {}", propagation.as_str(), word(&done))
        }
        10 | 11 => {
            let pods: Vec<_> = view.all::<Pod>().collect();
            let Some(pod) = rng.pick(&pods) else { return "no pod to delete".to_owned() };
            let key = cache::key_of(&pod.metadata);
            let grace = if rng.once_in(4) { Some(0) } else { None };
            let params = DeleteParams { grace, ..Default::default() };
            let done = now(client.delete::<Pod>(&key.namespace, &key.name, &params));
            format!("delete pod {key} grace {grace:?}: {}", word(&done))
        }
        12 => {
            let done = now(client.delete::<Service>(namespace, name, &DeleteParams::default()));
            format!("delete service {namespace}/{name}: {}", word(&done))
        }
        13 => {
            let object = json!({"metadata": {"name": "shop"}});
            let done = now(client.create_value(&api::Gvr::new("", "v1", "namespaces"), "", &object));
            format!("create namespace shop: {}", word(&done))
        }
        14 if rng.once_in(3) => {
            let done = now(client.delete::<Namespace>("", "shop", &DeleteParams::default()));
            format!("delete namespace shop: {}", word(&done))
        }
        14 => bare_pod(client, namespace, rng),
        _ => {
            let node = format!("node-{}", rng.below(3));
            let cordon = rng.once_in(2);
            let body = json!({"spec": {"unschedulable": cordon}});
            let done = now(client.patch::<Node>("", &node, None, Patch::Merge(body)));
            format!("cordon {node} {cordon}: {}", word(&done))
        }
    }
}

/// As `kubectl rollout status` has it.
fn is_complete(view: &View, namespace: &str, name: &str) -> bool {
    let Some(deployment) = view.get::<Deployment>(namespace, name) else { return false };
    let (Some(spec), Some(status)) = (&deployment.spec, &deployment.status) else { return false };
    let counts = [status.replicas, status.updated_replicas, status.available_replicas];
    status.observed_generation == deployment.metadata.generation && counts.iter().all(|count| *count == spec.replicas)
}

fn create_deployment(client: &Client, namespace: &str, name: &str, rng: &mut Rng, manner: Manner) -> String {
    let replicas = 1 + rng.below(6);
    let (surge, unavailable) = [(1, 0), (0, 1), (2, 1), (1, 1)][rng.below(4)];
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    let recreate = manner == Manner::Rough && rng.once_in(5);
    let strategy = if recreate { json!({"type": "Recreate"}) } else { rolling };
    let labels = json!({"app": name});
    let cpu = format!("{}m", 100 * (1 + rng.below(3)));
    let image = format!("web:{}", rng.below(4));
    let container = json!({"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}});
    let object = json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "strategy": strategy,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    let done = now(client.create_value(&api::Gvr::new("apps", "v1", "deployments"), namespace, &object));
    format!(
        "create deployment {namespace}/{name} x{replicas} +{surge}-{unavailable} recreate={recreate}: {}",
        word(&done)
    )
}

fn create_service(client: &Client, namespace: &str, name: &str, rng: &mut Rng) -> String {
    let kind = if rng.once_in(3) { "NodePort" } else { "ClusterIP" };
    let spec = json!({"type": kind, "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]});
    let object = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let done = now(client.create_value(&api::Gvr::new("", "v1", "services"), namespace, &object));
    format!("create service {namespace}/{name}: {}", word(&done))
}

fn bare_pod(client: &Client, namespace: &str, rng: &mut Rng) -> String {
    let container = json!({"name": "c", "image": "web:1", "resources": {"requests": {"cpu": "200m"}}});
    // Half of them wear the labels of a Deployment's pods, without its template hash: they stay nobody's.
    let labels = if rng.once_in(2) { json!({"app": "web"}) } else { Value::Null };
    let metadata = json!({"generateName": "bare-", "namespace": namespace, "labels": labels});
    let object = json!({"metadata": metadata, "spec": {"containers": [container]}});
    let done = now(client.create_value(&api::Gvr::new("", "v1", "pods"), namespace, &object));
    format!("create a bare pod in {namespace}: {}", word(&done))
}

fn patch(client: &Client, namespace: &str, name: &str, what: &str, body: Value) -> String {
    let done = now(client.patch::<Deployment>(namespace, name, None, Patch::Strategic(body.clone())));
    format!("{what} {namespace}/{name} {body}: {}", word(&done))
}
