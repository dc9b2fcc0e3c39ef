//! A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure with Kubernetes' reasons
//! and messages.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::Write;

use super::Work;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const NEW_SET_CREATED: &str = "NewReplicaSetCreated";
const NEW_SET_FOUND: &str = "FoundNewReplicaSet";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const SET_UPDATED: &str = "ReplicaSetUpdated";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// The largest deadline counts as none.
const NO_DEADLINE: i32 = i32::MAX;

impl Work<'_> {
    pub(super) fn write_status(&mut self) {
        let old = self.deployment.status.clone().unwrap_or_default();
        let mut status = self.count(&old);
        self.judge_availability(&mut status);
        match self.spec.progress_deadline_seconds.filter(|seconds| *seconds != NO_DEADLINE) {
            None => drop_condition(&mut status, PROGRESSING),
            Some(seconds) => self.judge_progress(&old, &mut status, SignedDuration::from_secs(i64::from(seconds))),
        }
        self.judge_failure(&mut status);
        if normal(&status) != normal(&old) || self.shown_revision.is_some() {
            let mut updated = self.deployment.clone();
            updated.status = Some(status);
            if let Some(revision) = self.shown_revision.take() {
                updated.metadata.annotations.get_or_insert_default().insert(super::sets::REVISION.to_owned(), revision);
            }
            self.plan.writes.push(Write::update_status(&updated));
        }
    }

    fn count(&self, old: &DeploymentStatus) -> DeploymentStatus {
        let sum = |of: &dyn Fn(&ReplicaSet) -> i32| self.sets.all.iter().map(|set| of(set)).sum::<i32>();
        let of_status = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
        let available = self.sets.available();
        let asked: i32 = self.sets.all.iter().map(|set| super::sets::spec_replicas(set)).sum();
        let collisions = old.collision_count.unwrap_or(0) + i32::from(self.collided);
        DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: nonzero(sum(&|set| of_status(set).replicas)),
            updated_replicas: nonzero(self.sets.new_set().map_or(0, |set| of_status(set).replicas)),
            ready_replicas: nonzero(sum(&|set| of_status(set).ready_replicas.unwrap_or(0))),
            available_replicas: nonzero(available),
            unavailable_replicas: nonzero((asked - available).max(0)),
            terminating_replicas: Some(sum(&|set| of_status(set).terminating_replicas.unwrap_or(0))),
            collision_count: nonzero(collisions).or(old.collision_count),
            conditions: old.conditions.clone(),
        }
    }

    fn judge_availability(&self, status: &mut DeploymentStatus) {
        let condition = if status.available_replicas.unwrap_or(0) >= self.replicas() - self.max_unavailable() {
            let message = "Deployment has minimum availability.";
            self.condition(AVAILABLE, "True", "MinimumReplicasAvailable", message.to_owned())
        } else {
            let message = "Deployment does not have minimum availability.";
            self.condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message.to_owned())
        };
        set_condition(status, condition);
    }

    fn judge_progress(&mut self, old: &DeploymentStatus, status: &mut DeploymentStatus, deadline: SignedDuration) {
        let known = get(old, PROGRESSING).cloned();
        let reason = known.as_ref().and_then(|known| known.reason.as_deref());
        if self.spec.paused == Some(true) {
            if reason != Some(TIMED_OUT) {
                let message = "Deployment is paused".to_owned();
                set_condition(status, self.condition(PROGRESSING, "Unknown", PAUSED, message));
            }
            return;
        }
        if reason == Some(PAUSED) {
            let message = "Deployment is resumed".to_owned();
            return set_condition(status, self.condition(PROGRESSING, "Unknown", RESUMED, message));
        }
        if let Some(name) = &self.created {
            let message = format!("Created new replica set \"{name}\"");
            return set_condition(status, self.condition(PROGRESSING, "True", NEW_SET_CREATED, message));
        }
        let subject = match self.sets.new_set() {
            Some(set) => format!("ReplicaSet \"{}\"", set.metadata.name.as_deref().unwrap_or_default()),
            None => format!("Deployment \"{}\"", self.deployment.metadata.name.as_deref().unwrap_or_default()),
        };
        let rolled_out = status.replicas == status.updated_replicas && reason == Some(NEW_SET_AVAILABLE);
        if rolled_out {
            return;
        }
        if is_complete(self.deployment, self.replicas(), status) {
            let message = format!("{subject} has successfully progressed.");
            set_condition(status, self.condition(PROGRESSING, "True", NEW_SET_AVAILABLE, message));
        } else if is_progressing(old, status) {
            let message = format!("{subject} is progressing.");
            let mut condition = self.condition(PROGRESSING, "True", SET_UPDATED, message);
            if let Some(known) = known.as_ref().filter(|known| known.status == "True") {
                condition.last_transition_time = known.last_transition_time.clone();
            }
            // Replaced even if only its lastUpdateTime differs: each step starts the deadline anew.
            drop_condition(status, PROGRESSING);
            set_condition(status, condition);
        } else if let Some(known) = &known {
            let since = known.last_update_time.as_ref().map_or(self.now, |time| time.0);
            if reason == Some(TIMED_OUT) {
                return;
            }
            if reason != Some(NEW_SET_AVAILABLE) && since + deadline < self.now {
                let message = format!("{subject} has timed out progressing.");
                set_condition(status, self.condition(PROGRESSING, "False", TIMED_OUT, message));
            } else if reason != Some(NEW_SET_AVAILABLE) {
                self.plan.requeue(since + deadline + SignedDuration::from_secs(1));
            }
        } else if let Some(set) = self.sets.new_set() {
            let message = format!("Found new replica set \"{}\"", set.metadata.name.as_deref().unwrap_or_default());
            set_condition(status, self.condition(PROGRESSING, "True", NEW_SET_FOUND, message));
        }
    }

    /// Shows why pods cannot be created: the new ReplicaSet's failure, else an old one's.
    fn judge_failure(&self, status: &mut DeploymentStatus) {
        let failure = |set: &ReplicaSet| {
            let conditions = set.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE).cloned()
        };
        let new = self.sets.new_set().and_then(|set| failure(set));
        match new.or_else(|| self.sets.old_sets().find_map(|set| failure(set))) {
            None => drop_condition(status, REPLICA_FAILURE),
            Some(found) => set_condition(
                status,
                DeploymentCondition {
                    type_: REPLICA_FAILURE.to_owned(),
                    status: found.status,
                    reason: found.reason,
                    message: found.message,
                    last_update_time: found.last_transition_time.clone(),
                    last_transition_time: found.last_transition_time,
                },
            ),
        }
    }

    fn condition(&self, type_: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
        DeploymentCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(whole_seconds(self.now)),
            last_transition_time: Some(whole_seconds(self.now)),
        }
    }
}

/// Whether every pod is of the newest template and available, and no other is left.
pub(super) fn is_complete(deployment: &Deployment, replicas: i32, status: &DeploymentStatus) -> bool {
    let is_all = |count: Option<i32>| count.unwrap_or(0) == replicas;
    is_all(status.updated_replicas)
        && is_all(status.replicas)
        && is_all(status.available_replicas)
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Puts a condition in; one with the same status and reason stays as it is, one with the same status keeps the time of
/// its transition.
fn set_condition(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(known) = get(status, &condition.type_) {
        if known.status == condition.status && known.reason == condition.reason {
            return;
        }
        if known.status == condition.status {
            condition.last_transition_time = known.last_transition_time.clone();
        }
    }
    drop_condition(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

fn drop_condition(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
    status.conditions = status.conditions.take().filter(|conditions| !conditions.is_empty());
}

/// The wire has whole seconds; a status must compare equal to what comes back.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).expect("a timestamp's second is a timestamp"))
}

/// The same status with counts of zero left out, as old and new are compared.
fn normal(status: &DeploymentStatus) -> DeploymentStatus {
    DeploymentStatus {
        replicas: status.replicas.and_then(nonzero),
        updated_replicas: status.updated_replicas.and_then(nonzero),
        ready_replicas: status.ready_replicas.and_then(nonzero),
        available_replicas: status.available_replicas.and_then(nonzero),
        unavailable_replicas: status.unavailable_replicas.and_then(nonzero),
        terminating_replicas: status.terminating_replicas.and_then(nonzero),
        collision_count: status.collision_count.and_then(nonzero),
        conditions: status.conditions.clone().filter(|conditions| !conditions.is_empty()),
        observed_generation: status.observed_generation,
    }
}

fn nonzero(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}
