//! An in-memory runtime: sandboxes and containers as records, images present or missing, and nothing happens unless a
//! test makes it happen. Its clock starts at 0 and moves one second with every call that changes something.

mod records;
mod runtime;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, ExecOutput, v1};
use records::{ContainerRecord, SandboxRecord};

/// The runtime. Share it by reference or in an `Arc`.
#[derive(Debug, Default)]
pub struct Fake {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    now_seconds: i64,
    ids: u64,
    sandboxes: BTreeMap<String, SandboxRecord>,
    containers: BTreeMap<String, ContainerRecord>,
    images: BTreeMap<String, v1::Image>,
    registry: BTreeSet<String>,
    failures: BTreeMap<&'static str, VecDeque<tonic::Status>>,
    exec: BTreeMap<Vec<String>, ExecOutput>,
    calls: Vec<String>,
    ignores_stop: BTreeSet<String>,
}

impl Fake {
    /// Nothing runs, no image is present.
    pub fn new() -> Fake {
        Fake::default()
    }

    /// Makes an image present, with a user if `uid` is given.
    pub fn add_image(&self, name: &str, uid: Option<i64>) {
        let image = records::image(name, uid);
        self.lock().images.insert(name.to_owned(), image);
    }

    /// Makes an image available to `pull_image`.
    pub fn publish_image(&self, name: &str) {
        self.lock().registry.insert(name.to_owned());
    }

    /// The next call named `call` (the interface's name, e.g. `RunPodSandbox`) fails with this message. Several queue.
    pub fn fail_next(&self, call: &'static str, message: &str) {
        self.lock().failures.entry(call).or_default().push_back(tonic::Status::unknown(message));
    }

    /// What `exec_sync` of this command answers from now on; other commands exit with 0 and say nothing.
    pub fn on_exec(&self, command: &[&str], output: ExecOutput) {
        self.lock().exec.insert(command.iter().map(ToString::to_string).collect(), output);
    }

    /// The running container of this id ends with `exit_code`. False: it does not run.
    pub fn exit(&self, container_id: &str, exit_code: i32) -> bool {
        let mut inner = self.lock();
        let now = inner.tick();
        inner.containers.get_mut(container_id).is_some_and(|container| container.exit(now, exit_code, None))
    }

    /// The running container of this id is killed for lack of memory. False: it does not run.
    pub fn kill_for_memory(&self, container_id: &str) -> bool {
        let mut inner = self.lock();
        let now = inner.tick();
        inner.containers.get_mut(container_id).is_some_and(|container| container.exit(now, 137, Some("OOMKilled")))
    }

    /// The container of this id does not react to the stop signal: it is killed (137) instead of ending with 0.
    pub fn ignore_stop(&self, container_id: &str) {
        self.lock().ignores_stop.insert(container_id.to_owned());
    }

    /// The sandbox dies with all its containers, as when its pause process is killed.
    pub fn kill_sandbox(&self, sandbox_id: &str) {
        let mut inner = self.lock();
        let now = inner.tick();
        if let Some(sandbox) = inner.sandboxes.get_mut(sandbox_id) {
            sandbox.ready = false;
        }
        inner.exit_all(sandbox_id, now, 137);
    }

    /// The id of the newest container of this name in a pod of this uid.
    pub fn container_id(&self, pod_uid: &str, name: &str) -> Option<String> {
        let inner = self.lock();
        let mut found: Vec<_> = inner.containers.iter().filter(|(_, c)| c.belongs_to(pod_uid, name)).collect();
        found.sort_by_key(|(_, container)| container.created_at);
        found.last().map(|(id, _)| (*id).clone())
    }

    /// Every call so far that changed something, e.g. `StartContainer c2`.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Moves the clock.
    pub fn advance_seconds(&self, seconds: i64) {
        self.lock().now_seconds += seconds;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call that changes something, unless it is to fail.
    fn change(&self, call: &'static str, what: &str) -> Result<MutexGuard<'_, Inner>, Error> {
        let mut inner = self.ask(call)?;
        inner.tick();
        inner.calls.push(format!("{call} {what}").trim_end().to_owned());
        Ok(inner)
    }

    fn ask(&self, call: &'static str) -> Result<MutexGuard<'_, Inner>, Error> {
        let mut inner = self.lock();
        match inner.failures.get_mut(call).and_then(VecDeque::pop_front) {
            Some(status) => Err(Error::Call { call, status }),
            None => Ok(inner),
        }
    }
}

impl Inner {
    /// The time in nanoseconds, after moving it one second.
    fn tick(&mut self) -> i64 {
        self.now_seconds += 1;
        self.now()
    }

    fn now(&self) -> i64 {
        self.now_seconds * 1_000_000_000
    }

    fn new_id(&mut self, kind: char) -> String {
        self.ids += 1;
        format!("{kind}{}", self.ids)
    }

    fn exit_all(&mut self, sandbox_id: &str, now: i64, exit_code: i32) {
        for container in self.containers.values_mut().filter(|container| container.sandbox_id == sandbox_id) {
            container.exit(now, exit_code, None);
        }
    }
}

#[cfg(test)]
mod tests;
