//! How many pods each ReplicaSet gets: steps of a rolling update, and proportional scaling in the middle of one.

use std::cmp::Reverse;

use api::intstr::{IntOrString as Amount, Round};
use cache::{Kind, key_of};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use reconcile::{EventRecord, Write};
use serde_json::json;

use super::Work;
use super::sets::{DESIRED, MAX, annotation, available, spec_replicas};

impl Work<'_> {
    /// Whether the Deployment's size has changed since its ReplicaSets were last scaled.
    pub(super) fn is_scaling(&self) -> bool {
        self.sets.all.iter().filter(|set| spec_replicas(set) > 0).any(|set| {
            annotation(&set.metadata, DESIRED)
                .and_then(|desired| desired.parse::<i32>().ok())
                .is_some_and(|desired| desired != self.replicas())
        })
    }

    /// Follows a change of the Deployment's size: the only active ReplicaSet gets all; in the middle of a rollout each
    /// gets its share, so that the risk stays as it was.
    pub(super) fn rescale(&mut self) {
        if let Some(only) = self.active_or_latest() {
            self.sets.annotate[only] = true;
            self.sets.sizes[only] = self.replicas();
        } else if self.is_saturated() {
            self.scale_old_to_zero();
        } else if self.is_recreate() {
            // Its steps decide; here it is only noted that the new size is known.
            for index in self.active() {
                self.sets.annotate[index] = true;
            }
        } else {
            self.rescale_in_proportion();
        }
    }

    /// The only ReplicaSet with pods; if none has any, the new one, else the youngest.
    fn active_or_latest(&self) -> Option<usize> {
        let active = self.active();
        match active[..] {
            [] => self.sets.new.or(self.sets.all.len().checked_sub(1)),
            [only] => Some(only),
            _ => None,
        }
    }

    fn active(&self) -> Vec<usize> {
        (0..self.sets.all.len()).filter(|index| self.sets.sizes[*index] > 0).collect()
    }

    /// Whether the new ReplicaSet alone is all that the Deployment asks for, and available.
    fn is_saturated(&self) -> bool {
        self.sets.new_set().is_some_and(|set| {
            let desired = annotation(&set.metadata, DESIRED).and_then(|desired| desired.parse::<i32>().ok());
            spec_replicas(set) == self.replicas()
                && desired == Some(self.replicas())
                && available(set) == self.replicas()
        })
    }

    fn rescale_in_proportion(&mut self) {
        let mut active = self.active();
        let allowed = if self.replicas() > 0 { self.max_total() } else { 0 };
        let to_add = allowed - active.iter().map(|index| self.sets.sizes[*index]).sum::<i32>();
        // Index order is by age. Up: larger first, then younger; down: larger first, then older.
        if to_add > 0 {
            active.sort_by_key(|index| (Reverse(self.sets.sizes[*index]), Reverse(*index)));
        } else {
            active.sort_by_key(|index| (Reverse(self.sets.sizes[*index]), *index));
        }
        let mut added = 0;
        for &index in &active {
            let share = self.share(index, to_add, added);
            self.sets.sizes[index] += share;
            self.sets.annotate[index] = true;
            added += share;
        }
        if let Some(&first) = active.first() {
            self.sets.sizes[first] = (self.sets.sizes[first] + to_add - added).max(0);
        }
    }

    /// A ReplicaSet's share of what is to be added (or, if negative, removed).
    fn share(&self, index: usize, to_add: i32, added: i32) -> i32 {
        let size = self.sets.sizes[index];
        if size == 0 || to_add == 0 || to_add == added {
            return 0;
        }
        let fraction = self.fraction(index);
        let left = to_add - added;
        if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
    }

    fn fraction(&self, index: usize) -> i32 {
        let size = self.sets.sizes[index];
        if self.replicas() == 0 {
            return -size;
        }
        let before = annotation(&self.sets.all[index].metadata, MAX)
            .and_then(|max| max.parse::<i32>().ok())
            .filter(|max| *max != 0)
            .or(self.deployment.status.as_ref().and_then(|status| status.replicas))
            .unwrap_or(0);
        if before == 0 {
            return 0;
        }
        let (size, max, before) = (i64::from(size), i64::from(self.max_total()), i64::from(before));
        // Rounded to the nearest, half up.
        let scaled = (2 * size * max + before) / (2 * before);
        i32::try_from(scaled - size).unwrap_or(0)
    }

    /// The new ReplicaSet grows as far as the surge allows, or shrinks to the Deployment's size. Returns whether it
    /// changed.
    pub(super) fn scale_up_new(&mut self) -> bool {
        let Some(new) = self.sets.new else { return false };
        let size = if self.sets.sizes[new] > self.replicas() { self.replicas() } else { self.new_size() };
        self.scale_to(new, size)
    }

    pub(super) fn scale_new_to(&mut self, size: i32) {
        if let Some(new) = self.sets.new {
            self.scale_to(new, size);
        }
    }

    /// How large the new ReplicaSet may be now.
    pub(super) fn new_size(&self) -> i32 {
        let size = self.sets.new.map_or(0, |new| self.sets.sizes[new]);
        if self.is_recreate() {
            return self.replicas();
        }
        let room = self.max_total() - self.sets.total();
        if room <= 0 || size >= self.replicas() { size } else { size + room.min(self.replicas() - size) }
    }

    /// Old ReplicaSets shrink as far as availability allows: first the pods that are not available anyway, then
    /// others, oldest first. Returns whether one changed.
    pub(super) fn scale_down_old(&mut self) -> bool {
        let old = self.sets.old();
        if old.iter().all(|index| self.sets.sizes[*index] == 0) {
            return false;
        }
        let min_available = self.replicas() - self.max_unavailable();
        let new_unavailable = self.sets.new.map_or(0, |new| self.sets.sizes[new] - available(&self.sets.all[new]));
        let mut unhealthy_budget = self.sets.total() - min_available - new_unavailable;
        if unhealthy_budget <= 0 {
            return false;
        }
        let mut changed = false;
        for &index in &old {
            let unhealthy = self.sets.sizes[index] - available(&self.sets.all[index]);
            let drop = unhealthy.min(unhealthy_budget);
            if self.sets.sizes[index] > 0 && drop > 0 {
                unhealthy_budget -= drop;
                changed |= self.scale_to(index, self.sets.sizes[index] - drop);
            }
        }
        // What a ReplicaSet's status counts beyond its size is about to go: that status is older than its last scaling.
        let staying: i32 =
            self.sets.all.iter().zip(&self.sets.sizes).map(|(set, size)| available(set).min(*size)).sum();
        let mut budget = staying - min_available;
        for &index in &old {
            let drop = self.sets.sizes[index].min(budget);
            if drop > 0 {
                budget -= drop;
                changed |= self.scale_to(index, self.sets.sizes[index] - drop);
            }
        }
        changed
    }

    /// Returns whether an old ReplicaSet changed.
    pub(super) fn scale_old_to_zero(&mut self) -> bool {
        let mut changed = false;
        for index in self.sets.old() {
            changed |= self.scale_to(index, 0);
        }
        changed
    }

    fn scale_to(&mut self, index: usize, size: i32) -> bool {
        let changed = self.sets.sizes[index] != size;
        self.sets.sizes[index] = size;
        changed
    }

    /// Writes the sizes that differ from what the ReplicaSets have: those that grow first.
    pub(super) fn emit_scaling(&mut self) {
        let mut order: Vec<usize> = (0..self.sets.all.len()).collect();
        order.sort_by_key(|index| self.sets.sizes[*index] < spec_replicas(&self.sets.all[*index]));
        for index in order {
            let (set, size) = (&self.sets.all[index], self.sets.sizes[index]);
            let (desired, max) = (self.replicas().to_string(), self.max_total().to_string());
            let resized = spec_replicas(set) != size;
            let noted =
                annotation(&set.metadata, DESIRED) == Some(&desired) && annotation(&set.metadata, MAX) == Some(&max);
            if !resized && (noted || !self.sets.annotate[index]) {
                continue;
            }
            let body = json!({
                "metadata": {"uid": set.metadata.uid, "annotations": {DESIRED: desired, MAX: max}},
                "spec": {"replicas": size},
            });
            let mut write = Write::patch(Kind::ReplicaSet, &key_of(&set.metadata), body);
            if resized {
                let name = set.metadata.name.as_deref().unwrap_or_default();
                let old = spec_replicas(set);
                let direction = if size > old { "up" } else { "down" };
                let message = format!("Scaled {direction} replica set {name} from {old} to {size}");
                write = write.on_success(EventRecord::normal(self.deployment, "ScalingReplicaSet", message));
            }
            self.plan.writes.push(write);
        }
    }

    /// The most pods that there may be in all.
    pub(super) fn max_total(&self) -> i32 {
        self.replicas() + self.surge_and_unavailable().0
    }

    /// The most pods that may be unavailable.
    pub(super) fn max_unavailable(&self) -> i32 {
        if self.is_recreate() || self.replicas() == 0 {
            return 0;
        }
        self.surge_and_unavailable().1.min(self.replicas())
    }

    /// Percentages of the size: the surge rounds up, unavailability down; if both are nothing, one may be unavailable,
    /// or the rollout could not move.
    fn surge_and_unavailable(&self) -> (i32, i32) {
        if self.is_recreate() {
            return (0, 0);
        }
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = self.amount(surge, Round::Up);
        let unavailable = self.amount(unavailable, Round::Down);
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    fn amount(&self, amount: Option<&IntOrString>, round: Round) -> i32 {
        let amount = match amount {
            Some(IntOrString::Int(count)) => Amount::Int(i64::from(*count)),
            Some(IntOrString::String(percent)) => Amount::Str(percent.clone()),
            None => Amount::Str("25%".to_owned()),
        };
        let count = amount.of(i64::from(self.replicas()), round).unwrap_or(0);
        i32::try_from(count.max(0)).unwrap_or(i32::MAX)
    }
}
