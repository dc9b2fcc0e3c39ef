//! Deployments: one ReplicaSet a pod template, and the rollout from the old ones to the new one.
//!
//! The parts: `sets` (which ReplicaSet is the new one, revisions, names), `scale` (how many pods each gets),
//! `status` (conditions that `kubectl rollout status` and `kubectl wait` read).

mod scale;
mod sets;
mod status;

use api::Key;
use cache::selector::{self, LabelSet};
use cache::{Change, Kind, Object, Uid, View};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use reconcile::{Controller, EventRecord, Plan, Preconditions, Write};
use std::sync::Arc;

use crate::owner;
use sets::Sets;

/// Rolls Deployments out.
#[derive(Debug)]
pub struct DeploymentController;

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        match change.kind {
            Kind::Deployment => vec![change.key.clone()],
            Kind::ReplicaSet => change.sides().flat_map(|set| deployments_of(set, view)).collect(),
            // Recreate waits for the last old pod to be gone.
            Kind::Pod if change.new.is_none() => change.old.iter().flat_map(|pod| recreating(pod, view)).collect(),
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        let Some(deployment) = view.at::<Deployment>(key) else { return Plan::none() };
        let Some(spec) = &deployment.spec else { return Plan::none() };
        if selector::is_empty(&spec.selector) {
            return selecting_all(&deployment, now);
        }
        let claim = owner::claim(deployment.as_ref(), &spec.selector, Kind::ReplicaSet, view, |_| true);
        let owned = claim.owned.iter().filter_map(|set| set.typed()).collect();
        let mut work = Work {
            deployment: &deployment,
            spec,
            view,
            now,
            sets: Sets::new(&deployment, owned),
            plan: Plan { writes: claim.writes, ..Plan::default() },
            created: None,
            shown_revision: None,
            collided: false,
        };
        if !owner::is_deleting(&deployment.metadata) {
            work.act();
        }
        work.finish()
    }
}

/// One reconcile of one Deployment.
struct Work<'a> {
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    view: &'a View,
    now: Timestamp,
    sets: Sets,
    plan: Plan,
    /// The name of the ReplicaSet that this plan creates.
    created: Option<String>,
    /// The revision that the Deployment is to show, if it shows another.
    shown_revision: Option<String>,
    /// The name of the new ReplicaSet is taken by a stranger.
    collided: bool,
}

impl Work<'_> {
    fn act(&mut self) {
        let paused = self.spec.paused == Some(true);
        if paused || self.is_scaling() {
            self.sync_revision();
            self.rescale();
            if paused {
                self.clean_up();
            }
        } else if self.is_recreate() {
            self.recreate();
        } else {
            self.roll();
        }
    }

    /// One step of a rolling update: up first, then down, then cleaning up.
    fn roll(&mut self) {
        self.sync_revision();
        if self.sets.new.is_none() {
            return self.create_new();
        }
        if !self.scale_up_new() && !self.scale_down_old() {
            self.clean_up_when_complete();
        }
    }

    fn recreate(&mut self) {
        self.sync_revision();
        if self.scale_old_to_zero() || self.old_pods_remain() {
            return;
        }
        if self.sets.new.is_none() {
            return self.create_new();
        }
        self.scale_new_to(self.replicas());
        self.clean_up_when_complete();
    }

    fn finish(mut self) -> Plan {
        self.emit_scaling();
        self.write_status();
        self.plan
    }

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn is_recreate(&self) -> bool {
        self.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }

    fn old_pods_remain(&self) -> bool {
        self.sets.old_sets().any(|set| set.status.as_ref().is_some_and(|status| status.replicas > 0))
            || self
                .sets
                .old_sets()
                .map(|set| Uid::of(set.metadata.uid.as_deref().unwrap_or_default()))
                .any(|uid| self.view.owned_by(&uid).any(|pod| self.holds_up(pod, &uid)))
    }

    /// Whether this is a pod of an old ReplicaSet that has not ended.
    fn holds_up(&self, pod: &Object, set: &Uid) -> bool {
        let none = LabelSet::default();
        pod.kind() == Kind::Pod
            && pod.controller() == Some(set)
            && pod.labels().unwrap_or(&none).matches(&self.spec.selector)
            && !pod.is_terminal()
    }

    fn clean_up_when_complete(&mut self) {
        let complete = self
            .deployment
            .status
            .as_ref()
            .is_some_and(|status| status::is_complete(self.deployment, self.replicas(), status));
        if complete {
            self.clean_up();
        }
    }

    /// Deletes the oldest empty old ReplicaSets beyond the history limit.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec.revision_history_limit else { return };
        let mut old: Vec<&Arc<ReplicaSet>> =
            self.sets.old_sets().filter(|set| !owner::is_deleting(&set.metadata)).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|set| (sets::revision(&set.metadata), set.metadata.creation_timestamp.clone()));
        for set in old.into_iter().take(surplus) {
            let status = set.status.clone().unwrap_or_default();
            let observed = status.observed_generation.unwrap_or(0) >= set.metadata.generation.unwrap_or(0);
            if status.replicas == 0 && sets::spec_replicas(set) == 0 && observed {
                let preconditions = Preconditions { uid: set.metadata.uid.clone(), ..Preconditions::default() };
                self.plan.writes.push(Write::delete(Kind::ReplicaSet, &cache::key_of(&set.metadata), preconditions));
            }
        }
    }
}

fn selecting_all(deployment: &Deployment, _now: Timestamp) -> Plan {
    let message = "This deployment is selecting all pods. A non-empty selector is required.";
    let mut plan = Plan::none();
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        let mut updated = deployment.clone();
        updated.status.get_or_insert_default().observed_generation = deployment.metadata.generation;
        plan.writes.push(Write::update_status(&updated));
        plan.events.push(EventRecord::warning(deployment, "SelectingAll", message));
    }
    plan
}

/// The Deployments that a ReplicaSet concerns: its controller; for an orphan, those whose selector matches it.
fn deployments_of(set: &Object, view: &View) -> Vec<Key> {
    if set.controller().is_some() {
        return owner::controller_object(set, Kind::Deployment, view).map(Object::key).into_iter().collect();
    }
    let none = LabelSet::default();
    let labels = set.labels().unwrap_or(&none);
    let selects = |deployment: &&Object| {
        let deployment = deployment.typed::<Deployment>();
        deployment.is_some_and(|one| one.spec.as_ref().is_some_and(|spec| labels.matches(&spec.selector)))
    };
    view.selecting(Kind::Deployment, set.namespace(), Some(labels)).filter(selects).map(Object::key).collect()
}

fn recreating(pod: &Object, view: &View) -> Vec<Key> {
    owner::controller_object(pod, Kind::ReplicaSet, view).map(|set| deployments_of(set, view)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
