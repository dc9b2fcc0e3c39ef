//! Escalation: whether one set of rules holds all that another one grants.

use super::rule::{ANY, Rule, path_matches, resource_matches};
use std::collections::BTreeSet;

/// Single grants looked at in one check; a role that grants more is refused by its size.
const GRANT_LIMIT: usize = 200_000;

/// What `held` does not cover of `wanted`, one grant a rule; empty if it covers all.
pub(crate) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let single = wanted.iter().flat_map(break_down).take(GRANT_LIMIT);
    single.filter(|one| !held.iter().any(|own| covers(own, one))).collect()
}

/// Rules with one group, one resource and one verb, or one URL and one verb.
fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut all = Vec::new();
    let one = |text: &String| vec![text.clone()];
    for group in &rule.groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let base = Rule { verbs: one(verb), groups: one(group), resources: one(resource), ..Rule::default() };
                if rule.names.is_empty() {
                    all.push(base);
                } else {
                    all.extend(rule.names.iter().map(|name| Rule { names: one(name), ..base.clone() }));
                }
            }
        }
    }
    for url in &rule.urls {
        all.extend(rule.verbs.iter().map(|verb| Rule { verbs: one(verb), urls: one(url), ..Rule::default() }));
    }
    all
}

/// Whether one rule holds all that another one of [`break_down`] grants.
fn covers(own: &Rule, one: &Rule) -> bool {
    let lists = |own: &[String], wanted: &[String]| wanted.iter().all(|item| own.iter().any(|o| o == ANY || o == item));
    let resources = one.resources.iter().all(|resource| {
        let subresource = resource.split_once('/').map_or("", |(_, subresource)| subresource);
        own.resources.iter().any(|own| resource_matches(own, resource, subresource))
    });
    let names = own.names.is_empty() || !one.names.is_empty() && one.names.iter().all(|name| own.names.contains(name));
    lists(&own.verbs, &one.verbs)
        && lists(&own.groups, &one.groups)
        && resources
        && names
        && one.urls.iter().all(|url| own.urls.iter().any(|own| path_matches(own, url)))
}

/// The texts of missing grants, those of one resource in one rule, sorted.
pub(crate) fn describe(missing: &[Rule]) -> Vec<String> {
    let mut joined: Vec<Rule> = Vec::new();
    for one in missing {
        let same = |other: &&mut Rule| {
            one.urls.is_empty()
                && other.urls.is_empty()
                && (&other.groups, &other.resources, &other.names) == (&one.groups, &one.resources, &one.names)
        };
        match joined.iter_mut().find(same) {
            Some(other) => {
                for verb in &one.verbs {
                    if !other.verbs.contains(verb) {
                        other.verbs.push(verb.clone());
                    }
                }
            }
            None => joined.push(one.clone()),
        }
    }
    joined.iter().map(Rule::compact).collect::<BTreeSet<_>>().into_iter().collect()
}
