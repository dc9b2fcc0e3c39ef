//! The pod tasks against the real API server over a store in memory and a pretended runtime: no port, no container.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{Apiserver, User};
use client::{Client, DeleteParams, ListParams, Patch, Watched};
use cri::fake::Fake;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Pods;
use crate::config::{Config, Identity};
use crate::context::{Context, Parts};
use crate::facts::Machine;
use crate::{notes, sources};

/// No wait in these tests is longer.
const LIMIT: Duration = Duration::from_secs(60);

struct World {
    client: Client,
    /// What the daemon uses: with a node's rights only.
    node: Client,
    runtime: Arc<Fake>,
    directory: tempfile::TempDir,
}

impl World {
    async fn new() -> World {
        let ca = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem().into_bytes();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let server = Apiserver::new(apiserver::Config {
            store: store::memory(),
            service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
            node_port_range: 30000..=32767,
            client_ca_pem: ca.clone(),
            sa_key_pem: key.serialize_pem().into_bytes(),
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            kubelet_client: client::Identity::Anonymous,
            kubelet_ca_pem: ca,
            extra: None,
            advertise: "192.0.2.1:6443".parse().unwrap(),
            goaway_chance: 0.0,
            event_ttl: apiserver::EVENT_TTL,
            may_proxy_to: apiserver::is_proxyable,
        })
        .await
        .unwrap();
        let client = server.transport(User::gannet());
        let node = server.transport(User::new("system:node:n", ["system:nodes"]));
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        client.create_value(&api::Gvr::new("", "v1", "serviceaccounts"), "default", &account).await.unwrap();
        let runtime = Arc::new(Fake::new());
        runtime.add_image("web:1", None);
        World { client, node, runtime, directory: tempfile::tempdir().unwrap() }
    }

    /// A daemon's pod tasks, until the token is cancelled.
    fn start(&self) -> (CancellationToken, Arc<Pods>) {
        let shutdown = CancellationToken::new();
        let parts = Parts {
            machine: Machine { cpus: 4, memory_bytes: 8 << 30, disk_bytes: 64 << 30, ..Machine::default() },
            client: self.node.clone(),
            runtime: self.runtime.clone(),
            notes: notes::Notes::start(self.node.clone(), "n".to_owned(), shutdown.clone()),
            services: sources::watch_services(&self.node, shutdown.clone()),
        };
        let context = Arc::new(Context::new(config(self.directory.path()), parts));
        let pods = Arc::new(Pods::default());
        process::spawn("pods", super::run(context, pods.clone(), shutdown.clone()));
        (shutdown, pods)
    }

    async fn create(&self, spec: serde_json::Value) -> Pod {
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.client.create(&pod).await.unwrap()
    }

    /// Waits until the pod is as wanted; `None` is a pod that is gone.
    async fn wait(&self, wanted: impl Fn(Option<&Pod>) -> bool) -> Option<Pod> {
        let mut stream = self.client.watch::<Pod>("default", &ListParams::fields("metadata.name=p"));
        let look = async {
            while let Some(event) = stream.next().await {
                let now = match event {
                    Watched::Restarted(all, _) => all.into_iter().next(),
                    Watched::Applied(pod) => Some(pod),
                    Watched::Deleted(_) => None,
                    Watched::Bookmark(_) => continue,
                };
                if wanted(now.as_ref()) {
                    return now;
                }
            }
            None
        };
        let last = tokio::time::timeout(LIMIT, look).await;
        last.unwrap_or_else(|_| panic!("not reached; the runtime did: {:#?}", self.runtime.calls()))
    }
}

fn config(directory: &Path) -> Config {
    let none = String::new;
    Config {
        node_name: "n".to_owned(),
        data_dir: directory.to_owned(),
        node_ips: vec!["192.0.2.7".parse().unwrap()],
        uplink: "none".to_owned(),
        native: false,
        server_url: none(),
        fabric_url: none(),
        identity: Identity {
            ca_pem: none(),
            client_cert_pem: none(),
            client_key_pem: none(),
            serving_cert_pem: none(),
            serving_key_pem: none(),
        },
        cri_socket: None,
        cgroup: "/sys/fs/cgroup/gannet/none".into(),
        cluster_dns: vec!["10.96.0.10".parse().unwrap()],
        cluster_domain: "cluster.local".to_owned(),
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        load_balancing: kernel::LoadBalancing::default(),
        flow_bits: None,
        binary: "/bin/true".into(),
    }
}

/// On the node's network, so that no data plane is needed; without a token, so that no tmpfs is mounted.
fn spec() -> serde_json::Value {
    json!({
        "nodeName": "n", "hostNetwork": true, "automountServiceAccountToken": false,
        "containers": [{"name": "web", "image": "web:1", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}}]}],
    })
}

fn phase(pod: Option<&Pod>) -> &str {
    pod.and_then(|p| p.status.as_ref()).and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|p| p.status.as_ref()).and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn waiting(pod: Option<&Pod>) -> String {
    let status = pod.and_then(|p| p.status.as_ref()).and_then(|s| s.container_statuses.as_ref()?.first());
    let waiting = status.and_then(|s| s.state.as_ref()?.waiting.as_ref());
    waiting.and_then(|w| w.reason.clone()).unwrap_or_default()
}

async fn config_map(world: &World) {
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "m", "namespace": "default"}, "data": {"a": "1"}})).unwrap();
    world.client.create(&map).await.unwrap();
}

#[tokio::test]
async fn a_bound_pod_runs_restarts_and_goes() {
    let world = World::new().await;
    let (_shutdown, _) = world.start();
    let created = world.create(spec()).await;
    let uid = created.metadata.uid.clone().unwrap();

    // What the environment refers to is not there yet: said clearly, tried again.
    world.wait(|pod| waiting(pod) == "CreateContainerConfigError").await;
    config_map(&world).await;
    let pod = world.wait(is_ready).await.unwrap();
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("192.0.2.7"));
    let container = &status.container_statuses.unwrap()[0];
    let id = world.runtime.container_id(&uid, "web").unwrap();
    assert_eq!(container.container_id, Some(format!("containerd://{id}")));

    world.runtime.exit(&id, 1);
    let restarted = |pod: Option<&Pod>| {
        let list = pod.and_then(|p| p.status.as_ref()).and_then(|s| s.container_statuses.as_ref());
        is_ready(pod) && list.is_some_and(|l| l[0].restart_count == 1)
    };
    world.wait(restarted).await;

    world.client.delete::<Pod>("default", "p", &DeleteParams::default()).await.unwrap();
    world.wait(|pod| pod.is_none()).await;
    assert!(!world.directory.path().join("pods").join(&uid).exists());
    let calls = world.runtime.calls();
    assert!(calls.iter().any(|c| c.starts_with("RemovePodSandbox")), "{calls:#?}");
}

#[tokio::test]
async fn a_missing_image_is_named_in_the_status() {
    let world = World::new().await;
    let (_shutdown, _) = world.start();
    world
        .create(json!({
            "nodeName": "n", "hostNetwork": true, "automountServiceAccountToken": false,
            "containers": [{"name": "web", "image": "absent:1"}],
        }))
        .await;
    world.wait(|pod| waiting(pod) == "ErrImagePull").await;
    let pod = world.wait(|pod| waiting(pod) == "ImagePullBackOff").await;
    assert_eq!(phase(pod.as_ref()), "Pending");
}

#[tokio::test]
async fn a_new_daemon_adopts_what_runs_and_says_its_status_again() {
    let world = World::new().await;
    config_map(&world).await;
    let (shutdown, _) = world.start();
    world.create(spec()).await;
    world.wait(is_ready).await;
    shutdown.cancel();
    let before = world.runtime.calls();

    // While no daemon runs somebody takes the readiness away, as node lifecycle does with a silent node.
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    world.client.patch::<Pod>("default", "p", Some("status"), Patch::Strategic(unready)).await.unwrap();
    let (_shutdown, _) = world.start();
    world.wait(is_ready).await;
    assert_eq!(world.runtime.calls(), before, "nothing was started, stopped or removed");
}

#[tokio::test]
async fn a_pod_that_does_not_fit_is_rejected() {
    let world = World::new().await;
    let (_shutdown, _) = world.start();
    world
        .create(json!({
            "nodeName": "n", "hostNetwork": true, "automountServiceAccountToken": false,
            "containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "5"}}}],
        }))
        .await;
    let pod = world.wait(|pod| phase(pod) == "Failed").await.unwrap();
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("OutOfcpu"));
}
