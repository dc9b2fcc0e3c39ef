//! What the tables hold: read back from the kernel once, then carried along with every executed step.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use abi::{Addr, Backend, PodValue, RouteKey, RouteValue, ServiceKey, ServiceValue, SourceKey, VethValue};

use crate::plan::Step;

/// The contents of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub config: Option<abi::Config>,
    pub services: BTreeMap<ServiceKey, ServiceValue>,
    /// Where each of them stands in its table.
    pub rows: HashMap<ServiceKey, u32>,
    /// Rows with entries that no packet finds.
    pub strays: BTreeMap<u32, ServiceKey>,
    /// Backend id of each slot up to the last used one; 0 is free.
    pub slots: Vec<u32>,
    /// By backend id; free entries are absent.
    pub backends: BTreeMap<u32, Backend>,
    pub routes: BTreeMap<RouteKey, RouteValue>,
    pub sources: BTreeSet<SourceKey>,
    pub pods: BTreeMap<Addr, PodValue>,
    /// By interface index of the host side.
    pub veths: BTreeMap<u32, VethValue>,
    pub cursors: Cursors,
}

/// Where the next number is looked for: numbers are handed out in a circle, so that one that was just freed is not
/// soon somebody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    pub service: u32,
    pub backend: u32,
    pub slot: u32,
}

impl Observed {
    /// Sets the cursors behind the highest numbers in use; for tables just read.
    pub fn recover_cursors(&mut self) {
        self.cursors = Cursors {
            service: self.services.values().map(|v| v.id).max().unwrap_or(0),
            backend: self.backends.keys().next_back().copied().unwrap_or(0),
            slot: self.slots.len() as u32,
        };
    }

    /// Does what the step does to the kernel's tables.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::SetConfig(config) => self.config = Some(*config),
            Step::PutBackend(id, backend) => {
                self.backends.insert(*id, *backend);
                self.cursors.backend = *id;
            }
            Step::RetireBackend(id, backend) => {
                self.backends.insert(*id, *backend);
            }
            Step::PutSlots { first, ids } => {
                let first = *first as usize;
                let end = first + ids.len();
                if self.slots.len() < end {
                    self.slots.resize(end, 0);
                }
                self.slots[first..end].copy_from_slice(ids);
                self.cursors.slot = end as u32;
            }
            Step::PutRoute(key, value) => {
                self.routes.insert(*key, *value);
            }
            Step::PutSource(key) => {
                self.sources.insert(*key);
            }
            Step::DeleteSource(key) => {
                self.sources.remove(key);
            }
            Step::PutService { row, key, value } => {
                self.services.insert(*key, *value);
                self.rows.insert(*key, *row);
                self.cursors.service = self.cursors.service.max(value.id);
            }
            Step::DeleteService { row, key } => {
                if self.strays.remove(row).is_none() {
                    self.services.remove(key);
                    self.rows.remove(key);
                }
            }
            Step::DeleteRoute(key) => {
                self.routes.remove(key);
            }
            Step::Barrier | Step::ForgetAffinity(_) => {}
            Step::ClearSlots { first, count } => {
                let end = (*first + *count) as usize;
                if let Some(range) = self.slots.get_mut(*first as usize..end) {
                    range.fill(0);
                }
                while self.slots.last() == Some(&0) {
                    self.slots.pop();
                }
            }
            Step::ClearBackend(id) => {
                self.backends.remove(id);
            }
        }
    }

    /// The backend ids that a service entry's slots hold.
    pub fn slots_of(&self, value: &ServiceValue) -> &[u32] {
        let base = value.base as usize;
        self.slots.get(base..base + value.len as usize).unwrap_or_default()
    }
}
