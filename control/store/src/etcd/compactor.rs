//! Forgets etcd's history, as an API server of Kubernetes does: etcd keeps every old value until it is told to compact.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::client::Endpoints;
use crate::Revision;

/// What is younger than this is kept.
const INTERVAL: Duration = Duration::from_secs(300);

pub(super) async fn run(endpoints: Arc<Endpoints>, reached: watch::Receiver<Revision>) {
    loop {
        let upto = *reached.borrow();
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = endpoints.compact(upto).await {
            tracing::warn!(%error, upto = upto.0, "cannot compact etcd's history; trying again later");
        }
    }
}
