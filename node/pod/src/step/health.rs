//! Probes: which ones run, and what their results do.

use super::Turn;
use crate::action::{Action, ProbeKind};
use crate::lifecycle::{Life, Lifecycle};
use crate::probe::{self, Outcome, Running};
use crate::spec::{self, Role};

impl Turn {
    /// Starts and stops probes so that exactly those run that should.
    pub(super) fn sync_probes(&mut self) {
        if self.state.lifecycle == Lifecycle::Running {
            self.retry_stops();
        }
        for index in 0..self.state.containers.len() {
            for kind in ProbeKind::ALL {
                self.sync_probe(index, kind);
            }
        }
    }

    fn sync_probe(&mut self, index: usize, kind: ProbeKind) {
        let container = &self.state.containers[index];
        let wanted = spec::container(&self.state.pod, &container.name).and_then(|c| probe::of(c, kind));
        let stopping = matches!(self.state.lifecycle, Lifecycle::Stopping { .. });
        let due = container.role != Role::Init
            && match (&container.life, kind) {
                (Life::Running { .. }, ProbeKind::Startup) => container.probes.startup.verdict != Some(true),
                (Life::Running { .. }, ProbeKind::Liveness) => !stopping && self.is_started(container),
                (Life::Running { .. } | Life::Stopping { .. }, ProbeKind::Readiness) => self.is_started(container),
                (_, _) => false,
            };
        let running = container.probes.is_running(kind);
        let (name, id) = (container.name.clone(), container.id.clone());
        match (wanted, id) {
            (Some(wanted), Some(id)) if due && !running => {
                let probe = Box::new(wanted.clone());
                self.out.push(Action::StartProbe { container: name, id, kind, probe });
                self.state.containers[index].probes.set_running(kind, Running::Yes);
            }
            (_, _) if running && !due => {
                self.out.push(Action::StopProbe { container: name, kind });
                self.state.containers[index].probes.set_running(kind, Running::No);
            }
            (_, _) => {}
        }
    }

    pub(super) fn probe_result(&mut self, name: &str, id: &str, kind: ProbeKind, success: bool, message: String) {
        let Some(index) = self.find(name, id) else { return };
        let Some(probe) = spec::container(&self.state.pod, name).and_then(|c| probe::of(c, kind)).cloned() else {
            return;
        };
        if !self.state.containers[index].probes.is_running(kind) {
            return;
        }
        let outcome = self.state.containers[index].probes.tally(kind).count(success, &probe);
        if !success {
            let path = self.field_path(name);
            self.warn("Unhealthy", format!("{} probe failed: {message}", kind.word()), path);
        }
        if outcome == Outcome::Failed && kind != ProbeKind::Readiness {
            let grace = probe.termination_grace_period_seconds.and_then(|s| u32::try_from(s).ok());
            let grace = grace.unwrap_or_else(|| spec::grace_seconds(&self.state.pod));
            let word = kind.word().to_lowercase();
            self.kill(index, grace, format!("Container {name} failed {word} probe, will be restarted"));
        }
    }
}
