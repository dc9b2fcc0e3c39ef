//! The desired tables kept up to date: a delta costs what it changes, and the result is that of [`crate::compile`].
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use abi::{Addr, RouteValue, ServiceKey, SourceKey};
use wire::fabric::Delta;

use crate::address::{ip, route_key};
use crate::desired::{
    BackendKey, Conflict, Desired, Frontend, Local, Part, PortName, config, dns_part, is_dns, is_routed, part, routes,
};
use crate::health::{HealthCheck, HealthChecks};
use crate::host_port;
use crate::state::{Rejected, Service, ServiceName, Stale, State};
use crate::topology::Here;

/// What may differ from the tables since they were planned last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Anything may; the sets say nothing then.
    pub everything: bool,
    pub ports: BTreeSet<PortName>,
    /// Frontends that came, went or changed hands.
    pub keys: BTreeSet<ServiceKey>,
    pub backends: BTreeSet<BackendKey>,
    pub routes: bool,
    pub sources: bool,
    /// Claims that were lost.
    pub conflicts: Vec<Conflict>,
}

impl Changes {
    pub fn everything() -> Changes {
        Changes { everything: true, ..Changes::default() }
    }
}

/// How many Services have a backend, and how.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    all: u32,
    ready: u32,
    draining: u32,
    local: u32,
}

impl Uses {
    fn count(&mut self, flags: u8, step: impl Fn(u32) -> u32) {
        self.all = step(self.all);
        // Who does not say that it is alive does not say whether it drains.
        if flags & abi::BACKEND_DRAINING != 0 {
            self.draining = step(self.draining);
        } else if flags & abi::BACKEND_ALIVE != 0 {
            self.ready = step(self.ready);
        }
        if flags & abi::BACKEND_LOCAL != 0 {
            self.local = step(self.local);
        }
    }

    /// Ready for one Service is ready. `None` without uses.
    fn flags(&self) -> Option<u8> {
        let draining = if self.ready == 0 && self.draining > 0 { abi::BACKEND_DRAINING } else { 0 };
        let local = if self.local > 0 { abi::BACKEND_LOCAL } else { 0 };
        (self.all > 0).then_some(abi::BACKEND_ALIVE | draining | local)
    }
}

/// The fabric's state, the tables it makes, and who wants what in them.
#[derive(Debug)]
pub(crate) struct Compiler {
    local: Local,
    state: State,
    desired: Desired,
    /// Who claims a frontend, sorted; the first has it.
    claims: HashMap<ServiceKey, Vec<PortName>>,
    uses: HashMap<BackendKey, Uses>,
    /// How many frontends an address has, node ports left out.
    addresses: HashMap<Addr, u32>,
    /// What pods ask for with their host ports, under a name each.
    host_ports: BTreeMap<ServiceName, Part>,
    health: HealthChecks,
    changes: Changes,
}

impl Compiler {
    pub fn new(local: Local, state: State) -> Compiler {
        let mut compiler = Compiler {
            local,
            state,
            desired: Desired::default(),
            claims: HashMap::new(),
            uses: HashMap::new(),
            addresses: HashMap::new(),
            host_ports: BTreeMap::new(),
            health: HealthChecks::default(),
            changes: Changes::default(),
        };
        compiler.rebuild();
        compiler
    }

    pub fn into_desired(self) -> Desired {
        self.desired
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn local(&self) -> &Local {
        &self.local
    }

    /// The first of those who claim a frontend.
    pub fn owner(&self, key: &ServiceKey) -> Option<&PortName> {
        self.claims.get(key)?.first()
    }

    /// Host ports cost what changes, all else everything.
    pub fn set_local(&mut self, local: Local) {
        let rest = Local { host_ports: Vec::new(), ..local.clone() };
        let only_host_ports = rest == Local { host_ports: Vec::new(), ..self.local.clone() };
        self.local = local;
        if only_host_ports { self.exchange_host_ports() } else { self.rebuild() }
    }

    /// What `healthCheckNodePort`s answer, if that has changed since the last call.
    pub fn take_health_checks(&mut self) -> Option<BTreeMap<NonZeroU16, HealthCheck>> {
        self.health.take_changed()
    }

    /// The tables, and what changed in them since the last call.
    pub fn take_changes(&mut self) -> (&Desired, Changes) {
        (&self.desired, std::mem::take(&mut self.changes))
    }

    fn here(&self) -> Here<'_> {
        let zone = self.state.nodes.get(&self.local.node_name).map_or("", |node| node.zone.as_str());
        Here { node: &self.local.node_name, zone }
    }

    /// Folds one delta in: [`State::apply`].
    pub fn apply(&mut self, delta: &Delta) -> Result<Vec<Rejected>, Stale> {
        let names = if delta.full { BTreeSet::new() } else { State::named(delta) };
        let old: Vec<_> = names.into_iter().map(|name| (self.state.services.get(&name).cloned(), name)).collect();
        let zone = self.here().zone.to_owned();
        let rejected = self.state.apply(delta)?;
        if delta.full || zone != self.here().zone {
            self.rebuild();
            return Ok(rejected);
        }
        if !delta.nodes.is_empty() || !delta.deleted_nodes.is_empty() {
            self.desired.routes = routes(&self.state, &self.local);
            self.changes.routes = true;
            let addresses: Vec<Addr> = self.addresses.keys().copied().collect();
            addresses.iter().for_each(|address| self.put_address(address));
        }
        for (before, name) in old {
            let compiled = |service: Option<&Arc<Service>>| {
                service.map(|service| part(&name, service, self.here())).unwrap_or_default()
            };
            let parts = (compiled(before.as_ref()), compiled(self.state.services.get(&name)));
            let after = self.state.services.get(&name);
            self.health.exchange(&name, before.as_deref(), after.map(AsRef::as_ref), &self.local.node_name);
            self.exchange(&name, parts.0, parts.1);
        }
        Ok(rejected)
    }

    /// Compiles everything again.
    fn rebuild(&mut self) {
        self.claims.clear();
        self.uses.clear();
        self.addresses.clear();
        self.health.clear();
        self.host_ports.clear();
        self.desired =
            Desired { config: config(&self.local), routes: routes(&self.state, &self.local), ..Desired::default() };
        self.changes = Changes::everything();
        for dns in self.local.dns.clone() {
            let name = ServiceName { namespace: "".into(), name: "dns".into() };
            self.exchange(&name, Part::default(), dns_part(&dns));
        }
        let services: Vec<_> = self.state.services.iter().map(|(name, one)| (name.clone(), one.clone())).collect();
        for (name, service) in services {
            let part = part(&name, &service, self.here());
            self.health.exchange(&name, None, Some(&service), &self.local.node_name);
            self.exchange(&name, Part::default(), part);
        }
        self.exchange_host_ports();
    }

    fn exchange_host_ports(&mut self) {
        let wanted = host_port::parts(&self.local.host_ports);
        let before = std::mem::replace(&mut self.host_ports, wanted.clone());
        for (name, part) in &before {
            if !wanted.contains_key(name) {
                self.exchange(name, part.clone(), Part::default());
            }
        }
        for (name, part) in wanted {
            let old = before.get(&name).cloned().unwrap_or_default();
            self.exchange(&name, old, part);
        }
    }

    /// A Service asks for something else than before.
    fn exchange(&mut self, name: &ServiceName, before: Part, after: Part) {
        for (key, (port, _)) in &before.frontends {
            if after.frontends.get(key).is_none_or(|(now, _)| now != port) {
                self.release(key, port);
            }
        }
        for (key, flags) in &before.backends {
            if after.backends.get(key) != Some(flags) {
                self.uses.entry(*key).or_default().count(*flags, |count| count.saturating_sub(1));
                self.changed_backend(key);
            }
        }
        for (key, flags) in &after.backends {
            if before.backends.get(key) != Some(flags) {
                self.uses.entry(*key).or_default().count(*flags, |count| count + 1);
                self.changed_backend(key);
            }
        }
        for key in after.conflicts.iter().filter(|key| !before.conflicts.contains(key)) {
            self.lost(key, name.clone());
        }
        for (key, claim) in after.frontends {
            if before.frontends.get(&key) != Some(&claim) {
                self.claim(key, claim.0, claim.1);
            }
        }
    }

    fn changed_backend(&mut self, key: &BackendKey) {
        match self.uses.get(key).and_then(Uses::flags) {
            Some(flags) => _ = self.desired.backends.insert(*key, flags),
            None => {
                self.uses.remove(key);
                self.desired.backends.remove(key);
            }
        }
        if !self.changes.everything {
            self.changes.backends.insert(*key);
        }
    }

    fn claim(&mut self, key: ServiceKey, port: PortName, frontend: Frontend) {
        let claims = self.claims.entry(key).or_insert_with(|| Vec::with_capacity(1));
        let place = claims.binary_search(&port);
        if let Err(at) = place {
            claims.insert(at, port.clone());
        }
        let has = claims.first() == Some(&port);
        let loser = if has { claims.get(1) } else { Some(&port) };
        if let (Some(loser), Err(_)) = (loser.cloned(), place) {
            if has {
                self.take(&key, &loser);
            }
            self.lost(&key, loser.service);
        }
        if has {
            self.give(key, port, frontend);
        }
    }

    /// The next in line gets it.
    fn release(&mut self, key: &ServiceKey, port: &PortName) {
        let Some(claims) = self.claims.get_mut(key) else { return };
        let had = claims.first() == Some(port);
        claims.retain(|claim| claim != port);
        let heir = claims.first().cloned();
        if heir.is_none() {
            self.claims.remove(key);
        }
        if !had {
            return;
        }
        self.take(key, port);
        let Some(heir) = heir else { return };
        let mut wanted = match self.state.services.get(&heir.service) {
            Some(service) => part(&heir.service, service, self.here()),
            None => self.host_ports.get(&heir.service).cloned().unwrap_or_default(),
        };
        let frontend = wanted.frontends.remove(key);
        if let Some((_, frontend)) = frontend {
            self.give(*key, heir, frontend);
        }
    }

    fn give(&mut self, key: ServiceKey, port: PortName, frontend: Frontend) {
        self.mark(&key, &port);
        let sources = frontend.sources.clone();
        let before = self.desired.ports.entry(port).or_default().frontends.insert(key, frontend);
        if before.is_none() && key.scope != abi::SCOPE_NODE_PORT {
            let count = self.addresses.entry(key.addr).or_default();
            *count += 1;
            if *count == 1 {
                self.put_address(&key.addr);
            }
        }
        self.forget(&before.map(|frontend| frontend.sources).unwrap_or_default());
        self.changes.sources |= !sources.is_empty();
        self.desired.sources.extend(sources.iter());
    }

    fn take(&mut self, key: &ServiceKey, port: &PortName) {
        self.mark(key, port);
        let Some(entry) = self.desired.ports.get_mut(port) else { return };
        let taken = entry.frontends.remove(key);
        if entry.frontends.is_empty() {
            self.desired.ports.remove(port);
        }
        let Some(taken) = taken else { return };
        self.forget(&taken.sources);
        if key.scope == abi::SCOPE_NODE_PORT {
            return;
        }
        if let Some(count) = self.addresses.get_mut(&key.addr) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&key.addr);
                self.forget_address(&key.addr);
            }
        }
    }

    /// An address of a Service is one of the routes, unless they say already whose it is.
    fn put_address(&mut self, address: &Addr) {
        let net = ip(*address).into();
        if !is_routed(&self.desired.routes, net) {
            let route = RouteValue { kind: abi::ROUTE_SERVICE_ADDRESS, node: Addr::ANY };
            self.desired.routes.insert(route_key(net), route);
            self.changes.routes = true;
        }
    }

    fn forget_address(&mut self, address: &Addr) {
        let key = route_key(ip(*address).into());
        if self.desired.routes.get(&key).is_some_and(|route| route.kind == abi::ROUTE_SERVICE_ADDRESS) {
            self.desired.routes.remove(&key);
            self.changes.routes = true;
        }
    }

    fn forget(&mut self, sources: &[SourceKey]) {
        self.changes.sources |= !sources.is_empty();
        for source in sources {
            self.desired.sources.remove(source);
        }
    }

    fn mark(&mut self, key: &ServiceKey, port: &PortName) {
        if !self.changes.everything {
            self.changes.keys.insert(*key);
            self.changes.ports.insert(port.clone());
        }
    }

    fn lost(&mut self, key: &ServiceKey, service: ServiceName) {
        if !is_dns(&self.local, key) {
            self.changes.conflicts.push(Conflict { key: *key, service });
        }
    }
}
