//! Arguments that `up`, `control` and `node` share, and what follows from them and from the machine.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use kernel::netlink::Netlink;
use kernel::{LbMode, LoadBalancing, UplinkXdp};
use plane::families::Families;
use serde::{Deserialize, Serialize};

use crate::cli::DATA_DIR;
use crate::store_place::StoreArguments;

/// What the control plane is told.
#[derive(Args, Clone)]
pub struct ServerArguments {
    /// Name of cluster and context in the kubeconfig
    #[arg(long, default_value = "gannet")]
    pub cluster_name: String,
    /// Pod addresses of the cluster: one range, or one of IPv4 and one of IPv6 separated by a comma, the preferred family first
    #[arg(long, default_value = "10.244.0.0/16")]
    pub pod_cidr: Families<IpNet>,
    /// Service addresses, likewise
    #[arg(long, default_value = "10.96.0.0/16")]
    pub service_cidr: Families<IpNet>,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Address the API and the fabric listen on; every one of the node's family if not given
    #[arg(long)]
    pub bind: Option<IpAddr>,
    /// Port of the API
    #[arg(long, default_value_t = 6443)]
    pub api_port: u16,
    /// Port of the fabric
    #[arg(long, default_value_t = 6444)]
    pub fabric_port: u16,
    /// More names and addresses for the API's certificate
    #[arg(long = "san", value_name = "NAME")]
    pub names: Vec<String>,
    /// Share of HTTP/2 requests whose client is told to connect anew, 0 to 0.02: for several servers behind one address
    #[arg(long, default_value_t = 0.0, value_parser = chance)]
    pub goaway_chance: f64,
    #[command(flatten)]
    pub store: StoreArguments,
}

/// What the node daemon is told.
#[derive(Args, Clone)]
pub struct NodeArguments {
    /// State directory
    #[arg(long, default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// Name of the node; the machine's host name if not given
    #[arg(long)]
    pub node_name: Option<String>,
    /// The node's address, or one of each family separated by a comma; the uplink's first of IPv4 if not given
    #[arg(long)]
    pub node_ip: Option<Families<IpAddr>>,
    /// Interface towards the other nodes; that of the default route if not given
    #[arg(long)]
    pub uplink: Option<String>,
    #[command(flatten)]
    pub path: PathArguments,
    /// Socket of a container runtime that runs already
    #[arg(long)]
    pub cri_socket: Option<PathBuf>,
    /// Name of the node's control group below `gannet/`
    #[arg(long, default_value = "node")]
    pub instance: String,
    /// Translated connections that the node has room for, a power of two from 64 to 4M such as 65536 or 256k, at 136 bytes each; those that
    /// stand go on when it changes. A quarter of a percent of memory, 64k to 1M, if not given
    #[arg(long, value_name = "N")]
    pub flows: Option<Flows>,
}

/// How packets go between nodes; `gannet dev create` gives it to all of them.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathArguments {
    /// How other nodes' pods are reached: in VXLAN, or as they are where the network carries their addresses (then on every node)
    #[arg(long, value_enum, default_value = "vxlan")]
    pub routing: Routing,
    /// XDP on the uplink, for NodePorts and load-balancer addresses whose backend is on another node; auto takes a real device's driver
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub xdp: UplinkXdpArgument,
    /// How such a backend is reached: with this node's address, or with the client's, which then is answered directly
    #[arg(long, value_name = "MODE", default_value = "snat")]
    pub lb_mode: LbModeArgument,
}

/// Room for connections, by its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows(pub u32);

impl FromStr for Flows {
    type Err = String;

    fn from_str(text: &str) -> Result<Flows, String> {
        let lower = text.to_ascii_lowercase();
        let (digits, unit) = match (lower.strip_suffix('k'), lower.strip_suffix('m')) {
            (Some(digits), _) => (digits, 1 << 10),
            (_, Some(digits)) => (digits, 1 << 20),
            (None, None) => (lower.as_str(), 1),
        };
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let bits = number.and_then(kernel::bpf::flow_bits);
        bits.map(Flows).ok_or_else(|| "not a power of two from 64 to 4194304".to_owned())
    }
}

impl Default for PathArguments {
    fn default() -> Self {
        Self { routing: Routing::Vxlan, xdp: UplinkXdpArgument::Auto, lb_mode: LbModeArgument::Snat }
    }
}

/// Where XDP runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UplinkXdpArgument {
    Auto,
    Native,
    Generic,
    Off,
}

/// How backends of other nodes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LbModeArgument {
    Snat,
    Dsr,
}

/// How pods of other nodes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Routing {
    Vxlan,
    Native,
}

/// More would have clients connect all the time.
const MOST_GOAWAY: f64 = 0.02;

fn chance(text: &str) -> Result<f64, String> {
    let chance: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=MOST_GOAWAY).contains(&chance) { Ok(chance) } else { Err(format!("not from 0 to {MOST_GOAWAY}")) }
}

impl ServerArguments {
    /// The same as words of a command line.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: String| words.extend([flag.into(), value.into()]);
        add("--cluster-name", self.cluster_name.clone());
        add("--pod-cidr", self.pod_cidr.to_string());
        add("--service-cidr", self.service_cidr.to_string());
        add("--cluster-domain", self.cluster_domain.clone());
        if let Some(bind) = self.bind {
            add("--bind", bind.to_string());
        }
        add("--api-port", self.api_port.to_string());
        add("--fabric-port", self.fabric_port.to_string());
        add("--goaway-chance", self.goaway_chance.to_string());
        for name in &self.names {
            add("--san", name.clone());
        }
        words.extend(self.store.words());
        words
    }

    /// Where the API and the fabric listen, when clients reach them at `advertise`.
    pub fn listens_at(&self, advertise: IpAddr) -> IpAddr {
        self.bind.unwrap_or(match advertise {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })
    }
}

/// Where a node stands, once the machine was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub node_name: String,
    pub node_ips: Families<IpAddr>,
    pub uplink: String,
}

impl NodeArguments {
    /// The same as words of a command line, with `place` filled in.
    pub fn words(&self, place: &Place) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: OsString| words.extend([flag.into(), value]);
        add("--data-dir", self.data_dir.clone().into());
        add("--node-name", place.node_name.clone().into());
        add("--node-ip", place.node_ips.to_string().into());
        add("--uplink", place.uplink.clone().into());
        add("--instance", self.instance.clone().into());
        if let Some(Flows(bits)) = self.flows {
            add("--flows", (1_u64 << bits).to_string().into());
        }
        if let Some(socket) = &self.cri_socket {
            add("--cri-socket", socket.clone().into());
        }
        words.extend(self.path.words().map(OsString::from));
        words
    }

    /// Fills in what was not given: host name, default route's interface, its first address.
    pub fn place(&self) -> anyhow::Result<Place> {
        let netlink = Netlink::here()?;
        let uplink = match (&self.uplink, self.node_ip) {
            (Some(uplink), _) => uplink.clone(),
            (None, Some(addresses)) => uplink_of(&netlink, addresses.first())?,
            (None, None) => netlink
                .routes()?
                .into_iter()
                .find(|route| route.to.prefix_len() == 0 && route.to.addr().is_ipv4())
                .map(|route| route.dev)
                .context("no default route: name the interface towards the other nodes with --uplink")?,
        };
        let node_ips = match self.node_ip {
            Some(addresses) => addresses,
            None => Families::one(first_address(&netlink, &uplink)?),
        };
        let node_name = match &self.node_name {
            Some(name) => name.clone(),
            None => host_name()?,
        };
        Ok(Place { node_name, node_ips, uplink })
    }
}

impl PathArguments {
    /// The same as words of a command line.
    pub fn words(&self) -> impl Iterator<Item = String> + use<> {
        let flags = [
            ("--routing", self.routing.to_possible_value()),
            ("--xdp", self.xdp.to_possible_value()),
            ("--lb-mode", self.lb_mode.to_possible_value()),
        ];
        flags.into_iter().flat_map(|(flag, value)| {
            let value = value.map(|value| value.get_name().to_owned());
            value.into_iter().flat_map(move |value| [flag.to_owned(), value])
        })
    }

    /// The same for the data plane.
    pub fn load_balancing(&self) -> LoadBalancing {
        let xdp = match self.xdp {
            UplinkXdpArgument::Auto => UplinkXdp::Auto,
            UplinkXdpArgument::Native => UplinkXdp::Native,
            UplinkXdpArgument::Generic => UplinkXdp::Generic,
            UplinkXdpArgument::Off => UplinkXdp::Off,
        };
        let mode = match self.lb_mode {
            LbModeArgument::Snat => LbMode::Snat,
            LbModeArgument::Dsr => LbMode::Dsr,
        };
        LoadBalancing { xdp, mode }
    }
}

fn first_address(netlink: &Netlink, uplink: &str) -> anyhow::Result<IpAddr> {
    let addresses = netlink.addresses(uplink).with_context(|| format!("--uplink {uplink}"))?;
    let first = addresses.into_iter().map(|address| address.addr()).find(IpAddr::is_ipv4);
    first.with_context(|| format!("{uplink} has no IPv4 address: give one, or --node-ip"))
}

fn uplink_of(netlink: &Netlink, address: IpAddr) -> anyhow::Result<String> {
    for link in netlink.links()? {
        if netlink.addresses(&link.name)?.iter().any(|found| found.addr() == address) {
            return Ok(link.name);
        }
    }
    bail!("no interface has the address {address}: --node-ip names an address of this machine")
}

fn host_name() -> anyhow::Result<String> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host name; give --node-name")?;
    Ok(name.trim().to_ascii_lowercase())
}

/// What must be true before a daemon starts: root, and a kernel that can do it.
pub fn check_machine() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("not root: network namespaces, cgroups and BPF need it; run with sudo");
    }
    Ok(())
}

/// Refuses a kernel that lacks what the data plane needs; a line for each missing feature.
pub fn check_kernel() -> anyhow::Result<()> {
    let missing = kernel::probe::probe();
    if !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        bail!("this kernel cannot run the data plane:\n  {}", lines.join("\n  "));
    }
    Ok(())
}
