//! The CNI plugin of Gannet: configuration on stdin and `CNI_*` in the environment, one call to the node daemon's
//! socket, a result on stdout (CNI specification 1.0.0, section 3). It decides nothing about addresses or routes; the
//! daemon does.
//!
//! One process a call, no tasks of its own.

pub mod conflist;
mod request;
mod result;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use rpc::agent::agent_client::AgentClient;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use wire::agent::{AttachRequest, DetachRequest};

use request::{Command, Invocation};

/// The plugin's name in configuration lists, and the name by which the `gannet` binary is called as a plugin.
pub const PLUGIN: &str = "gannet-cni";
/// The second name: runtimes run a plugin `loopback` of the reference collection in each sandbox before ours. The daemon
/// sets `lo` up when it attaches the pod, so this one only reports that.
pub const LOOPBACK: &str = "loopback";
/// Longest configuration read from stdin, bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// How long the daemon may take; runtimes give up on a sandbox much later.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What goes wrong, with the specification's error codes (section 5).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("CNI version {0} is not supported")]
    Version(String),
    #[error("the environment lacks {0}")]
    Environment(&'static str),
    #[error("CNI_COMMAND is {0}, not ADD, DEL, CHECK or VERSION")]
    Command(String),
    #[error("cannot read the configuration: {0}")]
    Input(#[from] std::io::Error),
    #[error("cannot decode the configuration: {0}")]
    Decode(#[from] serde_json::Error),
    #[error("the configuration lacks {0}")]
    Config(&'static str),
    #[error("the node daemon does not answer at {socket}: {source}")]
    Unavailable { socket: String, source: tonic::transport::Error },
    #[error("the node daemon refused: {}", .0.message())]
    Refused(tonic::Status),
}

impl Error {
    fn code(&self) -> u32 {
        match self {
            Error::Version(_) => 1,
            Error::Environment(_) | Error::Command(_) => 4,
            Error::Input(_) => 5,
            Error::Decode(_) => 6,
            Error::Config(_) => 7,
            // Try again later: the runtime keeps the sandbox and repeats the call.
            Error::Unavailable { .. } => 11,
            Error::Refused(_) => 100,
        }
    }
}

/// Runs the plugin with the process's environment and standard streams; returns the exit code.
pub fn main() -> i32 {
    let mut input = String::new();
    let read = std::io::stdin().take(MAX_CONFIG_BYTES).read_to_string(&mut input);
    let variable = |name: &str| std::env::var(name).ok();
    let outcome = read.map_err(Error::from).and_then(|_| run(&variable, &input));
    let (text, code) = match outcome {
        Ok(None) => return 0,
        Ok(Some(value)) => (value, 0),
        Err(error) => (result::failure(error.code(), &error.to_string()), 1),
    };
    println!("{text}");
    code
}

/// One call; the result is what goes to stdout.
fn run(variable: &dyn Fn(&str) -> Option<String>, input: &str) -> Result<Option<Value>, Error> {
    let command = request::command(variable)?;
    if command == Command::Version {
        return Ok(Some(result::versions(input)));
    }
    if request::is_loopback(input) {
        let netns = variable("CNI_NETNS").unwrap_or_default();
        return Ok((command == Command::Add).then(|| result::loopback(input, &netns)));
    }
    let call = request::parse(command, variable, input)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(call))
}

async fn ask(call: Invocation) -> Result<Option<Value>, Error> {
    let mut agent = match connect(&call.socket).await {
        Ok(agent) => agent,
        // A namespace that is gone has no network left to take down: the sandbox may go, and the daemon gives the
        // address back when it finds the pod's veth missing.
        Err(_) if call.command == Command::Del && namespace_is_gone(&call.netns) => return Ok(None),
        Err(source) => return Err(Error::Unavailable { socket: call.socket, source }),
    };
    let attach = AttachRequest {
        container_id: call.container_id.clone(),
        netns: call.netns.clone(),
        ifname: call.ifname.clone(),
        pod_namespace: call.pod_namespace,
        pod_name: call.pod_name,
        pod_uid: call.pod_uid,
        port_mappings: call.port_mappings,
        ingress_bits: call.bandwidth.ingress_rate,
        egress_bits: call.bandwidth.egress_rate,
    };
    match call.command {
        Command::Add => {
            let reply = agent.attach(attach).await.map_err(Error::Refused)?.into_inner();
            Ok(Some(result::success(&call.version, &call.ifname, &call.netns, &reply)))
        }
        Command::Check => {
            agent.check(attach).await.map_err(Error::Refused)?;
            Ok(None)
        }
        Command::Del => {
            let detach = DetachRequest { container_id: call.container_id, netns: call.netns, ifname: call.ifname };
            agent.detach(detach).await.map_err(Error::Refused)?;
            Ok(None)
        }
        Command::Version => unreachable!("answered without the daemon"),
    }
}

async fn connect(socket: &str) -> Result<AgentClient<Channel>, tonic::transport::Error> {
    let endpoint =
        Endpoint::from_shared(format!("unix:{socket}"))?.connect_timeout(Duration::from_secs(5)).timeout(TIMEOUT);
    Ok(AgentClient::new(endpoint.connect().await?))
}

fn namespace_is_gone(netns: &str) -> bool {
    netns.is_empty() || !Path::new(netns).exists()
}

#[cfg(test)]
mod tests;
