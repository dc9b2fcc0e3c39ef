//! Probe results counted against their thresholds.

use k8s_openapi::api::core::v1::{Container, Probe};

use crate::action::ProbeKind;

/// What the results of a container's probes amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No threshold was crossed.
    Unchanged,
    /// The probe now counts as succeeded.
    Succeeded,
    /// The probe now counts as failed.
    Failed,
}

/// One probe of one running instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The verdict so far; `None` before the first threshold.
    pub verdict: Option<bool>,
    last: Option<bool>,
    run: i32,
}

impl Tally {
    /// Counts one result; success and failure thresholds are the probe's.
    pub fn count(&mut self, success: bool, probe: &Probe) -> Outcome {
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let threshold =
            if success { probe.success_threshold.unwrap_or(1) } else { probe.failure_threshold.unwrap_or(3) };
        if self.run < threshold.max(1) {
            return Outcome::Unchanged;
        }
        let before = self.verdict.replace(success);
        match (success, before == Some(success)) {
            (true, true) => Outcome::Unchanged,
            (true, false) => Outcome::Succeeded,
            (false, _) => Outcome::Failed,
        }
    }
}

/// All probes of one instance, and which of them run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    pub startup: Tally,
    pub liveness: Tally,
    pub readiness: Tally,
    running: [bool; 3],
}

impl Probes {
    /// Of an instance that ran before the daemon did: what the API knew of it still holds.
    pub fn adopted(started: bool, ready: bool) -> Probes {
        let told = |verdict| Tally { verdict, ..Tally::default() };
        Probes {
            startup: told(started.then_some(true)),
            liveness: Tally::default(),
            readiness: told(Some(ready)),
            running: [false; 3],
        }
    }

    /// The tally of one kind.
    pub fn tally(&mut self, kind: ProbeKind) -> &mut Tally {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Liveness => &mut self.liveness,
            ProbeKind::Readiness => &mut self.readiness,
        }
    }

    /// Whether the daemon was asked to run it.
    pub fn is_running(&self, kind: ProbeKind) -> bool {
        self.running[kind as usize]
    }

    /// Notes that the daemon was asked to start or to stop it.
    pub fn set_running(&mut self, kind: ProbeKind, on: Running) {
        self.running[kind as usize] = on == Running::Yes;
    }
}

/// Whether a probe runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    Yes,
    No,
}

/// The probe of that kind in the container's spec.
pub fn of(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_ref(),
        ProbeKind::Liveness => container.liveness_probe.as_ref(),
        ProbeKind::Readiness => container.readiness_probe.as_ref(),
    }
}
