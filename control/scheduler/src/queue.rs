//! Which pod is next. A pod that no node could take waits until something changes that may help it, and at least its
//! backoff.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use api::Key;
use cache::{Change, Kind, Object, Uid};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::DEFAULT_SCHEDULER;

/// The wait after the first failed attempt; it doubles with each.
pub const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(1);
/// The longest wait.
pub const LAST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);
/// A pod is tried again after this long even if nothing seems to help it.
pub const FLUSH: SignedDuration = SignedDuration::from_secs(300);

/// Where a pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Next in its turn.
    Active,
    /// To become active at a time.
    Waiting(Timestamp),
    /// No node can take it; to become active when something changes, or at the time.
    Unschedulable(Timestamp),
    /// Being bound.
    Binding,
}

#[derive(Clone, Debug)]
struct Entry {
    stage: Stage,
    uid: Uid,
    priority: i32,
    arrival: u64,
    attempts: u32,
    /// Not before this time.
    not_before: Timestamp,
}

/// The pods that wait for a node. Bounded by the number of unbound pods.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Key, Entry>,
    active: BTreeSet<(Reverse<i32>, u64, Key)>,
    timed: BTreeSet<(Timestamp, Key)>,
    arrivals: u64,
}

impl Queue {
    /// Follows one change of the View: pods come and go, and what changed may help others.
    pub fn apply(&mut self, change: &Change, now: Timestamp) {
        match (change.kind, &change.old, &change.new) {
            (Kind::Pod, old, Some(pod)) => match waits(pod) {
                Some(priority) => self.see(pod, priority, now),
                None => {
                    self.remove(&change.key);
                    if old.as_ref().is_some_and(takes_room) && !takes_room(pod) {
                        self.wake(now);
                    }
                }
            },
            (Kind::Pod, Some(pod), None) => {
                self.remove(&change.key);
                if takes_room(pod) {
                    self.wake(now);
                }
            }
            (Kind::Node, None, Some(_)) => self.wake(now),
            (Kind::Node, Some(old), Some(new)) if helps(old, new) => self.wake(now),
            _ => {}
        }
    }

    /// The next pod to decide on: the highest priority first, then by arrival. It is then being bound, until
    /// [`Queue::unschedulable`], [`Queue::failed`], or until the View shows it bound.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        while self.timed.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.timed.pop_first().expect("the set has a first element");
            self.activate(&key);
        }
        let (_, _, key) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&key).expect("an active pod has an entry");
        entry.stage = Stage::Binding;
        entry.attempts += 1;
        Some(key)
    }

    /// No node can take the pod.
    pub fn unschedulable(&mut self, key: &Key, now: Timestamp) {
        self.put_back(key, now, |entry, now| {
            entry.not_before = now + backoff(entry.attempts);
            Stage::Unschedulable(now + FLUSH)
        });
    }

    /// The pod could not be bound: try again after its backoff.
    pub fn failed(&mut self, key: &Key, now: Timestamp) {
        self.put_back(key, now, |entry, now| {
            entry.not_before = now + backoff(entry.attempts);
            Stage::Waiting(entry.not_before)
        });
    }

    /// When the next pod becomes active by time alone.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timed.first().map(|(at, _)| *at)
    }

    /// How many pods wait in all.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn see(&mut self, pod: &Object, priority: i32, now: Timestamp) {
        let key = &pod.key();
        if self.entries.get(key).is_some_and(|entry| entry.uid == *pod.uid()) {
            // Its status changes by our own condition too, so a change of the pod wakes nobody.
            return;
        }
        self.remove(key);
        self.arrivals += 1;
        let entry = Entry {
            stage: Stage::Waiting(now),
            uid: pod.uid().clone(),
            priority,
            arrival: self.arrivals,
            attempts: 0,
            not_before: now,
        };
        self.entries.insert(key.clone(), entry);
        self.activate(key);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.unlink(key, &entry);
        }
    }

    fn put_back(&mut self, key: &Key, now: Timestamp, stage: impl FnOnce(&mut Entry, Timestamp) -> Stage) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.stage != Stage::Binding {
            return;
        }
        entry.stage = stage(entry, now);
        if let Stage::Waiting(at) | Stage::Unschedulable(at) = entry.stage {
            self.timed.insert((at, key.clone()));
        }
    }

    /// Something changed that may help: every unschedulable pod is tried again once its backoff is over.
    fn wake(&mut self, now: Timestamp) {
        let stuck: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.stage, Stage::Unschedulable(_)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in stuck {
            let entry = self.entries.get_mut(&key).expect("the key was just listed");
            let not_before = entry.not_before;
            let old = std::mem::replace(&mut entry.stage, Stage::Waiting(not_before));
            if let Stage::Unschedulable(at) = old {
                self.timed.remove(&(at, key.clone()));
            }
            if not_before <= now { self.activate(&key) } else { _ = self.timed.insert((not_before, key)) }
        }
    }

    fn activate(&mut self, key: &Key) {
        let entry = self.entries.get_mut(key).expect("the caller has the entry");
        entry.stage = Stage::Active;
        self.active.insert((Reverse(entry.priority), entry.arrival, key.clone()));
    }

    fn unlink(&mut self, key: &Key, entry: &Entry) {
        match entry.stage {
            Stage::Active => _ = self.active.remove(&(Reverse(entry.priority), entry.arrival, key.clone())),
            Stage::Waiting(at) | Stage::Unschedulable(at) => _ = self.timed.remove(&(at, key.clone())),
            Stage::Binding => {}
        }
    }
}

/// What is read of a pod without a node.
#[derive(Default, Deserialize)]
struct Waiting {
    spec: Option<WaitingSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitingSpec {
    priority: Option<i32>,
    scheduler_name: Option<String>,
    scheduling_gates: Option<Vec<IgnoredAny>>,
}

/// The priority of a pod that waits for this scheduler to give it a node.
fn waits(pod: &Object) -> Option<i32> {
    if pod.node().is_some() || pod.is_deleting() || pod.is_terminal() {
        return None;
    }
    let spec = pod.part::<Waiting>()?.spec?;
    let ours = spec.scheduler_name.is_none_or(|name| name.is_empty() || name == DEFAULT_SCHEDULER);
    let open = spec.scheduling_gates.is_none_or(|gates| gates.is_empty());
    (ours && open).then_some(spec.priority.unwrap_or(0))
}

/// Whether a pod takes room on a node.
fn takes_room(pod: &Object) -> bool {
    pod.node().is_some() && !pod.is_terminal()
}

/// Whether a change of a node may let pods on it. Heartbeats and conditions do not: what bars pods is a taint.
fn helps(old: &Object, new: &Object) -> bool {
    let (Some(old), Some(new)) = (old.typed::<Node>(), new.typed::<Node>()) else { return true };
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    let bars = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    old.metadata.labels != new.metadata.labels || allocatable(&old) != allocatable(&new) || bars(&old) != bars(&new)
}

fn backoff(attempts: u32) -> SignedDuration {
    let doublings = attempts.saturating_sub(1).min(10);
    FIRST_BACKOFF.checked_mul(1 << doublings).unwrap_or(LAST_BACKOFF).min(LAST_BACKOFF)
}
