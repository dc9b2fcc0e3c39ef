//! Random histories, against a model that keeps every state in full.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;
use proptest::test_runner::{Config as TestConfig, RngAlgorithm, TestRng, TestRunner};

use super::Make;
use crate::{Config, Error, Expect, Op, Revision};

const KEYS: [&str; 6] = ["/a", "/a/1", "/a/2", "/b/1", "/b/2", "/c"];
const PREFIXES: [&str; 5] = ["/", "/a", "/a/", "/b/", "/x"];
const WINDOW: usize = 12;

#[derive(Debug, Clone)]
enum Step {
    Put { key: usize, value: u8, expect: Guess },
    Delete { key: usize, expect: Guess },
    List { prefix: usize, after: Option<usize>, limit: Option<usize>, back: u64 },
    Watch { prefix: usize, back: u64 },
    Compact { back: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Guess {
    Absent,
    Current,
    Wrong,
    Any,
}

/// (value, created, modified) by key.
type Snapshot = BTreeMap<&'static str, (u8, u64, u64)>;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    let prefix = 0..PREFIXES.len();
    let guess = prop_oneof![Just(Guess::Absent), Just(Guess::Current), Just(Guess::Wrong), Just(Guess::Any)];
    let limit = proptest::option::of(0..4usize);
    let step = prop_oneof![
        5 => (key.clone(), any::<u8>(), guess.clone()).prop_map(|(key, value, expect)| Step::Put { key, value, expect }),
        3 => (key.clone(), guess).prop_map(|(key, expect)| Step::Delete { key, expect }),
        3 => (prefix.clone(), proptest::option::of(key), limit, 0..16u64)
            .prop_map(|(prefix, after, limit, back)| Step::List { prefix, after, limit, back }),
        2 => (prefix, 0..16u64).prop_map(|(prefix, back)| Step::Watch { prefix, back }),
        1 => (0..16u64).prop_map(|back| Step::Compact { back }),
    ];
    proptest::collection::vec(step, 1..60)
}

pub(super) fn check(make: Make<'_>, cases: u32) {
    let config = TestConfig { cases, failure_persistence: None, ..TestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&steps(), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(make, &steps));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

async fn run(make: Make<'_>, steps: &[Step]) {
    let store = make(Config { window_events: WINDOW, ..Config::default() });
    // states[r - 1] is the state at revision r; writes[r - 2] the key that revision r wrote.
    let mut states: Vec<Snapshot> = vec![Snapshot::new()];
    let mut writes: Vec<&'static str> = Vec::new();
    let mut compacted = 1u64;
    let mut watches = Vec::new();
    for step in steps {
        let revision = states.len() as u64;
        let now = states.last().unwrap().clone();
        match *step {
            Step::Put { key, expect, .. } | Step::Delete { key, expect } => {
                let key = KEYS[key];
                let current = now.get(key).copied();
                let (expect, holds) = guess(expect, current);
                let (op, value) = match *step {
                    Step::Put { value, .. } => (Op::Put(Bytes::from(vec![value])), Some(value)),
                    _ => (Op::Delete, None),
                };
                let written = store.commit(key, expect, op).await;
                if holds && (value.is_some() || current.is_some()) {
                    assert_eq!(written.unwrap(), Revision(revision + 1));
                    let mut next = now;
                    match value {
                        Some(value) => {
                            let created = current.map_or(revision + 1, |(_, created, _)| created);
                            next.insert(key, (value, created, revision + 1))
                        }
                        None => next.remove(key),
                    };
                    states.push(next);
                    writes.push(key);
                    compacted = compacted.max((revision + 1).saturating_sub(WINDOW as u64));
                } else {
                    let Err(Error::Conflict { current: found }) = written else { panic!("no conflict: {written:?}") };
                    assert_eq!(found.map(|entry| entry.modified.0), current.map(|(.., modified)| modified));
                }
            }
            Step::List { prefix, after, limit, back } => {
                let at = revision.saturating_sub(back).max(1);
                let after = after.map(|key| KEYS[key]);
                let listing = store.list(PREFIXES[prefix], after, limit, Some(Revision(at))).await;
                if at < compacted {
                    assert!(matches!(listing, Err(Error::Compacted { .. })), "{listing:?}");
                    continue;
                }
                let listing = listing.unwrap();
                let matching: Vec<_> = states[at as usize - 1]
                    .iter()
                    .filter(|(key, _)| key.starts_with(PREFIXES[prefix]) && after.is_none_or(|after| **key > after))
                    .collect();
                let limit = limit.unwrap_or(usize::MAX).min(matching.len());
                let found: Vec<_> = listing
                    .entries
                    .iter()
                    .map(|entry| (&*entry.key, (entry.value[0], entry.created.0, entry.modified.0)))
                    .collect();
                let wanted: Vec<_> = matching[..limit].iter().map(|(key, value)| (**key, **value)).collect();
                assert_eq!(found, wanted);
                assert_eq!(listing.remaining, matching.len() - limit);
                assert_eq!(listing.more, listing.remaining > 0);
            }
            Step::Watch { prefix, back } => {
                let after = revision.saturating_sub(back).max(1);
                match store.watch(PREFIXES[prefix], Revision(after)) {
                    Ok(watch) => {
                        assert!(after >= compacted);
                        watches.push((PREFIXES[prefix], after, watch));
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Compacted { .. }) && after < compacted, "{error}");
                    }
                }
            }
            Step::Compact { back } => {
                let upto = revision.saturating_sub(back).max(1);
                store.compact(Revision(upto)).await.unwrap();
                compacted = compacted.max(upto);
            }
        }
        assert_eq!(store.revision().0, states.len() as u64);
        assert_eq!(store.compacted().0, compacted);
    }
    for (prefix, after, mut watch) in watches {
        for revision in after + 1..=states.len() as u64 {
            let key = writes[revision as usize - 2];
            if !key.starts_with(prefix) {
                continue;
            }
            let event = watch.next().now_or_never().flatten().unwrap().unwrap();
            assert_eq!((&*event.key, event.revision.0), (key, revision));
            let before = states[revision as usize - 2].get(key);
            let after = states[revision as usize - 1].get(key);
            let prev = event.prev.as_ref().map(|prev| (prev.value[0], prev.created.0, prev.modified.0));
            assert_eq!(prev, before.copied());
            assert_eq!(event.value.as_ref().map(|value| value[0]), after.map(|(value, ..)| *value));
        }
        assert!(watch.next().now_or_never().is_none(), "nothing more");
    }
}

/// The expectation and whether it holds.
fn guess(guess: Guess, current: Option<(u8, u64, u64)>) -> (Expect, bool) {
    let modified = current.map_or(1, |(.., modified)| modified);
    match guess {
        Guess::Absent => (Expect::Absent, current.is_none()),
        Guess::Current => (Expect::Revision(Revision(modified)), current.is_some()),
        Guess::Wrong => (Expect::Revision(Revision(modified + 1)), false),
        Guess::Any => (Expect::Any, true),
    }
}
