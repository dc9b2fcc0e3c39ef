//! The cluster's records: a pure fold of Services.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use wire::fabric::{Endpoint, EndpointState, Protocol, Service, ServiceType};

/// One SRV target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Port number in host order.
    pub port: u16,
    /// Fully qualified lower-case name without the final dot.
    pub name: String,
}

/// What one name holds. A name that exists only because longer names do (an empty non-terminal, RFC 8020) has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub addresses: Vec<IpAddr>,
    pub targets: Vec<Target>,
    pub alias: Option<String>,
    pub pointers: Vec<String>,
}

impl Records {
    fn absorb(&mut self, other: &Records) {
        self.addresses.extend(&other.addresses);
        self.targets.extend(other.targets.iter().cloned());
        self.pointers.extend(other.pointers.iter().cloned());
        if self.alias.is_none() {
            self.alias.clone_from(&other.alias);
        }
    }
}

/// Every record of the cluster domain, and the reverse records of its addresses.
#[derive(Debug)]
pub struct Zone {
    domain: String,
    /// For each Service (`namespace/name`) the records that it contributes.
    services: HashMap<String, Vec<(String, Records)>>,
    /// For each name the Services that contribute to it, with their records.
    names: HashMap<String, BTreeMap<String, Records>>,
    /// How many names lie below (or at) each name of the cluster domain.
    below: HashMap<String, usize>,
}

impl Zone {
    /// An empty zone of a domain such as `cluster.local` (any case, with or without the final dot).
    pub fn new(domain: &str) -> Zone {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let mut zone = Zone { domain, services: HashMap::new(), names: HashMap::new(), below: HashMap::new() };
        // The domain itself and svc.<domain> exist in an empty cluster too.
        let svc = format!("svc.{}", zone.domain);
        zone.count(&svc, 1);
        zone
    }

    /// The cluster domain, lower case, without the final dot.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Number of Services with records here.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether no Service is here.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Adds or replaces the records of one Service.
    pub fn upsert(&mut self, service: &Service) {
        let key = format!("{}/{}", service.namespace, service.name);
        self.remove(&key);
        let records = records_of(&self.domain, service);
        for (name, held) in &records {
            self.names.entry(name.clone()).or_default().entry(key.clone()).or_default().absorb(held);
            self.count(name, 1);
        }
        self.services.insert(key, records);
    }

    /// Removes the records of one Service; nothing happens if it is unknown.
    pub fn remove(&mut self, key: &str) {
        for (name, _) in self.services.remove(key).unwrap_or_default() {
            if let Some(owners) = self.names.get_mut(&name) {
                owners.remove(key);
                if owners.is_empty() {
                    self.names.remove(&name);
                }
            }
            self.count(&name, -1);
        }
    }

    /// What the name holds: `None` if it does not exist. `name` is lower case without the final dot.
    pub fn find(&self, name: &str) -> Option<Records> {
        match self.names.get(name) {
            Some(owners) => {
                let mut all = Records::default();
                for records in owners.values() {
                    all.absorb(records);
                }
                Some(all)
            }
            None if name == self.domain || self.below.contains_key(name) => Some(Records::default()),
            None => None,
        }
    }

    /// Whether the name belongs to the cluster domain, so that nobody else may be asked for it.
    pub fn owns(&self, name: &str) -> bool {
        name == self.domain || name.strip_suffix(&self.domain).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Counts `name` and each of its parents up to the cluster domain.
    fn count(&mut self, name: &str, by: isize) {
        if !self.owns(name) {
            return;
        }
        let mut rest = name;
        while rest != self.domain {
            let held = self.below.entry(rest.to_owned()).or_default();
            *held = held.saturating_add_signed(by);
            if *held == 0 {
                self.below.remove(rest);
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return,
            }
        }
    }
}

/// The name under which an address is looked up in reverse (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let labels: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
    }
}

fn records_of(domain: &str, service: &Service) -> Vec<(String, Records)> {
    let base = format!("{}.{}.svc.{domain}", service.name, service.namespace).to_ascii_lowercase();
    if service.r#type() == ServiceType::ExternalName {
        let alias = service.external_name.trim_end_matches('.').to_ascii_lowercase();
        return vec![(base, Records { alias: Some(alias), ..Records::default() })];
    }
    if service.headless { headless(&base, service) } else { clustered(&base, service) }
}

fn clustered(base: &str, service: &Service) -> Vec<(String, Records)> {
    let addresses: Vec<IpAddr> = service.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let mut records = Vec::with_capacity(1 + addresses.len() + service.ports.len());
    for address in &addresses {
        records.push((reverse_name(*address), Records { pointers: vec![base.to_owned()], ..Records::default() }));
    }
    for port in &service.ports {
        let (Some(label), Ok(number)) = (port_label(&port.name, port.protocol()), u16::try_from(port.port)) else {
            continue;
        };
        let targets = vec![Target { port: number, name: base.to_owned() }];
        records.push((format!("{label}.{base}"), Records { targets, ..Records::default() }));
    }
    records.push((base.to_owned(), Records { addresses, ..Records::default() }));
    records
}

fn headless(base: &str, service: &Service) -> Vec<(String, Records)> {
    let in_state = |state: EndpointState| -> Vec<&Endpoint> {
        service.endpoints.iter().filter(|endpoint| endpoint.state() == state).collect()
    };
    let mut live = in_state(EndpointState::Ready);
    if live.is_empty() {
        live = in_state(EndpointState::Draining);
    }
    let mut records = vec![(base.to_owned(), Records::default())];
    let mut all = Vec::new();
    for endpoint in live {
        let Ok(address) = endpoint.ip.parse::<IpAddr>() else { continue };
        all.push(address);
        let label = if endpoint.hostname.is_empty() {
            endpoint.ip.replace(['.', ':'], "-")
        } else {
            endpoint.hostname.to_ascii_lowercase()
        };
        let name = format!("{label}.{base}");
        for port in &endpoint.ports {
            if let (Some(label), Ok(number)) = (port_label(&port.name, port.protocol()), u16::try_from(port.port)) {
                let targets = vec![Target { port: number, name: name.clone() }];
                records.push((format!("{label}.{base}"), Records { targets, ..Records::default() }));
            }
        }
        records.push((reverse_name(address), Records { pointers: vec![name.clone()], ..Records::default() }));
        records.push((name, Records { addresses: vec![address], ..Records::default() }));
    }
    records[0].1.addresses = all;
    records
}

/// `_http._tcp`; unnamed ports have no SRV record.
fn port_label(name: &str, protocol: Protocol) -> Option<String> {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    (!name.is_empty()).then(|| format!("_{}._{protocol}", name.to_ascii_lowercase()))
}
