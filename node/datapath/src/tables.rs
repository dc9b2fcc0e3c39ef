//! From the tables that stand to those that should: numbers are kept or allocated, then the writes are put in order.
//!
//! Order: backends, then slots that name them (always in a fresh range), then services that name the slots; services
//! go before their slots are cleared and slots before their backends, with a grace period in between for programs
//! that are still running on what they read. A backend that nobody wants is marked at once, so that established flows leave it. What is to be cleared is swept later, many plans at once; until then its
//! numbers stay in use, and a backend that is wanted again has its old one.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use abi::{
    BACKEND_GONE, Backend, MAX_BACKENDS, MAX_CONNECTS, MAX_ROUTES, MAX_SERVICES, MAX_SOURCES, ROUTE_SERVICE_ADDRESS,
    RouteKey, RouteValue, ServiceKey, ServiceValue,
};

use crate::compiler::Changes;
use crate::desired::{BackendKey, Desired, DesiredPort, Frontend, PortName, Spread};
use crate::observed::Observed;
use crate::plan::{Forget, Plan, Step};
use crate::rings::Rings;
use crate::service_rows::Places;
use crate::slots::Slots;

/// Plans all writes at once. Equal tables give an empty plan.
pub fn diff(desired: &Desired, observed: &Observed) -> Plan {
    let mut tables = Tables::new(observed.clone());
    let mut plan = tables.plan(desired, &Changes::everything());
    if tables.begin_sweep() {
        plan.steps.push(Step::Barrier);
        plan.steps.extend(tables.finish_sweep());
    }
    plan
}

/// What the tables hold once everything planned is written, with indexes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    observed: Observed,
    /// Numbers of backends, also of those that wait to be cleared.
    ids: HashMap<BackendKey, u32>,
    /// Numbers of service ports, with how many entries have each.
    numbers: HashMap<u32, u32>,
    /// The number handed out last.
    number: u32,
    slots: Slots,
    /// Rows of the table of Services, also of entries that wait to be forgotten.
    places: Places,
    /// Entries that have a slot for each backend where they should have a ring, because there was no room for it.
    flat: BTreeSet<ServiceKey>,
    /// What no entry names since the last sweep began, and what none named when it did.
    dead: Dead,
    swept: Dead,
}

/// What waits to be cleared.
#[derive(Clone, Debug, Default)]
struct Dead {
    slots: Vec<(u32, u32)>,
    backends: BTreeSet<u32>,
    /// Entries that were taken away.
    services: BTreeSet<ServiceKey>,
    /// Numbers of Service ports with session affinity that lost backends.
    affinity: BTreeSet<u32>,
    /// What clients are remembered for was not seen to come about: all of it is to be looked at.
    all_affinity: bool,
}

impl Dead {
    fn is_empty(&self) -> bool {
        let looks = self.all_affinity || !self.affinity.is_empty();
        self.slots.is_empty() && self.backends.is_empty() && self.services.is_empty() && !looks
    }
}

impl Tables {
    /// Takes over what stands; what nothing names in it will be swept.
    pub fn new(observed: Observed) -> Tables {
        let mut tables = Tables::default();
        for (id, backend) in &observed.backends {
            let key = BackendKey { addr: backend.addr, port: backend.port, proto: backend.proto };
            if *tables.ids.entry(key).or_insert(*id) != *id {
                tables.dead.backends.insert(*id);
            }
        }
        for value in observed.services.values() {
            *tables.numbers.entry(value.id).or_default() += 1;
            tables.slots.hold(value.base, value.len);
        }
        observed.rows.iter().for_each(|(key, row)| tables.places.hold(*key, *row));
        let nobody = |index: &u32| observed.slots[*index as usize] != 0 && tables.slots.is_free(*index);
        let strays: Vec<u32> = (0..observed.slots.len() as u32).filter(nobody).collect();
        for slot in strays {
            tables.slots.hold(slot, 1);
            match tables.dead.slots.last_mut() {
                Some((first, count)) if *first + *count == slot => *count += 1,
                _ => tables.dead.slots.push((slot, 1)),
            }
        }
        tables.number = observed.cursors.service;
        tables.observed = observed;
        tables
    }

    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Entries without the ring that they should have.
    pub fn flat(&self) -> &BTreeSet<ServiceKey> {
        &self.flat
    }

    /// Lets the next sweep look at everything that clients are remembered for.
    pub fn doubt_affinity(&mut self) {
        self.dead.all_affinity = true;
    }

    /// Plans the writes for what changed, except those that clear what is used no more, and takes them as done.
    pub fn plan(&mut self, desired: &Desired, changes: &Changes) -> Plan {
        let mut plan = Plan { conflicts: changes.conflicts.clone(), ..Plan::default() };
        if self.observed.config != Some(desired.config) {
            self.write(Step::SetConfig(desired.config), &mut plan);
        }
        let retired = self.backends(desired, changes, &mut plan);
        let mut taken = Vec::new();
        let services = self.services(desired, changes, &mut taken, &mut plan);
        let routes = changes.routes || changes.everything;
        // A Service's own address lets nothing by but for the Service's ports, so these have to be there before it and after it.
        let of_service = |route: &RouteValue| route.kind == ROUTE_SERVICE_ADDRESS;
        if routes {
            self.put_routes(desired, |route| !of_service(route), &mut plan);
        }
        let sources = changes.sources || changes.everything;
        if sources {
            self.put_sources(desired, &mut plan);
        }
        for (row, key) in self.observed.strays.clone() {
            self.write(Step::DeleteService { row, key }, &mut plan);
        }
        for (key, (row, value)) in &services {
            if self.observed.services.get(key) != Some(value) {
                self.write(Step::PutService { row: *row, key: *key, value: *value }, &mut plan);
            }
        }
        if routes {
            self.put_routes(desired, of_service, &mut plan);
            self.delete_routes(desired, of_service, &mut plan);
        }
        let gone: Vec<ServiceKey> = if changes.everything {
            self.observed.services.keys().filter(|key| !services.contains_key(key)).copied().collect()
        } else {
            let known = |key: &&ServiceKey| self.observed.services.contains_key(key);
            changes.keys.iter().filter(known).filter(|key| !services.contains_key(key)).copied().collect()
        };
        for key in gone {
            if let Some(row) = self.observed.rows.get(&key).copied() {
                self.write(Step::DeleteService { row, key }, &mut plan);
                self.flat.remove(&key);
                self.dead.services.insert(key);
            }
        }
        for (base, len) in taken {
            self.release(base, len);
        }
        if sources {
            for key in self.observed.sources.difference(&desired.sources).copied().collect::<Vec<_>>() {
                self.write(Step::DeleteSource(key), &mut plan);
            }
        }
        if routes {
            self.delete_routes(desired, |_| true, &mut plan);
        }
        for id in retired {
            if let Some(backend) = self.observed.backends.get(&id).filter(|backend| backend.flags & BACKEND_GONE == 0) {
                let backend = Backend { flags: backend.flags | BACKEND_GONE, ..*backend };
                self.write(Step::RetireBackend(id, backend), &mut plan);
            }
        }
        plan
    }

    /// Whether something is to be cleared, after a grace period that begins now.
    pub fn begin_sweep(&mut self) -> bool {
        if self.swept.is_empty() {
            self.swept = std::mem::take(&mut self.dead);
        }
        !self.swept.is_empty()
    }

    /// Clears, after the grace period, what has not come into use again.
    pub fn finish_sweep(&mut self) -> Vec<Step> {
        let mut plan = Plan::default();
        let mut swept = std::mem::take(&mut self.swept);
        swept.slots.sort_unstable();
        for (first, count) in swept.slots {
            self.slots.free(first, count);
            match plan.steps.last_mut() {
                Some(Step::ClearSlots { first: start, count: before }) if *start + *before == first => *before += count,
                _ => plan.steps.push(Step::ClearSlots { first, count }),
            }
        }
        for id in swept.backends {
            if let Some(backend) = self.observed.backends.get(&id) {
                let key = BackendKey { addr: backend.addr, port: backend.port, proto: backend.proto };
                if self.ids.get(&key) == Some(&id) {
                    self.ids.remove(&key);
                }
            }
            plan.steps.push(Step::ClearBackend(id));
        }
        swept.services.iter().for_each(|key| self.places.free(key));
        if swept.all_affinity || !swept.affinity.is_empty() {
            plan.steps.push(Step::ForgetAffinity(self.forget(swept.affinity, swept.all_affinity)));
        }
        plan.steps.iter().for_each(|step| self.observed.apply(step));
        plan.steps
    }

    /// Whom clients of these Service ports, or of all, may be remembered for.
    fn forget(&self, affinity: BTreeSet<u32>, all: bool) -> Forget {
        let mut members: BTreeMap<u32, BTreeSet<u32>> =
            affinity.into_iter().map(|number| (number, BTreeSet::new())).collect();
        for value in self.observed.services.values().filter(|value| value.affinity_s != 0) {
            let known = if all { Some(members.entry(value.id).or_default()) } else { members.get_mut(&value.id) };
            known.into_iter().for_each(|known| known.extend(self.observed.slots_of(value)));
        }
        Forget { members, all }
    }

    /// Notes that an entry's clients may be remembered for backends that it does not have any more.
    fn note_affinity(&mut self, before: &ServiceValue, after: &[u32]) {
        let after: HashSet<u32> = after.iter().copied().collect();
        if before.affinity_s != 0 && self.observed.slots_of(before).iter().any(|id| !after.contains(id)) {
            self.dead.affinity.insert(before.id);
        }
    }

    /// Takes a write as done and keeps the indexes.
    fn write(&mut self, step: Step, plan: &mut Plan) {
        let before = match &step {
            Step::PutService { key, value, .. } => {
                *self.numbers.entry(value.id).or_default() += 1;
                self.slots.hold(value.base, value.len);
                let before = self.observed.services.get(key).copied();
                if let Some(before) = &before {
                    let same = before.id == value.id && value.affinity_s != 0;
                    let after = if same { self.observed.slots_of(value).to_vec() } else { Vec::new() };
                    self.note_affinity(before, &after);
                }
                before
            }
            Step::DeleteService { row, key } if self.observed.rows.get(key) == Some(row) => {
                let before = self.observed.services.get(key).copied();
                before.iter().for_each(|before| self.note_affinity(before, &[]));
                before
            }
            _ => None,
        };
        self.observed.apply(&step);
        plan.steps.push(step);
        let Some(before) = before else { return };
        self.release(before.base, before.len);
        let left = self.numbers.entry(before.id).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.numbers.remove(&before.id);
        }
    }

    fn release(&mut self, base: u32, len: u32) {
        self.dead.slots.extend(self.slots.release(base, len));
    }

    /// Numbers backends and plans the writes of those that are new or changed. Returns those that nobody wants any more.
    fn backends(&mut self, desired: &Desired, changes: &Changes, plan: &mut Plan) -> Vec<u32> {
        let mut retired = Vec::new();
        let keys: Vec<BackendKey> = if changes.everything {
            let old = self.ids.keys().filter(|key| !desired.backends.contains_key(key));
            desired.backends.keys().chain(old).copied().collect()
        } else {
            changes.backends.iter().copied().collect()
        };
        for key in keys {
            let known = self.ids.get(&key).copied();
            let Some(flags) = desired.backends.get(&key) else {
                if let Some(id) = known.filter(|id| !self.swept.backends.contains(id)) {
                    self.dead.backends.insert(id);
                    retired.push(id);
                }
                continue;
            };
            let used = |id: u32| self.observed.backends.contains_key(&id);
            let Some(id) = known.or_else(|| free_number(self.observed.cursors.backend, MAX_BACKENDS, used)) else {
                continue;
            };
            self.ids.insert(key, id);
            self.dead.backends.remove(&id);
            self.swept.backends.remove(&id);
            let backend = Backend { addr: key.addr, port: key.port, proto: key.proto, flags: *flags };
            if self.observed.backends.get(&id) != Some(&backend) {
                self.write(Step::PutBackend(id, backend), plan);
            }
        }
        retired
    }

    /// Entries of the service table that may have changed; plans the slot ranges that are new and returns them in
    /// `taken`, held once.
    fn services(
        &mut self,
        desired: &Desired,
        changes: &Changes,
        taken: &mut Vec<(u32, u32)>,
        plan: &mut Plan,
    ) -> BTreeMap<ServiceKey, (u32, ServiceValue)> {
        let ports: Vec<&DesiredPort> = if changes.everything {
            desired.ports.values().collect()
        } else {
            changes.ports.iter().filter_map(|name: &PortName| desired.ports.get(name)).collect()
        };
        let mut room = self.room(&ports, changes);
        let mut rings = Rings::default();
        let mut claimed = BTreeSet::new();
        let mut services = BTreeMap::new();
        for port in ports {
            let Some(id) = self.number(port, &mut claimed) else {
                plan.refused.extend(port.frontends.keys());
                continue;
            };
            // Frontends of one port with the same backends share a range.
            let mut shared: Vec<(Vec<u32>, u32)> = Vec::new();
            for (key, frontend) in &port.frontends {
                let ids: Option<Vec<u32>> = frontend.backends.iter().map(|b| self.ids.get(b).copied()).collect();
                let range = ids.and_then(|ids| {
                    let list = rings.slots(frontend, &ids);
                    let range = self.range(key, port, list, &mut shared, taken, plan);
                    let flat = range.is_none() && frontend.spread != Spread::Even;
                    if flat {
                        self.flat.insert(*key)
                    } else {
                        self.flat.remove(key)
                    };
                    // Without room for a ring, better a slot each than none.
                    range.or_else(|| self.range(key, port, ids, &mut shared, taken, plan))
                });
                let row = if room > 0 && range.is_some() { self.row(key) } else { None };
                let (Some((base, len)), Some(row)) = (range, row) else {
                    plan.refused.push(*key);
                    // Rather the entry as it was than none.
                    let old = self.observed.services.get(key).zip(self.observed.rows.get(key));
                    services.extend(old.map(|(value, row)| (*key, (*row, *value))));
                    continue;
                };
                room -= 1;
                let (affinity_s, flags) = (frontend.affinity_s, frontend.flags);
                services.insert(*key, (row, ServiceValue { id, base, len, affinity_s, flags }));
            }
        }
        services
    }

    /// How many entries these ports may have: what the others leave.
    fn room(&self, ports: &[&DesiredPort], changes: &Changes) -> usize {
        let limit = MAX_SERVICES as usize;
        if changes.everything {
            return limit;
        }
        let keys: BTreeSet<&ServiceKey> =
            ports.iter().flat_map(|port| port.frontends.keys()).chain(&changes.keys).collect();
        let present = keys.iter().filter(|key| self.observed.services.contains_key(key)).count();
        limit.saturating_sub(self.observed.services.len() - present)
    }

    /// The entry's row, which it has or gets; nobody waits any more to free it.
    fn row(&mut self, key: &ServiceKey) -> Option<u32> {
        let row = self.places.take(key)?;
        self.dead.services.remove(key);
        self.swept.services.remove(key);
        Some(row)
    }

    /// Where the slots of an entry are or come: first slot and how many. `None`: there is no room.
    fn range(
        &mut self,
        key: &ServiceKey,
        port: &DesiredPort,
        list: Vec<u32>,
        shared: &mut Vec<(Vec<u32>, u32)>,
        taken: &mut Vec<(u32, u32)>,
        plan: &mut Plan,
    ) -> Option<(u32, u32)> {
        let len = list.len() as u32;
        if let Some((_, base)) = shared.iter().find(|(other, _)| *other == list) {
            return Some((*base, len));
        }
        let kept = if list.is_empty() { Some(0) } else { self.kept(key, &list) };
        let base = if let Some(base) = kept {
            base
        } else if let Some(base) = self.own_ring(key, port, len) {
            if let Some(before) = self.observed.services.get(key).copied() {
                self.note_affinity(&before, &list);
            }
            // Slot by slot a connection goes to the old backend or the new one, and both are there.
            self.write(Step::PutSlots { first: base, ids: list.clone() }, plan);
            base
        } else {
            let base = self.slots.find(self.observed.cursors.slot, len)?;
            self.slots.hold(base, len);
            taken.push((base, len));
            self.write(Step::PutSlots { first: base, ids: list.clone() }, plan);
            base
        };
        shared.push((list, base));
        Some((base, len))
    }

    /// The ring that the entry has, if it may be written in place: it is as long, and all entries that have it are this port's and want
    /// the same as this one.
    fn own_ring(&self, key: &ServiceKey, port: &DesiredPort, len: u32) -> Option<u32> {
        let frontend = port.frontends.get(key)?;
        let old = self.observed.services.get(key)?;
        if len != old.len || frontend.spread == Spread::Even {
            return None;
        }
        // Nothing but the ring changes, or there would be a packet that meets some of the old and some of the new.
        let has_it = |key: &ServiceKey, wanted: &Frontend| {
            let value = self.observed.services.get(key);
            let same = |value: &ServiceValue| (value.affinity_s, value.flags) == (wanted.affinity_s, wanted.flags);
            value.is_some_and(|value| (value.base, value.len) == (old.base, old.len) && same(value))
        };
        let wants_it = |other: &Frontend| other.backends == frontend.backends && other.spread == frontend.spread;
        let alike = port.frontends.iter().filter(|(key, other)| has_it(key, other) && wants_it(other)).count();
        self.slots.is_held_by(old.base, alike as u32).then_some(old.base)
    }

    /// The range the entry has already, if it holds exactly these backends.
    fn kept(&self, key: &ServiceKey, list: &[u32]) -> Option<u32> {
        let value = self.observed.services.get(key)?;
        let same = value.len as usize == list.len() && self.observed.slots_of(value) == list;
        same.then_some(value.base)
    }

    /// The number the port's entries have, or a new one.
    fn number(&mut self, port: &DesiredPort, claimed: &mut BTreeSet<u32>) -> Option<u32> {
        let had = port
            .frontends
            .keys()
            .filter_map(|key| self.observed.services.get(key))
            .map(|value| value.id)
            .find(|id| *id != 0 && !claimed.contains(id));
        let used = |id: u32| self.numbers.contains_key(&id) || claimed.contains(&id);
        let id = had.or_else(|| free_number(self.number, MAX_CONNECTS, used))?;
        if had.is_none() {
            self.number = id;
        }
        claimed.insert(id);
        Some(id)
    }

    /// A range that finds no room stays shut, and its frontend is said to be incomplete.
    fn put_sources(&mut self, desired: &Desired, plan: &mut Plan) {
        let mut room = (MAX_SOURCES as usize).saturating_sub(self.observed.sources.len());
        for key in desired.sources.difference(&self.observed.sources).copied().collect::<Vec<_>>() {
            if room == 0 {
                plan.refused.push(key.source.service);
                continue;
            }
            room -= 1;
            self.write(Step::PutSource(key), plan);
        }
    }

    fn delete_routes(&mut self, desired: &Desired, of: impl Fn(&RouteValue) -> bool, plan: &mut Plan) {
        let gone = self.observed.routes.iter().filter(|(key, value)| of(value) && !desired.routes.contains_key(key));
        for key in gone.map(|(key, _)| *key).collect::<Vec<RouteKey>>() {
            self.write(Step::DeleteRoute(key), plan);
        }
    }

    fn put_routes(&mut self, desired: &Desired, of: impl Fn(&RouteValue) -> bool, plan: &mut Plan) {
        let stale = self.observed.routes.keys().filter(|key| !desired.routes.contains_key(key)).count();
        let mut room = (MAX_ROUTES as usize).saturating_sub(self.observed.routes.len().max(stale));
        for (key, value) in desired.routes.iter().filter(|(_, value)| of(value)) {
            match self.observed.routes.get(key) {
                Some(old) if old == value => {}
                Some(_) => self.write(Step::PutRoute(*key, *value), plan),
                None if room > 0 => {
                    room -= 1;
                    self.write(Step::PutRoute(*key, *value), plan);
                }
                None => {}
            }
        }
    }
}

/// The next number after this one that is not used, in a circle over `1..limit`.
fn free_number(after: u32, limit: u32, used: impl Fn(u32) -> bool) -> Option<u32> {
    let mut circle = (after.saturating_add(1)..limit).chain(1..after.saturating_add(1).min(limit));
    circle.find(|id| !used(*id))
}
