//! Drives the control loops: View -> queue -> reconcile -> execute -> barrier.
//!
//! Tasks: one a controller (`controller`), which reads [`Views`] and starts up to [`MAX_CONCURRENT`] keys at once
//! (`reconcile`); each tells its end through a bounded channel back to the controller.

use std::sync::Arc;
use std::time::Duration;

use api::Key;
use cache::View;
use client::Client;
use ipnet::IpNet;
use process::Shutdown;
use reconcile::{Backoff, Controller, Outcome, Queue};
use tokio::sync::mpsc;

use crate::execute::{Events, execute};
use crate::identities::Identities;
use crate::views::Views;

/// How many keys of one controller are worked on at once.
pub const MAX_CONCURRENT: usize = 8;

/// Run by [`crate::run_garbage`] and [`crate::run_namespaces`].
const EVERY_KIND: [&str; 2] = ["garbage-collector-controller", "namespace-controller"];

/// The longest sleep of a controller that waits for nothing in particular.
const IDLE: Duration = Duration::from_secs(3600);

/// What the control loops have to be told.
#[derive(Clone, Debug)]
pub struct ControllersConfig {
    /// The ranges that nodes' pod CIDRs are cut from, one a family.
    pub cluster_cidrs: Vec<IpNet>,
    /// The cluster's CA certificate, PEM.
    pub ca_pem: String,
}

/// Runs every control loop until `shutdown`.
pub async fn run_controllers(identities: Identities, views: Views, config: ControllersConfig, shutdown: Shutdown) {
    let config =
        controllers::Config { cluster_cidrs: config.cluster_cidrs, ca_pem: config.ca_pem, started: process::now() };
    let tasks: Vec<_> = controllers::all(&config)
        .into_iter()
        // These two must see every kind, so they have runners of their own.
        .filter(|controller| !EVERY_KIND.contains(&controller.name()))
        .map(|controller| {
            let client = identities.client(controller.name());
            let run = run(Arc::from(controller), client, views.clone());
            let shutdown = shutdown.clone();
            process::spawn("controller", async move {
                tokio::select! {
                    () = run => {}
                    () = shutdown.cancelled() => {}
                }
            })
        })
        .collect();
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "a control loop died");
        }
    }
}

/// Runs one control loop for ever.
async fn run(controller: Arc<dyn Controller>, client: Client, mut views: Views) {
    let events = Events::new(client.clone(), controller.name());
    let mut queue = Queue::new(Backoff::default());
    let mut seen = Arc::new(View::default());
    let mut latest = views.latest();
    let mut running = 0;
    let (finished, mut finishes) = mpsc::channel::<(Key, Outcome)>(MAX_CONCURRENT);
    loop {
        let now = process::now();
        for change in latest.changes_since(&seen) {
            for key in controller.keys(&change, &latest) {
                queue.add(key, now);
            }
        }
        seen = latest.clone();
        while running < MAX_CONCURRENT {
            let Some(key) = queue.pop(process::now(), latest.revision) else { break };
            let plan = controller.reconcile(&key, &latest, process::now());
            if plan.writes.is_empty() && plan.events.is_empty() {
                // The usual case: nothing to do, nothing to wait for.
                let outcome = Outcome::Done { written: None, requeue_at: plan.requeue_at };
                queue.done(key, outcome, process::now());
                continue;
            }
            running += 1;
            let (client, views, events, finished) = (client.clone(), views.clone(), events.clone(), finished.clone());
            let name = controller.name();
            process::spawn("reconcile", async move {
                for write in &plan.writes {
                    tracing::debug!(controller = name, %key, %write, "writing");
                }
                let outcome = execute(&client, || views.written(), &events, &plan).await;
                // The controller is gone only at shutdown.
                let _ = finished.send((key, outcome)).await;
            });
        }
        let wait = if running < MAX_CONCURRENT { until(queue.next_due()) } else { IDLE };
        tokio::select! {
            view = views.changed() => latest = view,
            Some((key, outcome)) = finishes.recv() => {
                running -= 1;
                queue.done(key, outcome, process::now());
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How long until then.
pub(crate) fn until(due: Option<jiff::Timestamp>) -> Duration {
    let Some(due) = due else { return IDLE };
    let wait = due.duration_since(process::now());
    Duration::try_from(wait).unwrap_or(Duration::ZERO).min(IDLE)
}
