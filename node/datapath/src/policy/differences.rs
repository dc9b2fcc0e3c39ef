//! Policy tables that are not as they should be, in words.
use std::collections::{BTreeMap, BTreeSet};

use abi::{DIRECTION_EGRESS, IdentityKey, RULE_ANY_PORT, RULE_ANY_PROTOCOL, RULE_DENY, RuleKey, bank, map};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::diff::Observed;
use crate::address::prefix;
use crate::differences::Difference;

/// What differs between the tables as they are and as they were written. Both banks count: the next epoch is written over the one
/// that packets do not see. `seats` names the pods that have them.
pub fn differences(written: &Observed, found: &Observed, seats: &BTreeMap<String, u32>) -> Vec<Difference> {
    let mut list = BTreeSet::new();
    if written.generation != found.generation {
        let entry = format!("{} instead of {}", found.generation, written.generation);
        list.insert(Difference { table: map::GENERATION, entry, service: None, problem: "differs" });
    }
    for number in 0..2 {
        let place = if number == bank(written.generation) { "" } else { " (bank out of sight)" };
        let (wanted, stands) = (&written.banks[number as usize], &found.banks[number as usize]);
        let mut add = |table, entry: String, problem| {
            list.insert(Difference { table, entry: format!("{entry}{place}"), service: None, problem });
        };
        each(&stands.identities, &wanted.identities, |key, problem| add(map::IDENTITIES, identity(key), problem));
        each(&stands.rules, &wanted.rules, |key, problem| {
            let value = wanted.rules.get(key).or(stands.rules.get(key));
            add(map::RULES, rule(key, value.copied()), problem);
        });
        each(&stands.seats, &wanted.seats, |seat, problem| add(map::SEATS, pod(*seat, seats), problem));
    }
    list.into_iter().collect()
}

fn each<K: Ord + Clone, V: PartialEq + Clone>(
    found: &OrdMap<K, V>,
    wanted: &OrdMap<K, V>,
    mut add: impl FnMut(&K, &'static str),
) {
    for item in found.diff(wanted) {
        match item {
            DiffItem::Add(key, _) => add(key, "missing"),
            DiffItem::Update { new: (key, _), .. } => add(key, "differs"),
            DiffItem::Remove(key, _) => add(key, "not wanted"),
        }
    }
}

fn identity(key: &IdentityKey) -> String {
    let route = abi::RouteKey { prefix_len: key.prefix_len.saturating_sub(32), addr: key.addr };
    prefix(route).map_or_else(|| crate::ip(key.addr).to_string(), |net| net.to_string())
}

fn rule(key: &RuleKey, value: Option<u32>) -> String {
    let way = if key.direction == DIRECTION_EGRESS { "to" } else { "from" };
    let verdict = if value == Some(RULE_DENY) { "deny" } else { "allow" };
    let what = match key.prefix_len {
        0..=RULE_ANY_PROTOCOL => "anything".to_owned(),
        105..=RULE_ANY_PORT => format!("protocol {}", key.proto),
        bits => format!("protocol {} port {}/{}", key.proto, key.port.get(), bits - RULE_ANY_PORT),
    };
    format!("ruleset {}: {verdict} {what} {way} class {}", key.ruleset, key.identity)
}

fn pod(seat: u32, seats: &BTreeMap<String, u32>) -> String {
    let owner = seats.iter().find(|(_, taken)| **taken == seat);
    owner.map_or_else(|| format!("seat {seat}"), |(name, _)| format!("pod {name}"))
}
