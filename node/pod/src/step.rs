//! The step function: first the event's facts go into the state, then everything that follows from the state is done,
//! then the status is reported if it changed. Decisions depend on the state alone, so a lost or repeated event does no
//! harm: the next one leads to the same place.

mod containers;
mod health;
mod stopping;

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;

use crate::action::{Action, Note, NoteKind};
use crate::backoff::{SETUP, after};
use crate::event::Event;
use crate::lifecycle::{Life, Lifecycle};
use crate::spec;
use crate::state::{Sandbox, State, Verdict};
use crate::status;

/// Takes the pod one event further.
pub fn step(state: &State, event: Event, now: Timestamp) -> (State, Vec<Action>) {
    let told = matches!(event, Event::PodUpdated(_));
    let mut turn = Turn { state: state.clone(), now, out: Vec::new(), told };
    turn.state.start_time.get_or_insert(now);
    turn.observe(event);
    turn.remove_stale();
    turn.advance();
    turn.report();
    (turn.state, turn.out)
}

/// One step in the making.
struct Turn {
    state: State,
    now: Timestamp,
    out: Vec<Action>,
    /// The API has just told the object: what it says of the status may be stale or overwritten.
    told: bool,
}

impl Turn {
    fn observe(&mut self, event: Event) {
        match event {
            Event::PodUpdated(pod) => self.pod_updated(pod),
            Event::PodDeleted => self.pod_deleted(),
            Event::Rejected { reason, message } => {
                self.warn(reason.clone(), message.clone(), None);
                self.state.verdict.get_or_insert(Verdict { reason, message });
            }
            Event::VolumesReady => self.volumes_ready(),
            Event::VolumesFailed { message } => self.volumes_failed(message),
            Event::VolumesGone => self.volumes_gone(),
            Event::SandboxReady { id, ips } => self.sandbox_ready(id, ips),
            Event::SandboxFailed { message } => self.sandbox_failed(message),
            Event::SandboxLost { id } => self.sandbox_lost(&id),
            Event::SandboxStopped { id } => self.sandbox_stopped(&id),
            Event::SandboxRemoved { id } => self.sandbox_removed(&id),
            Event::ImagePulled { container, image_id, message } => self.image_pulled(&container, image_id, message),
            Event::ImageFailed { container, failure, message } => self.image_failed(&container, failure, message),
            Event::ContainerCreated { container, id } => self.container_created(&container, id),
            Event::ContainerCreateFailed { container, reason, message } => {
                self.container_create_failed(&container, reason, message);
            }
            Event::ContainerStarted { container, id, at } => self.container_started(&container, &id, at),
            Event::ContainerStartFailed { container, id, message } => {
                self.container_start_failed(&container, &id, message);
            }
            Event::ContainerStopFailed { container, id, message } => self.stop_failed(&container, &id, message),
            Event::ContainerExited { container, id, exit } => self.container_exited(&container, &id, exit),
            Event::ContainerLost { container, id } => self.container_lost(&container, &id),
            Event::PostStartDone { container, id, failure } => self.post_start_done(&container, &id, failure),
            Event::PreStopFailed { container, id, message } => {
                if self.find(&container, &id).is_some() {
                    let path = self.field_path(&container);
                    self.warn("FailedPreStopHook", format!("PreStopHook failed: {message}"), path);
                }
            }
            Event::ProbeResult { container, id, kind, success, message } => {
                self.probe_result(&container, &id, kind, success, message);
            }
            Event::Tick => {}
        }
    }

    /// Does what follows from the state until only waiting is left.
    fn advance(&mut self) {
        loop {
            let before = self.state.lifecycle.stage();
            match self.state.lifecycle {
                Lifecycle::New => self.begin(),
                Lifecycle::PrepareBackoff { until } | Lifecycle::SandboxBackoff { until } => self.retry_setup(until),
                Lifecycle::Running => self.advance_running(),
                Lifecycle::Stopping { .. } => self.advance_stopping(),
                Lifecycle::Finished => self.leave_finished(),
                Lifecycle::Preparing
                | Lifecycle::Sandboxing
                | Lifecycle::SandboxStopping
                | Lifecycle::Removing
                | Lifecycle::TearingDown
                | Lifecycle::Deleting
                | Lifecycle::Gone => {}
            }
            self.sync_probes();
            if self.state.lifecycle.stage() == before {
                return;
            }
        }
    }

    fn begin(&mut self) {
        if !self.leave_setup() {
            self.state.go(Lifecycle::Preparing);
            self.out.push(Action::PrepareVolumes);
        }
    }

    /// Ends the setup of a pod that is to go or failed as a whole; whether it did.
    fn leave_setup(&mut self) -> bool {
        self.check_deadline();
        if self.state.is_deleting() {
            self.tear_down();
        } else if self.state.verdict.is_some() {
            self.state.go(Lifecycle::Finished);
        } else {
            return false;
        }
        true
    }

    fn retry_setup(&mut self, until: Timestamp) {
        if self.leave_setup() || self.now < until {
            return;
        }
        if matches!(self.state.lifecycle, Lifecycle::PrepareBackoff { .. }) {
            self.state.go(Lifecycle::Preparing);
            self.out.push(Action::PrepareVolumes);
        } else {
            self.run_sandbox();
        }
    }

    fn run_sandbox(&mut self) {
        self.state.go(Lifecycle::Sandboxing);
        self.out.push(Action::RunSandbox { attempt: self.state.sandbox_attempts });
        self.state.sandbox_attempts += 1;
    }

    fn volumes_ready(&mut self) {
        if self.state.lifecycle == Lifecycle::Preparing && !self.leave_setup() {
            self.run_sandbox();
        }
    }

    fn volumes_failed(&mut self, message: String) {
        if self.state.lifecycle == Lifecycle::Preparing {
            self.warn("FailedMount", message, None);
            let until = self.state.setup.fail(self.now, SETUP);
            self.state.go(Lifecycle::PrepareBackoff { until });
        }
    }

    fn sandbox_ready(&mut self, id: String, ips: Vec<std::net::IpAddr>) {
        if self.state.lifecycle == Lifecycle::Sandboxing {
            let ips = if spec::host_network(&self.state.pod) { self.state.facts.host_ips.clone() } else { ips };
            self.state.sandbox = Some(Sandbox { id, ips });
            self.state.setup = Default::default();
            self.state.go(Lifecycle::Running);
        } else if self.state.sandbox.as_ref().is_none_or(|own| own.id != id) {
            self.state.stale.sandboxes.push(id);
        }
    }

    fn sandbox_failed(&mut self, message: String) {
        if self.state.lifecycle == Lifecycle::Sandboxing {
            self.warn("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}"), None);
            let until = self.state.setup.fail(self.now, SETUP);
            self.state.go(Lifecycle::SandboxBackoff { until });
        }
    }

    fn sandbox_stopped(&mut self, id: &str) {
        if self.state.lifecycle != Lifecycle::SandboxStopping || !self.owns_sandbox(id) {
            return;
        }
        if self.state.is_deleting() {
            self.remove_sandbox();
        } else {
            self.state.go(Lifecycle::Finished);
        }
    }

    fn remove_sandbox(&mut self) {
        match &self.state.sandbox {
            Some(sandbox) => {
                self.out.push(Action::RemoveSandbox { id: sandbox.id.clone() });
                self.state.go(Lifecycle::Removing);
            }
            None => self.tear_down(),
        }
    }

    fn sandbox_removed(&mut self, id: &str) {
        if self.state.lifecycle == Lifecycle::Removing && self.owns_sandbox(id) {
            self.state.sandbox = None;
            self.tear_down();
        }
    }

    fn leave_finished(&mut self) {
        if self.state.is_deleting() {
            self.remove_sandbox();
        }
    }

    fn tear_down(&mut self) {
        self.state.go(Lifecycle::TearingDown);
        self.out.push(Action::TeardownVolumes);
    }

    fn volumes_gone(&mut self) {
        if self.state.lifecycle != Lifecycle::TearingDown {
            return;
        }
        if self.state.deleted_from_api {
            self.state.go(Lifecycle::Gone);
        } else {
            self.state.go(Lifecycle::Deleting);
            self.out.push(Action::DeleteFromApi);
        }
    }

    fn pod_deleted(&mut self) {
        self.state.deleted_from_api = true;
        if self.state.lifecycle == Lifecycle::Deleting {
            self.state.go(Lifecycle::Gone);
        }
    }

    fn pod_updated(&mut self, pod: std::sync::Arc<k8s_openapi::api::core::v1::Pod>) {
        self.state.pod = pod;
        if let Lifecycle::Stopping { deadline } = self.state.lifecycle {
            let grace = spec::grace_seconds(&self.state.pod);
            if self.state.is_deleting() && after(self.now, i64::from(grace)) < deadline {
                self.hurry(grace);
            }
        }
    }

    fn remove_stale(&mut self) {
        let stale = std::mem::take(&mut self.state.stale);
        for id in stale.containers {
            self.out.push(Action::RemoveContainer { id });
        }
        for id in stale.sandboxes {
            self.out.push(Action::StopSandbox { id: id.clone() });
            self.out.push(Action::RemoveSandbox { id });
        }
    }

    fn check_deadline(&mut self) {
        let due = self.deadline().is_some_and(|at| at <= self.now);
        if due && self.state.verdict.is_none() {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.state.verdict = Some(Verdict { reason: "DeadlineExceeded".to_owned(), message });
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = spec::spec(&self.state.pod).active_deadline_seconds?;
        Some(after(self.state.start_time?, seconds))
    }

    fn report(&mut self) {
        if !self.state.deleted_from_api {
            let status = status::compute(&self.state, self.now);
            if status != self.state.published || self.told && self.is_overwritten(&status) {
                self.state.published = status.clone();
                // First, so that the pod's address is known before its containers start.
                self.out.insert(0, Action::UpdateStatus(Box::new(status)));
            }
        }
        let wake = self.next_wake();
        if wake != self.state.wake_at {
            self.state.wake_at = wake;
            self.out.extend(wake.map(Action::WakeAt));
        }
    }

    /// Whether the API shows another phase or condition than the node's. Node lifecycle, for one, sets Ready=False on
    /// the pods of a silent node.
    fn is_overwritten(&self, status: &PodStatus) -> bool {
        let Some(shown) = &self.state.pod.status else { return true };
        let of = |list: &PodStatus, kind: &str| {
            list.conditions.iter().flatten().find(|c| c.type_ == kind).map(|c| c.status.clone())
        };
        shown.phase != status.phase || status::OWN_CONDITIONS.iter().any(|kind| of(shown, kind) != of(status, kind))
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let own = match self.state.lifecycle {
            Lifecycle::PrepareBackoff { until } | Lifecycle::SandboxBackoff { until } => Some(until),
            _ if self.may_expire() => self.deadline(),
            _ => None,
        };
        let all = self.state.containers.iter().flat_map(|c| c.life.wakes()).chain(own);
        all.filter(|at| *at > self.now).min()
    }

    fn may_expire(&self) -> bool {
        self.state.lifecycle == Lifecycle::Running && self.state.verdict.is_none()
    }

    fn owns_sandbox(&self, id: &str) -> bool {
        self.state.sandbox.as_ref().is_some_and(|own| own.id == id)
    }

    /// Index of the container if `id` is its newest instance.
    fn find(&self, container: &str, id: &str) -> Option<usize> {
        self.state.containers.iter().position(|c| c.name == container && c.id.as_deref() == Some(id))
    }

    /// Index of the container by name.
    fn position(&self, container: &str) -> Option<usize> {
        self.state.containers.iter().position(|c| c.name == container)
    }

    fn normal(&mut self, reason: impl Into<Cow<'static, str>>, message: String, field_path: Option<String>) {
        self.out.push(Action::Emit(Note { kind: NoteKind::Normal, reason: reason.into(), message, field_path }));
    }

    fn warn(&mut self, reason: impl Into<Cow<'static, str>>, message: String, field_path: Option<String>) {
        self.out.push(Action::Emit(Note { kind: NoteKind::Warning, reason: reason.into(), message, field_path }));
    }

    fn field_path(&self, container: &str) -> Option<String> {
        spec::field_path(&self.state.pod, container)
    }

    /// The container's instance ended or never came to be: where it rests.
    fn settle(&mut self, index: usize) {
        let container = &mut self.state.containers[index];
        if !matches!(container.life, Life::Waiting | Life::Exited) {
            container.go(if container.last.is_some() { Life::Exited } else { Life::Waiting });
        }
    }
}
