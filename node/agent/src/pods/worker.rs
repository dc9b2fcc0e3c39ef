//! The task of one pod: takes events, steps the machine, carries out the actions. Actions that take time run in tasks
//! of their own and answer with events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pod::lifecycle::Stage;
use pod::spec::text;
use pod::{Action, Event, ProbeKind, State, step};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Pods, actions};
use crate::context::Context;
use crate::probes;
use crate::statuses::Statuses;
use crate::tokens::Tokens;

/// How long containers wait for the pod's address to be in the API; then they start anyway.
const ADDRESS_WAIT: Duration = Duration::from_secs(1);
/// How often volumes made from API objects are looked at again.
const REFRESH_PERIOD: Duration = Duration::from_secs(45);

/// What the actions of one pod share.
pub(super) struct PodContext {
    pub(super) node: Arc<Context>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) tokens: Mutex<Tokens>,
    pub(super) statuses: Statuses,
}

/// One pod's worker.
pub(super) struct Worker {
    context: Arc<PodContext>,
    pods: Arc<Pods>,
    state: watch::Sender<Arc<State>>,
    probes: BTreeMap<(String, ProbeKind), CancellationToken>,
    wake: Option<Timestamp>,
}

impl Worker {
    pub(super) fn new(
        node: Arc<Context>,
        pods: Arc<Pods>,
        events: mpsc::Sender<Event>,
        state: watch::Sender<Arc<State>>,
    ) -> Worker {
        let statuses = Statuses::start(node.client.clone());
        let context = Arc::new(PodContext { node, events, tokens: Mutex::default(), statuses });
        Worker { context, pods, state, probes: BTreeMap::new(), wake: None }
    }

    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<Event>, shutdown: CancellationToken) {
        let mut refresh = tokio::time::interval(REFRESH_PERIOD);
        refresh.reset();
        while self.state.borrow().lifecycle.stage() != Stage::Gone {
            let event = tokio::select! {
                () = shutdown.cancelled() => return self.stop_probes(),
                event = receiver.recv() => event,
                () = until(self.wake) => {
                    self.wake = None;
                    Some(Event::Tick)
                }
                _ = refresh.tick() => {
                    self.refresh_volumes();
                    None
                }
            };
            if let Some(event) = event {
                self.take(event).await;
            }
        }
        self.stop_probes();
        let uid = self.state.borrow().pod.metadata.uid.clone();
        self.pods.remove(text(&uid));
    }

    async fn take(&mut self, event: Event) {
        let before = self.state.borrow().clone();
        let (after, actions) = step(&before, event, process::now());
        let (from, to) = (before.lifecycle.stage(), after.lifecycle.stage());
        if from != to {
            tracing::info!(pod = pod::spec::full_name(&after.pod), ?from, ?to, "pod");
        }
        let addressed = before.published.pod_ip.is_none() && after.published.pod_ip.is_some();
        let after = Arc::new(after);
        self.state.send_replace(after.clone());
        for action in actions {
            // The machine puts the status first: the address is in the API before the containers start.
            let wait = addressed && matches!(action, Action::UpdateStatus(_));
            self.act(&after, action).await;
            if wait {
                self.context.statuses.flushed(ADDRESS_WAIT).await;
            }
        }
    }

    async fn act(&mut self, state: &Arc<State>, action: Action) {
        match action {
            Action::UpdateStatus(status) => self.context.statuses.publish(state.pod.clone(), *status),
            Action::Emit(note) => self.context.node.notes.pod(&state.pod, note),
            Action::WakeAt(at) => self.wake = Some(at),
            Action::StartProbe { container, id, kind, probe } => {
                let token = CancellationToken::new();
                if let Some(old) = self.probes.insert((container.clone(), kind), token.clone()) {
                    old.cancel();
                }
                let target = probes::Target { state: state.clone(), container, id };
                let (node, events) = (self.context.node.clone(), self.context.events.clone());
                process::spawn("probe", probes::run(node, target, kind, *probe, events, token));
            }
            Action::StopProbe { container, kind } => {
                if let Some(token) = self.probes.remove(&(container, kind)) {
                    token.cancel();
                }
            }
            Action::PrepareVolumes
            | Action::TeardownVolumes
            | Action::RunSandbox { .. }
            | Action::StopSandbox { .. }
            | Action::RemoveSandbox { .. }
            | Action::PullImage { .. }
            | Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::StopContainer { .. }
            | Action::RemoveContainer { .. }
            | Action::RunPostStart { .. }
            | Action::DeleteFromApi => {
                process::spawn("pod action", actions::run(self.context.clone(), state.clone(), action));
            }
        }
    }

    fn refresh_volumes(&self) {
        let state = self.state.borrow().clone();
        if state.lifecycle.stage() == Stage::Running {
            process::spawn("volume refresh", actions::refresh_volumes(self.context.clone(), state));
        }
    }

    fn stop_probes(&mut self) {
        for token in std::mem::take(&mut self.probes).into_values() {
            token.cancel();
        }
    }
}

/// Sleeps until the time, for ever if there is none.
async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => {
            let left = at.duration_since(process::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
        }
        None => std::future::pending().await,
    }
}
