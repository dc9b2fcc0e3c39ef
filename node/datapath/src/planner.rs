//! The data plane's planning with its memory: a delta costs what it changes.
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use wire::fabric::Delta;

use crate::compiler::Compiler;
use crate::desired::{Local, PortName};
use crate::health::HealthCheck;
use crate::observed::Observed;
use crate::plan::{Plan, Step};
use crate::state::{Epoch, Rejected, Stale, State};
use crate::tables::Tables;

/// Folds deltas in and plans what they change; the tables come out as by [`crate::compile`] and [`crate::diff`].
///
/// A plan is taken for done when it is made: who fails to execute one calls [`Planner::reread`]. Clearing what is used
/// no more is not part of plans: [`Planner::begin_sweep`] collects it from as many as have been made.
#[derive(Debug)]
pub struct Planner {
    compiler: Compiler,
    tables: Tables,
    /// All tables are to be compared by the next plan.
    everything: bool,
}

impl Planner {
    /// With an empty state of epoch 0 and the tables as they were read.
    pub fn new(local: Local, observed: Observed) -> Planner {
        let compiler = Compiler::new(local, State::default());
        let mut tables = Tables::new(observed);
        tables.doubt_affinity();
        Planner { compiler, tables, everything: true }
    }

    /// The fabric's state as folded so far.
    pub fn state(&self) -> &State {
        self.compiler.state()
    }

    /// What the node knows of itself.
    pub fn local(&self) -> &Local {
        self.compiler.local()
    }

    /// Whose a frontend is.
    pub fn owner(&self, key: &abi::ServiceKey) -> Option<&PortName> {
        self.compiler.owner(key)
    }

    /// Frontends whose backends have a slot each, whatever their weights, because [`abi::map::SLOTS`] has no room for a ring.
    pub fn flat(&self) -> &BTreeSet<abi::ServiceKey> {
        self.tables.flat()
    }

    /// The tables once all plans are executed.
    pub fn observed(&self) -> &Observed {
        self.tables.observed()
    }

    /// Folds one delta in: [`State::apply`], with its errors.
    pub fn apply(&mut self, delta: &Delta) -> Result<Vec<Rejected>, Stale> {
        self.compiler.apply(delta)
    }

    /// Compiles everything again for other facts about the node.
    pub fn set_local(&mut self, local: Local) {
        self.compiler.set_local(local);
    }

    /// What `healthCheckNodePort`s of this node answer, if that has changed since the last call.
    pub fn take_health_checks(&mut self) -> Option<BTreeMap<NonZeroU16, HealthCheck>> {
        self.compiler.take_health_checks()
    }

    /// The tables are not what the plans should have made of them, but this.
    pub fn reread(&mut self, observed: Observed) {
        self.tables = Tables::new(observed);
        self.tables.doubt_affinity();
        self.everything = true;
    }

    /// What is to be written for all that changed since the last plan. Before the first fabric state nothing is taken
    /// away.
    pub fn plan(&mut self) -> Plan {
        let taking = self.compiler.state().epoch != Epoch(0);
        let (desired, mut changes) = self.compiler.take_changes();
        changes.everything |= std::mem::take(&mut self.everything);
        if taking {
            let plan = self.tables.plan(desired, &changes);
            // Frontends without a place may find one after any change.
            self.everything = !plan.refused.is_empty() || !self.tables.flat().is_empty();
            return plan;
        }
        let mut observed = self.tables.observed().clone();
        let plan = self.tables.plan(desired, &changes).additions();
        plan.steps.iter().for_each(|step| observed.apply(step));
        self.reread(observed);
        plan
    }

    /// Whether something waits to be cleared; call [`Planner::finish_sweep`] after a grace period that begins now.
    pub fn begin_sweep(&mut self) -> bool {
        self.compiler.state().epoch != Epoch(0) && self.tables.begin_sweep()
    }

    /// The steps that clear what has not come into use again since.
    pub fn finish_sweep(&mut self) -> Vec<Step> {
        self.tables.finish_sweep()
    }
}
