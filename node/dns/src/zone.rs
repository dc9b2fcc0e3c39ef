//! The names of the cluster at one moment: Services by key, reverse names by address. A clone is cheap.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::{HashMap, OrdSet};
use wire::fabric::{EndpointState, Protocol, Service, ServiceType};

/// The records of a cluster domain.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    /// Labels of the cluster domain, lower case, e.g. `["cluster", "local"]`.
    pub(crate) domain: Arc<[String]>,
    services: HashMap<String, Arc<ServiceNames>>,
    /// How many services a namespace has.
    namespaces: HashMap<String, usize>,
    pointers: HashMap<IpAddr, OrdSet<Pointer>>,
}

/// What an address is called: `[host.]service.namespace.svc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) host: Option<String>,
}

/// What one Service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceNames {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One or more virtual addresses, and the Service's ports.
    Virtual { addresses: Vec<IpAddr>, ports: Vec<Port> },
    /// The ready endpoints themselves.
    Headless { hosts: Vec<Host> },
    /// Another name.
    External { target: String },
}

/// An endpoint of a headless Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Its label: the hostname, or the address with dashes.
    pub(crate) label: String,
    pub(crate) address: IpAddr,
    pub(crate) ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// `_tcp`, `_udp` or `_sctp`.
    pub(crate) protocol: &'static str,
    pub(crate) number: u16,
}

impl Zone {
    pub(crate) fn new(domain: &str) -> Zone {
        let labels = domain.split('.').filter(|label| !label.is_empty()).map(str::to_ascii_lowercase);
        Zone {
            domain: labels.collect(),
            services: HashMap::new(),
            namespaces: HashMap::new(),
            pointers: HashMap::new(),
        }
    }

    /// The same domain without names.
    pub(crate) fn emptied(&self) -> Zone {
        Zone {
            domain: Arc::clone(&self.domain),
            services: HashMap::new(),
            namespaces: HashMap::new(),
            pointers: HashMap::new(),
        }
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&ServiceNames> {
        self.services.get(&format!("{namespace}/{name}")).map(|names| &**names)
    }

    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    pub(crate) fn pointers(&self, address: IpAddr) -> impl Iterator<Item = &Pointer> {
        self.pointers.get(&address).into_iter().flatten()
    }

    pub(crate) fn insert(&mut self, service: &Service) {
        let key = format!("{}/{}", service.namespace, service.name);
        let names = names(service);
        if self.services.get(&key).is_some_and(|present| **present == names) {
            return;
        }
        self.remove(&key);
        for (address, pointer) in names.pointers() {
            self.pointers.entry(address).or_default().insert(pointer);
        }
        *self.namespaces.entry(names.namespace.clone()).or_default() += 1;
        self.services.insert(key, Arc::new(names));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let Some(names) = self.services.remove(key) else { return };
        for (address, pointer) in names.pointers() {
            if let Some(set) = self.pointers.get_mut(&address) {
                set.remove(&pointer);
                if set.is_empty() {
                    self.pointers.remove(&address);
                }
            }
        }
        let count = self.namespaces.get_mut(&names.namespace).expect("counted when inserted");
        *count -= 1;
        if *count == 0 {
            self.namespaces.remove(&names.namespace);
        }
    }
}

impl ServiceNames {
    /// Reverse names: the Service for its virtual addresses, the host for a headless endpoint.
    fn pointers(&self) -> Vec<(IpAddr, Pointer)> {
        let pointer = |host| Pointer { namespace: self.namespace.clone(), service: self.name.clone(), host };
        match &self.kind {
            Kind::Virtual { addresses, .. } => addresses.iter().map(|address| (*address, pointer(None))).collect(),
            Kind::Headless { hosts } => {
                hosts.iter().map(|host| (host.address, pointer(Some(host.label.clone())))).collect()
            }
            Kind::External { .. } => Vec::new(),
        }
    }
}

fn names(service: &Service) -> ServiceNames {
    let kind = if service.r#type() == ServiceType::ExternalName {
        Kind::External { target: service.external_name.trim_end_matches('.').to_owned() }
    } else if service.headless {
        Kind::Headless { hosts: hosts(service) }
    } else {
        let addresses = service.cluster_ips.iter().filter_map(|address| address.parse().ok()).collect();
        let ports = service.ports.iter().filter_map(|port| Port::new(&port.name, port.protocol(), port.port)).collect();
        Kind::Virtual { addresses, ports }
    };
    ServiceNames { namespace: service.namespace.clone(), name: service.name.clone(), kind }
}

/// The ready endpoints. Those of a Service with publishNotReadyAddresses come as ready.
fn hosts(service: &Service) -> Vec<Host> {
    let ready = service.endpoints.iter().filter(|endpoint| endpoint.state() == EndpointState::Ready);
    ready
        .filter_map(|endpoint| {
            let address: IpAddr = endpoint.ip.parse().ok()?;
            let label = match endpoint.hostname.as_str() {
                "" => endpoint.ip.replace(['.', ':'], "-"),
                hostname => hostname.to_ascii_lowercase(),
            };
            let ports =
                endpoint.ports.iter().filter_map(|port| Port::new(&port.name, port.protocol(), port.port)).collect();
            Some(Host { label, address, ports })
        })
        .collect()
}

impl Port {
    /// `None` for a number that is no port.
    fn new(name: &str, protocol: Protocol, number: u32) -> Option<Port> {
        let protocol = match protocol {
            Protocol::Tcp => "_tcp",
            Protocol::Udp => "_udp",
            Protocol::Sctp => "_sctp",
        };
        Some(Port { name: name.to_owned(), protocol, number: u16::try_from(number).ok()? })
    }
}
