//! What a load balancer is told about this node, Service by Service.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::state::{EndpointState, Service, ServiceName};

/// The answer of a Service's `healthCheckNodePort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub service: ServiceName,
    /// Ready endpoints on this node; with none the balancer is to go elsewhere.
    pub local_endpoints: usize,
}

/// Every health check of this node by its port, kept up to date Service by Service.
#[derive(Debug, Default)]
pub(crate) struct HealthChecks {
    /// Of Services that ask for one port, the first by name has it.
    ports: BTreeMap<NonZeroU16, BTreeMap<ServiceName, usize>>,
    changed: bool,
}

impl HealthChecks {
    /// A Service came, went or changed.
    pub fn exchange(&mut self, name: &ServiceName, before: Option<&Service>, after: Option<&Service>, node_name: &str) {
        let check = |service: &Service| Some((service.health_port?, local_endpoints(service, node_name)));
        let (before, after) = (before.and_then(check), after.and_then(check));
        if before == after {
            return;
        }
        self.changed = true;
        if let Some((port, _)) = before
            && let Some(names) = self.ports.get_mut(&port)
        {
            names.remove(name);
            if names.is_empty() {
                self.ports.remove(&port);
            }
        }
        if let Some((port, count)) = after {
            self.ports.entry(port).or_default().insert(name.clone(), count);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.ports.clear();
        self.changed = true;
    }

    /// All of them, if any has changed since the last call.
    pub fn take_changed(&mut self) -> Option<BTreeMap<NonZeroU16, HealthCheck>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let first = |names: &BTreeMap<ServiceName, usize>| {
            let (service, count) = names.first_key_value()?;
            Some(HealthCheck { service: service.clone(), local_endpoints: *count })
        };
        Some(self.ports.iter().filter_map(|(port, names)| Some((*port, first(names)?))).collect())
    }
}

fn local_endpoints(service: &Service, node_name: &str) -> usize {
    let endpoints = service.endpoints.iter();
    let ready = endpoints.filter(|one| one.state == EndpointState::Ready && one.node == node_name);
    ready.map(|one| one.ip).collect::<BTreeSet<IpAddr>>().len()
}
