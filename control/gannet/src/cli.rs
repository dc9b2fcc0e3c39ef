//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use plane::families::Families;

use crate::settings::{NodeArguments, PathArguments, ServerArguments};

/// Where state lies unless told otherwise.
pub const DATA_DIR: &str = "/var/lib/gannet";

/// Where a balancer's pins and state lie unless told otherwise.
pub const LB_DIR: &str = "/run/gannet/lb";

/// Gannet: a Kubernetes-compatible orchestrator with an eBPF data plane
#[derive(Parser)]
#[command(name = "gannet", disable_version_flag = true)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Start a server (or, with --join, a node) on this machine and keep it running
    Up(UpArguments),
    /// Run the control plane alone
    Control(ControlArguments),
    /// Run the node daemon alone
    Node(NodeDaemonArguments),
    /// Be the CNI plugin: configuration on standard input, CNI_* in the environment
    #[command(hide = true)]
    Cni,
    /// Stop what `up` started on this machine, its pods included
    Down(DownArguments),
    /// Throw-away clusters of several nodes in network namespaces
    #[command(subcommand)]
    Dev(DevVerb),
    /// Container images
    #[command(subcommand)]
    Image(ImageVerb),
    /// Control plane, nodes, fabric and workloads at a glance
    Status(StatusArguments),
    /// Say what this machine offers, what Gannet does without the rest, and what mends it
    Doctor(DoctorArguments),
    /// Create or update the objects of a file
    Apply(ApplyArguments),
    /// The data plane
    #[command(subcommand)]
    Net(NetVerb),
    /// Balance packets for virtual addresses without a cluster, as a file says
    Lb(LbArguments),
    /// Print the administrator's kubeconfig
    Kubeconfig(KubeconfigArguments),
    /// Print the token with which nodes join
    Token(SiteArguments),
    /// Print the version
    Version,
}

#[derive(Subcommand)]
pub enum DevVerb {
    /// Start a cluster, or repair it: what runs already is left alone
    Create(CreateArguments),
    /// Stop a cluster and remove everything it made
    Delete(DeleteArguments),
    /// Name the clusters of this machine
    List,
}

#[derive(Subcommand)]
pub enum ImageVerb {
    /// Load an image archive (OCI or docker) into every node on this machine
    Load(LoadArguments),
}

#[derive(Subcommand)]
pub enum NetVerb {
    /// Call Services by name from a pod on each node, by VIP and by NodePort from here
    Test(NetTestArguments),
    /// Connections as they are opened, with the backend that each was given
    Flows(NetEventArguments),
    /// Packets that were dropped and calls that were refused, why, and what to do about it
    Drops(NetEventArguments),
    /// Services, or who uses them, by the connections that are opened and the bytes that go by
    Top(NetTopArguments),
    /// Services as the kernel has them: frontends, slots, backends
    Services(NetLookArguments),
    /// How full the kernel's tables are
    Maps(NetLookArguments),
    /// The attached programs and how often they ran
    Progs(NetLookArguments),
    /// What would happen to the first packet that a pod sends: `net trace shop/web front.shop:80`
    Trace(NetTraceArguments),
    /// Compare the kernel's tables with what the cluster's state compiles to
    Verify(NetVerifyArguments),
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LbArguments {
    #[command(subcommand)]
    pub verb: Option<LbVerb>,
    /// The configuration; it is read again when it changes, and on SIGHUP
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// Where in a packet's way the program runs; auto prefers the driver
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub xdp_mode: XdpModeArgument,
    /// Leave program and tables at work when this process ends; the next one takes them over
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub place: LbPlace,
}

#[derive(Args)]
pub struct LbPlace {
    /// Where pins and state lie; one balancer a directory
    #[arg(long, value_name = "DIR", default_value = LB_DIR)]
    pub dir: PathBuf,
}

#[derive(Subcommand)]
pub enum LbVerb {
    /// Services, their backends and what was sent to them
    Status(LbStatusArguments),
    /// Detach what an earlier process left
    Down(LbPlace),
}

#[derive(Args)]
pub struct LbStatusArguments {
    #[command(flatten)]
    pub place: LbPlace,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum XdpModeArgument {
    Auto,
    Driver,
    Generic,
}

#[derive(Args)]
pub struct UpArguments {
    #[command(flatten)]
    pub node: NodeArguments,
    #[command(flatten)]
    pub server: ServerArguments,
    /// Join the cluster at this URL instead of starting one
    #[arg(long, value_name = "URL")]
    pub join: Option<String>,
    /// The token that `gannet token` prints on the server
    #[arg(long, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file that holds the token
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// Leave the terminal's session
    #[arg(long, hide = true)]
    pub detached: bool,
}

#[derive(Args)]
pub struct ControlArguments {
    /// State directory
    #[arg(long, default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub server: ServerArguments,
    /// Address under which nodes and clients reach the API
    #[arg(long)]
    pub advertise: IpAddr,
}

#[derive(Args)]
pub struct NodeDaemonArguments {
    #[command(flatten)]
    pub node: NodeArguments,
    /// URL of the API
    #[arg(long, value_name = "URL")]
    pub join: String,
    /// The token that `gannet token` prints on the server
    #[arg(long, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file that holds the token
    #[arg(long)]
    pub token_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct DownArguments {
    /// State directory
    #[arg(long, default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// Name of the node's control group below `gannet/`
    #[arg(long, default_value = "node")]
    pub instance: String,
    /// Remove the state too: keys, objects, volumes
    #[arg(long)]
    pub purge: bool,
}

/// Which cluster a command is about.
#[derive(Args, Clone, Default)]
pub struct SiteArguments {
    /// A cluster of `gannet dev`
    #[arg(long, conflicts_with_all = ["data_dir"])]
    pub name: Option<String>,
    /// State directory of a server on this machine
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub struct CreateArguments {
    /// Name of the cluster
    #[arg(long, default_value = "dev")]
    pub name: String,
    /// Number of nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub nodes: u8,
    /// Pod addresses of the cluster: one range, or one of IPv4 and one of IPv6 separated by a comma, the preferred family first
    #[arg(long, default_value = "10.244.0.0/16")]
    pub pod_cidr: Families<IpNet>,
    /// Service addresses, of the same families
    #[arg(long, default_value = "10.96.0.0/16")]
    pub service_cidr: Families<IpNet>,
    /// Addresses of the nodes, of the same families
    #[arg(long, default_value = "10.243.0.0/24")]
    pub underlay_cidr: Families<IpNet>,
    #[command(flatten)]
    pub path: PathArguments,
    /// No veth pair and no routes in the root namespace: the cluster is reachable from inside alone
    #[arg(long)]
    pub no_host_access: bool,
}

#[derive(Args)]
pub struct DeleteArguments {
    /// Name of the cluster
    #[arg(long, default_value = "dev")]
    pub name: String,
}

#[derive(Args)]
pub struct LoadArguments {
    /// The archive
    pub file: PathBuf,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct StatusArguments {
    #[command(flatten)]
    pub site: SiteArguments,
    /// Wait until everything is ready
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "2m", value_parser = parse_duration)]
    pub timeout: Duration,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Args)]
pub struct DoctorArguments {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Args)]
pub struct ApplyArguments {
    /// A file of YAML or JSON documents, `-` for standard input
    #[arg(short, long)]
    pub file: PathBuf,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct NetTestArguments {
    /// Services as NAMESPACE/NAME
    #[arg(required = true)]
    pub services: Vec<String>,
    /// Calls of each kind
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub calls: u16,
    /// Image of the calling pods; it has sh and wget
    #[arg(long, default_value = "docker.io/library/busybox:latest")]
    pub image: String,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct NetEventArguments {
    /// Go on printing until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Only what a pod sends or receives, as NAMESPACE/NAME
    #[arg(long)]
    pub pod: Option<String>,
    /// Only what is for a Service, as NAMESPACE/NAME
    #[arg(long)]
    pub service: Option<String>,
    /// Only this node
    #[arg(long)]
    pub node: Option<String>,
    /// How to print; JSON is one object a line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct NetLookArguments {
    /// Only this node
    #[arg(long)]
    pub node: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct NetTopArguments {
    /// A line for each client of a Service
    #[arg(long)]
    pub clients: bool,
    #[command(flatten)]
    pub look: NetLookArguments,
}

#[derive(Args)]
pub struct NetTraceArguments {
    /// The pod that sends and the SERVICE:PORT, POD:PORT or ADDRESS:PORT that it sends to
    pub words: Vec<String>,
    /// The pod that sends, as NAMESPACE/NAME
    #[arg(long)]
    pub from: Option<String>,
    /// Where to
    #[arg(long)]
    pub to: Option<String>,
    /// tcp or udp
    #[arg(long, default_value = "tcp")]
    pub proto: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct NetVerifyArguments {
    /// Mend what differs
    #[arg(long)]
    pub repair: bool,
    /// Only this node
    #[arg(long)]
    pub node: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub site: SiteArguments,
}

#[derive(Args)]
pub struct KubeconfigArguments {
    #[command(flatten)]
    pub site: SiteArguments,
    /// Print where the file is instead
    #[arg(long)]
    pub path: bool,
}

/// `90s`, `2m`, `1h`, or plain seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text:?}: give a number and s, m or h")),
    };
    let seconds: u64 = number.parse().map_err(|_| format!("{text:?}: give a number and s, m or h"))?;
    seconds.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests;
