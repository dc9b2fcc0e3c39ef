//! Rulesets: the policies of a pod put together, with peers as numbers of classes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use api::Key;
use wire::fabric;

use super::classes::{Class, Classes};
use super::names::number;
use super::pods::Facts;
use super::rules::{Peer, Policy, Port, Rule, Rules, named};

/// Ports of a pod that have names.
type Named = Vec<(String, u8, u16)>;

/// What makes a ruleset: the policies, and the pod's numbers for the ports that their rules of ingress name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sort {
    policies: Vec<usize>,
    ports: Named,
}

/// Compiles every ruleset that a pod has, and says which pod has which.
pub fn compile(
    rules: &Rules,
    facts: &BTreeMap<Key, Arc<Facts>>,
    classes: &Classes,
) -> (Vec<fabric::Ruleset>, BTreeMap<Key, u32>) {
    let mut sorts: BTreeMap<Sort, Vec<&Key>> = BTreeMap::new();
    for (key, facts) in facts.iter().filter(|(_, facts)| !facts.policies.is_empty()) {
        sorts.entry(sort(rules, facts)).or_default().push(key);
    }
    let sorts: Vec<(Sort, String, Vec<&Key>)> =
        sorts.into_iter().map(|(sort, keys)| (sort.clone(), text(&sort, rules), keys)).collect();
    let numbers = number(sorts.iter().map(|(_, text, _)| text.as_str()));
    let index = Index::new(rules, classes);
    let (mut rulesets, mut of) = (Vec::new(), BTreeMap::new());
    for (sort, text, keys) in &sorts {
        let number = numbers[text.as_str()];
        of.extend(keys.iter().map(|key| ((*key).clone(), number)));
        let policies: Vec<&Policy> = sort.policies.iter().map(|index| &rules.policies[*index]).collect();
        let ingress: Vec<&Vec<Rule>> = policies.iter().filter_map(|policy| policy.ingress.as_ref()).collect();
        let egress: Vec<&Vec<Rule>> = policies.iter().filter_map(|policy| policy.egress.as_ref()).collect();
        let mut inward = Allowed::default();
        ingress.iter().copied().flatten().for_each(|rule| inward.add(rule, Some(&sort.ports), &index));
        let mut outward = Allowed::default();
        egress.iter().copied().flatten().for_each(|rule| outward.add(rule, None, &index));
        let mut list = inward.list(Side::Ingress);
        list.extend(outward.list(Side::Egress));
        let (ingress, egress) = (!ingress.is_empty(), !egress.is_empty());
        rulesets.push(fabric::Ruleset { number, ingress, egress, rules: list });
    }
    (rulesets, of)
}

fn sort(rules: &Rules, facts: &Facts) -> Sort {
    let rules_in = facts.policies.iter().flat_map(|index| rules.policies[*index].ingress.iter().flatten());
    let names: BTreeSet<(&str, u8)> = rules_in.flat_map(named).collect();
    let ports = facts.ports.iter().filter(|(name, protocol, _)| names.contains(&(name.as_str(), *protocol)));
    Sort { policies: facts.policies.clone(), ports: ports.cloned().collect() }
}

fn text(sort: &Sort, rules: &Rules) -> String {
    let mut text = String::new();
    for index in &sort.policies {
        text.push_str(&rules.policies[*index].name);
        text.push('\n');
    }
    for (name, protocol, number) in &sort.ports {
        writeln!(text, "{name}/{protocol} is {number}").expect("a String takes everything");
    }
    text
}

/// Classes by what they match.
struct Index<'a> {
    all: Vec<(&'a Class, u32)>,
    terms: Vec<Vec<usize>>,
    blocks: Vec<Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(rules: &Rules, classes: &'a Classes) -> Index<'a> {
        let all: Vec<(&Class, u32)> = classes.numbers.iter().map(|(class, number)| (class, *number)).collect();
        let mut index =
            Index { terms: vec![Vec::new(); rules.terms.len()], blocks: vec![Vec::new(); rules.blocks.len()], all };
        for (place, (class, _)) in index.all.iter().enumerate() {
            class.terms.iter().for_each(|term| index.terms[*term].push(place));
            class.blocks.iter().for_each(|block| index.blocks[*block].push(place));
        }
        index
    }

    /// The classes of a rule's peers.
    fn of(&self, peers: &[Peer]) -> BTreeSet<usize> {
        let places = peers.iter().flat_map(|peer| match peer {
            Peer::Term(term) => &self.terms[*term],
            Peer::Block(block) => &self.blocks[*block],
        });
        places.copied().collect()
    }
}

/// What one direction allows, by class; 0 is everybody.
#[derive(Default)]
struct Allowed(BTreeMap<u32, Ports>);

#[derive(Clone, Default)]
struct Ports {
    /// Any protocol.
    any: bool,
    ranges: BTreeMap<u8, Vec<(u16, u16)>>,
}

enum Side {
    Ingress,
    Egress,
}

impl Allowed {
    /// Adds a rule. `ours`: the named ports of the pod itself, if it is what is connected to; else names are the peers'.
    fn add(&mut self, rule: &Rule, ours: Option<&Named>, index: &Index<'_>) {
        let everybody = rule.peers.is_none();
        let Some(ports) = &rule.ports else {
            match &rule.peers {
                None => self.0.entry(0).or_default().any = true,
                Some(peers) => index.of(peers).into_iter().for_each(|place| {
                    self.0.entry(index.all[place].1).or_default().any = true;
                }),
            }
            return;
        };
        let places = match &rule.peers {
            None => (0..index.all.len()).collect(),
            Some(peers) => index.of(peers),
        };
        for port in ports {
            match (port, ours) {
                (Port::Range { protocol, first, last }, _) if everybody => self.put(0, *protocol, *first, *last),
                (Port::Range { protocol, first, last }, _) => {
                    places.iter().for_each(|place| self.put(index.all[*place].1, *protocol, *first, *last));
                }
                (Port::Named { protocol, name }, Some(ours)) => {
                    for number in resolve(ours, name, *protocol) {
                        if everybody {
                            self.put(0, *protocol, number, number);
                        } else {
                            places.iter().for_each(|place| self.put(index.all[*place].1, *protocol, number, number));
                        }
                    }
                }
                (Port::Named { protocol, name }, None) => {
                    for place in &places {
                        let (class, identity) = index.all[*place];
                        for number in resolve(&class.ports, name, *protocol) {
                            self.put(identity, *protocol, number, number);
                        }
                    }
                }
            }
        }
    }

    fn put(&mut self, identity: u32, protocol: u8, first: u16, last: u16) {
        self.0.entry(identity).or_default().ranges.entry(protocol).or_default().push((first, last));
    }

    /// The rules, sorted, none in another.
    fn list(self, side: Side) -> Vec<fabric::Rule> {
        let egress = matches!(side, Side::Egress);
        let rule = |identity, protocol: u8, first: u16, last: u16| fabric::Rule {
            egress,
            identity,
            protocol: protocol.into(),
            first_port: first.into(),
            last_port: last.into(),
            deny: false,
        };
        let open = self.0.get(&0).is_some_and(|ports| ports.any);
        let mut list = Vec::new();
        for (identity, ports) in self.0 {
            if open && identity != 0 {
                continue;
            }
            if ports.any {
                list.push(rule(identity, 0, 0, u16::MAX));
                continue;
            }
            for (protocol, ranges) in ports.ranges {
                list.extend(merge(ranges).into_iter().map(|(first, last)| rule(identity, protocol, first, last)));
            }
        }
        list
    }
}

fn resolve<'a>(ports: &'a Named, name: &'a str, protocol: u8) -> impl Iterator<Item = u16> + 'a {
    ports.iter().filter(move |port| port.0 == name && port.1 == protocol).map(|port| port.2)
}

/// Ranges that neither overlap nor touch.
fn merge(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.1) + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}
