//! Compiling with a memory: what changes is compiled, the rest is kept.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use abi::IDENTITY_ANY;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use ipnet::IpNet;

use super::compile::{
    self, Desired, IDENTITY_ROOM, RULE_ROOM, all_v4, identities, identity_key, is_around_v4, rules_of, seated,
};
use super::state::{Policy, Ruleset};

/// Gives what [`compile`](super::compile()) gives, at the cost of what has changed since the last time and of the pods with seats.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    policy: Policy,
    dns: Vec<IpAddr>,
    /// Rulesets of pods with seats. Without any, nobody's class is told.
    used: BTreeSet<u32>,
    /// Prefixes of IPv6 that the tables would take to have IPv4 in them.
    around_v4: usize,
    desired: Desired,
}

impl Compiler {
    /// What one bank should hold now; see [`compile`](super::compile()).
    pub fn update(&mut self, policy: &Policy, seats: &BTreeMap<String, u32>, dns: &[IpAddr]) -> &Desired {
        let (values, used) = seated(policy, seats);
        let bank = &mut self.desired.bank;
        let gone: Vec<u32> = bank.seats.keys().filter(|seat| !values.contains_key(seat)).copied().collect();
        gone.iter().for_each(|seat| _ = bank.seats.remove(seat));
        for (seat, value) in values {
            if bank.seats.get(&seat) != Some(&value) {
                bank.seats.insert(seat, value);
            }
        }
        self.identities(policy, !used.is_empty(), dns);
        self.rules(policy, &used);
        self.policy = policy.clone();
        self.dns = dns.to_vec();
        self.used = used;
        &self.desired
    }

    fn identities(&mut self, policy: &Policy, wanted: bool, dns: &[IpAddr]) {
        let bank = &mut self.desired.bank;
        if !wanted {
            bank.identities = OrdMap::new();
            return;
        }
        // With a table that is full the order of prefixes counts.
        let full = |policy: &Policy| policy.identities.len() > IDENTITY_ROOM;
        if self.used.is_empty() || full(policy) || full(&self.policy) {
            bank.identities = identities(policy, dns);
            self.around_v4 = policy.identities.keys().filter(|net| is_around_v4(net)).count();
            return;
        }
        let mut touched: BTreeSet<IpNet> = self.dns.iter().chain(dns).map(|ip| IpNet::from(*ip)).collect();
        for item in self.policy.identities.diff(&policy.identities) {
            match item {
                DiffItem::Add(net, _) => {
                    self.around_v4 += usize::from(is_around_v4(net));
                    touched.insert(*net);
                }
                DiffItem::Update { new: (net, _), .. } => _ = touched.insert(*net),
                DiffItem::Remove(net, _) => {
                    self.around_v4 -= usize::from(is_around_v4(net));
                    touched.insert(*net);
                }
            }
        }
        touched.insert(all_v4());
        for net in touched {
            let own = dns.iter().any(|ip| IpNet::from(*ip) == net).then_some(policy.dns);
            let around = (net == all_v4() && self.around_v4 > 0).then_some(IDENTITY_ANY);
            let key = identity_key(net);
            match own.or(policy.identities.get(&net).copied()).or(around) {
                Some(number) if bank.identities.get(&key) == Some(&number) => {}
                Some(number) => _ = bank.identities.insert(key, number),
                None => _ = bank.identities.remove(&key),
            }
        }
    }

    fn rules(&mut self, policy: &Policy, used: &BTreeSet<u32>) {
        let mut changed: BTreeSet<u32> = self.used.symmetric_difference(used).copied().collect();
        for item in self.policy.rulesets.diff(&policy.rulesets) {
            let number = match item {
                DiffItem::Add(number, _) | DiffItem::Remove(number, _) | DiffItem::Update { new: (number, _), .. } => {
                    number
                }
            };
            if used.contains(number) {
                changed.insert(*number);
            }
        }
        if !self.desired.refused.is_empty() {
            return self.all_rules(policy, used);
        }
        let entries = |number: &u32, ruleset: Option<&Arc<Ruleset>>| {
            ruleset.map(|ruleset| rules_of(*number, ruleset)).unwrap_or_default()
        };
        let rules = &mut self.desired.bank.rules;
        for number in &changed {
            let old = self.policy.rulesets.get(number).filter(|_| self.used.contains(number));
            let new = policy.rulesets.get(number).filter(|_| used.contains(number));
            let (old, new) = (entries(number, old), entries(number, new));
            old.keys().filter(|key| !new.contains_key(key)).for_each(|key| _ = rules.remove(key));
            for (key, value) in new.into_iter().filter(|(key, value)| old.get(key) != Some(value)) {
                rules.insert(key, value);
            }
        }
        if rules.len() > RULE_ROOM {
            self.all_rules(policy, used);
        }
    }

    /// Where some find no room, the order of rulesets counts.
    fn all_rules(&mut self, policy: &Policy, used: &BTreeSet<u32>) {
        (self.desired.bank.rules, self.desired.refused) = compile::rules(policy, used);
    }
}
