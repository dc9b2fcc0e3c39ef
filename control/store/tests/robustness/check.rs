//! Decides whether a history is one that a correct store can have.
//!
//! Revisions make this cheap: every write has its own, so the order of writes is known, and what remains is whether
//! each call can take its place in it. A call takes effect at a revision no earlier than that of any call answered
//! before it was made; taking the earliest one that explains its answer leaves the most room to all later calls, so one
//! pass in the order of answers decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::{AddAssign, Bound};

use crate::record::{Answer, Call, Expected, Found, Record};

/// What was checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub calls: usize,
    pub writes: usize,
    pub events: usize,
    pub watches: usize,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, more: Summary) {
        self.calls += more.calls;
        self.writes += more.writes;
        self.events += more.events;
        self.watches += more.watches;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { calls, writes, events, watches } = self;
        write!(f, "{calls} calls, {writes} writes, {events} events on {watches} watches")
    }
}

/// A write: key and value, `None` deletes.
type Write = (String, Option<String>);

/// Everything that is known of one history's writes.
struct Known {
    start: u64,
    writes: BTreeMap<u64, Write>,
    /// Revision to value, by key; what was there at the start included.
    keys: HashMap<String, BTreeMap<u64, Option<String>>>,
    /// Position of the record that asked for the value.
    asked: HashMap<String, usize>,
    /// Keys with a deletion, and with any write, that has no known answer.
    loose_deletes: BTreeSet<String>,
    loose_writes: usize,
}

fn key_of(call: &Call) -> &str {
    match call {
        Call::Put { key, .. } | Call::Delete { key, .. } | Call::Get { key } => key,
        Call::List { prefix, .. } => prefix,
    }
}

fn calls(records: &[Record]) -> HashMap<u64, (usize, &Call)> {
    let called = records.iter().enumerate().filter_map(|(at, record)| match record {
        Record::Called { id, call } => Some((*id, (at, call))),
        _ => None,
    });
    called.collect()
}

impl Known {
    fn of(records: &[Record]) -> Result<Known, String> {
        let Some(Record::Opened { revision: start, entries }) =
            records.iter().find(|record| matches!(record, Record::Opened { .. }))
        else {
            return Err("the history does not begin".to_owned());
        };
        let calls = calls(records);
        let mut known = Known {
            start: *start,
            writes: BTreeMap::new(),
            keys: HashMap::new(),
            asked: HashMap::new(),
            loose_deletes: BTreeSet::new(),
            loose_writes: 0,
        };
        for (key, (value, modified)) in entries {
            known.keys.entry(key.clone()).or_default().insert(*modified, Some(value.clone()));
        }
        let mut loose: BTreeMap<u64, &Call> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Called { id, call } => {
                    if let Call::Put { value, .. } = call {
                        known.asked.insert(value.clone(), at);
                    }
                    if matches!(call, Call::Put { .. } | Call::Delete { .. }) {
                        loose.insert(*id, call);
                    }
                }
                Record::Answered { id, answer } => {
                    let (_, call) = calls[id];
                    if *answer != Answer::Unknown {
                        loose.remove(id);
                    }
                    match (answer, call) {
                        (Answer::Written(revision), Call::Put { key, value, .. }) => {
                            known.add(*revision, key, Some(value))?;
                        }
                        (Answer::Written(revision), Call::Delete { key, .. }) => known.add(*revision, key, None)?,
                        (Answer::Conflict(Some(found)) | Answer::Entry(Some(found)), call) => {
                            known.see(key_of(call), found)?;
                        }
                        (Answer::Listing { entries, .. }, _) => {
                            for (key, found) in entries {
                                known.see(key, found)?;
                            }
                        }
                        _ => {}
                    }
                }
                Record::Event { revision, key, value, .. } => known.add(*revision, key, value.as_ref())?,
                Record::Opened { .. } | Record::Watching { .. } | Record::Progress { .. } | Record::Refused { .. } => {}
            }
        }
        known.loose_writes = loose.len();
        known.loose_deletes = loose
            .values()
            .filter(|call| matches!(call, Call::Delete { .. }))
            .map(|call| key_of(call).to_owned())
            .collect();
        let last = known.writes.last_key_value().map_or(known.start, |(last, _)| *last);
        let holes = usize::try_from(last - known.start).expect("small") - known.writes.len();
        if holes > known.loose_writes {
            return Err(format!("{holes} revisions that no write explains, {} writes unanswered", known.loose_writes));
        }
        Ok(known)
    }

    fn add(&mut self, revision: u64, key: &str, value: Option<&String>) -> Result<(), String> {
        let write = (key.to_owned(), value.cloned());
        if revision <= self.start {
            return Err(format!("{write:?} at {revision}, before the start at {}", self.start));
        }
        if let Some(other) = self.writes.insert(revision, write.clone())
            && other != write
        {
            return Err(format!("revision {revision} is {other:?} and {write:?}"));
        }
        self.keys.entry(write.0).or_default().insert(revision, write.1);
        Ok(())
    }

    fn see(&mut self, key: &str, (value, modified): &Found) -> Result<(), String> {
        if *modified > self.start {
            return self.add(*modified, key, Some(value));
        }
        match self.keys.get(key).and_then(|writes| writes.get(modified)) {
            Some(Some(there)) if there == value => Ok(()),
            other => Err(format!("{key} was read as {value} of {modified}, but was {other:?}")),
        }
    }

    /// The last write to the key up to `revision`.
    fn at(&self, key: &str, revision: u64) -> Option<(u64, Option<&String>)> {
        let (at, value) = self.keys.get(key)?.range(..=revision).next_back()?;
        Some((*at, value.as_ref()))
    }

    /// The first write to the key after `revision`.
    fn next(&self, key: &str, revision: u64) -> Option<u64> {
        let writes = self.keys.get(key)?;
        writes.range((Bound::Excluded(revision), Bound::Unbounded)).next().map(|(at, _)| *at)
    }

    /// The earliest revision from `floor` on at which a read of the key can have shown `found`.
    fn explain(&self, key: &str, found: Option<&Found>, floor: u64) -> Option<u64> {
        match found {
            Some((_, modified)) => {
                let earliest = floor.max(*modified);
                self.next(key, *modified).is_none_or(|next| earliest < next).then_some(earliest)
            }
            None => {
                let mut revision = floor;
                loop {
                    match self.at(key, revision) {
                        None | Some((_, None)) => return Some(revision),
                        // A deletion that nobody answered may have been.
                        Some((_, Some(_))) if self.loose_deletes.contains(key) => return Some(revision),
                        Some((_, Some(_))) => revision = self.next(key, revision)?,
                    }
                }
            }
        }
    }
}

/// Checks one history of one process.
pub fn life(records: &[Record]) -> Result<Summary, String> {
    let known = Known::of(records)?;
    let summary = linearizable(records, &known)?;
    let (events, watches) = watches(records, &known)?;
    Ok(Summary { events, watches, ..summary })
}

fn linearizable(records: &[Record], known: &Known) -> Result<Summary, String> {
    // The latest position at which any write up to a revision was asked for.
    let mut asked_by: BTreeMap<u64, usize> = BTreeMap::new();
    let mut latest = 0;
    for (revision, (_, value)) in &known.writes {
        let asked = value.as_ref().map_or(Some(0), |value| known.asked.get(value).copied());
        latest = latest.max(asked.ok_or_else(|| format!("nobody wrote {value:?} of {revision}"))?);
        asked_by.insert(*revision, latest);
    }
    let calls = calls(records);
    let mut floors: HashMap<u64, u64> = HashMap::new();
    let mut floor = known.start;
    let mut summary = Summary::default();
    for (at, record) in records.iter().enumerate() {
        let (id, answer) = match record {
            Record::Called { id, .. } => {
                floors.insert(*id, floor);
                continue;
            }
            Record::Answered { id, answer } => (id, answer),
            _ => continue,
        };
        let (_, call) = calls[id];
        let lowest = floors[id];
        let wrong = |why: &str| Err(format!("{why}: {call:?} -> {answer:?}, made at or after revision {lowest}"));
        let effect = match (answer, call) {
            (Answer::Written(revision), Call::Put { key, expect, .. } | Call::Delete { key, expect }) => {
                summary.writes += 1;
                if *revision <= lowest {
                    return wrong("a write before what was known");
                }
                let before = known.at(key, revision - 1).and_then(|(at, value)| value.map(|_| at));
                let holds = match expect {
                    Expected::Any => true,
                    Expected::Absent => before.is_none() || known.loose_deletes.contains(key),
                    Expected::Revision(expected) => before == Some(*expected),
                };
                if !holds {
                    return wrong("the expectation did not hold");
                }
                Some(*revision)
            }
            (Answer::Conflict(found), Call::Put { key, expect, .. } | Call::Delete { key, expect }) => {
                let held = match (expect, found, call) {
                    (Expected::Absent, None, Call::Put { .. }) | (Expected::Any, None, Call::Put { .. }) => true,
                    (Expected::Any, Some(_), _) => true,
                    (Expected::Revision(expected), Some((_, modified)), _) => expected == modified,
                    _ => false,
                };
                if held {
                    return wrong("a conflict where the expectation holds");
                }
                known.explain(key, found.as_ref(), lowest)
            }
            (Answer::Entry(found), Call::Get { key }) => known.explain(key, found.as_ref(), lowest),
            (Answer::Listing { revision, entries }, Call::List { prefix, at }) => {
                listing(known, prefix, *revision, entries)?;
                match at {
                    Some(asked) if asked != revision => return wrong("not the revision that was asked for"),
                    // A list of the past says nothing of the present, but that its revision was reached.
                    Some(_) => Some(lowest.max(*revision)),
                    None => (*revision >= lowest).then_some(*revision),
                }
            }
            (Answer::Compacted | Answer::Failed | Answer::Unknown, _) => continue,
            _ => return wrong("an answer to another call"),
        };
        let Some(effect) = effect else { return wrong("no place in the order of writes") };
        if asked_by.range(..=effect).next_back().is_some_and(|(_, asked)| *asked > at) {
            return wrong("shows a write that nobody had asked for yet");
        }
        floor = floor.max(effect);
        summary.calls += 1;
    }
    Ok(summary)
}

/// A list shows exactly what its revision has.
fn listing(known: &Known, prefix: &str, revision: u64, entries: &[(String, Found)]) -> Result<(), String> {
    if revision < known.start {
        return Ok(());
    }
    let shown: BTreeMap<&str, u64> = entries.iter().map(|(key, (_, modified))| (key.as_str(), *modified)).collect();
    if !entries.iter().is_sorted_by(|one, next| one.0 < next.0) {
        return Err(format!("a list at {revision} is out of order"));
    }
    for key in known.keys.keys().filter(|key| key.starts_with(prefix)) {
        let there = known.at(key, revision).and_then(|(at, value)| value.map(|_| at));
        let shown = shown.get(key.as_str()).copied();
        if there != shown && !(shown.is_none() && known.loose_deletes.contains(key)) {
            return Err(format!("a list at {revision} shows {key} of {shown:?}, it was of {there:?}"));
        }
    }
    Ok(())
}

/// One watch, as it was seen.
struct Seen<'a> {
    prefix: &'a str,
    after: u64,
    /// Everything up to here was delivered.
    upto: u64,
    last: u64,
    delivered: BTreeSet<u64>,
}

/// Ordered, unique, reliable, atomic, resumable, bookmarkable.
fn watches(records: &[Record], known: &Known) -> Result<(usize, usize), String> {
    let mut seen: BTreeMap<u64, Seen<'_>> = BTreeMap::new();
    let mut events = 0;
    for record in records {
        match record {
            Record::Watching { watch, prefix, after } => {
                let fresh = Seen { prefix, after: *after, upto: *after, last: *after, delivered: BTreeSet::new() };
                seen.insert(*watch, fresh);
            }
            Record::Event { watch, revision, key, prev, .. } => {
                events += 1;
                let seen = seen.get_mut(watch).ok_or("an event of no watch")?;
                if *revision <= seen.last || *revision <= seen.upto {
                    return Err(format!("watch {watch}: {revision} after {} (progress {})", seen.last, seen.upto));
                }
                if !key.starts_with(seen.prefix) {
                    return Err(format!("watch {watch} of {}: {key}", seen.prefix));
                }
                let before = known.at(key, revision - 1).and_then(|(at, value)| value.map(|_| at));
                if *prev != before && !(prev.is_none() && known.loose_deletes.contains(key)) {
                    return Err(format!("{key} at {revision} follows {prev:?}, it should follow {before:?}"));
                }
                seen.last = *revision;
                seen.delivered.insert(*revision);
            }
            Record::Progress { watch, revision } => {
                let seen = seen.get_mut(watch).ok_or("progress of no watch")?;
                if *revision < seen.last {
                    return Err(format!("watch {watch}: progress {revision} after event {}", seen.last));
                }
                seen.upto = seen.upto.max(*revision);
            }
            Record::Refused { after, compacted } if after >= compacted => {
                return Err(format!("a watch after {after} was refused, compacted is {compacted}"));
            }
            Record::Refused { .. } | Record::Opened { .. } | Record::Called { .. } | Record::Answered { .. } => {}
        }
    }
    for (watch, seen) in &seen {
        let upto = seen.upto.max(seen.last);
        for (revision, (key, _)) in known.writes.range((Bound::Excluded(seen.after), Bound::Included(upto))) {
            if key.starts_with(seen.prefix) && !seen.delivered.contains(revision) {
                return Err(format!("watch {watch} after {} missed {key} at {revision}", seen.after));
            }
        }
    }
    Ok((events, seen.len()))
}

/// What a process was told is written is there for the next.
pub fn survived(before: &[Record], next: &[Record]) -> Result<(), String> {
    let known = Known::of(before)?;
    let Some(Record::Opened { revision, entries }) = next.iter().find(|record| matches!(record, Record::Opened { .. }))
    else {
        return Err("the history does not begin".to_owned());
    };
    let last = known.writes.last_key_value().map_or(known.start, |(last, _)| *last);
    if *revision < last || *revision > last + known.loose_writes as u64 {
        return Err(format!("{revision} after {last} with {} writes unanswered", known.loose_writes));
    }
    let found: BTreeMap<&str, &Found> = entries.iter().map(|(key, found)| (key.as_str(), found)).collect();
    for (key, (value, modified)) in &found {
        let expected = known.at(key, u64::MAX);
        let same = expected.is_some_and(|(at, there)| at == *modified && there == Some(value));
        let unanswered = *modified > last && known.asked.contains_key(value);
        if !same && !unanswered {
            return Err(format!("{key} is {value} of {modified}, it was {expected:?}"));
        }
    }
    for key in known.keys.keys() {
        let there = known.at(key, u64::MAX).is_some_and(|(_, value)| value.is_some());
        if there && !found.contains_key(key.as_str()) && !known.loose_deletes.contains(key) {
            return Err(format!("{key} is lost"));
        }
    }
    Ok(())
}

/// Histories that must be refused, and one that must not.
pub fn sees_violations() {
    let opened = || Record::Opened { revision: 1, entries: Vec::new() };
    let put = |id, expect| Record::Called { id, call: Call::Put { key: "/a".into(), value: format!("v{id}"), expect } };
    let get = |id| Record::Called { id, call: Call::Get { key: "/a".into() } };
    let list = |id| Record::Called { id, call: Call::List { prefix: "/".into(), at: None } };
    let answered = |id, answer| Record::Answered { id, answer };
    let written = |id, revision| answered(id, Answer::Written(revision));
    let entry = |id, found: Option<(&str, u64)>| {
        answered(id, Answer::Entry(found.map(|(value, revision)| (value.to_owned(), revision))))
    };
    let watching = |watch, after| Record::Watching { watch, prefix: "/".into(), after };
    let event = |watch, revision, value: &str, prev| Record::Event {
        watch,
        revision,
        key: "/a".into(),
        value: Some(value.to_owned()),
        prev,
    };
    let any = Expected::Any;
    let two = || vec![opened(), put(1, any), written(1, 2), put(2, any), written(2, 3)];
    let with = |more: Vec<Record>| [two(), more].concat();
    assert!(life(&with(vec![get(3), entry(3, Some(("v2", 3)))])).is_ok());
    let concurrent = vec![opened(), put(1, any), get(3), written(1, 2), entry(3, None)];
    assert!(life(&concurrent).is_ok(), "a read beside a write may miss it");
    for (why, wrong) in [
        ("stale read", with(vec![get(3), entry(3, Some(("v1", 2)))])),
        ("lost write", with(vec![get(3), entry(3, None)])),
        ("a value nobody wrote", with(vec![get(3), entry(3, Some(("v9", 4)))])),
        ("two writes at one revision", with(vec![put(3, any), written(3, 3)])),
        ("an absent key that was there", with(vec![put(3, Expected::Absent), written(3, 4)])),
        ("a revision that is skipped", with(vec![put(3, any), written(3, 5)])),
        (
            "a list without an entry",
            with(vec![list(3), answered(3, Answer::Listing { revision: 3, entries: Vec::new() })]),
        ),
        ("an event twice", with(vec![watching(9, 1), event(9, 2, "v1", None), event(9, 2, "v1", None)])),
        ("events out of order", with(vec![watching(9, 1), event(9, 3, "v2", Some(2)), event(9, 2, "v1", None)])),
        ("a gap", with(vec![watching(9, 1), event(9, 3, "v2", Some(2))])),
        ("another predecessor", with(vec![watching(9, 2), event(9, 3, "v2", None)])),
        (
            "progress before its events",
            with(vec![watching(9, 1), Record::Progress { watch: 9, revision: 3 }, event(9, 2, "v1", None)]),
        ),
        ("progress past what was missed", with(vec![watching(9, 1), Record::Progress { watch: 9, revision: 3 }])),
        ("a needless refusal", with(vec![Record::Refused { after: 3, compacted: 2 }])),
    ] {
        assert!(life(&wrong).is_err(), "{why} is not noticed");
    }
    let lost = vec![Record::Opened { revision: 3, entries: Vec::new() }];
    assert!(survived(&two(), &lost).is_err(), "a lost write is not noticed");
}
