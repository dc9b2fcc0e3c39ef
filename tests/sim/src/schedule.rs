//! The scheduler, one step at a time.

use std::sync::Arc;

use api::Key;
use cache::View;
use client::Client;
use k8s_openapi::api::core::v1::Pod;
use plane::execute::Events;
use plane::run_scheduler::{bind, report};
use scheduler::{DEFAULT_SCHEDULER, Decision, Profile, Queue, Snapshot, schedule};
use store::Backend;

use crate::actor::{Work, poll};
use crate::feed::Feed;
use crate::gate::{Gate, Permit};
use crate::rng::Rng;

/// Bindings under way at once.
const MAX_BINDING: usize = 4;

pub struct Scheduler {
    store: Arc<dyn Backend>,
    admin: Client,
    gate: Gate,
    feed: Feed,
    seen: Arc<View>,
    queue: Queue,
    snapshot: Snapshot,
    running: Vec<(Key, Work<End>)>,
}

pub enum End {
    Bound,
    NotBound,
    Reported,
}

impl Scheduler {
    pub fn new(store: Arc<dyn Backend>, admin: Client) -> Scheduler {
        let mut scheduler = Scheduler {
            feed: Feed::new(store.clone()),
            store,
            admin,
            gate: Gate::default(),
            seen: Arc::default(),
            queue: Queue::default(),
            snapshot: Snapshot::default(),
            running: Vec::new(),
        };
        scheduler.see();
        scheduler
    }

    pub fn deliver(&mut self, count: usize) {
        self.feed.deliver(count);
        self.see();
    }

    pub fn lose_watch(&mut self) {
        self.feed.lose_watch();
    }

    pub fn crash(&mut self) {
        *self = Scheduler::new(self.store.clone(), self.admin.clone());
    }

    /// Decides about the next pod. False: there is none.
    pub fn start(&mut self) -> bool {
        if self.running.len() >= MAX_BINDING {
            return false;
        }
        let Some(key) = self.queue.pop(process::now()) else { return false };
        let Some(pod) = self.feed.view().at::<Pod>(&key) else { return true };
        let client = self.gate.client(self.admin.clone());
        let events = Events::new(client.clone(), DEFAULT_SCHEDULER);
        let work: Work<End> = match schedule(&pod, &self.snapshot, &Profile::default(), process::seed()) {
            Decision::Bind(node) => {
                self.snapshot.assume(&pod, &node);
                Box::pin(
                    async move { if bind(&client, &events, &pod, &node).await { End::Bound } else { End::NotBound } },
                )
            }
            Decision::Unschedulable(refusal) => {
                self.queue.unschedulable(&key, process::now());
                Box::pin(async move {
                    report(&client, &events, &pod, &refusal.to_string()).await;
                    End::Reported
                })
            }
        };
        self.running.push((key, work));
        true
    }

    /// Lets one request through. False: nothing runs.
    pub fn proceed(&mut self, rng: &mut Rng, permit: Permit) -> bool {
        if self.running.is_empty() {
            return false;
        }
        let index = rng.below(self.running.len());
        self.gate.grant(permit);
        let finished = poll(&mut self.running[index].1);
        self.gate.close();
        if let Some(end) = finished {
            let (key, _) = self.running.swap_remove(index);
            if let End::NotBound = end {
                self.snapshot.forget(&key);
                self.queue.failed(&key, process::now());
            }
        }
        true
    }

    fn see(&mut self) {
        let view = self.feed.view().clone();
        for change in view.changes_since(&self.seen) {
            self.snapshot.apply(&change);
            self.queue.apply(&change, process::now());
        }
        self.seen = view;
    }
}
