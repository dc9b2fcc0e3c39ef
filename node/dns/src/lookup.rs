//! From a name and a type to records. The layout of names is the Kubernetes DNS specification's, with CoreDNS's label
//! for endpoints without a hostname (the address with dashes).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::TTL_SECONDS;
use crate::zone::{Host, Kind, Port, ServiceNames, Zone};

/// Version of the specification, answered at `dns-version.<domain>`.
const SCHEMA_VERSION: &str = "1.1.0";
/// Records in one answer at most; more would not fit a TCP message.
const MAX_RECORDS: usize = 1000;

/// What the zone says to a question.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// Records of the name, and addresses of the hosts they name.
    Records { answers: Vec<Record>, additionals: Vec<Record> },
    /// The name exists, the type does not.
    NoData,
    /// There is no such name in the cluster.
    NoName,
    /// The name is another one's alias.
    Alias(Name),
    /// The name is not the cluster's: ask elsewhere.
    NotOurs,
}

/// Answers one question. `turn` rotates the addresses, so that clients which take the first spread.
pub(crate) fn lookup(zone: &Zone, name: &Name, kind: RecordType, turn: usize) -> Found {
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    if let Some(address) = reverse_address(&labels) {
        return reverse(zone, name, kind, address);
    }
    let Some(rest) = labels.strip_suffix(&*zone.domain) else { return Found::NotOurs };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let asked = Asked { zone, name, kind, turn };
    match rest[..] {
        [] => asked.apex(),
        ["dns-version"] => asked.records(RecordType::TXT, [RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()]))]),
        ["svc" | "pod" | "dns"] | ["ns", "dns"] => Found::NoData,
        [namespace, "svc"] if zone.has_namespace(namespace) => Found::NoData,
        [service, namespace, "svc"] => asked.service(zone.service(namespace, service)),
        [label, service, namespace, "svc"] => asked.below(label, zone.service(namespace, service)),
        [port, protocol, service, namespace, "svc"] => asked.port(port, protocol, zone.service(namespace, service)),
        [dashed, _, "pod"] => asked.pod(dashed),
        _ => Found::NoName,
    }
}

/// The zone's SOA record, which negative answers carry.
pub(crate) fn soa(zone: &Zone) -> Record {
    let soa =
        SOA::new(in_domain(zone, &["ns", "dns"]), in_domain(zone, &["hostmaster"]), 1, 7200, 1800, 86400, TTL_SECONDS);
    Record::from_rdata(in_domain(zone, &[]), TTL_SECONDS, RData::SOA(soa))
}

struct Asked<'a> {
    zone: &'a Zone,
    name: &'a Name,
    kind: RecordType,
    turn: usize,
}

impl Asked<'_> {
    fn apex(&self) -> Found {
        match self.kind {
            RecordType::SOA => Found::Records { answers: vec![soa(self.zone)], additionals: Vec::new() },
            RecordType::NS => self.records(RecordType::NS, [RData::NS(NS(in_domain(self.zone, &["ns", "dns"])))]),
            _ => Found::NoData,
        }
    }

    /// `service.namespace.svc`
    fn service(&self, service: Option<&ServiceNames>) -> Found {
        let Some(service) = service else { return Found::NoName };
        match (&service.kind, self.kind) {
            (Kind::External { target }, _) => Name::from_ascii(target).map_or(Found::NoData, |mut target| {
                target.set_fqdn(true);
                Found::Alias(target)
            }),
            (_, RecordType::SRV) => self.services(service, |_| true),
            (Kind::Virtual { addresses, .. }, _) => self.addresses(addresses.iter().copied()),
            (Kind::Headless { hosts }, _) if hosts.is_empty() => Found::NoData,
            (Kind::Headless { hosts }, _) => self.addresses(hosts.iter().map(|host| host.address)),
        }
    }

    /// `host.service.namespace.svc` of a headless Service, or the empty name above its ports.
    fn below(&self, label: &str, service: Option<&ServiceNames>) -> Found {
        let Some(service) = service else { return Found::NoName };
        if service.ports().any(|port| port.protocol == label && !port.name.is_empty()) {
            return Found::NoData;
        }
        let Kind::Headless { hosts } = &service.kind else { return Found::NoName };
        let of_label: Vec<IpAddr> = hosts.iter().filter(|host| host.label == label).map(|host| host.address).collect();
        if of_label.is_empty() { Found::NoName } else { self.addresses(of_label.into_iter()) }
    }

    /// `_port._protocol.service.namespace.svc`
    fn port(&self, port: &str, protocol: &str, service: Option<&ServiceNames>) -> Found {
        let (Some(service), Some(wanted)) = (service, port.strip_prefix('_')) else { return Found::NoName };
        let is_wanted =
            |port: &Port| port.protocol == protocol && port.name.eq_ignore_ascii_case(wanted) && !wanted.is_empty();
        if !service.ports().any(is_wanted) {
            return Found::NoName;
        }
        self.services(service, is_wanted)
    }

    /// `10-244-1-7.namespace.pod`: the address that is in the name.
    fn pod(&self, dashed: &str) -> Found {
        let v4 = dashed.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
        let address = v4.or_else(|_| dashed.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6));
        address.map_or(Found::NoName, |address| self.addresses(std::iter::once(address)))
    }

    /// The SRV records of a Service's ports, with the addresses of their targets.
    fn services(&self, service: &ServiceNames, wanted: impl Fn(&Port) -> bool) -> Found {
        let mut answers = Vec::new();
        let mut targets: Vec<(Name, IpAddr)> = Vec::new();
        match &service.kind {
            Kind::Virtual { addresses, ports } => {
                let target = in_domain(self.zone, &[&service.name, &service.namespace, "svc"]);
                let ports = ports.iter().filter(|port| wanted(port));
                answers.extend(ports.map(|port| RData::SRV(SRV::new(0, 100, port.number, target.clone()))));
                targets.extend(addresses.iter().map(|address| (target.clone(), *address)));
            }
            Kind::Headless { hosts } => {
                for Host { label, address, ports } in hosts {
                    let target = in_domain(self.zone, &[label, &service.name, &service.namespace, "svc"]);
                    let ports = ports.iter().filter(|port| wanted(port));
                    answers.extend(ports.map(|port| RData::SRV(SRV::new(0, 100, port.number, target.clone()))));
                    targets.push((target, *address));
                }
            }
            Kind::External { .. } => {}
        }
        answers.truncate(MAX_RECORDS);
        match self.records(RecordType::SRV, answers) {
            Found::Records { answers, .. } => {
                let additionals = targets.into_iter().take(MAX_RECORDS);
                let additionals = additionals.map(|(name, address)| record(name, address_data(address))).collect();
                Found::Records { answers, additionals }
            }
            other => other,
        }
    }

    fn addresses(&self, addresses: impl Iterator<Item = IpAddr>) -> Found {
        let wanted = |address: &IpAddr| match self.kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            RecordType::ANY => true,
            _ => false,
        };
        let mut found: Vec<RData> = addresses.filter(wanted).map(address_data).collect();
        if !found.is_empty() {
            let turn = self.turn % found.len();
            found.rotate_left(turn);
        }
        found.truncate(MAX_RECORDS);
        self.records(self.kind, found)
    }

    /// `data` if the question is for that type; an empty answer if not, or if there is none.
    fn records(&self, kind: RecordType, data: impl IntoIterator<Item = RData>) -> Found {
        let answers: Vec<Record> = data.into_iter().map(|data| record(self.name.clone(), data)).collect();
        if answers.is_empty() || (self.kind != kind && self.kind != RecordType::ANY) {
            return Found::NoData;
        }
        Found::Records { answers, additionals: Vec::new() }
    }
}

impl ServiceNames {
    fn ports(&self) -> impl Iterator<Item = &Port> {
        let (own, hosts): (&[Port], &[Host]) = match &self.kind {
            Kind::Virtual { ports, .. } => (ports, &[]),
            Kind::Headless { hosts } => (&[], hosts),
            Kind::External { .. } => (&[], &[]),
        };
        own.iter().chain(hosts.iter().flat_map(|host| &host.ports))
    }
}

/// An address outside the cluster is somebody else's to name.
fn reverse(zone: &Zone, name: &Name, kind: RecordType, address: IpAddr) -> Found {
    let targets: Vec<Record> = zone
        .pointers(address)
        .map(|pointer| {
            let tail = [pointer.service.as_str(), &pointer.namespace, "svc"];
            let labels: Vec<&str> = pointer.host.as_deref().into_iter().chain(tail).collect();
            record(name.clone(), RData::PTR(PTR(in_domain(zone, &labels))))
        })
        .collect();
    match (targets.is_empty(), kind) {
        (true, _) => Found::NotOurs,
        (false, RecordType::PTR | RecordType::ANY) => Found::Records { answers: targets, additionals: Vec::new() },
        (false, _) => Found::NoData,
    }
}

/// The address of a whole reverse name. RFC 1035 section 3.5, RFC 3596 section 2.5.
fn reverse_address(labels: &[String]) -> Option<IpAddr> {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels[..] {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse().ok().map(IpAddr::V4),
        [ref nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let mut bits = 0u128;
            for nibble in nibbles.iter().rev() {
                let one_digit = nibble.len() == 1;
                bits = bits << 4 | u128::from(u8::from_str_radix(nibble, 16).ok().filter(|_| one_digit)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
        }
        _ => None,
    }
}

/// The name `labels.<domain>`. Fabric names are DNS labels already; one that is not becomes the root.
fn in_domain(zone: &Zone, labels: &[&str]) -> Name {
    let all = labels.iter().copied().chain(zone.domain.iter().map(String::as_str));
    let mut name = Name::from_labels(all.map(str::as_bytes)).unwrap_or_else(|_| Name::root());
    name.set_fqdn(true);
    name
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn record(name: Name, data: RData) -> Record {
    Record::from_rdata(name, TTL_SECONDS, data)
}
