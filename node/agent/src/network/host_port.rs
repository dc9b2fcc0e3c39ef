//! Ports of the node that pods asked for, as the CNI call says them and the lease remembers them.
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use wire::agent::PortMapping;

use super::Error;
use super::lease::Leases;

/// One port of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// `None`: every address of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    pub protocol: Protocol,
    pub port: NonZeroU16,
    pub container_port: NonZeroU16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl HostPort {
    /// Reads what the runtime says.
    pub fn parse(mapping: &PortMapping) -> Result<HostPort, Error> {
        let fail = || Error::PortMapping(format!("{mapping:?}"));
        let number = |value: u32| u16::try_from(value).ok().and_then(NonZeroU16::new).ok_or_else(fail);
        Ok(HostPort {
            ip: if mapping.host_ip.is_empty() { None } else { Some(mapping.host_ip.parse().map_err(|_| fail())?) },
            protocol: match mapping.protocol.to_ascii_lowercase().as_str() {
                "tcp" | "" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => return Err(fail()),
            },
            port: number(mapping.host_port)?,
            container_port: number(mapping.container_port)?,
        })
    }
}

/// The host ports of all pods that stand, in the order of their names, for each family of the pod's addresses.
pub fn all(leases: &Leases) -> Vec<datapath::HostPort> {
    let of_pods = leases.pods.values().flat_map(|lease| {
        let ports = lease.host_ports.iter();
        ports.flat_map(move |port| lease.ips.iter().map(move |ip| (lease, port, *ip)))
    });
    // A port of one address of the node leads to the pod's address of that family only.
    let of_family = |port: &HostPort, ip: IpAddr| port.ip.is_none_or(|own| own.is_ipv4() == ip.is_ipv4());
    let mut ports: Vec<datapath::HostPort> = of_pods
        .filter(|(_, port, ip)| of_family(port, *ip))
        .map(|(lease, port, ip)| datapath::HostPort {
            pod: lease.pod.clone(),
            ip: port.ip,
            protocol: match port.protocol {
                Protocol::Tcp => datapath::Protocol::Tcp,
                Protocol::Udp => datapath::Protocol::Udp,
                Protocol::Sctp => datapath::Protocol::Sctp,
            },
            port: port.port,
            target: (ip, port.container_port.get()).into(),
        })
        .collect();
    ports.sort_by(|a, b| (&a.pod, a.target, a.port).cmp(&(&b.pod, b.target, b.port)));
    ports
}
