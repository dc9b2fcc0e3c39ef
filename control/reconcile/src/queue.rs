//! The work queue: each key at most once, in the order of becoming due, with delays, with backoff after failures, and
//! with the barrier of a key's own writes. Deterministic: time and the View's revision come in as arguments.

use std::collections::{BTreeMap, BTreeSet};

use api::{Key, Revision};
use jiff::{SignedDuration, Timestamp};

/// How long a key waits after its nth failure in a row: `base * 2^(n-1)`, at most `cap`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the first failure.
    pub base: SignedDuration,
    /// The longest wait.
    pub cap: SignedDuration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: SignedDuration::from_millis(5), cap: SignedDuration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait after this many failures in a row.
    pub fn delay(&self, failures: u32) -> SignedDuration {
        let doublings = failures.saturating_sub(1).min(30);
        self.base.checked_mul(1 << doublings).unwrap_or(self.cap).min(self.cap)
    }
}

/// How the work on a key ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// Every write succeeded.
    Done {
        /// The highest revision that this key's writes produced, if it wrote.
        written: Option<Revision>,
        /// Look again at this time.
        requeue_at: Option<Timestamp>,
    },
    /// A write failed; some may have succeeded.
    Failed {
        /// The highest revision that this key's writes produced, if it wrote.
        written: Option<Revision>,
    },
    /// A write met a newer object: the View is behind, which is no failure.
    Conflicted {
        /// The highest revision that this key's writes produced, if it wrote.
        written: Option<Revision>,
    },
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing to do; kept only for its failures and barrier.
    Idle,
    /// Due at a time; ties go by arrival.
    Queued(Timestamp, u64),
    /// Due, but the View has not reached the barrier.
    Held,
    /// Being worked on.
    Running,
    /// Being worked on, and due again by then.
    RunningDirty,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    stage: Stage,
    failures: u32,
    barrier: Revision,
}

/// The queue of one controller. Its size is bounded by the number of keys that exist.
#[derive(Debug, Default)]
pub struct Queue {
    backoff: Backoff,
    entries: BTreeMap<Key, Entry>,
    due: BTreeSet<(Timestamp, u64, Key)>,
    held: BTreeSet<(Revision, Key)>,
    arrivals: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(backoff: Backoff) -> Queue {
        Queue { backoff, ..Queue::default() }
    }

    /// Makes a key due now.
    pub fn add(&mut self, key: Key, now: Timestamp) {
        self.add_at(key, now);
    }

    /// Makes a key due at a time, or at the earlier one it already has.
    pub fn add_at(&mut self, key: Key, at: Timestamp) {
        let entry = self.entries.entry(key.clone()).or_insert(IDLE);
        match entry.stage {
            Stage::Idle => self.enqueue(key, at),
            Stage::Queued(known, sequence) if at < known => {
                self.due.remove(&(known, sequence, key.clone()));
                self.enqueue(key, at);
            }
            Stage::Queued(..) | Stage::Held | Stage::RunningDirty => {}
            Stage::Running => entry.stage = Stage::RunningDirty,
        }
    }

    /// The next key that is due, which is then running until [`Queue::done`]. `revision` is the View's.
    pub fn pop(&mut self, now: Timestamp, revision: Revision) -> Option<Key> {
        self.release(now, revision);
        while let Some((at, _, _)) = self.due.first() {
            if *at > now {
                return None;
            }
            let (_, _, key) = self.due.pop_first().expect("the set has a first element");
            let entry = self.entries.get_mut(&key).expect("a due key has an entry");
            if entry.barrier > revision {
                entry.stage = Stage::Held;
                self.held.insert((entry.barrier, key));
                continue;
            }
            entry.stage = Stage::Running;
            return Some(key);
        }
        None
    }

    /// Ends the work on a key.
    pub fn done(&mut self, key: Key, outcome: Outcome, now: Timestamp) {
        let entry = self.entries.get_mut(&key).expect("a running key has an entry");
        let dirty = entry.stage == Stage::RunningDirty;
        let (written, next) = match outcome {
            Outcome::Done { written, requeue_at } => {
                entry.failures = 0;
                (written, if dirty { Some(now) } else { requeue_at })
            }
            Outcome::Conflicted { written } => {
                entry.failures += 1;
                (written, Some(now + self.backoff.base))
            }
            Outcome::Failed { written } => {
                entry.failures += 1;
                (written, Some(now + self.backoff.delay(entry.failures)))
            }
        };
        entry.barrier = entry.barrier.max(written.unwrap_or_default());
        entry.stage = Stage::Idle;
        match next {
            Some(at) => self.enqueue(key, at),
            None if entry.barrier == Revision::default() => {
                self.entries.remove(&key);
            }
            None => {}
        }
    }

    /// When the next key becomes due by time alone.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// How many keys are due, delayed or held.
    pub fn len(&self) -> usize {
        self.due.len() + self.held.len()
    }

    /// Whether no key is due, delayed or held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enqueue(&mut self, key: Key, at: Timestamp) {
        self.arrivals += 1;
        let entry = self.entries.get_mut(&key).expect("the caller has the entry");
        entry.stage = Stage::Queued(at, self.arrivals);
        self.due.insert((at, self.arrivals, key));
    }

    /// Makes due what the View has caught up with, and forgets barriers that it has passed.
    fn release(&mut self, now: Timestamp, revision: Revision) {
        while let Some((barrier, _)) = self.held.first() {
            if *barrier > revision {
                break;
            }
            let (_, key) = self.held.pop_first().expect("the set has a first element");
            self.enqueue(key, now);
        }
    }
}

const IDLE: Entry = Entry { stage: Stage::Idle, failures: 0, barrier: Revision(0) };

#[cfg(test)]
mod tests;
