//! A Deployment's ReplicaSets: which one is new, their revisions, their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use cache::{Kind, key_of};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use reconcile::{EventRecord, Write};
use serde_json::json;

use super::Work;
use crate::owner;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Annotations that say something about one object and are not copied to its ReplicaSets.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// The longest revision history that a ReplicaSet keeps, in characters.
const MAX_HISTORY: usize = 2000;

/// The ReplicaSets, oldest first, and how many pods this plan gives each.
pub(super) struct Sets {
    pub all: Vec<Arc<ReplicaSet>>,
    /// Which of them has the Deployment's template.
    pub new: Option<usize>,
    /// The size that each gets; at the start the one it has.
    pub sizes: Vec<i32>,
    /// Which of them must record what the Deployment asks for, even at an unchanged size.
    pub annotate: Vec<bool>,
}

impl Sets {
    pub fn new(deployment: &Deployment, mut all: Vec<Arc<ReplicaSet>>) -> Sets {
        all.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        let new = all.iter().position(|set| {
            let theirs = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template.zip(theirs).is_some_and(|(ours, theirs)| same_template(ours, theirs))
        });
        let sizes = all.iter().map(|set| spec_replicas(set)).collect();
        let annotate = vec![false; all.len()];
        Sets { all, new, sizes, annotate }
    }

    pub fn new_set(&self) -> Option<&Arc<ReplicaSet>> {
        self.new.map(|index| &self.all[index])
    }

    pub fn old(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|index| Some(*index) != self.new).collect()
    }

    pub fn old_sets(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.all.iter().enumerate().filter(|(index, _)| Some(*index) != self.new).map(|(_, set)| set)
    }

    /// The sum of the sizes.
    pub fn total(&self) -> i32 {
        self.sizes.iter().sum()
    }

    pub fn available(&self) -> i32 {
        self.all.iter().map(|set| available(set)).sum()
    }
}

pub(super) fn spec_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub(super) fn revision(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

pub(super) fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

impl Work<'_> {
    /// Gives the new ReplicaSet, if it is there, the highest revision and the Deployment's annotations, and shows its
    /// revision on the Deployment.
    pub(super) fn sync_revision(&mut self) {
        let next = self.next_revision();
        let Some(set) = self.sets.new_set().cloned() else { return };
        let old = set.metadata.annotations.clone().unwrap_or_default();
        let wanted = annotations_for(self.deployment, &old, next);
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let min_ready_differs = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0) != min_ready;
        if wanted != old || min_ready_differs {
            let mut changes = serde_json::Map::new();
            for (name, value) in wanted.iter().filter(|(name, value)| old.get(*name) != Some(*value)) {
                changes.insert(name.clone(), json!(value));
            }
            let mut body = json!({"metadata": {"uid": set.metadata.uid, "annotations": changes}});
            if min_ready_differs {
                body["spec"] = json!({"minReadySeconds": min_ready});
            }
            self.plan.writes.push(Write::patch(Kind::ReplicaSet, &key_of(&set.metadata), body));
        }
        let shown = wanted.get(REVISION).cloned().unwrap_or_default();
        self.show_revision(&shown);
    }

    /// Creates the ReplicaSet of the current template, as large as the surge allows.
    pub(super) fn create_new(&mut self) {
        let collisions = self.deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let hash = template_hash(&self.spec.template, collisions);
        let namespace = self.deployment.metadata.namespace.clone().unwrap_or_default();
        let name = format!("{}-{hash}", self.deployment.metadata.name.as_deref().unwrap_or_default());
        if self.view.get::<ReplicaSet>(&namespace, &name).is_some() {
            // Ours would have been found by its template. The next try hashes with a higher count.
            self.collided = true;
            return;
        }
        let next = self.next_revision();
        let size = self.new_size();
        let mut annotations = annotations_for(self.deployment, &BTreeMap::new(), next);
        annotations.insert(DESIRED.to_owned(), self.replicas().to_string());
        annotations.insert(MAX.to_owned(), self.max_total().to_string());
        let set = new_set(self.deployment, &name, &hash, size, annotations);
        let mut write = Write::create(&set);
        if size > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {size}");
            write = write.on_success(EventRecord::normal(self.deployment, "ScalingReplicaSet", message));
        }
        let failure = EventRecord::warning(
            self.deployment,
            "ReplicaSetCreateError",
            format!("Failed to create new replica set \"{name}\": {{}}"),
        );
        self.plan.writes.push(write.on_failure(failure));
        self.show_revision(&next.to_string());
        self.created = Some(name);
    }

    fn next_revision(&self) -> i64 {
        self.sets.old_sets().map(|set| revision(&set.metadata)).max().unwrap_or(0) + 1
    }

    /// The Deployment's annotation goes with its status: written on its own it would be a new generation.
    fn show_revision(&mut self, revision: &str) {
        if annotation(&self.deployment.metadata, REVISION) != Some(revision) {
            self.shown_revision = Some(revision.to_owned());
        }
    }
}

/// The annotations of a new ReplicaSet: the Deployment's, and a revision that never goes down. The revisions that the
/// ReplicaSet had before (a rollback makes an old one new again) are kept as history.
fn annotations_for(deployment: &Deployment, old: &BTreeMap<String, String>, next: i64) -> BTreeMap<String, String> {
    let mut annotations = old.clone();
    for (name, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN_ANNOTATIONS.contains(&name.as_str()) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    let known = old.get(REVISION);
    if known.and_then(|known| known.parse::<i64>().ok()).unwrap_or(0) < next {
        annotations.insert(REVISION.to_owned(), next.to_string());
        if let Some(known) = known.filter(|known| !known.is_empty()) {
            let mut history: Vec<&str> =
                old.get(REVISION_HISTORY).map(|history| history.split(',').collect()).unwrap_or_default();
            history.push(known);
            while history.join(",").len() > MAX_HISTORY {
                history.remove(0);
            }
            annotations.insert(REVISION_HISTORY.to_owned(), history.join(","));
        }
    }
    annotations
}

fn new_set(
    deployment: &Deployment,
    name: &str,
    hash: &str,
    size: i32,
    annotations: BTreeMap<String, String>,
) -> ReplicaSet {
    let spec = deployment.spec.as_ref().expect("only a Deployment with a spec gets here");
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut match_labels = spec.selector.match_labels.clone().unwrap_or_default();
    match_labels.insert(TEMPLATE_HASH.to_owned(), hash.to_owned());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner::controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector { match_labels: Some(match_labels), ..spec.selector.clone() },
            template: Some(template),
        }),
        status: None,
    }
}

/// Whether two templates are the same but for the hash label that the controller adds.
fn same_template(ours: &PodTemplateSpec, theirs: &PodTemplateSpec) -> bool {
    fn without_hash(meta: Option<&ObjectMeta>) -> ObjectMeta {
        let mut meta = meta.cloned().unwrap_or_default();
        let mut labels = meta.labels.take().unwrap_or_default();
        labels.remove(TEMPLATE_HASH);
        meta.labels = Some(labels);
        meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
        // The API server stamps neither, but a client may send either as null.
        meta.creation_timestamp = None;
        meta
    }
    ours.spec == theirs.spec && without_hash(ours.metadata.as_ref()) == without_hash(theirs.metadata.as_ref())
}

/// A short name of a template: FNV-1a of its JSON (object keys are in a fixed order) and the number of collisions so
/// far, in the alphabet that Kubernetes uses because it spells no words.
fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = serde_json::to_vec(template).expect("a Kubernetes type is a JSON object");
    bytes.extend(collisions.to_le_bytes());
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}
