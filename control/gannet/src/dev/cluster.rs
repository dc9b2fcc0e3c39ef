//! What a cluster of `gannet dev` is, kept in `/var/lib/gannet/<name>/cluster.json`, and the names of all it makes.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use plane::pki::write_private;
use serde::{Deserialize, Serialize};

use crate::cli::{CreateArguments, DATA_DIR};

/// Longest name: the machine's end of the veth pair is `gn-<name>`, and interface names have 15 bytes.
const MAX_NAME: usize = 12;
/// Of the underlay's range, the address of the machine itself, and of the node before the first.
const HOST_OFFSET: u32 = 1;
const NODE_OFFSET: u32 = 10;
/// Where a cluster's facts are.
const FILE: &str = "cluster.json";

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    pub name: String,
    pub nodes: u8,
    pub pod_cidr: IpNet,
    pub service_cidr: IpNet,
    pub underlay_cidr: IpNet,
    pub host_access: bool,
}

/// One node of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// 1 for the one that serves.
    pub index: u8,
    /// Name of the Node, the namespace's suffix and the control group.
    pub name: String,
    pub address: IpAddr,
    pub data_dir: PathBuf,
}

impl Member {
    pub fn netns(&self) -> String {
        format!("gannet-{}", self.name)
    }

    pub fn log(&self) -> PathBuf {
        self.data_dir.join("log")
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, pod_cidr, service_cidr, underlay_cidr, .. } = self;
        let plural = if *nodes == 1 { "" } else { "s" };
        write!(f, "{nodes} node{plural}, pods {pod_cidr}, Services {service_cidr}, underlay {underlay_cidr}")
    }
}

impl Cluster {
    /// The cluster that arguments ask for.
    pub fn new(arguments: &CreateArguments) -> anyhow::Result<Self> {
        let name = &arguments.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.len() > MAX_NAME || !name.chars().all(plain) || !name.starts_with(edge) || !name.ends_with(edge) {
            bail!("--name {name:?}: at most {MAX_NAME} lower case letters, digits and '-'");
        }
        let ranges = [
            ("--pod-cidr", arguments.pod_cidr, 24),
            ("--service-cidr", arguments.service_cidr, 24),
            ("--underlay-cidr", arguments.underlay_cidr, 27),
        ];
        for (flag, range, longest) in ranges {
            if range.addr().is_ipv6() {
                bail!("{flag} {range}: clusters are IPv4 at present");
            }
            if range.prefix_len() > longest || range.prefix_len() < 8 {
                bail!("{flag} {range}: give a range between /8 and /{longest}");
            }
        }
        for (index, (flag, range, _)) in ranges.iter().enumerate() {
            for (other_flag, other, _) in &ranges[index + 1..] {
                if overlap(range, other) {
                    bail!("{flag} {range} and {other_flag} {other} overlap; choose separate ranges");
                }
            }
        }
        Ok(Self {
            name: name.clone(),
            nodes: arguments.nodes,
            pod_cidr: arguments.pod_cidr.trunc(),
            service_cidr: arguments.service_cidr.trunc(),
            underlay_cidr: arguments.underlay_cidr.trunc(),
            host_access: !arguments.no_host_access,
        })
    }

    /// The cluster of this name, if there is one.
    pub fn find(name: &str) -> anyhow::Result<Option<Self>> {
        let path = Path::new(DATA_DIR).join(name).join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let cluster = serde_json::from_str(&text);
                cluster.map(Some).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The cluster of this name, or how to start one.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        Self::find(name)?.with_context(|| {
            format!("no cluster {name} is up on this machine; `gannet dev create --name {name}` starts one")
        })
    }

    /// Every cluster of this machine.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(DATA_DIR) else { return Ok(Vec::new()) };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let found = names.iter().filter_map(|name| Self::find(name).transpose());
        found.collect()
    }

    pub fn save(&self) -> anyhow::Result<()> {
        let directory = self.directory();
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(write_private(&directory.join(FILE), &serde_json::to_string_pretty(self)?)?)
    }

    pub fn differs_in_nodes_only(&self, other: &Self) -> bool {
        Self { nodes: other.nodes, ..self.clone() } == *other
    }

    pub fn directory(&self) -> PathBuf {
        Path::new(DATA_DIR).join(&self.name)
    }

    /// Where the kubeconfig is: the serving node writes it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory().join("kubeconfig")
    }

    /// Namespace of the bridge.
    pub fn bridge_netns(&self) -> String {
        format!("gannet-{}-net", self.name)
    }

    /// The interface in the root namespace.
    pub fn host_link(&self) -> String {
        format!("gn-{}", self.name)
    }

    /// The machine's own address on the underlay, and the nodes' default gateway.
    pub fn host_address(&self) -> IpAddr {
        self.address(HOST_OFFSET)
    }

    /// An underlay address with the underlay's prefix length.
    pub fn on_underlay(&self, address: IpAddr) -> IpNet {
        IpNet::new(address, self.underlay_cidr.prefix_len()).expect("the prefix length comes from a range")
    }

    /// The nodes, the serving one first.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        (1..=self.nodes).map(|index| {
            let name = format!("{}-{index}", self.name);
            Member {
                index,
                address: self.address(NODE_OFFSET + u32::from(index)),
                data_dir: self.directory().join(&name),
                name,
            }
        })
    }

    fn address(&self, offset: u32) -> IpAddr {
        match self.underlay_cidr.network() {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + offset).into()),
            IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(offset)).into()),
        }
    }
}

/// Whether two ranges share an address.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests;
