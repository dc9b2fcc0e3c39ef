//! Bringing containers up: order of init containers and sidecars, images, creation, start, restart after an end.

use jiff::Timestamp;

use super::Turn;
use crate::action::Action;
use crate::backoff::{CONTAINER, SETUP, after};
use crate::event::{Exit, ImageFailure};
use crate::lifecycle::{Life, Lifecycle};
use crate::probe::Probes;
use crate::spec::{self, RestartPolicy, Role};
use crate::state::{Container, Ended, Trouble};

/// How long a failed pull is shown as the error itself before it is shown as backoff.
const PULL_ERROR_SHOWN_SECONDS: i64 = 3;
/// Exit code and reason of an instance whose end nobody saw.
const UNKNOWN_EXIT: (i32, &str) = (137, "ContainerStatusUnknown");

impl Turn {
    pub(super) fn advance_running(&mut self) {
        self.check_deadline();
        if self.state.is_deleting() || self.state.verdict.is_some() {
            self.begin_stopping();
            return;
        }
        self.replace_changed_images();
        let started = self.drive_init();
        if started {
            for index in 0..self.state.containers.len() {
                if self.state.containers[index].role == Role::Main {
                    self.drive(index);
                }
            }
        }
        if self.is_completed() {
            self.begin_stopping();
        }
    }

    /// Drives init containers in order; whether the main containers may run.
    fn drive_init(&mut self) -> bool {
        let begun = self.state.containers.iter().any(|c| c.role == Role::Main && c.life != Life::Waiting);
        for index in 0..self.state.containers.len() {
            let role = self.state.containers[index].role;
            if role == Role::Main {
                continue;
            }
            self.drive(index);
            let container = &self.state.containers[index];
            let passed = match role {
                Role::Init => container.succeeded(),
                Role::Sidecar => begun || self.is_started(container),
                Role::Main => true,
            };
            if !passed {
                return false;
            }
        }
        true
    }

    /// Takes one container that ought to run a step further.
    fn drive(&mut self, index: usize) {
        let now = self.now;
        let container = &self.state.containers[index];
        match &container.life {
            Life::Waiting => self.pull(index),
            Life::Exited => {
                if !self.wants_restart(container) {
                    return;
                }
                let ended = container.last.as_ref().map_or(now, |ended| ended.exit.finished_at);
                match container.crash.until(ended, CONTAINER) {
                    Some(until) if until > now => self.back_off(index, until),
                    Some(_) | None => self.restart(index),
                }
            }
            Life::CrashBackoff { until } if *until <= now => self.restart(index),
            Life::PullBackoff { until, .. } | Life::CreateBackoff { until, .. } if *until <= now => self.pull(index),
            Life::CrashBackoff { .. }
            | Life::PullBackoff { .. }
            | Life::CreateBackoff { .. }
            | Life::Pulling
            | Life::Creating
            | Life::Starting { .. }
            | Life::PostStart { .. }
            | Life::Running { .. }
            | Life::Stopping { .. } => {}
        }
    }

    fn pull(&mut self, index: usize) {
        let container = &mut self.state.containers[index];
        container.go(Life::Pulling);
        self.out.push(Action::PullImage { container: container.name.clone() });
    }

    fn restart(&mut self, index: usize) {
        let now = self.now;
        self.state.containers[index].crash.record(now, CONTAINER);
        self.pull(index);
    }

    fn back_off(&mut self, index: usize, until: Timestamp) {
        let container = &mut self.state.containers[index];
        container.go(Life::CrashBackoff { until });
        let name = container.name.clone();
        let message = format!(
            "back-off {}s restarting failed container={name} pod={}",
            container.crash.delay_seconds(),
            spec::full_name(&self.state.pod)
        );
        container.trouble = Some(Trouble { reason: "CrashLoopBackOff", message });
        let message =
            format!("Back-off restarting failed container {name} in pod {}", spec::full_name(&self.state.pod));
        let path = self.field_path(&name);
        self.warn("BackOff", message, path);
    }

    /// Whether an ended container is to run again.
    pub(super) fn wants_restart(&self, container: &Container) -> bool {
        let Some(wanted) = spec::container(&self.state.pod, &container.name) else { return false };
        let Some(ended) = &container.last else { return true };
        if container.role == Role::Main && !container.image.is_empty() && container.image != *image_of(wanted) {
            return true;
        }
        let failed = ended.exit.code != 0;
        match (container.role, spec::restart_policy(&self.state.pod, wanted)) {
            (Role::Sidecar, _) | (Role::Main, RestartPolicy::Always) => true,
            (Role::Init, RestartPolicy::Always | RestartPolicy::OnFailure) => failed,
            (Role::Main, RestartPolicy::OnFailure) => failed,
            (Role::Init | Role::Main, RestartPolicy::Never) => false,
        }
    }

    fn is_completed(&self) -> bool {
        let over = |c: &Container| c.life == Life::Exited && !self.wants_restart(c);
        let mut init = self.state.containers.iter().filter(|c| c.role == Role::Init);
        let init_failed = init.any(|c| over(c) && !c.succeeded());
        let mut main = self.state.containers.iter().filter(|c| c.role == Role::Main);
        init_failed || main.all(over)
    }

    /// An image changed in the spec replaces the running instance.
    fn replace_changed_images(&mut self) {
        for index in 0..self.state.containers.len() {
            let container = &self.state.containers[index];
            let Some(wanted) = spec::container(&self.state.pod, &container.name) else { continue };
            let changed = !container.image.is_empty() && container.image != *image_of(wanted);
            if changed && container.role != Role::Init && matches!(container.life, Life::Running { .. }) {
                let message = format!("Container {} definition changed, will be restarted", container.name);
                let grace = spec::grace_seconds(&self.state.pod);
                self.kill(index, grace, message);
            }
        }
    }

    pub(super) fn image_pulled(&mut self, name: &str, image_id: String, message: String) {
        let Some(index) = self.position(name).filter(|i| self.state.containers[*i].life == Life::Pulling) else {
            return;
        };
        let Some(sandbox) = self.state.sandbox.as_ref().map(|s| s.id.clone()) else { return };
        let container = &mut self.state.containers[index];
        container.go(Life::Creating);
        container.pull = Default::default();
        container.image_id = image_id.clone();
        let attempt = container.instances;
        let path = self.field_path(name);
        self.normal("Pulled", message, path);
        self.out.push(Action::CreateContainer { container: name.to_owned(), attempt, sandbox, image_id });
    }

    pub(super) fn image_failed(&mut self, name: &str, failure: ImageFailure, message: String) {
        let Some(index) = self.position(name).filter(|i| self.state.containers[*i].life == Life::Pulling) else {
            return;
        };
        let now = self.now;
        let image = spec::container(&self.state.pod, name).map_or_else(String::new, |c| image_of(c).clone());
        let container = &mut self.state.containers[index];
        let until = container.pull.fail(now, CONTAINER);
        let shown_until = after(now, PULL_ERROR_SHOWN_SECONDS);
        container.go(Life::PullBackoff { shown_until, until, failure, message: message.clone() });
        container.trouble = Some(pull_trouble(failure, &image, &message));
        let path = self.field_path(name);
        match failure {
            ImageFailure::Pull => {
                self.warn("Failed", format!("Failed to pull image \"{image}\": {message}"), path.clone());
                self.warn("Failed", "Error: ErrImagePull".to_owned(), path.clone());
                self.normal("BackOff", format!("Back-off pulling image \"{image}\""), path);
            }
            ImageFailure::NeverPull => {
                self.warn("ErrImageNeverPull", message, path.clone());
                self.warn("Failed", "Error: ErrImageNeverPull".to_owned(), path);
            }
            ImageFailure::InvalidName => {
                self.warn("InspectFailed", message, path.clone());
                self.warn("Failed", "Error: InvalidImageName".to_owned(), path);
            }
        }
    }

    pub(super) fn container_created(&mut self, name: &str, id: String) {
        let Some(index) = self.position(name).filter(|i| self.state.containers[*i].life == Life::Creating) else {
            self.out.push(Action::RemoveContainer { id });
            return;
        };
        let image = spec::container(&self.state.pod, name).map_or_else(String::new, |c| image_of(c).clone());
        let stopping = self.state.lifecycle != Lifecycle::Running;
        let container = &mut self.state.containers[index];
        container.instances += 1;
        container.create = Default::default();
        if stopping {
            self.out.push(Action::RemoveContainer { id });
            self.settle(index);
            return;
        }
        container.id = Some(id.clone());
        container.image = image;
        container.probes = Probes::default();
        container.go(Life::Starting { id: id.clone() });
        let oldest = container.previous.as_ref().map(|ended| ended.id.clone());
        self.out.extend(oldest.map(|id| Action::RemoveContainer { id }));
        let path = self.field_path(name);
        self.normal("Created", format!("Created container: {name}"), path);
        self.out.push(Action::StartContainer { container: name.to_owned(), id });
    }

    pub(super) fn container_create_failed(&mut self, name: &str, reason: &'static str, message: String) {
        let Some(index) = self.position(name).filter(|i| self.state.containers[*i].life == Life::Creating) else {
            return;
        };
        let now = self.now;
        let container = &mut self.state.containers[index];
        let until = container.create.fail(now, SETUP);
        container.go(Life::CreateBackoff { until, reason, message: message.clone() });
        container.trouble = Some(Trouble { reason, message: message.clone() });
        let path = self.field_path(name);
        self.warn("Failed", format!("Error: {message}"), path);
    }

    pub(super) fn container_started(&mut self, name: &str, id: &str, at: Timestamp) {
        let Some(index) = self.find(name, id) else { return };
        let hook = spec::container(&self.state.pod, name)
            .and_then(|c| c.lifecycle.as_ref())
            .is_some_and(|hooks| hooks.post_start.is_some());
        let container = &mut self.state.containers[index];
        if !matches!(container.life, Life::Starting { .. }) {
            return;
        }
        container.trouble = None;
        let id = id.to_owned();
        if hook {
            container.go(Life::PostStart { id: id.clone(), since: at });
            self.out.push(Action::RunPostStart { container: name.to_owned(), id });
        } else {
            container.go(Life::Running { id, since: at });
        }
        let path = self.field_path(name);
        self.normal("Started", format!("Started container {name}"), path);
    }

    pub(super) fn container_start_failed(&mut self, name: &str, id: &str, message: String) {
        let path = self.field_path(name);
        let Some(index) = self.find(name, id) else { return };
        if !matches!(self.state.containers[index].life, Life::Starting { .. }) {
            return;
        }
        self.warn("Failed", format!("Error: {message}"), path);
        let exit = Exit {
            code: 128,
            signal: None,
            reason: "StartError".to_owned(),
            message: Some(message),
            started_at: None,
            finished_at: self.now,
        };
        self.end(index, id, exit);
    }

    pub(super) fn post_start_done(&mut self, name: &str, id: &str, failure: Option<String>) {
        let Some(index) = self.find(name, id) else { return };
        let Life::PostStart { since, .. } = self.state.containers[index].life else { return };
        match failure {
            None => self.state.containers[index].go(Life::Running { id: id.to_owned(), since }),
            Some(message) => {
                let path = self.field_path(name);
                self.warn("FailedPostStartHook", format!("PostStartHook failed: {message}"), path);
                let grace = spec::grace_seconds(&self.state.pod);
                self.kill(index, grace, "FailedPostStartHook".to_owned());
            }
        }
    }

    pub(super) fn container_exited(&mut self, name: &str, id: &str, exit: Exit) {
        if let Some(index) = self.find(name, id).filter(|i| self.state.containers[*i].is_live()) {
            self.end(index, id, exit);
        }
    }

    pub(super) fn container_lost(&mut self, name: &str, id: &str) {
        if let Some(index) = self.find(name, id).filter(|i| self.state.containers[*i].is_live()) {
            let exit = self.unknown_exit(index);
            self.end(index, id, exit);
        }
    }

    pub(super) fn sandbox_lost(&mut self, id: &str) {
        if self.state.lifecycle != Lifecycle::Running || !self.owns_sandbox(id) {
            return;
        }
        for index in 0..self.state.containers.len() {
            match self.state.containers[index].life.live_id().map(str::to_owned) {
                Some(id) => {
                    let exit = self.unknown_exit(index);
                    self.end(index, &id, exit);
                }
                None => self.settle(index),
            }
        }
        if self.state.is_deleting() || self.state.verdict.is_some() || self.is_completed() {
            return;
        }
        self.normal("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.".to_owned(), None);
        for index in 0..self.state.containers.len() {
            let container = &self.state.containers[index];
            if container.life == Life::Exited && (container.role == Role::Init || self.wants_restart(container)) {
                self.state.containers[index].go(Life::Waiting);
            }
        }
        self.state.sandbox = None;
        self.state.stale.sandboxes.push(id.to_owned());
        self.sync_probes();
        self.state.go(Lifecycle::SandboxBackoff { until: self.now });
    }

    fn unknown_exit(&self, index: usize) -> Exit {
        let since = match self.state.containers[index].life {
            Life::PostStart { since, .. } | Life::Running { since, .. } | Life::Stopping { since, .. } => Some(since),
            _ => None,
        };
        Exit {
            code: UNKNOWN_EXIT.0,
            signal: None,
            reason: UNKNOWN_EXIT.1.to_owned(),
            message: Some("The container could not be located when the pod's state was read".to_owned()),
            started_at: since,
            finished_at: self.now,
        }
    }

    fn end(&mut self, index: usize, id: &str, exit: Exit) {
        let container = &mut self.state.containers[index];
        container.previous = container.last.replace(Ended { id: id.to_owned(), exit });
        container.go(Life::Exited);
    }

    /// Whether a container counts as started: it runs and its startup probe, if any, has succeeded.
    pub(super) fn is_started(&self, container: &Container) -> bool {
        crate::status::is_started(&self.state, container)
    }
}

/// What a failed pull shows once the error itself was shown.
fn pull_trouble(failure: ImageFailure, image: &str, message: &str) -> Trouble {
    match failure {
        ImageFailure::NeverPull => Trouble { reason: "ErrImageNeverPull", message: message.to_owned() },
        ImageFailure::InvalidName => Trouble { reason: "InvalidImageName", message: message.to_owned() },
        ImageFailure::Pull => {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {message}");
            Trouble { reason: "ImagePullBackOff", message }
        }
    }
}

/// Image name of a container in the spec.
fn image_of(container: &k8s_openapi::api::core::v1::Container) -> &String {
    static NONE: String = String::new();
    container.image.as_ref().unwrap_or(&NONE)
}
