//! `gannet control`: the control plane alone.

use std::net::SocketAddr;

use anyhow::Context as _;
use plane::pki::Names;

use crate::cli::ControlArguments;
use crate::{lock, supervise};

/// NodePorts, as Kubernetes has them.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Runs until a signal ends it.
pub fn run(arguments: &ControlArguments) -> anyhow::Result<()> {
    supervise::follow_parent()?;
    let server = &arguments.server;
    let _role = lock::take(&arguments.data_dir, "control", "stop it first, or give another --data-dir")?;
    let mut names = Names::default();
    for name in &server.names {
        match name.parse() {
            Ok(address) => names.addresses.insert(address),
            Err(_) => names.dns.insert(name.clone()),
        };
    }
    let listen = server.listens_at(arguments.advertise);
    let config = plane::Config {
        data_dir: arguments.data_dir.clone(),
        api: SocketAddr::new(listen, server.api_port),
        fabric: SocketAddr::new(listen, server.fabric_port),
        advertise: arguments.advertise,
        names,
        cluster_cidr: server.pod_cidr,
        service_cidr: server.service_cidr,
        node_ports: NODE_PORTS,
        cluster_domain: server.cluster_domain.clone(),
        name: server.cluster_name.clone(),
        store: server.store.place()?,
        goaway_chance: server.goaway_chance,
    };
    daemon_runtime()?.block_on(async {
        let shutdown = process::shutdown_on_signals()?;
        plane::run(config, shutdown, || {}).await.context("control plane")
    })
}

/// The runtime of a daemon, with its logs on standard error.
pub fn daemon_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    process::init_tracing("info", process::LogFormat::Text)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}
