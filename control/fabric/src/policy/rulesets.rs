//! Rulesets: the policies of a pod put together, with peers as numbers of classes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use imbl::OrdMap;
use wire::fabric;

use super::classes::{Class, Classes};
use super::flat::{self, Mark, Region, Table};
use super::names::number;
use super::pods::Facts;
use super::rules::{Peer, Port, Rule, Rules, named};
use super::tiers::{Action, Tier};

/// Ports of a pod that have names.
type Named = Vec<(String, u8, u16)>;

/// What makes a ruleset: the policies, and the pod's numbers for the ports that their rules of ingress name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sort {
    policies: Vec<usize>,
    tiers: Vec<usize>,
    ports: Named,
}

/// Compiles every ruleset that a pod has, and numbers and counts them.
pub fn compile<'a>(
    rules: &Rules,
    facts: impl Iterator<Item = &'a Facts>,
    classes: &Classes,
) -> (Vec<fabric::Ruleset>, OrdMap<Sort, (u32, usize)>) {
    let mut sorts: BTreeMap<Sort, usize> = BTreeMap::new();
    facts.filter_map(|facts| sort(rules, facts)).for_each(|sort| *sorts.entry(sort).or_default() += 1);
    let sorts: Vec<(Sort, String, usize)> =
        sorts.into_iter().map(|(sort, pods)| (sort.clone(), text(&sort, rules), pods)).collect();
    let numbers = number(sorts.iter().map(|(_, text, _)| text.as_str()));
    let index = Index::new(rules, classes);
    let mut rulesets = Vec::new();
    for (sort, text, _) in &sorts {
        let number = numbers[text.as_str()];
        let inward = direction(sort, rules, &index, Side::Ingress);
        let outward = direction(sort, rules, &index, Side::Egress);
        let (ingress, egress) = (inward.is_some(), outward.is_some());
        let list = inward.into_iter().chain(outward).flatten().collect();
        rulesets.push(fabric::Ruleset { number, ingress, egress, rules: list });
    }
    (rulesets, sorts.iter().map(|(sort, text, pods)| (sort.clone(), (numbers[text.as_str()], *pods))).collect())
}

/// What the policies come to in one direction, tier after tier; `None` if none of them says anything of it.
fn direction(sort: &Sort, rules: &Rules, index: &Index<'_>, side: Side) -> Option<Vec<fabric::Rule>> {
    let tier = |tier| {
        let policies = sort.tiers.iter().map(|index| &rules.tiers[*index]).filter(move |policy| policy.tier == tier);
        policies.flat_map(move |policy| match side {
            Side::Ingress => &policy.ingress,
            Side::Egress => &policy.egress,
        })
    };
    let policies = sort.policies.iter().map(|index| &rules.policies[*index]).filter_map(|policy| match side {
        Side::Ingress => policy.ingress.as_ref(),
        Side::Egress => policy.egress.as_ref(),
    });
    let policies: Vec<&Vec<Rule>> = policies.collect();
    if policies.is_empty() && tier(Tier::Admin).chain(tier(Tier::Baseline)).next().is_none() {
        return None;
    }
    let mut ground = Ground::new(index, matches!(side, Side::Ingress).then_some(&sort.ports));
    tier(Tier::Admin).for_each(|ranked| ground.decide(&ranked.rule, mark(ranked.action)));
    ground.replace(Mark::Passed, Mark::Open);
    if policies.is_empty() {
        tier(Tier::Baseline).for_each(|ranked| ground.decide(&ranked.rule, mark(ranked.action)));
        ground.replace(Mark::Passed, Mark::Allow);
        ground.replace(Mark::Open, Mark::Allow);
    } else {
        // A pod that a namespace's policy selects is denied what none of them allows.
        policies.into_iter().flatten().for_each(|rule| ground.decide(rule, Mark::Allow));
        ground.replace(Mark::Open, Mark::Deny);
    }
    Some(ground.list(side))
}

fn mark(action: Action) -> Mark {
    match action {
        Action::Allow => Mark::Allow,
        Action::Deny => Mark::Deny,
        Action::Pass => Mark::Passed,
    }
}

/// What a pod's ruleset is made of; `None` if no policy selects it.
pub fn sort(rules: &Rules, facts: &Facts) -> Option<Sort> {
    if facts.policies.is_empty() && facts.tiers.is_empty() {
        return None;
    }
    let rules_in = facts.policies.iter().flat_map(|index| rules.policies[*index].ingress.iter().flatten());
    let tiers_in = facts.tiers.iter().flat_map(|index| &rules.tiers[*index].ingress).map(|ranked| &ranked.rule);
    let names: BTreeSet<(&str, u8)> = rules_in.chain(tiers_in).flat_map(named).collect();
    let ports = facts.ports.iter().filter(|(name, protocol, _)| names.contains(&(name.as_str(), *protocol)));
    Some(Sort { policies: facts.policies.clone(), tiers: facts.tiers.clone(), ports: ports.cloned().collect() })
}

fn text(sort: &Sort, rules: &Rules) -> String {
    let mut text = String::new();
    for index in &sort.policies {
        text.push_str(&rules.policies[*index].name);
        text.push('\n');
    }
    for index in &sort.tiers {
        text.push_str(&rules.tiers[*index].name);
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

#[derive(Clone, Copy)]
enum Side {
    Ingress,
    Egress,
}

/// What one direction comes to. A peer of no class is everybody else.
struct Ground<'a> {
    index: &'a Index<'a>,
    /// The named ports of the pod itself, if it is what is connected to; else names are the peers'.
    ours: Option<&'a Named>,
    everybody: Table,
    /// Classes by their places that rules have singled out.
    classes: BTreeMap<usize, Table>,
}

impl<'a> Ground<'a> {
    fn new(index: &'a Index<'a>, ours: Option<&'a Named>) -> Ground<'a> {
        Ground { index, ours, everybody: Table::all(Mark::Open), classes: BTreeMap::new() }
    }

    /// Lets a rule take what is still open.
    fn decide(&mut self, rule: &Rule, mark: Mark) {
        let places = rule.peers.as_ref().map(|peers| self.index.of(peers));
        let Some(ports) = &rule.ports else { return self.mark(places.as_ref(), Region::Everything, mark) };
        for port in ports {
            match (port, self.ours) {
                (Port::Range { protocol, first, last }, _) => {
                    let region = Region::Ports { protocol: *protocol, first: *first, last: *last };
                    self.mark(places.as_ref(), region, mark);
                }
                (Port::Named { protocol, name }, Some(ours)) => {
                    for port in resolve(ours, name, *protocol) {
                        self.mark(places.as_ref(), one(*protocol, port), mark);
                    }
                }
                (Port::Named { protocol, name }, None) => {
                    let everybody = || (0..self.index.all.len()).collect();
                    for place in places.clone().unwrap_or_else(everybody) {
                        for port in resolve(&self.index.all[place].0.ports, name, *protocol) {
                            self.mark(Some(&BTreeSet::from([place])), one(*protocol, port), mark);
                        }
                    }
                }
            }
        }
    }

    /// Marks what is open for some classes, or for everybody.
    fn mark(&mut self, places: Option<&BTreeSet<usize>>, region: Region, mark: Mark) {
        match places {
            None => {
                let tables = self.classes.values_mut().chain([&mut self.everybody]);
                tables.for_each(|table| table.decide(region, mark));
            }
            Some(places) => places.iter().for_each(|place| {
                let table = self.classes.entry(*place).or_insert_with(|| self.everybody.clone());
                table.decide(region, mark);
            }),
        }
    }

    fn replace(&mut self, old: Mark, new: Mark) {
        let tables = self.classes.values_mut().chain([&mut self.everybody]);
        tables.for_each(|table| table.replace(old, new));
    }

    /// The rules by class; those of everybody first.
    fn list(&self, side: Side) -> Vec<fabric::Rule> {
        let egress = matches!(side, Side::Egress);
        let mut list = Vec::new();
        let mut add = |identity, entries: Vec<flat::Entry>| {
            list.extend(entries.into_iter().map(|(protocol, first, last, deny)| fabric::Rule {
                egress,
                identity,
                protocol: protocol.into(),
                first_port: first.into(),
                last_port: last.into(),
                deny,
            }));
        };
        add(0, flat::rules(&self.everybody, &Table::all(Mark::Deny)));
        for (place, table) in self.classes.iter().filter(|(_, table)| **table != self.everybody) {
            add(self.index.all[*place].1, flat::rules(table, &self.everybody));
        }
        list
    }
}

fn one(protocol: u8, port: u16) -> Region {
    Region::Ports { protocol, first: port, last: port }
}

fn resolve<'a>(ports: &'a Named, name: &'a str, protocol: u8) -> impl Iterator<Item = u16> + 'a {
    ports.iter().filter(move |port| port.0 == name && port.1 == protocol).map(|port| port.2)
}
