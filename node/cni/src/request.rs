//! From environment and stdin to one call (CNI specification, section 2). Pure.

use serde::Deserialize;
use wire::agent::PortMapping;

use crate::Error;
use crate::result::VERSIONS;

/// `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Version,
}

/// Everything one call says.
#[derive(Debug, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) command: Command,
    pub(crate) version: String,
    pub(crate) socket: String,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) ifname: String,
    pub(crate) pod_namespace: String,
    pub(crate) pod_name: String,
    pub(crate) pod_uid: String,
    pub(crate) port_mappings: Vec<PortMapping>,
    pub(crate) bandwidth: Bandwidth,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    cni_version: String,
    #[serde(default)]
    agent_socket: String,
    #[serde(default)]
    runtime_config: RuntimeConfig,
}

/// What the runtime adds for the capabilities that the list claims (CNI conventions).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    port_mappings: Vec<Mapping>,
    bandwidth: Bandwidth,
}

/// Bits a second, 0 for no limit. The bursts that runtimes add are no user's wish: the daemon knows better ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Bandwidth {
    pub(crate) ingress_rate: u64,
    pub(crate) egress_rate: u64,
}

/// The conventions spell the names as here; containerd passes those of its Go structs on, and Go's plugins read either.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    #[serde(alias = "HostPort")]
    host_port: u32,
    #[serde(alias = "ContainerPort")]
    container_port: u32,
    #[serde(default, alias = "Protocol")]
    protocol: String,
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    host_ip: String,
}

impl From<Mapping> for PortMapping {
    fn from(mapping: Mapping) -> PortMapping {
        let Mapping { host_port, container_port, protocol, host_ip } = mapping;
        PortMapping { host_ip, host_port, container_port, protocol }
    }
}

/// What is asked for.
pub(crate) fn command(variable: &dyn Fn(&str) -> Option<String>) -> Result<Command, Error> {
    let text = variable("CNI_COMMAND").ok_or(Error::Environment("CNI_COMMAND"))?;
    match text.as_str() {
        "ADD" => Ok(Command::Add),
        "DEL" => Ok(Command::Del),
        "CHECK" => Ok(Command::Check),
        "VERSION" => Ok(Command::Version),
        _ => Err(Error::Command(text)),
    }
}

/// Whether the configuration is that of the `loopback` plugin.
pub(crate) fn is_loopback(input: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(input).is_ok_and(|config| config["type"] == crate::LOOPBACK)
}

/// The whole call. DEL may lack the namespace; everything else must be there.
pub(crate) fn parse(
    command: Command,
    variable: &dyn Fn(&str) -> Option<String>,
    input: &str,
) -> Result<Invocation, Error> {
    let config: Config = serde_json::from_str(input)?;
    let version = if config.cni_version.is_empty() { "0.3.1".to_owned() } else { config.cni_version };
    if !VERSIONS.contains(&version.as_str()) {
        return Err(Error::Version(version));
    }
    if config.agent_socket.is_empty() {
        return Err(Error::Config("agentSocket"));
    }
    let required = |name: &'static str| variable(name).filter(|v| !v.is_empty()).ok_or(Error::Environment(name));
    let netns = match command {
        Command::Del => variable("CNI_NETNS").unwrap_or_default(),
        Command::Add | Command::Check | Command::Version => required("CNI_NETNS")?,
    };
    let args = variable("CNI_ARGS").unwrap_or_default();
    let arg = |key: &str| {
        let found = args.split(';').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    Ok(Invocation {
        command,
        version,
        socket: config.agent_socket,
        container_id: required("CNI_CONTAINERID")?,
        netns,
        ifname: required("CNI_IFNAME")?,
        pod_namespace: arg("K8S_POD_NAMESPACE"),
        pod_name: arg("K8S_POD_NAME"),
        pod_uid: arg("K8S_POD_UID"),
        port_mappings: config.runtime_config.port_mappings.into_iter().map(PortMapping::from).collect(),
        bandwidth: config.runtime_config.bandwidth,
    })
}
