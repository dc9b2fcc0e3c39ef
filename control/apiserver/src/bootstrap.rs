//! The objects that every cluster has, made at start where they are missing.

use crate::{
    Apiserver, Error,
    admission::Origin,
    auth::User,
    generic::write::{self, Via, Write},
    storage,
};
use api::{Status, meta};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const SERVICE: &str = "kubernetes";
const PORT: u16 = 443;

/// Creates what is missing, and points the `kubernetes` Service at this server.
pub(crate) async fn create(server: &Arc<Apiserver>) -> Result<(), Error> {
    for name in NAMESPACES {
        ensure(server, ("", "namespaces"), "", name, json!({})).await?;
    }
    let ports =
        json!([{"name": "https", "port": PORT, "targetPort": server.config.advertise.port(), "protocol": "TCP"}]);
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "metadata": {"labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": first(server.config.service_cidr), "sessionAffinity": "None", "ports": ports},
    });
    ensure(server, ("", "services"), "default", SERVICE, service).await?;
    let address = server.config.advertise;
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        // The API refuses such endpoints: nobody else could use them.
        tracing::info!(%address, "the kubernetes Service has no endpoints: the advertised address is this machine's only");
        return Ok(());
    }
    let endpoints = json!({
        "metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address.ip()}],
            "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
        }],
    });
    ensure(server, ("", "endpoints"), "default", SERVICE, endpoints).await?;
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    });
    ensure(server, ("discovery.k8s.io", "endpointslices"), "default", SERVICE, slice).await
}

/// The first address of the range: the `kubernetes` Service's.
fn first(range: IpNet) -> IpAddr {
    match range.network() {
        IpAddr::V4(ip) => IpAddr::from((u32::from(ip) + 1).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) + 1).to_be_bytes()),
    }
}

/// Creates the object, or gives the one that is there the endpoints of this server.
async fn ensure(
    server: &Arc<Apiserver>,
    (group, resource): (&str, &str),
    namespace: &str,
    name: &str,
    mut object: Value,
) -> Result<(), Error> {
    let failed = |status: Status| Error::Bootstrap { what: format!("{resource} {name}"), status };
    let resource = registry::find(group, "v1", resource).expect("the table has the kinds every cluster needs");
    let user = User::gannet();
    let write = Write {
        server,
        user: &user,
        resource,
        namespace,
        name,
        via: Via::Object,
        dry_run: false,
        origin: &Origin::default(),
    };
    object["apiVersion"] = json!(resource.gvr().api_version());
    object["kind"] = json!(resource.kind);
    meta::set_name(&mut object, name);
    meta::set_namespace(&mut object, namespace);
    let key = storage::key(resource, namespace, name);
    if server.config.store.get(&key).await?.is_none() {
        return write::insert(&write, object).await.map(drop).map_err(failed);
    }
    let fields: Vec<&str> = ["subsets", "endpoints", "ports", "addressType"]
        .into_iter()
        .filter(|field| object.get(field).is_some())
        .collect();
    if fields.is_empty() {
        return Ok(());
    }
    let change = |old: &storage::Stored| {
        let mut new = old.value.clone();
        for field in &fields {
            new[*field] = object[*field].clone();
        }
        Ok(new)
    };
    write::modify(&write, change).await.map(drop).map_err(failed)
}
