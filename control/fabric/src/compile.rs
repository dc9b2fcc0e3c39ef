//! View -> State. The View decides everything: equal Views give equal states, byte for byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use cache::{Change, Kind, Object, View};
use imbl::OrdMap;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use wire::fabric::{Endpoint, EndpointPort, EndpointState, Node, Protocol, Service, ServicePort, ServiceType};

use crate::policy;
use crate::spread;
use crate::state::{Epoch, State};

const ZONE: &str = "topology.kubernetes.io/zone";
/// How a node reaches others' pods: `native`, or anything else for the overlay.
const ROUTING: &str = "gannet.io/routing";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Services with one of these, whatever its value, are not for the cluster's own proxy (KEP-2447).
const LEFT_ALONE: [&str; 2] = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];
/// `sessionAffinityConfig.clientIP.timeoutSeconds` where it is not given.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// Compiles a View. With the state of an earlier View, only what changed since is compiled again, and unchanged
/// records are shared; the result is the same as without.
pub fn compile(view: &View, known: Option<(&View, &State)>) -> State {
    let Some((old_view, old_state)) = known else { return compile_all(view) };
    let mut state = old_state.clone();
    state.epoch = Epoch(view.revision.0);
    let mut dirty = std::collections::BTreeSet::new();
    let changes: Vec<Change> = view.changes_since(old_view).collect();
    state.policy = policy::update(view, &changes, &old_state.policy);
    for change in &changes {
        match change.kind {
            Kind::Node => match view.get::<core::Node>("", &change.key.name) {
                Some(object) => put(&mut state.nodes, change.key.name.clone(), node(&object)),
                None => _ = state.nodes.remove(&change.key.name),
            },
            Kind::Service => _ = dirty.insert(change.key.clone()),
            Kind::EndpointSlice => dirty.extend(change.sides().filter_map(|slice| {
                let name = slice.labels()?.get(SERVICE_NAME)?;
                Some(api::Key::new(&change.key.namespace, name))
            })),
            Kind::Pod => dirty.extend(spread::weighed(change, &old_state.services)),
            Kind::Namespace
            | Kind::Endpoints
            | Kind::ConfigMap
            | Kind::Secret
            | Kind::ServiceAccount
            | Kind::Lease
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::NetworkPolicy
            | Kind::ClusterRole
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy
            | Kind::ClusterNetworkPolicy => {}
        }
    }
    for key in dirty {
        let name = key.to_string();
        match view.at::<core::Service>(&key) {
            Some(object) => {
                let slices = slices_of(view, &key.namespace, &key.name);
                put(&mut state.services, name, service(view, &object, &slices));
            }
            None => _ = state.services.remove(&name),
        }
    }
    state
}

fn compile_all(view: &View) -> State {
    let services = view.all::<core::Service>().map(|object| {
        let key = cache::key_of(&object.metadata);
        let slices = slices_of(view, &key.namespace, &key.name);
        (key.to_string(), Arc::new(service(view, &object, &slices)))
    });
    State {
        epoch: Epoch(view.revision.0),
        services: services.collect(),
        nodes: view
            .all::<core::Node>()
            .map(|object| (object.metadata.name.clone().unwrap_or_default(), Arc::new(node(&object))))
            .collect(),
        policy: policy::compile(view),
    }
}

/// Replaces a record only if it differs, so that heartbeats cost no delta.
fn put<T: PartialEq>(records: &mut OrdMap<String, Arc<T>>, key: String, record: T) {
    if records.get(&key).is_none_or(|known| **known != record) {
        records.insert(key, Arc::new(record));
    }
}

/// The Service's slices in the order of their names, so that the oldest answer to a double address wins always.
fn slices_of(view: &View, namespace: &str, service: &str) -> Vec<Arc<discovery::EndpointSlice>> {
    let labels = [(SERVICE_NAME.to_owned(), service.to_owned())].into();
    view.select_pairs(Kind::EndpointSlice, namespace, &labels).into_iter().filter_map(Object::typed).collect()
}

fn node(object: &core::Node) -> Node {
    let addresses = object.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let spec = object.spec.as_ref();
    let mut pod_cidrs: Vec<String> = spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default();
    if pod_cidrs.is_empty() {
        pod_cidrs.extend(spec.and_then(|spec| spec.pod_cidr.clone()).filter(|cidr| !cidr.is_empty()));
    }
    Node {
        name: object.metadata.name.clone().unwrap_or_default(),
        internal_ips: addresses
            .filter(|address| address.type_ == "InternalIP")
            .map(|address| address.address.clone())
            .collect(),
        pod_cidrs,
        zone: object.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned()).unwrap_or_default(),
        native: object
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|all| all.get(ROUTING).is_some_and(|how| how == "native")),
    }
}

fn service(view: &View, object: &core::Service, slices: &[Arc<discovery::EndpointSlice>]) -> Service {
    let spec = object.spec.clone().unwrap_or_default();
    let type_ = match spec.type_.as_deref() {
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        _ => ServiceType::ClusterIp,
    };
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let dns_only =
        headless || type_ == ServiceType::ExternalName || LEFT_ALONE.iter().any(|label| has_label(object, label));
    let spread = spread::spread(object.metadata.annotations.as_ref());
    let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
    Service {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        r#type: type_.into(),
        cluster_ips: cluster_ips(&spec),
        external_ips: external_ips(object, &spec),
        balancer_ips: balancer_ips(object),
        source_ranges: source_ranges(&spec),
        health_check_node_port: to_port(spec.health_check_node_port.unwrap_or(0)),
        headless,
        dns_only,
        external_name: spec.external_name.clone().unwrap_or_default(),
        affinity_timeout_seconds: affinity_seconds(&spec),
        internal_traffic_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_traffic_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        ports: spec.ports.iter().flatten().map(service_port).collect(),
        algorithm: spread.algorithm.into(),
        maglev_size: spread.maglev_size,
        ignored: spread.ignored,
        endpoints: endpoints(view, slices, headless && publish_not_ready),
    }
}

fn has_label(object: &core::Service, label: &str) -> bool {
    object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
}

fn cluster_ips(spec: &core::ServiceSpec) -> Vec<String> {
    let mut ips: Vec<String> = spec.cluster_ips.clone().unwrap_or_default();
    if ips.is_empty() {
        ips.extend(spec.cluster_ip.clone());
    }
    ips.retain(|ip| !ip.is_empty() && ip != "None");
    ips
}

fn external_ips(object: &core::Service, spec: &core::ServiceSpec) -> Vec<String> {
    let mut ips: Vec<String> = spec.external_ips.iter().flatten().cloned().chain(balancer_ips(object)).collect();
    ips.sort();
    ips.dedup();
    ips
}

fn balancer_ips(object: &core::Service) -> Vec<String> {
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    // ipMode Proxy means that the balancer wants to see the traffic itself.
    let direct = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let mut ips: Vec<String> = direct.filter_map(|one| one.ip.clone()).collect();
    ips.sort();
    ips.dedup();
    ips
}

/// Ranges have room around them in manifests that the API has always taken.
fn source_ranges(spec: &core::ServiceSpec) -> Vec<String> {
    let ranges = spec.load_balancer_source_ranges.iter().flatten();
    let mut ranges: Vec<String> = ranges.map(|range| range.trim().to_owned()).collect();
    ranges.sort();
    ranges.dedup();
    ranges
}

fn affinity_seconds(spec: &core::ServiceSpec) -> u32 {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return 0;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
    u32::try_from(seconds).unwrap_or(0)
}

fn service_port(port: &core::ServicePort) -> ServicePort {
    ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref()).into(),
        port: to_port(port.port),
        node_port: to_port(port.node_port.unwrap_or(0)),
    }
}

fn protocol(name: Option<&str>) -> Protocol {
    match name {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

fn to_port(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// One record an address and pod, sorted by address; ports of several slices come together.
fn endpoints(view: &View, slices: &[Arc<discovery::EndpointSlice>], not_ready_is_ready: bool) -> Vec<Endpoint> {
    let mut records: BTreeMap<String, Endpoint> = BTreeMap::new();
    for slice in slices {
        let ports: Vec<EndpointPort> = slice
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: port.name.clone().unwrap_or_default(),
                protocol: protocol(port.protocol.as_deref()).into(),
                port: to_port(port.port.unwrap_or(0)),
            })
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let state = if not_ready_is_ready { EndpointState::Ready } else { state(endpoint) };
            for ip in &endpoint.addresses {
                let record = records.entry(ip.clone()).or_insert_with(|| record(endpoint, ip, state));
                // The same address in two slices: the better state counts.
                record.state = record.state.min(state.into());
                for port in &ports {
                    if !record.ports.contains(port) {
                        record.ports.push(port.clone());
                    }
                }
            }
        }
    }
    let mut endpoints: Vec<Endpoint> = records.into_values().collect();
    for endpoint in &mut endpoints {
        endpoint.weight = spread::weight(view, &endpoint.pod);
        endpoint.ports.sort_by(|a, b| (&a.name, a.protocol, a.port).cmp(&(&b.name, b.protocol, b.port)));
    }
    endpoints
}

fn record(endpoint: &discovery::Endpoint, ip: &str, state: EndpointState) -> Endpoint {
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = pod.map(|target| {
        format!("{}/{}", target.namespace.as_deref().unwrap_or_default(), target.name.as_deref().unwrap_or_default())
    });
    let hints = || endpoint.hints.iter();
    let zones = hints().flat_map(|hints| hints.for_zones.iter().flatten());
    let nodes = hints().flat_map(|hints| hints.for_nodes.iter().flatten());
    Endpoint {
        ip: ip.to_owned(),
        node: endpoint.node_name.clone().unwrap_or_default(),
        hostname: endpoint.hostname.clone().unwrap_or_default(),
        pod: pod.unwrap_or_default(),
        state: state.into(),
        ports: Vec::new(),
        hint_zones: zones.map(|zone| zone.name.clone()).collect(),
        hint_nodes: nodes.map(|node| node.name.clone()).collect(),
        weight: None,
    }
}

/// Conditions that are absent mean ready, serving as ready, and not terminating. An endpoint that terminates is ready only where
/// the Service publishes what is not ready.
fn state(endpoint: &discovery::Endpoint) -> EndpointState {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    match (ready, serving, conditions.terminating.unwrap_or(false)) {
        (true, _, _) => EndpointState::Ready,
        (false, true, true) => EndpointState::Draining,
        (false, _, _) => EndpointState::NotReady,
    }
}
