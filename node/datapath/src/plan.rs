//! Writes to the tables, in order.
use std::collections::{BTreeMap, BTreeSet};

use abi::{Backend, Config, RouteKey, RouteValue, ServiceKey, ServiceValue, SourceKey};

use crate::desired::Conflict;

/// The writes that lead from the observed to the desired tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Frontends left out, or not open to all who may come, because a table is full (limits: `abi::MAX_*`).
    pub refused: Vec<ServiceKey>,
    /// Frontends that two Services have come to claim.
    pub conflicts: Vec<Conflict>,
}

impl Plan {
    /// Nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Only the writes that take nothing away: what a daemon may do before it knows the whole fabric state.
    pub fn additions(self) -> Plan {
        let keeps = |step: &Step| match step {
            Step::SetConfig(_)
            | Step::PutBackend(..)
            | Step::PutSlots { .. }
            | Step::PutRoute(..)
            | Step::PutSource(_)
            | Step::PutService { .. } => true,
            Step::DeleteService { .. }
            | Step::DeleteSource(_)
            | Step::DeleteRoute(_)
            | Step::Barrier
            | Step::RetireBackend(..)
            | Step::ClearSlots { .. }
            | Step::ClearBackend(_)
            | Step::ForgetAffinity(_) => false,
        };
        Plan { steps: self.steps.into_iter().filter(keeps).collect(), ..self }
    }
}

/// One write. Executors may merge neighbours of the same kind into one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    SetConfig(Config),
    PutBackend(u32, Backend),
    /// The backend as it stood, with [`abi::BACKEND_GONE`]: no slot of a living entry names it any more.
    RetireBackend(u32, Backend),
    PutSlots {
        first: u32,
        ids: Vec<u32>,
    },
    PutRoute(RouteKey, RouteValue),
    PutSource(SourceKey),
    /// By the stores of [`crate::service_rows::put`].
    PutService {
        row: u32,
        key: ServiceKey,
        value: ServiceValue,
    },
    /// By the stores of [`crate::service_rows::delete`].
    DeleteService {
        row: u32,
        key: ServiceKey,
    },
    DeleteSource(SourceKey),
    DeleteRoute(RouteKey),
    /// Wait until no CPU runs a program that may have read what the steps before have replaced (an RCU grace period).
    Barrier,
    ClearSlots {
        first: u32,
        count: u32,
    },
    ClearBackend(u32),
    /// Take away from [`abi::map::AFFINITY`] what names backends that are none of the Service's any more.
    ForgetAffinity(Forget),
}

/// Whose affinity is to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forget {
    /// Numbers of Service ports, with all backends that their clients may have.
    pub members: BTreeMap<u32, BTreeSet<u32>>,
    /// Service ports that are not among them are no more.
    pub all: bool,
}

impl Forget {
    /// Whether a client that has this backend of this Service port is among them.
    pub fn concerns(&self, service: u32, backend: u32) -> bool {
        self.members.get(&service).map_or(self.all, |members| !members.contains(&backend))
    }
}
