//! The control plane in one process over the store in memory: the real API server, controllers, scheduler and fabric
//! server, with nodes that only say what a node says. Nothing waits for time: each step waits for the View to show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use apiserver::{Apiserver, User};
use cache::View;
use client::{Client, DeleteParams, Patch, Propagation};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use plane::complaints::Complaints;
use plane::identities::Identities;
use plane::pki::{Names, Pki};
use plane::run_controllers::{ControllersConfig, run_controllers};
use plane::run_fabric::{Ledger, run_fabric};
use plane::run_garbage::run_garbage;
use plane::run_namespaces::run_namespaces;
use plane::run_scheduler::run_scheduler;
use plane::views::{self, Views};
use process::Shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, ServerTlsConfig};
use wire::fabric::{Ack, Delta, EndpointState};

/// Longer than any step takes on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Plane {
    client: Client,
    views: Views,
    pki: Arc<Pki>,
    ledger: Arc<Ledger>,
    fabric: std::net::SocketAddr,
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
    let names = Names { dns: BTreeSet::from(["localhost".to_owned()]), addresses: BTreeSet::new() };
    let pki = Arc::new(Pki::open(dir.path(), &names, process::now()).expect("keys"));
    let shutdown = Shutdown::new();
    let store = store::memory();
    let server = Apiserver::new(apiserver::Config {
        store: store.clone(),
        service_cidrs: vec!["10.96.0.0/16".parse().expect("a range")],
        node_port_range: 30000..=32767,
        client_ca_pem: pki.ca_pem.clone().into_bytes(),
        sa_key_pem: pki.sa_key_pem.clone().into_bytes(),
        issuer: plane::ISSUER.to_owned(),
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
    let views = views::start(store.clone(), shutdown.clone()).await;
    let config = ControllersConfig {
        cluster_cidrs: vec!["10.244.0.0/16".parse().expect("a range")],
        ca_pem: pki.ca_pem.clone(),
    };
    let ledger = Arc::new(Ledger::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let fabric = listener.local_addr().expect("an address");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&pki.serving.cert_pem, &pki.serving.key_pem))
        .client_ca_root(Certificate::from_pem(&pki.ca_pem));
    process::spawn("controllers", run_controllers(identities.clone(), views.clone(), config, shutdown.clone()));
    process::spawn(
        "garbage",
        run_garbage(server.clone(), store.clone(), identities.client("garbage-collector-controller"), shutdown.clone()),
    );
    process::spawn(
        "namespaces",
        run_namespaces(server, store, identities.client("namespace-controller"), shutdown.clone()),
    );
    process::spawn("scheduler", run_scheduler(identities.scheduler(), views.clone(), shutdown.clone()));
    let complaints = Complaints::new(client.clone());
    process::spawn("fabric", run_fabric(views.clone(), listener, tls, ledger.clone(), complaints, shutdown.clone()));
    process::spawn("nodes", nodes(client.clone(), views.clone(), shutdown.clone()));
    Plane { client, views, pki, ledger, fabric, shutdown, _dir: dir }
}

/// Waits until the View is as wanted.
async fn wait(views: &Views, what: &str, wanted: impl Fn(&View) -> bool) -> Arc<View> {
    let mut views = views.clone();
    let mut view = views.latest();
    let found = tokio::time::timeout(PATIENCE, async {
        while !wanted(&view) {
            view = views.changed().await;
        }
    });
    if found.await.is_err() {
        let view = views.latest();
        let pods = view.all::<Pod>().map(|pod| json!({"pod": pod.metadata.name, "status": pod.status}));
        let sets = view.all::<ReplicaSet>().map(|set| json!({"set": set.metadata, "status": set.status}));
        let deployments = view.all::<Deployment>().map(|one| json!({"deployment": one.metadata, "status": one.status}));
        let lines: Vec<String> = pods.chain(sets).chain(deployments).map(|line| line.to_string()).collect();
        panic!("waited in vain for: {what}\n{}", lines.join("\n"));
    }
    view
}

/// What nodes do to pods: run those that are bound, let go those that are deleted.
async fn nodes(client: Client, mut views: Views, shutdown: Shutdown) {
    let mut view = views.latest();
    let mut given = BTreeMap::new();
    loop {
        for pod in view.all::<Pod>() {
            let (namespace, name) =
                (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
            let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            let started = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
            if pod.metadata.deletion_timestamp.is_some() {
                let gone = DeleteParams::now().uid(pod.metadata.uid.clone().unwrap_or_default());
                let _ = client.delete::<Pod>(&namespace, &name, &gone).await;
            } else if bound && !started {
                let next = given.len() + 1;
                let ip = *given.entry(pod.metadata.uid.clone()).or_insert(next);
                let now = process::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let status = json!({"status": {
                    "phase": "Running",
                    "podIP": format!("10.244.200.{ip}"),
                    "podIPs": [{"ip": format!("10.244.200.{ip}")}],
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                }});
                let _ = client.patch::<Pod>(&namespace, &name, Some("status"), Patch::Strategic(status)).await;
            }
        }
        tokio::select! {
            next = views.changed() => view = next,
            () = shutdown.cancelled() => return,
        }
    }
}

async fn add_nodes(client: &Client, names: &[&str]) {
    for name in names {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        });
        let node: Node = serde_json::from_value(node).expect("a node");
        client.create(&node).await.expect("the node is created");
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            // This test is not about time.
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2100-01-01T00:00:00.000000Z"},
        });
        let lease: Lease = serde_json::from_value(lease).expect("a lease");
        client.create(&lease).await.expect("the lease is created");
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": format!("192.0.2.{}", name.len())}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        }});
        client.patch::<Node>("", name, Some("status"), Patch::Strategic(status)).await.expect("the node's status");
    }
}

fn deployment(namespace: &str, name: &str, replicas: i32) -> Deployment {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "one", "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    }))
    .expect("a deployment")
}

fn service(namespace: &str, name: &str) -> Service {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }))
    .expect("a service")
}

fn rolled_out(view: &View, namespace: &str, name: &str) -> bool {
    view.get::<Deployment>(namespace, name).is_some_and(|deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let done = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing" && condition.reason.as_deref() == Some("NewReplicaSetAvailable")
        });
        done && status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == wanted
            && status.available_replicas == wanted
            && status.replicas == wanted
    })
}

fn ready_addresses(view: &View, namespace: &str, service: &str) -> BTreeSet<String> {
    view.list::<EndpointSlice>(namespace)
        .filter(|slice| {
            slice
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get("kubernetes.io/service-name"))
                .is_some_and(|name| name == service)
        })
        .flat_map(|slice| slice.endpoints.clone().unwrap_or_default())
        .filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true)))
        .flat_map(|endpoint| endpoint.addresses.clone())
        .collect()
}

/// A node's end of the fabric: certificate, stream, state.
struct Subscriber {
    stream: tonic::Streaming<Delta>,
    acks: tokio::sync::mpsc::Sender<Ack>,
    node: String,
    state: fabric::State,
}

async fn subscribe(plane: &Plane, certificate: &str, claims: &str) -> Result<Subscriber, tonic::Status> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut request = rcgen::CertificateParams::default();
    request.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    request.distinguished_name.push(rcgen::DnType::CommonName, format!("system:node:{certificate}"));
    let request = request.serialize_request(&key).expect("a request").pem().expect("PEM");
    let signed = plane.pki.sign_node_client(certificate, &request, process::now()).expect("a certificate");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&plane.pki.ca_pem))
        .identity(Identity::from_pem(signed, key.serialize_pem()))
        .domain_name("localhost");
    let channel = Channel::from_shared(format!("https://{}", plane.fabric)).expect("an address");
    let channel = channel.tls_config(tls).expect("TLS").connect().await.expect("the fabric answers");
    let (acks, receiver) = tokio::sync::mpsc::channel(16);
    acks.send(Ack { node: claims.to_owned(), ..Ack::default() }).await.expect("room");
    let mut client = rpc::fabric::fabric_client::FabricClient::new(channel);
    let stream = client.sync(tokio_stream::wrappers::ReceiverStream::new(receiver)).await?.into_inner();
    Ok(Subscriber { stream, acks, node: claims.to_owned(), state: fabric::State::default() })
}

impl Subscriber {
    /// Applies deltas and acknowledges them until the state is as wanted; `always` is checked after each.
    async fn until(&mut self, always: impl Fn(&fabric::State), wanted: impl Fn(&fabric::State) -> bool) {
        let done = tokio::time::timeout(PATIENCE, async {
            while !wanted(&self.state) {
                let delta = self.stream.message().await.expect("the stream is whole").expect("the stream goes on");
                assert!(delta.full || delta.epoch > self.state.epoch.0, "epochs grow");
                self.state.apply(delta);
                always(&self.state);
                let ack = Ack { node: self.node.clone(), epoch: self.state.epoch.0, error: String::new() };
                self.acks.send(ack).await.expect("the stream goes on");
            }
        });
        assert!(done.await.is_ok(), "the fabric is not as wanted: {:?}", self.state);
    }
}

fn backends(state: &fabric::State, service: &str, wanted: EndpointState) -> usize {
    let endpoints = state.services.get(service).map(|service| service.endpoints.clone()).unwrap_or_default();
    endpoints.iter().filter(|endpoint| endpoint.state == i32::from(wanted)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_becomes_endpoints_on_every_node() {
    let plane = start().await;
    let client = &plane.client;
    add_nodes(client, &["n", "nn", "nnn"]).await;
    client.create(&service("default", "web")).await.expect("the service is created");
    client.create(&deployment("default", "web", 3)).await.expect("the deployment is created");
    let view = wait(&plane.views, "the rollout", |view| rolled_out(view, "default", "web")).await;
    let on: BTreeSet<_> = view.all::<Pod>().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
    assert_eq!(on.len(), 3, "replicas are spread over the nodes");
    wait(&plane.views, "three ready endpoints", |view| ready_addresses(view, "default", "web").len() == 3).await;
    let ranges: BTreeSet<_> = view.all::<Node>().filter_map(|node| node.spec.as_ref()?.pod_cidr.clone()).collect();
    assert_eq!(ranges.len(), 3, "each node has a range of its own: {ranges:?}");
    for namespace in ["default", "kube-system"] {
        wait(&plane.views, "what a namespace needs", |view| {
            view.get::<ServiceAccount>(namespace, "default").is_some()
                && view.get::<ConfigMap>(namespace, "kube-root-ca.crt").is_some()
        })
        .await;
    }

    let mut node = subscribe(&plane, "n", "n").await.expect("the fabric takes the node");
    node.until(|_| {}, |state| backends(state, "default/web", EndpointState::Ready) == 3 && state.nodes.len() == 3)
        .await;
    assert!(subscribe(&plane, "n", "nn").await.is_err(), "a node speaks for itself alone");

    // A rollout with no pod missing at any epoch: 25% of 3 may be unavailable, which is none.
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}});
    let patch = client.patch::<Deployment>("default", "web", None, Patch::Strategic(image));
    let generation = patch.await.expect("the new image").metadata.generation;
    let always = |state: &fabric::State| {
        let ready = backends(state, "default/web", EndpointState::Ready);
        assert!(ready >= 3, "{ready} ready backends at epoch {}", state.epoch);
    };
    let view = wait(&plane.views, "the second rollout", |view| {
        let deployment = view.get::<Deployment>("default", "web").expect("it stays");
        deployment.metadata.generation == generation && rolled_out(view, "default", "web")
    })
    .await;
    let new =
        view.list::<ReplicaSet>("default").find(|set| set.status.as_ref().is_some_and(|status| status.replicas == 3));
    let image = new.and_then(|set| set.spec.as_ref()?.template.as_ref()?.spec.as_ref()?.containers[0].image.clone());
    assert_eq!(image.as_deref(), Some("two"));
    let view = wait(&plane.views, "the old endpoints to go", |view| {
        let ready = ready_addresses(view, "default", "web");
        let pods: BTreeSet<_> =
            view.list::<Pod>("default").filter_map(|pod| pod.status.as_ref()?.pod_ip.clone()).collect();
        ready.len() == 3 && ready == pods
    })
    .await;
    let wanted = ready_addresses(&view, "default", "web");
    node.until(always, |state| {
        let service = &state.services["default/web"];
        service.endpoints.iter().map(|endpoint| endpoint.ip.clone()).collect::<BTreeSet<_>>() == wanted
    })
    .await;
    let events: Vec<Event> = client.list("default", &client::ListParams::all()).await.expect("events").items;
    let reasons: BTreeSet<_> = events.iter().filter_map(|event| event.reason.clone()).collect();
    for reason in ["ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete", "Scheduled"] {
        assert!(reasons.contains(reason), "{reason} is among {reasons:?}");
    }
    // The last ack is on its way: the ledger has it soon.
    let acknowledged = tokio::time::timeout(PATIENCE, async {
        while !plane.ledger.snapshot().nodes.iter().any(|line| line.name == "n" && line.current) {
            tokio::task::yield_now().await;
        }
    });
    assert!(acknowledged.await.is_ok(), "{:?}", plane.ledger.snapshot());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owned_goes_with_its_owner() {
    let plane = start().await;
    let client = &plane.client;
    add_nodes(client, &["n"]).await;
    let all_gone = |view: &View| view.list::<Pod>("default").count() + view.list::<ReplicaSet>("default").count() == 0;
    for propagation in [Propagation::Background, Propagation::Foreground] {
        client.create(&deployment("default", "web", 2)).await.expect("the deployment is created");
        wait(&plane.views, "the rollout", |view| rolled_out(view, "default", "web")).await;
        let params = DeleteParams::default().propagation(propagation);
        client.delete::<Deployment>("default", "web", &params).await.expect("it is deleted");
        wait(&plane.views, "its dependents to go", all_gone).await;
        wait(&plane.views, "the deployment to go", |view| view.all::<Deployment>().count() == 0).await;
    }
    // Orphans stay, and a new Deployment of the same selector takes them over.
    client.create(&deployment("default", "web", 2)).await.expect("the deployment is created");
    let before = wait(&plane.views, "the rollout", |view| rolled_out(view, "default", "web")).await;
    let params = DeleteParams::default().propagation(Propagation::Orphan);
    client.delete::<Deployment>("default", "web", &params).await.expect("it is deleted");
    wait(&plane.views, "the deployment to go", |view| view.all::<Deployment>().count() == 0).await;
    client.create(&deployment("default", "web", 2)).await.expect("the deployment is created");
    let after = wait(&plane.views, "the rollout", |view| rolled_out(view, "default", "web")).await;
    let pods =
        |view: &View| view.list::<Pod>("default").filter_map(|pod| pod.metadata.uid.clone()).collect::<BTreeSet<_>>();
    assert_eq!(pods(&before), pods(&after));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_everything_in_it() {
    let plane = start().await;
    let client = &plane.client;
    add_nodes(client, &["n"]).await;
    let namespace: Value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let namespace: Namespace = serde_json::from_value(namespace).expect("a namespace");
    client.create(&namespace).await.expect("the namespace is created");
    client.create(&service("shop", "web")).await.expect("the service is created");
    client.create(&deployment("shop", "web", 2)).await.expect("the deployment is created");
    wait(&plane.views, "the rollout", |view| rolled_out(view, "shop", "web")).await;
    client.delete::<Namespace>("", "shop", &DeleteParams::default()).await.expect("it is deleted");
    let view = wait(&plane.views, "the namespace to go", |view| view.get::<Namespace>("", "shop").is_none()).await;
    for kind in cache::Kind::ALL.iter().filter(|kind| kind.namespaced()) {
        assert_eq!(view.tables.keys(*kind, Some("shop")), [], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_waits_for_room() {
    let plane = start().await;
    let client = &plane.client;
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]},
    }))
    .expect("a pod");
    wait(&plane.views, "the account", |view| view.get::<ServiceAccount>("default", "default").is_some()).await;
    client.create(&pod).await.expect("the pod is created");
    let said = |view: &View| {
        let pod = view.get::<Pod>("default", "big")?;
        let conditions = pod.status.as_ref()?.conditions.clone()?;
        conditions.into_iter().find(|condition| condition.type_ == "PodScheduled")
    };
    let view = wait(&plane.views, "its condition", |view| said(view).is_some()).await;
    let condition = said(&view).expect("it is there");
    assert_eq!(condition.message.as_deref(), Some("no nodes available to schedule pods"));
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    add_nodes(client, &["n"]).await;
    wait(&plane.views, "the pod to be bound", |view| said(view).is_some_and(|condition| condition.status == "True"))
        .await;
}
