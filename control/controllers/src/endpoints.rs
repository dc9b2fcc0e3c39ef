//! Endpoints, the older form of EndpointSlices: one object a Service, for clients that still read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, Ready, View, selector};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, Plan, Preconditions, Write};

use crate::endpoint_slice;
use crate::serving::Serving;

/// The most addresses in one object; the rest is left out, and an annotation says so.
pub const MAX_ADDRESSES: usize = 1000;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Keeps the Endpoints of Services that have a selector.
#[derive(Debug)]
pub struct EndpointsController;

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        match change.kind {
            Kind::Service | Kind::Endpoints => vec![change.key.clone()],
            Kind::Pod => endpoint_slice::services_of(change, view),
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let existing = view.at::<Endpoints>(key);
        let Some(service) = view.at::<Service>(key) else { return delete_ours(existing.as_deref()) };
        let Some((spec, pairs)) = endpoint_slice::selecting(&service) else { return Plan::none() };
        let (subsets, over_capacity) = subsets(&service, spec, pairs, view);
        let labels = labels(&service);
        let mut plan = Plan::none();
        match existing {
            None => plan.writes.push(Write::create(&Endpoints {
                metadata: ObjectMeta {
                    name: service.metadata.name.clone(),
                    namespace: service.metadata.namespace.clone(),
                    labels: Some(labels),
                    annotations: over_capacity.then(over_capacity_annotation),
                    ..ObjectMeta::default()
                },
                subsets: Some(subsets),
            })),
            Some(existing) => plan.writes.extend(update(&existing, subsets, labels, over_capacity)),
        }
        plan
    }
}

fn over_capacity_annotation() -> BTreeMap<String, String> {
    BTreeMap::from([(OVER_CAPACITY.to_owned(), "truncated".to_owned())])
}

fn update(
    existing: &Arc<Endpoints>,
    subsets: Vec<EndpointSubset>,
    labels: selector::Labels,
    over_capacity: bool,
) -> Option<Write> {
    let annotated = existing.metadata.annotations.as_ref().is_some_and(|known| known.contains_key(OVER_CAPACITY));
    let same = existing.subsets.as_deref().unwrap_or_default() == subsets
        && existing.metadata.labels.as_ref() == Some(&labels)
        && annotated == over_capacity;
    if same {
        return None;
    }
    let mut updated = existing.as_ref().clone();
    updated.metadata.labels = Some(labels);
    updated.subsets = Some(subsets);
    let annotations = updated.metadata.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    if over_capacity {
        annotations.extend(over_capacity_annotation());
    }
    Some(Write::update(&updated))
}

fn delete_ours(existing: Option<&Endpoints>) -> Plan {
    let mut plan = Plan::none();
    let ours = existing.filter(|endpoints| {
        let labels = endpoints.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == MANAGER)
    });
    if let Some(endpoints) = ours {
        let preconditions = Preconditions { uid: endpoints.metadata.uid.clone(), ..Preconditions::default() };
        plan.writes.push(Write::delete(Kind::Endpoints, &cache::key_of(&endpoints.metadata), preconditions));
    }
    plan
}

fn labels(service: &Service) -> selector::Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

type Ports = Vec<(String, String, i32, Option<String>)>;

/// The addresses by the ports they serve, and whether there were too many. Only the Service's first family is here.
fn subsets(
    service: &Service,
    spec: &ServiceSpec,
    pairs: &selector::Labels,
    view: &View,
) -> (Vec<EndpointSubset>, bool) {
    let v6 = endpoint_slice::address_types(spec).first() == Some(&"IPv6");
    let publish_all = spec.publish_not_ready_addresses == Some(true);
    let mut groups: BTreeMap<Ports, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let mut count = 0;
    let selected = view.select_pairs(Kind::Pod, namespace, pairs).into_iter();
    let selected = selected.filter(|pod| !pod.is_terminal() && (publish_all || !pod.is_deleting()));
    for (pod, serving) in selected.filter_map(|pod| Some((pod, Serving::of(pod)?))) {
        let Some(ip) = serving.ips().into_iter().find(|ip| ip.contains(':') == v6) else { continue };
        let ports = ports(&serving, spec);
        let has_ports = spec.ports.as_ref().is_some_and(|ports| !ports.is_empty());
        if has_ports && ports.is_empty() {
            continue;
        }
        count += 1;
        if count > MAX_ADDRESSES {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: serving.hostname(service),
            node_name: pod.node().map(str::to_owned),
            target_ref: Some(endpoint_slice::pod_reference(pod)),
        };
        let (ready, not_ready) = groups.entry(ports).or_default();
        if publish_all || matches!(pod.ready(), Ready::Yes(_)) { ready.push(address) } else { not_ready.push(address) }
    }
    (
        groups.into_iter().map(|(ports, (ready, not_ready))| subset(ports, ready, not_ready)).collect(),
        count > MAX_ADDRESSES,
    )
}

fn ports(pod: &Serving, spec: &ServiceSpec) -> Ports {
    let mut ports: Ports = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((port.name.clone().unwrap_or_default(), protocol, pod.target_port(port)?, port.app_protocol.clone()))
        })
        .collect();
    ports.sort();
    ports
}

fn subset(ports: Ports, mut ready: Vec<EndpointAddress>, mut not_ready: Vec<EndpointAddress>) -> EndpointSubset {
    ready.sort_by(|a, b| a.ip.cmp(&b.ip));
    not_ready.sort_by(|a, b| a.ip.cmp(&b.ip));
    let ports: Vec<EndpointPort> = ports
        .into_iter()
        .map(|(name, protocol, port, app_protocol)| EndpointPort {
            name: Some(name).filter(|name| !name.is_empty()),
            protocol: Some(protocol),
            port,
            app_protocol,
        })
        .collect();
    EndpointSubset {
        addresses: Some(ready).filter(|addresses| !addresses.is_empty()),
        not_ready_addresses: Some(not_ready).filter(|addresses| !addresses.is_empty()),
        ports: Some(ports).filter(|ports| !ports.is_empty()),
    }
}

#[cfg(test)]
mod tests;
