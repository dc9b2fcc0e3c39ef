//! The node daemon: pods, images, volumes, probes, the node's API object, the node API on 10250 and the local socket.

mod config;
pub mod containerd;
pub mod network;
pub mod pause;
pub mod serve;

pub use config::{Config, Identity};
use tokio_util::sync::CancellationToken;

/// Runs the node until `shutdown`. Running pods are left running, so that a restarted daemon adopts them.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let _ = (config, shutdown);
    Ok(())
}
