//! After every prefix of a plan each lookup answers as before or as after, never otherwise; nothing dangles; numbers
//! stay with what they name.
use std::collections::{BTreeMap, BTreeSet};

use abi::{Backend, ServiceKey};
use proptest::prelude::*;
use wire::fabric::{Delta, Endpoint, EndpointPort, EndpointState, Protocol, Service, ServicePort};

use super::local;
use crate::{Observed, State, Step, compile, diff};

/// What a new connection meets: no entry, a refusal, or one of these backends (and with which affinity and flags).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Absent,
    Refused,
    Backend(Backend, u32, u32),
    /// A slot or backend that is not there: never allowed.
    Dangling,
}

/// Looks a frontend up as the packet path does, for one value of its hash.
fn look(tables: &Observed, key: &ServiceKey, hash: u32) -> Verdict {
    let Some(value) = tables.services.get(key) else { return Verdict::Absent };
    if value.len == 0 {
        return Verdict::Refused;
    }
    let id = tables.slots.get((value.base + hash % value.len) as usize).copied().unwrap_or(0);
    match tables.backends.get(&id) {
        Some(backend) => {
            let flags = backend.flags & !(abi::BACKEND_DRAINING | abi::BACKEND_GONE);
            Verdict::Backend(Backend { flags, ..*backend }, value.affinity_s, value.flags)
        }
        None => Verdict::Dangling,
    }
}

/// A connection is pinned to a backend by its id: while the id is in use it must not name something else.
fn names(tables: &Observed) -> BTreeMap<u32, (abi::Addr, u16, u8)> {
    tables.backends.iter().map(|(id, b)| (*id, (b.addr, b.port.get(), b.proto))).collect()
}

/// Tables with the programs that may run on what they read of them: plans are applied step by step, and every prefix is
/// checked.
#[derive(Default)]
pub struct Running {
    pub tables: Observed,
    /// What a program that still runs may have read.
    grace: Vec<Observed>,
    /// How many of these are from before the grace period.
    before: usize,
}

impl Running {
    /// A grace period begins.
    pub fn began(&mut self) {
        self.before = self.grace.len();
    }

    /// It is over: no program runs that began before it.
    pub fn finished(&mut self) {
        self.grace.drain(..self.before);
        self.before = 0;
    }

    pub fn execute(&mut self, steps: &[Step]) {
        let before = self.tables.clone();
        let mut after = before.clone();
        steps.iter().for_each(|step| after.apply(step));
        let keys: BTreeSet<ServiceKey> = before.services.keys().chain(after.services.keys()).copied().collect();
        self.grace.push(before.clone());
        for step in steps {
            self.tables.apply(step);
            if matches!(step, Step::Barrier) {
                self.began();
                self.finished();
            }
            self.grace.push(self.tables.clone());
            let observed = &self.tables;
            for key in &keys {
                for hash in 0..6 {
                    let now = look(observed, key, hash);
                    assert_ne!(now, Verdict::Dangling, "after {step:?}");
                    let known = [look(&before, key, hash), look(&after, key, hash)];
                    assert!(known.contains(&now), "after {step:?}: {now:?} is neither of {known:?}");
                }
            }
            for (key, row) in self.grace.iter().flat_map(|old| &old.rows) {
                let other = observed.rows.iter().find(|(other, now)| *now == row && *other != key);
                assert_eq!(other, None, "{key:?} may still be met in row {row}, after {step:?}");
            }
            for old in &self.grace {
                for value in old.services.values().filter(|value| value.len > 0) {
                    for id in observed.slots_of(value) {
                        assert!(observed.backends.contains_key(id), "a running program meets nothing after {step:?}");
                    }
                    // Rings are written in place, slot by slot.
                    let is_list = value.len < crate::maglev::SIZES[0];
                    let same = !is_list || observed.slots_of(value) == old.slots_of(value);
                    assert!(same, "slots changed in use by {step:?}");
                }
            }
        }
        let (old, new) = (names(&before), names(&self.tables));
        for (id, name) in &new {
            assert!(old.get(id).is_none_or(|was| was == name), "backend {id} became something else");
        }
    }
}

/// Applies a whole plan to tables that no program runs on yet.
fn execute(observed: &mut Observed, steps: &[Step]) {
    let mut running = Running { tables: std::mem::take(observed), ..Running::default() };
    running.execute(steps);
    *observed = running.tables;
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (2_u8..10, prop::bool::ANY, 0_i32..3, prop::option::weighted(0.8, 0_u8..2)).prop_map(|(host, here, state, zone)| {
        Endpoint {
            hint_zones: zone.iter().map(|zone| format!("z{zone}")).collect(),
            ip: format!("10.244.{}.{host}", u8::from(!here)),
            node: if here { "a".into() } else { "b".into() },
            state: EndpointState::try_from(state).unwrap().into(),
            ports: vec![EndpointPort { name: "p".into(), protocol: Protocol::Tcp.into(), port: 8080 }],
            weight: (host >= 8).then(|| u32::from(host - 8)),
            ..Endpoint::default()
        }
    })
}

fn service() -> impl Strategy<Value = Service> {
    let flags = (prop::bool::ANY, prop::bool::ANY, prop::bool::ANY, prop::bool::ANY);
    (0_u8..5, 1_u8..5, prop::collection::vec(endpoint(), 0..6), 0_u32..2, flags).prop_map(
        |(name, vip, endpoints, affinity, (internal, external, node_port, external_ip))| Service {
            algorithm: if vip == 4 { 2 } else { i32::from(vip == 3) },
            maglev_size: 251,
            namespace: "default".into(),
            name: format!("s{name}"),
            cluster_ips: vec![format!("10.96.1.{vip}")],
            external_ips: if external_ip { vec![format!("192.0.2.{vip}")] } else { Vec::new() },
            balancer_ips: if external_ip { vec![format!("192.0.2.{vip}")] } else { Vec::new() },
            source_ranges: if affinity > 0 { vec![format!("203.0.{name}.0/24")] } else { Vec::new() },
            ports: vec![ServicePort {
                name: "p".into(),
                protocol: Protocol::Tcp.into(),
                port: 80,
                node_port: if node_port { 30_000 + u32::from(vip) } else { 0 },
            }],
            affinity_timeout_seconds: affinity,
            internal_traffic_local: internal,
            external_traffic_local: external,
            endpoints,
            ..Service::default()
        },
    )
}

pub fn delta() -> impl Strategy<Value = Delta> {
    let deletes = prop::collection::vec(0_u8..5, 0..3);
    (prop::collection::vec(service(), 0..4), deletes, prop::bool::weighted(0.1)).prop_map(
        |(services, deletes, full)| Delta {
            full,
            services,
            deleted_services: deletes.iter().map(|n| format!("default/s{n}")).collect(),
            ..Delta::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_prefix_is_old_or_new(deltas in prop::collection::vec(delta(), 1..12)) {
        let (mut state, mut observed) = (State::default(), Observed::default());
        for (index, delta) in deltas.into_iter().enumerate() {
            state.apply(&Delta { epoch: index as u64 + 1, ..delta }).unwrap();
            let desired = compile(&state, &local());
            let plan = diff(&desired, &observed);
            execute(&mut observed, &plan.steps);
            prop_assert_eq!(diff(&desired, &observed).steps, vec![]);
            let live: BTreeSet<u32> = observed.services.values().flat_map(|v| observed.slots_of(v)).copied().collect();
            prop_assert!(live.iter().all(|id| observed.backends.contains_key(id)));
            let used: usize = observed.slots.iter().filter(|id| **id != 0).count();
            let owned: BTreeSet<u32> = observed.services.values().flat_map(|v| v.base..v.base + v.len).collect();
            prop_assert_eq!(used, owned.len(), "slots that nobody owns");
        }
    }

    /// A daemon that died anywhere in a plan leaves tables from which the next one gets to the same end.
    #[test]
    fn a_plan_cut_short_is_finished_by_the_next(deltas in prop::collection::vec(delta(), 1..6), cut in 0.0_f64..1.0) {
        let (mut state, mut observed) = (State::default(), Observed::default());
        for (index, delta) in deltas.into_iter().enumerate() {
            state.apply(&Delta { epoch: index as u64 + 1, ..delta }).unwrap();
            let desired = compile(&state, &local());
            let plan = diff(&desired, &observed);
            let done = (plan.steps.len() as f64 * cut) as usize;
            execute(&mut observed, &plan.steps[..done]);
            observed.recover_cursors();
            let rest = diff(&desired, &observed);
            execute(&mut observed, &rest.steps);
            prop_assert_eq!(diff(&desired, &observed).steps, vec![]);
            let mut whole = Observed::default();
            diff(&desired, &whole.clone()).steps.iter().for_each(|step| whole.apply(step));
            prop_assert_eq!(crate::dump(&observed), crate::dump(&whole));
        }
    }
}

/// A number that was just freed is not the next to be handed out.
#[test]
fn freed_numbers_rest() {
    let at = |endpoint: &str, epoch| {
        let text = format!("service default/web 10.96.0.5 80>8080/TCP\n  {endpoint}@a");
        Delta { epoch, ..super::parse(&text).remove(0) }
    };
    let (mut state, mut observed) = (State::default(), Observed::default());
    let mut seen = BTreeSet::new();
    for turn in 0..20_u64 {
        state.apply(&at(&format!("10.244.0.{}", 5 + turn % 2), turn + 1)).unwrap();
        let plan = diff(&compile(&state, &local()), &observed);
        plan.steps.iter().for_each(|step| observed.apply(step));
        let web = observed.services.iter().find(|(key, _)| key.port.get() == 80).unwrap().1;
        assert!(seen.insert(observed.slots_of(web).to_vec()), "turn {turn}: a backend number came again");
    }
}
