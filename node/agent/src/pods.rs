//! All pods of the node: the API's watch gives each pod a worker task, which owns the pod's state machine and carries
//! out its actions. Others see the latest state of each pod through a watch channel.

mod actions;
mod create;
mod logs;
mod observe;
mod orphans;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use client::{ListParams, Watched};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use pod::spec::text;
use pod::{Event, Observed, State};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Events waiting for one pod's worker.
const EVENTS_LIMIT: usize = 256;
/// Pods followed at the same time, those on their way out included; more wait until some are gone.
const WORKERS_LIMIT: usize = 512;

/// The pods that have a worker.
#[derive(Default)]
pub(crate) struct Pods {
    workers: Mutex<BTreeMap<String, Handle>>,
}

/// The way to one pod's worker.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) state: watch::Receiver<Arc<State>>,
}

impl Pods {
    /// Latest states of all pods, by uid.
    pub(crate) fn states(&self) -> BTreeMap<String, Arc<State>> {
        self.lock().iter().map(|(uid, handle)| (uid.clone(), handle.state.borrow().clone())).collect()
    }

    /// The latest state of the pod of that name; the newest if an older one of the same name still goes away.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<State>> {
        let states = self.states().into_values();
        let same = |state: &Arc<State>| {
            let meta = &state.pod.metadata;
            text(&meta.namespace) == namespace && text(&meta.name) == name
        };
        states.filter(same).max_by_key(|state| state.pod.metadata.creation_timestamp.clone())
    }

    fn handle(&self, uid: &str) -> Option<Handle> {
        self.lock().get(uid).cloned()
    }

    fn handles(&self) -> Vec<Handle> {
        self.lock().values().cloned().collect()
    }

    fn uids(&self) -> BTreeSet<String> {
        self.lock().keys().cloned().collect()
    }

    fn remove(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Handle>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the API's pods of this node until `shutdown`. Pods that the runtime already has are adopted.
pub(crate) async fn run(context: Arc<Context>, pods: Arc<Pods>, shutdown: CancellationToken) {
    let Some(observed) = first_look(&context, &shutdown).await else { return };
    let mut dispatcher = Dispatcher { context: context.clone(), pods: pods.clone(), observed, shutdown };
    let selector = ListParams::fields(format!("spec.nodeName={}", context.config.node_name));
    let mut stream = context.client.watch::<Pod>("", &selector);
    let mut helpers = None;
    loop {
        let event = tokio::select! {
            () = dispatcher.shutdown.cancelled() => return,
            event = stream.next() => event,
        };
        match event {
            Some(Watched::Restarted(all, _)) => {
                dispatcher.restarted(all).await;
                helpers.get_or_insert_with(|| {
                    let (context, pods, shutdown) = (context.clone(), pods.clone(), dispatcher.shutdown.clone());
                    process::spawn("runtime watch", observe::run(context.clone(), pods.clone(), shutdown.clone()));
                    process::spawn("logs", logs::run(context.clone(), pods.clone(), shutdown.clone()));
                    process::spawn("orphans", orphans::run(context, pods, shutdown));
                });
            }
            Some(Watched::Applied(pod)) => dispatcher.applied(pod).await,
            Some(Watched::Deleted(pod)) => dispatcher.deleted(&pod).await,
            Some(Watched::Bookmark(_)) => {}
            None => return,
        }
    }
}

async fn first_look(context: &Context, shutdown: &CancellationToken) -> Option<BTreeMap<String, Observed>> {
    loop {
        match observe::all(context).await {
            Ok(observed) => return Some(observed),
            Err(error) => tracing::warn!(%error, "the runtime does not answer yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(observe::PERIOD) => {}
        }
    }
}

struct Dispatcher {
    context: Arc<Context>,
    pods: Arc<Pods>,
    /// What the runtime had at the start, of pods not seen in the API yet.
    observed: BTreeMap<String, Observed>,
    shutdown: CancellationToken,
}

impl Dispatcher {
    async fn restarted(&mut self, all: Vec<Pod>) {
        let present: BTreeSet<String> = all.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        // The oldest first: on a full node they keep their place.
        let mut all = all;
        all.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        for pod in all {
            self.applied(pod).await;
        }
        for uid in self.pods.uids().difference(&present) {
            self.send(uid, Event::PodDeleted).await;
        }
        // What is left belongs to no pod: the orphan task removes it.
        self.observed.clear();
    }

    async fn applied(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let pod = Arc::new(pod);
        if self.pods.handle(&uid).is_some() {
            self.send(&uid, Event::PodUpdated(pod)).await;
            return;
        }
        if self.pods.lock().len() >= WORKERS_LIMIT {
            tracing::warn!(pod = pod::spec::full_name(&pod), "too many pods at once; left for the next list");
            return;
        }
        let observed = self.observed.remove(&uid).unwrap_or_default();
        let adopted = !observed.sandboxes.is_empty();
        let state = State::recover(pod.clone(), self.context.facts.clone(), observed);
        let first = if adopted || state.is_deleting() { Event::Tick } else { self.admit(&pod) };
        let (events, receiver) = mpsc::channel(EVENTS_LIMIT);
        let (sender, latest) = watch::channel(Arc::new(state));
        self.pods.lock().insert(uid, Handle { events: events.clone(), state: latest });
        // A fresh channel has room for its first event.
        let _ = events.try_send(first);
        let worker = worker::Worker::new(self.context.clone(), self.pods.clone(), events, sender);
        process::spawn("pod", worker.run(receiver, self.shutdown.clone()));
    }

    async fn deleted(&mut self, pod: &Pod) {
        if let Some(uid) = &pod.metadata.uid {
            self.send(uid, Event::PodDeleted).await;
        }
    }

    fn admit(&self, pod: &Pod) -> Event {
        let states = self.pods.states();
        let settled = |state: &State| matches!(state.published.phase.as_deref(), Some("Succeeded" | "Failed"));
        let others: Vec<Arc<State>> = states.into_values().filter(|state| !settled(state)).collect();
        let own_phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(own_phase, Some("Succeeded" | "Failed")) {
            return Event::Tick;
        }
        match pod::admit::admit(pod, others.iter().map(|state| &*state.pod), &self.context.allocatable()) {
            Ok(()) => Event::Tick,
            Err(rejection) => Event::Rejected { reason: rejection.reason, message: rejection.message },
        }
    }

    async fn send(&self, uid: &str, event: Event) {
        if let Some(handle) = self.pods.handle(uid) {
            let _ = handle.events.send(event).await;
        }
    }
}

#[cfg(test)]
mod tests;
