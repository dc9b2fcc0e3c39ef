//! The node's heartbeat: a Lease in `kube-node-lease`, renewed periodically.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

const NAMESPACE: &str = "kube-node-lease";
const PERIOD: Duration = Duration::from_secs(10);
/// After a failed renewal the next try comes sooner.
const RETRY: Duration = Duration::from_secs(2);
/// How long the node counts as alive after a renewal.
const LEASE_SECONDS: i32 = 40;

/// Renews until `shutdown`.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    loop {
        let wait = match renew(&context).await {
            Ok(()) => PERIOD,
            Err(error) => {
                tracing::debug!(%error, "lease not renewed");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn renew(context: &Context) -> Result<(), client::Error> {
    let name = &context.config.node_name;
    let now = Some(MicroTime(process::now()));
    let Some(mut lease) = context.client.get_opt::<Lease>(NAMESPACE, name).await? else {
        let node = context.client.get_opt::<Node>("", name).await?;
        let owner = node.and_then(|node| node.metadata.uid).map(|uid| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.clone(),
            uid,
            ..OwnerReference::default()
        });
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(NAMESPACE.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name.clone()),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: now,
                ..LeaseSpec::default()
            }),
        };
        return context.client.create(&lease).await.map(drop);
    };
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(name.clone());
    spec.lease_duration_seconds = Some(LEASE_SECONDS);
    spec.renew_time = now;
    context.client.update(&lease).await.map(drop)
}
