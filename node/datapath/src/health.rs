//! What a load balancer is told about this node, Service by Service.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::state::{EndpointState, ServiceName, State};

/// The answer of a Service's `healthCheckNodePort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub service: ServiceName,
    /// Ready endpoints on this node; with none the balancer is to go elsewhere.
    pub local_endpoints: usize,
}

/// Every health check of this node by its port; the first Service by name has it.
pub fn health_checks(state: &State, node_name: &str) -> BTreeMap<NonZeroU16, HealthCheck> {
    let mut checks = BTreeMap::new();
    for (name, service) in &state.services {
        let Some(port) = service.health_port else { continue };
        let endpoints = service.endpoints.iter();
        let ready = endpoints.filter(|one| one.state == EndpointState::Ready && one.node == node_name);
        let local: BTreeSet<IpAddr> = ready.map(|one| one.ip).collect();
        checks.entry(port).or_insert_with(|| HealthCheck { service: name.clone(), local_endpoints: local.len() });
    }
    checks
}
