//! One writer a pod brings the newest status to the API: older ones that were not written yet are skipped, a write that
//! fails is repeated until it succeeds or the pod is gone.

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use client::Client;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::Value;
use tokio::sync::watch;

/// First and longest wait after a failed write.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// What to write: the object it was computed from, and the status; numbered.
#[derive(Clone)]
struct Wanted {
    number: u64,
    pod: Arc<Pod>,
    status: PodStatus,
}

/// Hands statuses of one pod to its writer.
pub(crate) struct Statuses {
    wanted: watch::Sender<Option<Wanted>>,
    written: watch::Receiver<u64>,
}

impl Statuses {
    /// Starts the task `pod status` of one pod. It ends when the handle is dropped.
    pub(crate) fn start(client: Client) -> Statuses {
        let (wanted, receiver) = watch::channel(None);
        let (sender, written) = watch::channel(0);
        process::spawn("pod status", run(client, receiver, sender));
        Statuses { wanted, written }
    }

    /// Makes this the status to write.
    pub(crate) fn publish(&self, pod: Arc<Pod>, status: PodStatus) {
        self.wanted.send_modify(|wanted| {
            let number = wanted.as_ref().map_or(1, |w| w.number + 1);
            *wanted = Some(Wanted { number, pod, status });
        });
    }

    /// Waits until everything published so far is written, at most `limit`; whether it is.
    pub(crate) async fn flushed(&self, limit: Duration) -> bool {
        let number = self.wanted.borrow().as_ref().map_or(0, |w| w.number);
        let mut written = self.written.clone();
        let wait = written.wait_for(|done| *done >= number);
        tokio::time::timeout(limit, wait).await.is_ok_and(|result| result.is_ok())
    }
}

async fn run(client: Client, mut wanted: watch::Receiver<Option<Wanted>>, written: watch::Sender<u64>) {
    let mut wait = RETRY_FIRST;
    let mut settled = 0;
    loop {
        let next = wanted.borrow_and_update().clone().filter(|w| w.number > settled);
        let Some(next) = next else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        match write(&client, &next).await {
            Ok(()) => {
                wait = RETRY_FIRST;
                settled = next.number;
                written.send_replace(settled);
            }
            Err(error) if error.is_transient() || error.is_conflict() => {
                tracing::debug!(%error, "pod status not written, trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_LAST);
            }
            Err(error) => {
                tracing::warn!(%error, pod = pod::spec::full_name(&next.pod), "pod status refused");
                settled = next.number;
                written.send_replace(settled);
            }
        }
    }
}

async fn write(client: &Client, wanted: &Wanted) -> Result<(), client::Error> {
    let pods = Gvr::new("", "v1", "pods");
    let meta = &wanted.pod.metadata;
    let (namespace, name) = (pod::spec::text(&meta.namespace), pod::spec::text(&meta.name));
    let mut current: Value = match client.get_value(&pods, namespace, name).await {
        Ok(current) => current,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    if current.pointer("/metadata/uid").and_then(Value::as_str) != meta.uid.as_deref() {
        return Ok(());
    }
    let old: PodStatus = current
        .get("status")
        .map(|status| serde_json::from_value(status.clone()))
        .transpose()
        .map_err(client::Error::Decode)?
        .unwrap_or_default();
    // As JSON, because there times have the API's precision of seconds.
    let json = |status: &PodStatus| serde_json::to_value(status).map_err(client::Error::Encode);
    let new = json(&pod::status::merge(&wanted.status, &old))?;
    if new == json(&old)? {
        return Ok(());
    }
    current["status"] = new;
    match client.update_value(&pods, namespace, name, Some("status"), &current).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
