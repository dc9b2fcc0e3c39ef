//! One control loop, one step at a time: the same queue, reconcile and executor as in the control plane.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use api::Key;
use cache::View;
use client::Client;
use plane::execute::{Events, execute};
use reconcile::{Backoff, Controller, Outcome, Queue};
use store::Backend;

use crate::feed::Feed;
use crate::gate::{Gate, Permit};
use crate::rng::Rng;

/// Plans carried out at once, as in the control plane.
const MAX_CONCURRENT: usize = plane::run_controllers::MAX_CONCURRENT;

pub type Work<T> = Pin<Box<dyn Future<Output = T>>>;

/// Polls work that waits at a gate. Unconstrained: tokio's budget would make it wait for no reason.
pub fn poll<T>(work: &mut Work<T>) -> Option<T> {
    let mut work = std::pin::pin!(tokio::task::unconstrained(work.as_mut()));
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

pub struct Actor {
    controller: Arc<dyn Controller>,
    store: Arc<dyn Backend>,
    admin: Client,
    gate: Gate,
    feed: Feed,
    seen: Arc<View>,
    queue: Queue,
    events: Events,
    running: Vec<(Key, Work<Outcome>)>,
}

impl Actor {
    pub fn new(controller: Arc<dyn Controller>, store: Arc<dyn Backend>, admin: Client) -> Actor {
        let gate = Gate::default();
        let events = Events::new(gate.client(admin.clone()), controller.name());
        let mut actor = Actor {
            controller,
            feed: Feed::new(store.clone()),
            store,
            admin,
            gate,
            seen: Arc::default(),
            queue: Queue::new(Backoff::default()),
            events,
            running: Vec::new(),
        };
        actor.see();
        actor
    }

    pub fn name(&self) -> &'static str {
        self.controller.name()
    }

    /// Reads some events.
    pub fn deliver(&mut self, count: usize) {
        self.feed.deliver(count);
        self.see();
    }

    pub fn lose_watch(&mut self) {
        self.feed.lose_watch();
    }

    /// Dies with everything it was doing and starts anew.
    pub fn crash(&mut self) {
        *self = Actor::new(self.controller.clone(), self.store.clone(), self.admin.clone());
    }

    /// Takes up the next key that is due. False: there is none.
    pub fn start(&mut self) -> bool {
        if self.running.len() >= MAX_CONCURRENT {
            return false;
        }
        let view = self.feed.view().clone();
        let Some(key) = self.queue.pop(process::now(), view.revision) else { return false };
        let plan = self.controller.reconcile(&key, &view, process::now());
        if plan.writes.is_empty() && plan.events.is_empty() {
            let outcome = Outcome::Done { written: None, requeue_at: plan.requeue_at };
            self.queue.done(key, outcome, process::now());
            return true;
        }
        let (client, store, events) = (self.gate.client(self.admin.clone()), self.store.clone(), self.events.clone());
        let work = async move { execute(&client, || store.revision(), &events, &plan).await };
        self.running.push((key, Box::pin(work)));
        true
    }

    /// Lets one request of one running plan through. False: nothing runs.
    pub fn proceed(&mut self, rng: &mut Rng, permit: Permit) -> bool {
        if self.running.is_empty() {
            return false;
        }
        let index = rng.below(self.running.len());
        self.gate.grant(permit);
        let finished = poll(&mut self.running[index].1);
        self.gate.close();
        if let Some(outcome) = finished {
            let (key, _) = self.running.swap_remove(index);
            self.queue.done(key, outcome, process::now());
        }
        true
    }

    fn see(&mut self) {
        let view = self.feed.view().clone();
        for change in view.changes_since(&self.seen) {
            for key in self.controller.keys(&change, &view) {
                self.queue.add(key, process::now());
            }
        }
        self.seen = view;
    }
}
