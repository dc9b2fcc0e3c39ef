//! The Lease by which servers of one cluster know of each other.

use crate::{
    Apiserver,
    admission::Origin,
    auth::User,
    generic::write::{self, Via, Write},
};
use api::{meta, time};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, LazyLock};

const NAMESPACE: &str = "kube-system";
const DURATION_SECONDS: i64 = 3600;

/// One a process.
static HOLDER: LazyLock<String> = LazyLock::new(process::uuid);

/// Makes the Lease, or renews it.
pub(super) async fn renew(server: &Arc<Apiserver>) {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let digest: String = Sha256::digest(format!("{host} {}", server.config.advertise))
        .iter()
        .take(13)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("apiserver-{digest}");
    let resource = registry::find("coordination.k8s.io", "v1", "leases").expect("the table has leases");
    let user = User::gannet();
    let origin = Origin::default();
    let write = Write::own(server, &user, resource, (NAMESPACE, &name), Via::Object, &origin);
    let now = time::format_micro(process::now());
    let spec = json!({
        "holderIdentity": format!("{name}_{}", *HOLDER), "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now,
    });
    let renewed = write::modify(&write, |old| {
        let mut new = old.value.clone();
        new["spec"] = spec.clone();
        Ok(new)
    })
    .await;
    let done = match renewed {
        Err(status) if status.is_not_found() => {
            let mut lease: Value = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"labels": {
                    "apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": host,
                }},
                "spec": spec,
            });
            meta::set_name(&mut lease, &name);
            meta::set_namespace(&mut lease, NAMESPACE);
            write::insert(&write, lease).await.map(drop)
        }
        other => other.map(drop),
    };
    if let Err(status) = done {
        tracing::warn!(status = status.message, "cannot renew the server's lease");
    }
}
