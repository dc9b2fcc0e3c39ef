//! What a cluster of `gannet dev` is, kept in `/var/lib/gannet/<name>/cluster.json`, and the names of all it makes.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use plane::families::Families;
use plane::pki::write_private;
use serde::{Deserialize, Serialize};

use crate::cli::{CreateArguments, DATA_DIR};
use crate::settings::{PathArguments, UplinkXdpArgument};

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
    pub pod_cidr: Families<IpNet>,
    pub service_cidr: Families<IpNet>,
    pub underlay_cidr: Families<IpNet>,
    pub host_access: bool,
    /// Of clusters of earlier versions: what was then, the defaults.
    #[serde(default)]
    pub path: PathArguments,
}

/// One node of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// 1 for the one that serves.
    pub index: u8,
    /// Name of the Node, the namespace's suffix and the control group.
    pub name: String,
    /// The first is that of the API, the fabric and the tunnels.
    pub addresses: Families<IpAddr>,
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
        write!(f, "{nodes} node{plural}, pods {pod_cidr}, Services {service_cidr}, underlay {underlay_cidr}")?;
        if self.path != PathArguments::default() {
            write!(f, ", {}", self.path.words().collect::<Vec<_>>().join(" "))?;
        }
        Ok(())
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
            ("--pod-cidr", arguments.pod_cidr, 24, 60),
            ("--service-cidr", arguments.service_cidr, 24, 116),
            ("--underlay-cidr", arguments.underlay_cidr, 27, 120),
        ];
        let order = |ranges: &Families<IpNet>| ranges.iter().map(|range| range.addr().is_ipv4()).collect::<Vec<_>>();
        for (flag, families, longest_v4, longest_v6) in &ranges {
            if order(families) != order(&arguments.underlay_cidr) {
                bail!(
                    "{flag} {families} and --underlay-cidr {}: give ranges of the same families in the same order",
                    arguments.underlay_cidr
                );
            }
            for range in families.iter() {
                let longest = if range.addr().is_ipv4() { longest_v4 } else { longest_v6 };
                if range.prefix_len() > *longest || range.prefix_len() < 8 {
                    bail!("{flag} {range}: give a range between /8 and /{longest}");
                }
            }
        }
        let single: Vec<(&str, IpNet)> =
            ranges.iter().flat_map(|(flag, families, ..)| families.iter().map(|range| (*flag, range))).collect();
        for (index, (flag, range)) in single.iter().enumerate() {
            for (other_flag, other) in &single[index + 1..] {
                if overlap(range, other) {
                    bail!("{flag} {range} and {other_flag} {other} overlap; choose separate ranges");
                }
            }
        }
        if arguments.path.xdp == UplinkXdpArgument::Native {
            bail!(
                "--xdp native: the nodes' interfaces are veth pairs, which send from XDP only if their other end has a program, too; give --xdp generic"
            );
        }
        Ok(Self {
            name: name.clone(),
            nodes: arguments.nodes,
            pod_cidr: truncated(arguments.pod_cidr),
            service_cidr: truncated(arguments.service_cidr),
            underlay_cidr: truncated(arguments.underlay_cidr),
            host_access: !arguments.no_host_access,
            path: arguments.path,
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

    /// Whether XDP runs on the uplinks.
    pub fn has_xdp(&self) -> bool {
        self.path.xdp == UplinkXdpArgument::Generic
    }

    /// The machine's own addresses on the underlay, and the nodes' default gateways.
    pub fn host_addresses(&self) -> Families<IpAddr> {
        self.addresses(HOST_OFFSET)
    }

    /// Underlay addresses with the underlay's prefix lengths.
    pub fn on_underlay(&self, addresses: Families<IpAddr>) -> Vec<IpNet> {
        let with_prefix = |address: IpAddr| {
            let range = self.underlay_cidr.of(address.is_ipv4())?;
            IpNet::new(address, range.prefix_len()).ok()
        };
        addresses.iter().filter_map(with_prefix).collect()
    }

    /// The nodes, the serving one first.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        (1..=self.nodes).map(|index| {
            let name = format!("{}-{index}", self.name);
            Member {
                index,
                addresses: self.addresses(NODE_OFFSET + u32::from(index)),
                data_dir: self.directory().join(&name),
                name,
            }
        })
    }

    fn addresses(&self, offset: u32) -> Families<IpAddr> {
        let address = |range: IpNet| match range.network() {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + offset).into()),
            IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(offset)).into()),
        };
        self.underlay_cidr.map(|range| Some(address(range))).expect("an address is of its range's family")
    }
}

fn truncated(ranges: Families<IpNet>) -> Families<IpNet> {
    ranges.map(|range| Some(range.trunc())).expect("cutting host bits off changes no family")
}

/// Whether two ranges share an address.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests;
