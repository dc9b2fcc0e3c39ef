//! `gannet node`: the node daemon alone. It joins once and keeps what it was given.

use std::fs;

use anyhow::Context as _;

use crate::cli::NodeDaemonArguments;
use crate::control::daemon_runtime;
use crate::{join, lock, settings, supervise};

/// Runs until a signal ends it; pods run on.
pub fn run(arguments: &NodeDaemonArguments) -> anyhow::Result<()> {
    supervise::follow_parent()?;
    settings::check_machine()?;
    let node = &arguments.node;
    let place = node.place()?;
    let _role = lock::take(&node.data_dir, "node", "stop it first, or give another --data-dir")?;
    let cgroup = enter_cgroup(&node.instance)?;
    let binary = std::env::current_exe().context("cannot find the path of this binary")?;
    daemon_runtime()?.block_on(async {
        let shutdown = process::shutdown_on_signals()?;
        let token = join::token(arguments.token.as_deref(), arguments.token_file.as_deref());
        let joined = tokio::select! {
            joined = join::identity(&node.data_dir, &place, &arguments.join, &token) => joined?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let config = agent::Config {
            node_name: place.node_name,
            data_dir: node.data_dir.clone(),
            node_ips: place.node_ips.list(),
            uplink: place.uplink,
            native: node.path.routing == settings::Routing::Native,
            server_url: arguments.join.clone(),
            fabric_url: joined.facts.fabric_url,
            identity: joined.identity,
            cri_socket: node.cri_socket.clone(),
            cgroup,
            cluster_dns: joined.facts.cluster_dns.list(),
            cluster_domain: joined.facts.cluster_domain,
            service_cidrs: joined.facts.service_cidr.list(),
            load_balancing: node.path.load_balancing(),
            flow_bits: node.flows.map(|settings::Flows(bits)| bits),
            binary,
        };
        agent::run(config, shutdown).await.context("node daemon")
    })
}

/// Makes the node's control group and moves this process below it, so that whatever it starts is below it too.
/// Returns the node's group; the process itself is in a leaf, because pure v2 allows no processes beside sub-groups.
fn enter_cgroup(instance: &str) -> anyhow::Result<std::path::PathBuf> {
    let group = kernel::cgroup::create(instance)?;
    let leaf = group.join("daemon");
    fs::create_dir_all(&leaf).with_context(|| format!("cannot create {}", leaf.display()))?;
    kernel::cgroup::add_process(&leaf, std::process::id())?;
    Ok(group)
}
