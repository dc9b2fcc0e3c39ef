//! EndpointSlices: the addresses of the pods that a Service selects, at most 100 a slice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, Object, Ready, View, selector};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, Plan, Preconditions, Write};
use serde::Deserialize;

use crate::owner;
use crate::serving::Serving;

/// The most endpoints in one slice.
pub const MAX_ENDPOINTS: usize = 100;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Keeps the EndpointSlices of Services that have a selector.
#[derive(Debug)]
pub struct EndpointSliceController;

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        match change.kind {
            Kind::Service => vec![change.key.clone()],
            Kind::Pod => services_of(change, view),
            Kind::EndpointSlice => change.sides().filter_map(service_of_slice).collect(),
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let Some(service) = view.at::<Service>(key) else { return Plan::none() };
        let Some((spec, pairs)) = selecting(&service) else { return Plan::none() };
        let managed = [(SERVICE_NAME, key.name.as_str()), (MANAGED_BY, MANAGER)];
        let managed = managed.map(|(label, value)| (label.to_owned(), value.to_owned())).into();
        let existing = view.select_pairs(Kind::EndpointSlice, &key.namespace, &managed).into_iter();
        let existing: Vec<Arc<EndpointSlice>> =
            existing.filter(|slice| !slice.is_deleting()).filter_map(Object::typed).collect();
        let mut plan = Plan::none();
        let mut wanted = desired(&service, spec, pairs, view);
        for type_ in address_types(spec) {
            wanted.entry(Group { type_, ports: Vec::new() }).or_default();
        }
        drop_needless_placeholders(&mut wanted);
        let mut spare: Vec<&Arc<EndpointSlice>> = Vec::new();
        let mut grouped: BTreeMap<&Group, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
        for slice in &existing {
            match wanted.get_key_value(&Group::of(slice)) {
                Some((group, _)) => grouped.entry(group).or_default().push(slice),
                None => spare.push(slice),
            }
        }
        // What is added or changed comes before what is removed, so that no address is missing in between.
        let mut removals: Vec<Write> = spare.into_iter().map(delete).collect();
        for (group, endpoints) in &wanted {
            let slices = grouped.remove(group).unwrap_or_default();
            fill(&service, group, endpoints, &slices, &mut plan.writes, &mut removals);
        }
        plan.writes.append(&mut removals);
        plan
    }
}

/// Slices of one address type and one list of ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    type_: &'static str,
    ports: Vec<Port>,
}

/// A port of a slice: name, protocol, number, application protocol.
type Port = (String, String, i32, Option<String>);

impl Group {
    fn of(slice: &EndpointSlice) -> Group {
        let type_ = if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" };
        let mut ports: Vec<Port> = slice
            .ports
            .iter()
            .flatten()
            .map(|port| {
                (
                    port.name.clone().unwrap_or_default(),
                    port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                    port.port.unwrap_or(0),
                    port.app_protocol.clone(),
                )
            })
            .collect();
        ports.sort();
        Group { type_, ports }
    }
}

/// The Service's spec and selector, if its endpoints are for us to find.
pub(crate) fn selecting(service: &Service) -> Option<(&ServiceSpec, &selector::Labels)> {
    let spec = service.spec.as_ref()?;
    let pairs = spec.selector.as_ref().filter(|pairs| !pairs.is_empty())?;
    (!owner::is_deleting(&service.metadata)).then_some((spec, pairs))
}

/// The Services that select a pod, before or after the change.
pub(crate) fn services_of(change: &Change, view: &View) -> Vec<Key> {
    let selects = |service: &Object, pod: &Object| {
        let (service, labels) = (service.typed::<Service>(), pod.labels());
        let pairs = service.as_ref().and_then(|service| service.spec.as_ref()?.selector.as_ref());
        pairs.zip(labels).is_some_and(|(pairs, labels)| labels.matches_pairs(pairs))
    };
    let of = |pod| {
        let services = view.selecting(Kind::Service, &change.key.namespace, Object::labels(pod));
        services.filter(move |service| selects(service, pod)).map(Object::key)
    };
    let keys: BTreeSet<Key> = match (&change.old, &change.new) {
        (Some(old), Some(new)) if old.labels() == new.labels() => of(new).collect(),
        (old, new) => old.iter().chain(new).flat_map(of).collect(),
    };
    keys.into_iter().collect()
}

/// The families that the Service serves.
pub(crate) fn address_types(spec: &ServiceSpec) -> Vec<&'static str> {
    let families: Vec<&str> = spec.ip_families.iter().flatten().map(String::as_str).collect();
    let mut types: Vec<&'static str> =
        families.iter().map(|family| if *family == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if types.is_empty() {
        let v6 = spec.cluster_ip.as_deref().is_some_and(|ip| ip.contains(':'));
        types.push(if v6 { "IPv6" } else { "IPv4" });
    }
    types
}

fn service_of_slice(slice: &Object) -> Option<Key> {
    let labels = slice.labels()?;
    let name = labels.get(SERVICE_NAME)?;
    let ours = labels.get(MANAGED_BY) == Some(MANAGER);
    ours.then(|| Key::new(slice.namespace(), name))
}

/// The endpoints that the Service should have, by group.
fn desired(
    service: &Service,
    spec: &ServiceSpec,
    pairs: &selector::Labels,
    view: &View,
) -> BTreeMap<Group, Vec<Endpoint>> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    let selected = view.select_pairs(Kind::Pod, namespace, pairs).into_iter().filter(|pod| !pod.is_terminal());
    let mut zones = BTreeMap::new();
    for (pod, serving) in selected.filter_map(|pod| Some((pod, Serving::of(pod)?))) {
        let ports = ports(&serving, spec);
        for type_ in address_types(spec) {
            let Some(ip) = serving.ips().into_iter().find(|ip| ip.contains(':') == (type_ == "IPv6")) else {
                continue;
            };
            let group = Group { type_, ports: ports.clone() };
            let mut endpoint = Endpoint {
                hostname: serving.hostname(service),
                zone: pod.node().and_then(|node| zones.entry(node).or_insert_with(|| zone(node, view)).clone()),
                ..endpoint(pod, ip, spec)
            };
            endpoint.hints = hints(&endpoint, spec);
            groups.entry(group).or_default().push(endpoint);
        }
    }
    groups
}

/// Whom the Service's `trafficDistribution` wants an endpoint to serve: its own zone, or its own node and then its zone (KEP-4444,
/// KEP-3015). Hints say so of endpoints that are ready alone.
fn hints(endpoint: &Endpoint, spec: &ServiceSpec) -> Option<EndpointHints> {
    let near = match spec.traffic_distribution.as_deref() {
        Some("PreferSameNode") => true,
        Some("PreferClose" | "PreferSameZone") => false,
        _ => return None,
    };
    let ready = endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true));
    let zone = endpoint.zone.clone().map(|name| vec![ForZone { name }]);
    let node = endpoint.node_name.clone().filter(|_| near).map(|name| vec![ForNode { name }]);
    let any = ready && (zone.is_some() || node.is_some());
    any.then_some(EndpointHints { for_nodes: node, for_zones: zone })
}

fn ports(pod: &Serving, spec: &ServiceSpec) -> Vec<Port> {
    let mut ports: Vec<Port> = spec
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

fn endpoint(pod: &Object, ip: &str, spec: &ServiceSpec) -> Endpoint {
    let serving = matches!(pod.ready(), Ready::Yes(_));
    let terminating = pod.is_deleting();
    let ready = spec.publish_not_ready_addresses == Some(true) || (serving && !terminating);
    Endpoint {
        addresses: vec![ip.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        node_name: pod.node().map(str::to_owned),
        target_ref: Some(pod_reference(pod)),
        ..Endpoint::default()
    }
}

/// What is read of a node.
#[derive(Deserialize)]
struct Labelled {
    metadata: LabelledMeta,
}

#[derive(Deserialize)]
struct LabelledMeta {
    labels: Option<selector::Labels>,
}

fn zone(node: &str, view: &View) -> Option<String> {
    let node = view.object(Kind::Node, &Key::cluster(node))?;
    node.part::<Labelled>()?.metadata.labels?.remove(ZONE)
}

pub(crate) fn pod_reference(pod: &Object) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace().to_owned()),
        name: Some(pod.name().to_owned()),
        uid: Some(pod.uid().to_string()),
        ..ObjectReference::default()
    }
}

/// A family without endpoints keeps one empty slice, which says that there are none; one with endpoints needs none.
fn drop_needless_placeholders(wanted: &mut BTreeMap<Group, Vec<Endpoint>>) {
    let filled: BTreeSet<&'static str> =
        wanted.iter().filter(|(_, endpoints)| !endpoints.is_empty()).map(|(group, _)| group.type_).collect();
    wanted.retain(|group, endpoints| !endpoints.is_empty() || !filled.contains(group.type_));
}

/// Fits a group's endpoints into its slices with few writes: what stays keeps its place, what is new fills gaps, then
/// new slices.
fn fill(
    service: &Service,
    group: &Group,
    endpoints: &[Endpoint],
    slices: &[&Arc<EndpointSlice>],
    writes: &mut Vec<Write>,
    removals: &mut Vec<Write>,
) {
    let mut missing: BTreeMap<&str, &Endpoint> =
        endpoints.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    let mut kept: Vec<Vec<Endpoint>> = slices
        .iter()
        .map(|slice| {
            let known = slice.endpoints.iter().flatten();
            known.filter_map(|endpoint| missing.remove(identity(endpoint))).cloned().collect()
        })
        .collect();
    let mut missing: Vec<Endpoint> = missing.into_values().cloned().collect();
    // The fullest slices are filled up first, so that the emptiest may go.
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(kept[*index].len()), *index));
    for &index in &order {
        let room = MAX_ENDPOINTS.saturating_sub(kept[index].len()).min(missing.len());
        kept[index].extend(missing.drain(..room));
    }
    let keep_one_empty = endpoints.is_empty().then(|| order.first().copied()).flatten();
    for (index, (slice, endpoints)) in slices.iter().zip(kept).enumerate() {
        if endpoints.is_empty() && keep_one_empty != Some(index) {
            removals.push(delete(slice));
        } else {
            writes.extend(update(service, slice, endpoints));
        }
    }
    let mut chunks: Vec<Vec<Endpoint>> = missing.chunks(MAX_ENDPOINTS).map(<[Endpoint]>::to_vec).collect();
    if chunks.is_empty() && slices.is_empty() {
        chunks.push(Vec::new());
    }
    writes.extend(chunks.into_iter().map(|endpoints| Write::create(&new_slice(service, group, endpoints))));
}

/// Two endpoints are the same one if they have the same address.
fn identity(endpoint: &Endpoint) -> &str {
    endpoint.addresses.first().map_or("", String::as_str)
}

fn update(service: &Service, slice: &Arc<EndpointSlice>, endpoints: Vec<Endpoint>) -> Option<Write> {
    let labels = slice_labels(service);
    let same_labels = slice.metadata.labels.as_ref() == Some(&labels);
    if same_labels && slice.endpoints.as_deref().unwrap_or_default() == endpoints {
        return None;
    }
    let mut updated = slice.as_ref().clone();
    updated.metadata.labels = Some(labels);
    updated.endpoints = Some(endpoints);
    Some(Write::update(&updated))
}

fn delete(slice: &Arc<EndpointSlice>) -> Write {
    let preconditions = Preconditions { uid: slice.metadata.uid.clone(), ..Preconditions::default() };
    Write::delete(Kind::EndpointSlice, &cache::key_of(&slice.metadata), preconditions)
}

fn new_slice(service: &Service, group: &Group, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let ports = group.ports.iter().map(|(name, protocol, port, app_protocol)| EndpointPort {
        name: Some(name.clone()),
        protocol: Some(protocol.clone()),
        port: Some(*port),
        app_protocol: app_protocol.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.metadata.name.as_deref().unwrap_or_default())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(slice_labels(service)),
            owner_references: Some(vec![owner::controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: group.type_.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

fn slice_labels(service: &Service) -> selector::Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

#[cfg(test)]
mod tests;
