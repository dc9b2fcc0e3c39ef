//! A plan in words, with names: what is wrong with the kernel's tables.
use std::collections::BTreeSet;

use abi::ServiceKey;

use crate::address::{ip, prefix};
use crate::desired::Desired;
use crate::dump::{backend, frontend};
use crate::observed::Observed;
use crate::plan::{Plan, Step};

/// An entry that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Name of the map.
    pub table: &'static str,
    /// What the entry is for, as the dump writes it.
    pub entry: String,
    /// `namespace/name` of the Service, if it is known.
    pub service: Option<String>,
    /// `missing`, `differs` or `not wanted`.
    pub problem: &'static str,
}

/// What a plan from `observed` to `desired` would change.
pub fn differences(plan: &Plan, desired: &Desired, observed: &Observed) -> Vec<Difference> {
    let mut found = BTreeSet::new();
    for step in &plan.steps {
        let (table, entry, service, problem) = match step {
            Step::SetConfig(_) => (abi::map::CONFIG, "the node".to_owned(), None, "differs"),
            Step::PutBackend(id, wanted) => {
                (abi::map::BACKENDS, backend(wanted), None, word(observed.backends.contains_key(id)))
            }
            Step::RetireBackend(id, _) | Step::ClearBackend(id) => {
                let name = observed.backends.get(id).map_or_else(|| format!("number {id}"), backend);
                (abi::map::BACKENDS, name, None, "not wanted")
            }
            Step::PutRoute(key, _) => (abi::map::ROUTES, route(key), None, word(observed.routes.contains_key(key))),
            Step::DeleteRoute(key) => (abi::map::ROUTES, route(key), None, "not wanted"),
            Step::PutService { key, .. } => {
                (abi::map::SERVICES, frontend(key), owner(desired, key), word(observed.services.contains_key(key)))
            }
            Step::DeleteService { key, .. } => (abi::map::SERVICES, frontend(key), owner(desired, key), "not wanted"),
            Step::PutSource(key) => (abi::map::SOURCES, source(key), owner(desired, &key.source.service), "missing"),
            Step::DeleteSource(key) => {
                (abi::map::SOURCES, source(key), owner(desired, &key.source.service), "not wanted")
            }
            Step::ClearSlots { first, count } => {
                (abi::map::SLOTS, format!("{first} to {}", first + count - 1), None, "not wanted")
            }
            // Slots that an entry has already are a ring with wrong ones; others are of Services that are written too.
            Step::PutSlots { first, .. } => {
                match observed.services.iter().find(|(_, value)| value.len > 0 && value.base == *first) {
                    Some((key, _)) => (abi::map::SLOTS, frontend(key), owner(desired, key), "differs"),
                    None => continue,
                }
            }
            Step::Barrier | Step::ForgetAffinity(_) => continue,
        };
        found.insert(Difference { table, entry, service, problem });
    }
    for key in &plan.refused {
        let (entry, service) = (frontend(key), owner(desired, key));
        found.insert(Difference { table: abi::map::SERVICES, entry, service, problem: "missing" });
    }
    found.into_iter().collect()
}

fn source(key: &abi::SourceKey) -> String {
    let bits = key.prefix_len.saturating_sub(8 * size_of::<ServiceKey>() as u32);
    let client = route(&abi::RouteKey { prefix_len: bits, addr: key.source.client });
    format!("{client} to {}", frontend(&key.source.service))
}

fn word(exists: bool) -> &'static str {
    if exists { "differs" } else { "missing" }
}

fn route(key: &abi::RouteKey) -> String {
    prefix(*key).map_or_else(|| ip(key.addr).to_string(), |net| net.to_string())
}

fn owner(desired: &Desired, key: &ServiceKey) -> Option<String> {
    let mut ports = desired.ports.iter();
    ports.find(|(_, port)| port.frontends.contains_key(key)).map(|(name, _)| name.service.to_string())
}
