//! The objects that every cluster has: made at start where they are missing, and kept while the server runs.

mod api_services;
mod flow;
mod identity;

use crate::{
    Apiserver, Error,
    admission::Origin,
    auth::User,
    generic::write::{self, Via, Write},
    storage,
};
use api::{Status, meta};
use futures::future::join_all;
use ipnet::IpNet;
use process::Shutdown;
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc, time::Duration};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const SERVICE: &str = "kubernetes";
const PORT: u16 = 443;
/// How soon the objects of new custom kinds follow.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two repairs.
const REPAIR_TICKS: u32 = 10;

/// One object that is to be there.
pub(super) struct Wanted {
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) namespace: &'static str,
    pub(super) name: String,
    /// Without apiVersion, kind, name and namespace.
    pub(super) object: Value,
    /// Top-level fields that are brought back if somebody changed them.
    pub(super) kept: &'static [&'static str],
    /// Its first status, if the kind's own would not do.
    pub(super) status: Option<Value>,
}

impl Wanted {
    pub(super) fn new(
        (group, resource): (&'static str, &'static str),
        namespace: &'static str,
        name: impl Into<String>,
        object: Value,
    ) -> Self {
        Self { group, resource, namespace, name: name.into(), object, kept: &[], status: None }
    }

    fn keep(self, kept: &'static [&'static str]) -> Self {
        Self { kept, ..self }
    }
}

/// Creates what is missing, and points the `kubernetes` Service at this server.
pub(crate) async fn create(server: &Arc<Apiserver>) -> Result<(), Error> {
    for namespace in namespaces() {
        let name = namespace.name.clone();
        ensure(server, namespace)
            .await
            .map_err(|status| Error::Bootstrap { what: format!("namespace {name}"), status })?;
    }
    let address = server.config.advertise;
    if is_private(address.ip()) {
        tracing::info!(%address, "the kubernetes Service has no endpoints: the advertised address is this machine's only");
    }
    let mut wanted = kubernetes(server);
    wanted.extend(once(server));
    wanted.extend(flow::wanted());
    wanted.extend(api_services::wanted(server));
    // Together, so that few durable transactions carry them all.
    ensure_all(server, wanted).await;
    identity::renew(server).await;
    Ok(())
}

/// Keeps the objects while the server runs.
pub(crate) async fn run(server: Arc<Apiserver>, shutdown: Shutdown) {
    let mut seen = server.kinds.snapshot().generation;
    let mut ticks = 0;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let generation = server.kinds.snapshot().generation;
        if generation != seen {
            seen = generation;
            api_services::follow(&server).await;
        }
        ticks += 1;
        if ticks % REPAIR_TICKS == 0 {
            repair(&server).await;
        }
    }
}

/// Brings back what was removed or changed of what every cluster needs.
pub(crate) async fn repair(server: &Arc<Apiserver>) {
    ensure_all(server, namespaces()).await;
    ensure_all(server, kubernetes(server)).await;
    identity::renew(server).await;
}

async fn ensure_all(server: &Arc<Apiserver>, wanted: Vec<Wanted>) {
    let all = wanted.into_iter().map(|one| async {
        let what = format!("{} {}", one.resource, one.name);
        if let Err(status) = ensure(server, one).await {
            // Not fatal: a webhook may be in the way, and the next repair tries again.
            tracing::warn!(%what, status = status.message, "cannot write an object every cluster has");
        }
    });
    join_all(all).await;
}

fn namespaces() -> Vec<Wanted> {
    NAMESPACES.into_iter().map(|name| Wanted::new(("", "namespaces"), "", name, json!({}))).collect()
}

/// Such endpoints the API refuses: nobody else could use them.
fn is_private(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// The Service by which pods find this server, and its endpoints.
fn kubernetes(server: &Apiserver) -> Vec<Wanted> {
    let address = server.config.advertise;
    let ports = json!([{"name": "https", "port": PORT, "targetPort": address.port(), "protocol": "TCP"}]);
    let service = json!({
        "metadata": {"labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": server.config.service_cidrs.first().copied().map(first), "sessionAffinity": "None",
            "ports": ports,
        },
    });
    let mut wanted = vec![Wanted::new(("", "services"), "default", SERVICE, service)];
    if is_private(address.ip()) {
        return wanted;
    }
    let endpoints = json!({
        "metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address.ip()}],
            "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
        }],
    });
    wanted.push(Wanted::new(("", "endpoints"), "default", SERVICE, endpoints).keep(&["subsets"]));
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    });
    let slice = Wanted::new(("discovery.k8s.io", "endpointslices"), "default", SERVICE, slice);
    wanted.push(slice.keep(&["addressType", "endpoints", "ports"]));
    wanted
}

/// What is made once, and then the administrator's.
fn once(server: &Apiserver) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = registry::scheduling::priorityclass::SYSTEM
        .into_iter()
        .map(|(name, value)| {
            let what = match name {
                "system-node-critical" => "For pods that must not be moved from their node.",
                _ => "For pods that the cluster needs, wherever they run.",
            };
            let class = json!({"value": value, "description": what, "preemptionPolicy": "PreemptLowerPriority"});
            Wanted::new(("scheduling.k8s.io", "priorityclasses"), "", name, class)
        })
        .collect();
    // A second family joins when the server is told of it; the API lets no other change of a range pass.
    let ranges: Vec<String> = server.config.service_cidrs.iter().map(|range| range.trunc().to_string()).collect();
    let range = Wanted::new(("networking.k8s.io", "servicecidrs"), "", SERVICE, json!({"spec": {"cidrs": ranges}}));
    wanted.push(range.keep(&["spec"]));
    let ca = String::from_utf8_lossy(&server.config.client_ca_pem);
    let trust = json!({"data": {"client-ca-file": ca}});
    let trust = Wanted::new(("", "configmaps"), "kube-system", "extension-apiserver-authentication", trust);
    wanted.push(trust.keep(&["data"]));
    wanted
}

/// The first address of the range: the `kubernetes` Service's.
fn first(range: IpNet) -> IpAddr {
    match range.network() {
        IpAddr::V4(ip) => IpAddr::from((u32::from(ip) + 1).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) + 1).to_be_bytes()),
    }
}

/// Creates the object, or gives the one that is there the fields that are kept.
pub(super) async fn ensure(server: &Arc<Apiserver>, wanted: Wanted) -> Result<(), Status> {
    let Wanted { group, resource, namespace, name, mut object, kept, status } = wanted;
    let resource = registry::find(group, "v1", resource).expect("the table has the kinds every cluster needs");
    let user = User::gannet();
    let origin = Origin::default();
    let write = Write::own(server, &user, resource, (namespace, &name), Via::Object, &origin);
    object["apiVersion"] = json!(resource.gvr().api_version());
    object["kind"] = json!(resource.kind);
    meta::set_name(&mut object, &name);
    meta::set_namespace(&mut object, namespace);
    let key = storage::key(resource, namespace, &name);
    match server.config.store.get(&key).await.map_err(storage::unavailable)? {
        None => {
            write::insert(&write, object).await?;
            let Some(status) = status else { return Ok(()) };
            let change = |old: &storage::Stored| {
                let mut new = old.value.clone();
                new["status"] = status.clone();
                Ok(new)
            };
            write::modify(&Write { via: Via::Status, ..write }, change).await.map(drop)
        }
        Some(entry) => {
            let there = storage::parse(&entry.value)?;
            if kept.iter().all(|field| covers(&there[*field], &object[*field])) {
                return Ok(());
            }
            let change = |old: &storage::Stored| {
                let mut new = old.value.clone();
                for field in kept {
                    new[*field] = object[*field].clone();
                }
                Ok(new)
            };
            write::modify(&write, change).await.map(drop)
        }
    }
}

/// Whether a value has all that is wanted; defaults may have joined.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(field, value)| there.get(field).is_some_and(|there| covers(there, value)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| covers(there, wanted))
        }
        (there, wanted) => there == wanted,
    }
}
