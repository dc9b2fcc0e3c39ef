//! From observed to desired tables: numbers are recovered or allocated, then the writes are put in order.
//!
//! Order: backends, then slots that name them (always in a fresh range), then services that name the slots; services
//! go before their slots are cleared and slots before their backends, with a grace period in between for programs
//! that are still running on what they read.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use abi::{Backend, MAX_BACKENDS, MAX_ROUTES, MAX_SERVICES, MAX_SLOTS, MAX_SOURCES, ServiceKey, ServiceValue};

use crate::desired::{BackendKey, Desired, DesiredPort};
use crate::observed::Observed;
use crate::plan::{Plan, Step};

/// Plans the writes. Equal tables give an empty plan.
pub fn diff(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if observed.config != Some(desired.config) {
        plan.steps.push(Step::SetConfig(desired.config));
    }
    let ids = backends(desired, observed, &mut plan);
    let services = services(desired, observed, &ids, &mut plan);
    routes_put(desired, observed, &mut plan);
    sources_put(desired, observed, &mut plan);
    for (key, value) in &services {
        if observed.services.get(key) != Some(value) {
            plan.steps.push(Step::PutService(*key, *value));
        }
    }
    for key in observed.services.keys().filter(|key| !services.contains_key(key)) {
        plan.steps.push(Step::DeleteService(*key));
    }
    for key in observed.sources.difference(&desired.sources) {
        plan.steps.push(Step::DeleteSource(*key));
    }
    for key in observed.routes.keys().filter(|key| !desired.routes.contains_key(key)) {
        plan.steps.push(Step::DeleteRoute(*key));
    }
    let before = plan.steps.len();
    clear_slots(observed, &services, &mut plan);
    let live: BTreeSet<u32> = ids.values().copied().collect();
    for id in observed.backends.keys().filter(|id| !live.contains(id)) {
        plan.steps.push(Step::ClearBackend(*id));
    }
    if plan.steps.len() > before {
        plan.steps.insert(before, Step::Barrier);
    }
    plan
}

/// Numbers every backend and plans the writes of those that are new or changed.
fn backends(desired: &Desired, observed: &Observed, plan: &mut Plan) -> BTreeMap<BackendKey, u32> {
    let mut known: HashMap<BackendKey, u32> = HashMap::with_capacity(observed.backends.len());
    for (id, backend) in &observed.backends {
        let key = BackendKey { addr: backend.addr, port: backend.port, proto: backend.proto };
        known.entry(key).or_insert(*id);
    }
    let mut next = observed.cursors.backend;
    let mut fresh = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for (key, flags) in &desired.backends {
        let used = |id: u32| observed.backends.contains_key(&id) || fresh.contains(&id);
        let Some(id) = known.get(key).copied().or_else(|| free_number(&mut next, MAX_BACKENDS, used)) else {
            continue;
        };
        let backend = Backend { addr: key.addr, port: key.port, proto: key.proto, flags: *flags };
        if observed.backends.get(&id) != Some(&backend) {
            plan.steps.push(Step::PutBackend(id, backend));
        }
        if !known.contains_key(key) {
            fresh.insert(id);
        }
        ids.insert(*key, id);
    }
    ids
}

/// Entries of the service table; plans the slot ranges that are new.
fn services(
    desired: &Desired,
    observed: &Observed,
    ids: &BTreeMap<BackendKey, u32>,
    plan: &mut Plan,
) -> BTreeMap<ServiceKey, ServiceValue> {
    let mut numbers = Numbers::new(observed);
    let mut ranges = Ranges::new(observed);
    let mut services = BTreeMap::new();
    for port in desired.ports.values() {
        let Some(id) = numbers.of(port, observed) else {
            plan.refused.extend(port.frontends.keys());
            continue;
        };
        // Frontends of one port with the same backends share a range.
        let mut shared: Vec<(Vec<u32>, u32)> = Vec::new();
        for (key, frontend) in &port.frontends {
            let list: Vec<u32> = frontend.backends.iter().filter_map(|b| ids.get(b).copied()).collect();
            let complete = list.len() == frontend.backends.len();
            let found = shared.iter().find(|(other, _)| *other == list).map(|(_, base)| *base);
            let base = found.or_else(|| kept(key, &list, observed)).or_else(|| {
                let base = ranges.take(list.len() as u32)?;
                if !list.is_empty() {
                    plan.steps.push(Step::PutSlots { first: base, ids: list.clone() });
                }
                Some(base)
            });
            let room = services.len() < MAX_SERVICES as usize;
            let Some(base) = base.filter(|_| complete && room) else {
                plan.refused.push(*key);
                // Rather the entry as it was than none.
                services.extend(observed.services.get(key).map(|value| (*key, *value)));
                continue;
            };
            let len = list.len() as u32;
            let (affinity_s, flags) = (frontend.affinity_s, frontend.flags);
            services.insert(*key, ServiceValue { id, base, len, affinity_s, flags });
            shared.push((list, base));
        }
    }
    services
}

/// The range the entry has already, if it holds exactly these backends.
fn kept(key: &ServiceKey, list: &[u32], observed: &Observed) -> Option<u32> {
    let value = observed.services.get(key)?;
    let same = value.len as usize == list.len() && observed.slots_of(value) == list;
    same.then_some(value.base)
}

/// Numbers of service ports.
struct Numbers {
    used: BTreeSet<u32>,
    claimed: BTreeSet<u32>,
    next: u32,
}

impl Numbers {
    fn new(observed: &Observed) -> Numbers {
        Numbers {
            used: observed.services.values().map(|value| value.id).collect(),
            claimed: BTreeSet::new(),
            next: observed.cursors.service,
        }
    }

    /// The number the port's entries have, or a new one.
    fn of(&mut self, port: &DesiredPort, observed: &Observed) -> Option<u32> {
        let had = port
            .frontends
            .keys()
            .filter_map(|key| observed.services.get(key))
            .map(|value| value.id)
            .find(|id| *id != 0 && !self.claimed.contains(id));
        let used = |id: u32| self.used.contains(&id) || self.claimed.contains(&id);
        let id = had.or_else(|| free_number(&mut self.next, u32::MAX, used))?;
        self.claimed.insert(id);
        Some(id)
    }
}

/// Ranges of the slot table that nothing uses, as of before and after the plan.
struct Ranges {
    /// Start to end of used ranges; they may overlap.
    used: BTreeMap<u32, u32>,
    longest: u32,
    next: u32,
}

impl Ranges {
    fn new(observed: &Observed) -> Ranges {
        let mut used: BTreeMap<u32, u32> = BTreeMap::new();
        let mut longest = 0;
        for value in observed.services.values().filter(|value| value.len > 0) {
            longest = longest.max(value.len);
            let end = used.entry(value.base).or_default();
            *end = (*end).max(value.base.saturating_add(value.len));
        }
        Ranges { used, longest, next: observed.cursors.slot }
    }

    fn take(&mut self, len: u32) -> Option<u32> {
        if len == 0 {
            return Some(0);
        }
        let base = self.fit(self.next, len).or_else(|| self.fit(0, len))?;
        self.used.insert(base, base + len);
        self.longest = self.longest.max(len);
        self.next = base + len;
        Some(base)
    }

    /// First gap of `len` at or after `from`.
    fn fit(&self, from: u32, len: u32) -> Option<u32> {
        // A range that begins before `from` may reach beyond it.
        let mut at = from;
        for (_, end) in self.used.range(from.saturating_sub(self.longest)..from) {
            at = at.max(*end);
        }
        for (start, end) in self.used.range(from..) {
            if at.checked_add(len)? <= *start {
                break;
            }
            at = at.max(*end);
        }
        (at.checked_add(len)? <= MAX_SLOTS).then_some(at)
    }
}

/// The next number after the cursor that is not used, in a circle over `1..limit`.
fn free_number(next: &mut u32, limit: u32, used: impl Fn(u32) -> bool) -> Option<u32> {
    let start = *next;
    let circle = (start.saturating_add(1)..limit).chain(1..start.saturating_add(1).min(limit));
    let id = circle.into_iter().find(|id| !used(*id))?;
    *next = id;
    Some(id)
}

fn routes_put(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let stale = observed.routes.keys().filter(|key| !desired.routes.contains_key(key)).count();
    let mut room = (MAX_ROUTES as usize).saturating_sub(observed.routes.len().max(stale));
    for (key, value) in &desired.routes {
        match observed.routes.get(key) {
            Some(old) if old == value => {}
            Some(_) => plan.steps.push(Step::PutRoute(*key, *value)),
            None if room > 0 => {
                room -= 1;
                plan.steps.push(Step::PutRoute(*key, *value));
            }
            None => {}
        }
    }
}

/// A range that finds no room stays shut, and its frontend is said to be incomplete.
fn sources_put(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let mut room = (MAX_SOURCES as usize).saturating_sub(observed.sources.len());
    for key in desired.sources.difference(&observed.sources) {
        if room == 0 {
            plan.refused.push(key.source.service);
            continue;
        }
        room -= 1;
        plan.steps.push(Step::PutSource(*key));
    }
}

/// Clears slots that no entry uses any more.
fn clear_slots(observed: &Observed, services: &BTreeMap<ServiceKey, ServiceValue>, plan: &mut Plan) {
    let mut keep = vec![false; observed.slots.len()];
    for value in services.values() {
        let base = value.base as usize;
        if let Some(range) = keep.get_mut(base.min(observed.slots.len())..) {
            let len = range.len().min(value.len as usize);
            range[..len].fill(true);
        }
    }
    let mut run: Option<(u32, u32)> = None;
    for (index, id) in observed.slots.iter().enumerate() {
        let dead = *id != 0 && !keep[index];
        run = match (run, dead) {
            (None, true) => Some((index as u32, 1)),
            (Some((first, count)), true) => Some((first, count + 1)),
            (Some((first, count)), false) => {
                plan.steps.push(Step::ClearSlots { first, count });
                None
            }
            (None, false) => None,
        };
    }
    if let Some((first, count)) = run {
        plan.steps.push(Step::ClearSlots { first, count });
    }
}
