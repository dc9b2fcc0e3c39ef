//! EndpointSlices: the addresses of the pods that a Service selects, at most 100 a slice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, Object, View, selector};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, Plan, Preconditions, Write};

use crate::{owner, pods};

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
        let existing: Vec<&Arc<EndpointSlice>> = view
            .list::<EndpointSlice>(&key.namespace)
            .filter(|slice| is_managed(slice, &key.name) && !owner::is_deleting(&slice.metadata))
            .collect();
        let mut plan = Plan::none();
        let mut wanted = desired(&service, spec, pairs, view);
        for type_ in address_types(spec) {
            wanted.entry(Group { type_, ports: Vec::new() }).or_default();
        }
        drop_needless_placeholders(&mut wanted);
        let mut spare: Vec<&Arc<EndpointSlice>> = Vec::new();
        let mut grouped: BTreeMap<&Group, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
        for slice in existing {
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
    let selected = |labels: Option<&selector::Labels>| {
        view.list::<Service>(&change.key.namespace)
            .filter(|service| {
                let pairs = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                pairs.is_some_and(|pairs| selector::matches_pairs(pairs, labels))
            })
            .map(|service| cache::key_of(&service.metadata))
            .collect::<BTreeSet<Key>>()
    };
    let keys: BTreeSet<Key> = change.sides().flat_map(|pod| selected(pod.meta().labels.as_ref())).collect();
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
    let meta = slice.meta();
    let labels = meta.labels.as_ref()?;
    let name = labels.get(SERVICE_NAME)?;
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    ours.then(|| Key::new(meta.namespace.as_deref().unwrap_or_default(), name))
}

fn is_managed(slice: &EndpointSlice, service: &str) -> bool {
    let label = |name: &str| slice.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    label(SERVICE_NAME) == Some(service) && label(MANAGED_BY) == Some(MANAGER)
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
    let selected = view
        .list::<Pod>(namespace)
        .filter(|pod| selector::matches_pairs(pairs, pod.metadata.labels.as_ref()) && !pods::is_terminal(pod));
    for pod in selected {
        let ports = ports(pod, spec);
        for type_ in address_types(spec) {
            let Some(ip) = pods::ips(pod).into_iter().find(|ip| ip.contains(':') == (type_ == "IPv6")) else {
                continue;
            };
            let group = Group { type_, ports: ports.clone() };
            groups.entry(group).or_default().push(endpoint(pod, ip, service, spec, view));
        }
    }
    groups
}

fn ports(pod: &Pod, spec: &ServiceSpec) -> Vec<Port> {
    let mut ports: Vec<Port> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((
                port.name.clone().unwrap_or_default(),
                protocol,
                pods::target_port(pod, port)?,
                port.app_protocol.clone(),
            ))
        })
        .collect();
    ports.sort();
    ports
}

fn endpoint(pod: &Pod, ip: &str, service: &Service, spec: &ServiceSpec, view: &View) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pods::is_terminating(pod);
    let ready = spec.publish_not_ready_addresses == Some(true) || (serving && !terminating);
    let node = pods::node_name(pod);
    let zone = node
        .and_then(|node| view.get::<Node>("", node))
        .and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
    Endpoint {
        addresses: vec![ip.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        node_name: node.map(str::to_owned),
        target_ref: Some(pod_reference(pod)),
        zone,
        ..Endpoint::default()
    }
}

/// A pod has a name of its own below its Service if it names the Service as its subdomain.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let subdomain = spec.subdomain.as_deref()?;
    let hostname = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty())?;
    (Some(subdomain) == service.metadata.name.as_deref()).then(|| hostname.to_owned())
}

pub(crate) fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
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
