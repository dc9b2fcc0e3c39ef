//! IPAddress objects, one for each ClusterIP, and the ServiceCIDRs they are of.
//!
//! The pools decide; these objects tell. They are written with the Service, and a task sets right what a crash has left:
//! it makes those that are missing, removes those of Services that are gone, and serves the ServiceCIDRs' finalizer.

use super::service;
use crate::{
    Apiserver,
    informed::{Kind, Snapshot},
    storage,
};
use api::{Status, meta, time};
use ipnet::IpNet;
use process::Shutdown;
use registry::{Resource, networking::servicecidr::FINALIZER};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use store::{Expect, Op};

pub(crate) const PREFIX: &str = "/registry/networking.k8s.io/ipaddresses/";
const RANGES: &str = "/registry/networking.k8s.io/servicecidrs/";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";
/// Between looks at the ranges, and how many of them pass before everything is compared.
const INTERVAL: Duration = Duration::from_millis(500);
const FULL_EVERY: u32 = 120;

/// The address an object's key names.
pub(super) fn of_key(key: &str) -> Option<IpAddr> {
    key.strip_prefix(PREFIX)?.parse().ok()
}

/// Brings IPAddresses in line with a write that has happened. A failure is left to the task.
pub(crate) async fn settle(server: &Apiserver, resource: &Resource, old: Option<&Value>, new: Option<&Value>) {
    if resource.group == "networking.k8s.io" && resource.resource == "ipaddresses" {
        // Made by hand: it reserves the address; removed by hand, it frees it, unless a Service has it.
        let ip = |object: &Value| meta::name(object).parse::<IpAddr>().ok();
        match (old.and_then(ip), new.and_then(ip)) {
            (None, Some(ip)) => server.allocators.occupy(ip),
            (Some(ip), None) if !is_used(server, old).await => {
                server.allocators.give_back(&super::Numbers { ips: vec![ip], ports: Vec::new() });
            }
            _ => {}
        }
        return;
    }
    if !super::is_service(resource) {
        return;
    }
    let (had, has) = (old.map(service::numbers).unwrap_or_default(), new.map(service::numbers).unwrap_or_default());
    for ip in has.ips.iter().filter(|ip| !had.ips.contains(ip)) {
        if let Some(service) = new {
            report(create(server, *ip, service).await, *ip);
        }
    }
    for ip in had.ips.iter().filter(|ip| !has.ips.contains(ip)) {
        report(remove(server, *ip).await, *ip);
    }
}

fn report(result: Result<(), Status>, ip: IpAddr) {
    if let Err(status) = result {
        tracing::warn!(%status, %ip, "an IPAddress is left for later");
    }
}

/// Whether the Service an address names still has it.
async fn is_used(server: &Apiserver, address: Option<&Value>) -> bool {
    let Some(address) = address else { return false };
    let parent = &address["spec"]["parentRef"];
    let text = |field: &str| parent[field].as_str().unwrap_or_default();
    if text("resource") != "services" {
        return false;
    }
    let key = storage::core_key("services", text("namespace"), text("name"));
    let Ok(Some(entry)) = server.config.store.get(&key).await else { return false };
    let ip = meta::name(address).parse::<IpAddr>().ok();
    storage::parse(&entry.value).is_ok_and(|service| service::numbers(&service).ips.iter().any(|own| Some(*own) == ip))
}

async fn create(server: &Apiserver, ip: IpAddr, service: &Value) -> Result<(), Status> {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(),
            "uid": process::uuid(),
            "creationTimestamp": time::format(process::now()),
            "generation": 1,
            "labels": {FAMILY: if ip.is_ipv4() { "IPv4" } else { "IPv6" }, MANAGED_BY: MANAGER},
        },
        "spec": {"parentRef": {
            "group": "", "resource": "services", "namespace": meta::namespace(service), "name": meta::name(service),
        }},
    });
    let put = Op::Put(storage::write(&object));
    match server.config.store.commit(&format!("{PREFIX}{ip}"), Expect::Absent, put).await {
        Ok(_) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(storage::unavailable(error)),
    }
}

async fn remove(server: &Apiserver, ip: IpAddr) -> Result<(), Status> {
    match server.config.store.commit(&format!("{PREFIX}{ip}"), Expect::Any, Op::Delete).await {
        Ok(_) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(storage::unavailable(error)),
    }
}

/// Sets right what is wrong until the server ends.
pub(crate) async fn run(server: Arc<Apiserver>, shutdown: Shutdown) {
    for round in 0_u32.. {
        if round.is_multiple_of(FULL_EVERY)
            && let Err(status) = repair(&server).await
        {
            tracing::warn!(%status, "cannot compare Services with their addresses");
        }
        match server.informed.latest().await {
            Ok(snapshot) => {
                server.allocators.follow(&snapshot);
                if let Err(status) = tend(&server, &snapshot).await {
                    tracing::warn!(%status, "cannot tend the ServiceCIDRs");
                }
            }
            Err(status) => tracing::warn!(%status, "cannot read the ServiceCIDRs"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Every ClusterIP has its IPAddress, and every IPAddress that is ours its Service.
async fn repair(server: &Apiserver) -> Result<(), Status> {
    let store = &server.config.store;
    // Addresses first: one that is made between the two lists is then not seen, rather than seen as leaked.
    let addresses = store.list(PREFIX, None, None, None).await.map_err(storage::unavailable)?;
    let services = store.list("/registry/core/services/", None, None, None).await.map_err(storage::unavailable)?;
    let mut used: BTreeMap<IpAddr, Value> = BTreeMap::new();
    for entry in &services.entries {
        let service = storage::parse(&entry.value)?;
        let ips = service::numbers(&service).ips;
        used.extend(ips.into_iter().map(|ip| (ip, service.clone())));
    }
    for entry in &addresses.entries {
        let Some(ip) = of_key(&entry.key) else { continue };
        if used.remove(&ip).is_some() {
            continue;
        }
        let address = storage::parse(&entry.value)?;
        if meta::label(&address, MANAGED_BY) != Some(MANAGER) || is_used(server, Some(&address)).await {
            continue;
        }
        match store.commit(&entry.key, Expect::Revision(entry.modified), Op::Delete).await {
            Ok(_) => {
                tracing::info!(%ip, "removed the IPAddress of a Service that is gone");
                server.allocators.give_back(&super::Numbers { ips: vec![ip], ports: Vec::new() });
            }
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::unavailable(error)),
        }
    }
    for (ip, service) in used {
        create(server, ip, &service).await?;
    }
    Ok(())
}

/// Says that ranges are ready, and lets those go that nothing has an address of.
async fn tend(server: &Apiserver, snapshot: &Snapshot) -> Result<(), Status> {
    for object in snapshot.all(Kind::ServiceCidrs) {
        let range = &object.value;
        let mut new = range.clone();
        let finalizers = meta::finalizers(range);
        if meta::is_deleting(range) {
            if !finalizers.contains(&FINALIZER) {
                continue;
            }
            if needed(server, snapshot, range).await? {
                let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create \
                               a new ServiceCIDR";
                ready(&mut new, "False", "Terminating", message);
            } else {
                let left: Vec<&str> = finalizers.into_iter().filter(|name| *name != FINALIZER).collect();
                meta::set_finalizers(&mut new, &left);
            }
        } else {
            if !finalizers.contains(&FINALIZER) {
                let mut all = finalizers;
                all.push(FINALIZER);
                meta::set_finalizers(&mut new, &all);
            }
            ready(&mut new, "True", "", "Kubernetes Service CIDR is ready");
        }
        if new == *range {
            continue;
        }
        let gone = meta::is_deleting(&new) && meta::finalizers(&new).is_empty();
        let op = if gone { Op::Delete } else { Op::Put(storage::write(&new)) };
        let key = format!("{RANGES}{}", meta::name(range));
        match server.config.store.commit(&key, Expect::Revision(object.revision), op).await {
            Ok(_) | Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::unavailable(error)),
        }
    }
    Ok(())
}

fn ready(range: &mut Value, status: &str, reason: &str, message: &str) {
    let known = range["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
    if known.is_some_and(|one| one["status"] == status && one["message"] == message) {
        return;
    }
    let condition = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": time::format(process::now()),
    });
    meta::child_mut(range, "status").insert("conditions".to_owned(), json!([condition]));
}

/// Whether an address is taken that only this range has.
async fn needed(server: &Apiserver, snapshot: &Snapshot, range: &Value) -> Result<bool, Status> {
    let nets = |object: &Value| -> Vec<IpNet> {
        let listed = object["spec"]["cidrs"].as_array().into_iter().flatten();
        listed.filter_map(|net| net.as_str()?.parse().ok()).collect()
    };
    let own = nets(range);
    let others: Vec<IpNet> = snapshot
        .all(Kind::ServiceCidrs)
        .filter(|other| meta::name(&other.value) != meta::name(range) && !meta::is_deleting(&other.value))
        .flat_map(|other| nets(&other.value))
        .collect();
    let addresses = server.config.store.list(PREFIX, None, None, None).await.map_err(storage::unavailable)?;
    let mut ips = addresses.entries.iter().filter_map(|entry| of_key(&entry.key));
    Ok(ips.any(|ip| own.iter().any(|net| net.contains(&ip)) && !others.iter().any(|net| net.contains(&ip))))
}
