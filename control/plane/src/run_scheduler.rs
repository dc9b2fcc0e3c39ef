//! Drives the scheduler: View -> queue -> schedule -> bind.
//!
//! Tasks: the caller's own, which decides; and up to [`MAX_BINDING`] `bind` tasks, each of which tells its end through
//! a bounded channel.

use std::sync::Arc;

use api::Key;
use cache::View;
use client::{Client, Error, Patch};
use k8s_openapi::api::core::v1::Pod;
use process::Shutdown;
use reconcile::EventRecord;
use scheduler::{DEFAULT_SCHEDULER, Decision, Profile, Queue, Snapshot, schedule};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::execute::Events;
use crate::run_controllers::until;
use crate::views::Views;

/// How many pods are being bound at once.
pub const MAX_BINDING: usize = 64;

/// Schedules pods until `shutdown`.
pub async fn run_scheduler(client: Client, views: Views, shutdown: Shutdown) {
    tokio::select! {
        () = run(client, views) => {}
        () = shutdown.cancelled() => {}
    }
}

/// How the work on a pod ended.
enum End {
    Bound,
    NotBound(Key),
    Reported,
}

async fn run(client: Client, mut views: Views) {
    let events = Events::new(client.clone(), DEFAULT_SCHEDULER);
    let profile = Profile::default();
    let mut queue = Queue::default();
    let mut snapshot = Snapshot::default();
    let mut seen = Arc::new(View::default());
    let mut latest = views.latest();
    let mut running = 0;
    let (finished, mut finishes) = mpsc::channel::<End>(MAX_BINDING);
    loop {
        let now = process::now();
        for change in latest.changes_since(&seen) {
            snapshot.apply(&change);
            queue.apply(&change, now);
        }
        seen = latest.clone();
        while running < MAX_BINDING {
            let Some(key) = queue.pop(process::now()) else { break };
            let Some(pod) = latest.at::<Pod>(&key) else { continue };
            running += 1;
            let (client, events, finished) = (client.clone(), events.clone(), finished.clone());
            match schedule(&pod, &snapshot, &profile, process::seed()) {
                Decision::Bind(node) => {
                    snapshot.assume(&pod, &node);
                    process::spawn("bind", async move {
                        let end = bind(&client, &events, &pod, &node).await;
                        // The scheduler is gone only at shutdown.
                        let _ = finished.send(if end { End::Bound } else { End::NotBound(key) }).await;
                    });
                }
                Decision::Unschedulable(refusal) => {
                    queue.unschedulable(&key, process::now());
                    process::spawn("bind", async move {
                        report(&client, &events, &pod, &refusal.to_string()).await;
                        let _ = finished.send(End::Reported).await;
                    });
                }
            }
        }
        tokio::select! {
            view = views.changed() => latest = view,
            Some(end) = finishes.recv() => {
                running -= 1;
                if let End::NotBound(key) = end {
                    snapshot.forget(&key);
                    queue.failed(&key, process::now());
                }
            }
            () = tokio::time::sleep(until(queue.next_due())), if running < MAX_BINDING => {}
        }
    }
}

/// Binds a pod to a node; false if that failed.
pub async fn bind(client: &Client, events: &Events, pod: &Pod, node: &str) -> bool {
    let (namespace, name) = names(pod);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let bound: Result<Value, Error> = client.create_subresource::<Pod, _, _>(namespace, name, "binding", &body).await;
    match bound {
        Ok(_) => {
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            events.record(&EventRecord::normal(pod, "Scheduled", message)).await;
            true
        }
        Err(error) if error.is_not_found() => true,
        Err(error) => {
            tracing::warn!(namespace, name, node, %error, "cannot bind the pod");
            events.record(&EventRecord::warning(pod, "FailedScheduling", format!("binding rejected: {error}"))).await;
            false
        }
    }
}

/// Says why no node can take the pod, in its condition and in an event.
pub async fn report(client: &Client, events: &Events, pod: &Pod, message: &str) {
    let (namespace, name) = names(pod);
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let known = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    let said = known.is_some_and(|known| known.status == "False" && known.message.as_deref() == Some(message));
    if !said {
        let since = match known.filter(|known| known.status == "False") {
            Some(known) => known.last_transition_time.as_ref().map(|time| time.0),
            None => None,
        };
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": api::time::format(since.unwrap_or_else(process::now)),
        });
        let body = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let patched = client.patch::<Pod>(namespace, name, Some("status"), Patch::Strategic(body)).await;
        if let Err(error) = patched.map(drop)
            && !error.is_not_found()
        {
            tracing::debug!(namespace, name, %error, "cannot write the pod's condition");
        }
    }
    events.record(&EventRecord::warning(pod, "FailedScheduling", message)).await;
}

fn names(pod: &Pod) -> (&str, &str) {
    (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default())
}
