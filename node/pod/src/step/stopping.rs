//! Stopping: one container for its own failure, or all of them because the pod ends.

use super::Turn;
use crate::action::Action;
use crate::backoff::after;
use crate::lifecycle::{Life, Lifecycle};
use crate::spec::{self, Role};

/// What a sidecar gets at least after the main containers used up the grace period.
const LEAST_GRACE_SECONDS: u32 = 2;
/// How long after a refused stop the runtime is asked again.
const STOP_RETRY_SECONDS: i64 = 2;

impl Turn {
    /// Turns the pod to its end: everything that does not live rests, everything that lives is stopped in order.
    pub(super) fn begin_stopping(&mut self) {
        let deadline = after(self.now, i64::from(spec::grace_seconds(&self.state.pod)));
        self.state.go(Lifecycle::Stopping { deadline });
        for index in 0..self.state.containers.len() {
            match self.state.containers[index].life {
                Life::Pulling | Life::PullBackoff { .. } | Life::CreateBackoff { .. } | Life::CrashBackoff { .. } => {
                    self.settle(index);
                }
                Life::Waiting
                | Life::Creating
                | Life::Starting { .. }
                | Life::PostStart { .. }
                | Life::Running { .. }
                | Life::Stopping { .. }
                | Life::Exited => {}
            }
        }
    }

    pub(super) fn advance_stopping(&mut self) {
        self.retry_stops();
        let order: Vec<usize> = (0..self.state.containers.len()).collect();
        let (sidecars, others): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|i| self.state.containers[*i].role == Role::Sidecar);
        for index in &others {
            self.stop_for_good(*index);
        }
        if others.iter().any(|i| self.is_busy(*i)) {
            return;
        }
        for index in sidecars.into_iter().rev() {
            self.stop_for_good(index);
            if self.is_busy(index) {
                return;
            }
        }
        match &self.state.sandbox {
            Some(sandbox) => {
                self.out.push(Action::StopSandbox { id: sandbox.id.clone() });
                self.state.go(Lifecycle::SandboxStopping);
            }
            None => unreachable!("a pod is stopping only while its sandbox stands"),
        }
    }

    fn is_busy(&self, index: usize) -> bool {
        let container = &self.state.containers[index];
        container.is_live() || container.life == Life::Creating
    }

    fn stop_for_good(&mut self, index: usize) {
        let Lifecycle::Stopping { deadline } = self.state.lifecycle else { return };
        let container = &self.state.containers[index];
        if !matches!(container.life, Life::Running { .. } | Life::PostStart { .. }) {
            return;
        }
        let left = u32::try_from(deadline.duration_since(self.now).as_secs().max(0)).unwrap_or(u32::MAX);
        let grace = if container.role == Role::Sidecar { left.max(LEAST_GRACE_SECONDS) } else { left };
        let message = format!("Stopping container {}", container.name);
        self.kill(index, grace, message);
    }

    /// Asks a running container to stop.
    pub(super) fn kill(&mut self, index: usize, grace_seconds: u32, message: String) {
        let container = &mut self.state.containers[index];
        let (id, since) = match &container.life {
            Life::Running { id, since } | Life::PostStart { id, since } => (id.clone(), *since),
            Life::Waiting
            | Life::Pulling
            | Life::PullBackoff { .. }
            | Life::Creating
            | Life::CreateBackoff { .. }
            | Life::Starting { .. }
            | Life::Stopping { .. }
            | Life::Exited
            | Life::CrashBackoff { .. } => return,
        };
        container.go(Life::Stopping { id: id.clone(), since, grace_seconds, retry_at: None });
        let name = container.name.clone();
        let pre_stop = spec::container(&self.state.pod, &name)
            .and_then(|c| c.lifecycle.as_ref())
            .is_some_and(|hooks| hooks.pre_stop.is_some());
        let path = self.field_path(&name);
        self.normal("Killing", message, path);
        self.out.push(Action::StopContainer { container: name, id, grace_seconds, pre_stop });
    }

    /// The grace period became shorter while containers were stopping.
    pub(super) fn hurry(&mut self, grace: u32) {
        self.state.lifecycle = Lifecycle::Stopping { deadline: after(self.now, i64::from(grace)) };
        for container in &mut self.state.containers {
            if let Life::Stopping { id, grace_seconds, .. } = &mut container.life
                && *grace_seconds > grace
            {
                *grace_seconds = grace;
                let (container, id) = (container.name.clone(), id.clone());
                self.out.push(Action::StopContainer { container, id, grace_seconds: grace, pre_stop: false });
            }
        }
    }

    pub(super) fn stop_failed(&mut self, name: &str, id: &str, message: String) {
        let Some(index) = self.find(name, id) else { return };
        let again = after(self.now, STOP_RETRY_SECONDS);
        if let Life::Stopping { retry_at, .. } = &mut self.state.containers[index].life {
            *retry_at = Some(again);
            let path = self.field_path(name);
            self.warn("FailedKillContainer", format!("error killing container: {message}"), path);
        }
    }

    /// Asks again where the runtime refused; also for containers that are stopped while the pod runs on.
    pub(super) fn retry_stops(&mut self) {
        let now = self.now;
        for container in &mut self.state.containers {
            if let Life::Stopping { id, retry_at, .. } = &mut container.life
                && retry_at.is_some_and(|at| at <= now)
            {
                *retry_at = None;
                let (container, id) = (container.name.clone(), id.clone());
                self.out.push(Action::StopContainer { container, id, grace_seconds: 0, pre_stop: false });
            }
        }
    }
}
