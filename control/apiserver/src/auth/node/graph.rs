//! Which objects the pods of each node refer to. A node may read those, and no others.

use crate::auth::follow::Fold;
use bytes::Bytes;
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// What a pod may refer to within its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Referred {
    Account,
    Claim,
    ConfigMap,
    ResourceClaim,
    Secret,
}

/// `namespace/name` of a kind.
type Reference = (Referred, Arc<str>);

/// Pods that are bound to nodes, and what they refer to.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// By `namespace/name`.
    pods: HashMap<Arc<str>, Pod>,
    /// How many pods of which node refer to it.
    referrers: HashMap<Reference, HashMap<Arc<str>, u32>>,
    nodes: HashMap<Arc<str>, u32>,
}

#[derive(Debug)]
struct Pod {
    node: Arc<str>,
    refers: Box<[Reference]>,
}

/// Where pods are stored.
pub(crate) const PREFIX: &str = "/registry/core/pods/";
/// Pods with this annotation mirror a file on a node: their node made them, so they give it no rights.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

impl Graph {
    /// The node of a bound pod.
    pub(crate) fn node_of(&self, namespace: &str, name: &str) -> Option<&str> {
        self.pods.get(format!("{namespace}/{name}").as_str()).map(|pod| pod.node.as_ref())
    }

    /// Whether a pod of the node refers to the object.
    pub(crate) fn refers(&self, node: &str, kind: Referred, namespace: &str, name: &str) -> bool {
        let key = (kind, Arc::from(format!("{namespace}/{name}")));
        self.referrers.get(&key).is_some_and(|nodes| nodes.contains_key(node))
    }

    /// `namespace/name` of the volume claims that pods of the node refer to within a namespace.
    pub(crate) fn claims(&self, node: &str, namespace: &str) -> Vec<Arc<str>> {
        let of_pod = |pod: &Pod| -> Vec<Arc<str>> {
            let claims = pod.refers.iter().filter(|(kind, _)| *kind == Referred::Claim);
            claims.map(|(_, name)| name.clone()).collect()
        };
        let inside = |key: &str| namespace.is_empty() || key.split_once('/').is_some_and(|(own, _)| own == namespace);
        self.pods
            .iter()
            .filter(|(key, pod)| pod.node.as_ref() == node && inside(key))
            .flat_map(|(_, p)| of_pod(p))
            .collect()
    }

    fn forget(&mut self, key: &str) {
        let Some(pod) = self.pods.remove(key) else { return };
        for reference in &pod.refers {
            if let Some(nodes) = self.referrers.get_mut(reference) {
                if release(nodes, &pod.node) {
                    self.referrers.remove(reference);
                }
            }
        }
        release(&mut self.nodes, &pod.node);
    }

    fn learn(&mut self, key: &str, pod: &Value) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let Some((namespace, _)) = key.split_once('/').filter(|_| !node.is_empty()) else { return };
        // One copy of each name, however many pods have it.
        let node = self.nodes.get_key_value(node).map_or_else(|| Arc::from(node), |(known, _)| known.clone());
        *self.nodes.entry(node.clone()).or_default() += 1;
        let mut refers: Vec<Reference> = Vec::new();
        for (kind, name) in references(pod) {
            let key = (kind, Arc::from(format!("{namespace}/{name}")));
            let key = self.referrers.get_key_value(&key).map_or(key, |(known, _)| known.clone());
            if !refers.contains(&key) {
                *self.referrers.entry(key.clone()).or_default().entry(node.clone()).or_default() += 1;
                refers.push(key);
            }
        }
        self.pods.insert(Arc::from(key), Pod { node, refers: refers.into() });
    }
}

/// Counts one down; true if nothing is left.
fn release(counts: &mut HashMap<Arc<str>, u32>, node: &str) -> bool {
    if let Some(count) = counts.get_mut(node) {
        *count -= 1;
        if *count == 0 {
            counts.remove(node);
        }
    }
    counts.is_empty()
}

impl Fold for Graph {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn put(&mut self, key: &str, value: &Bytes) {
        let Some(key) = key.strip_prefix(PREFIX) else { return };
        // Most writes of pods change no reference: those of a pod without a node, and statuses of one with. Only
        // ephemeral containers and resource claims come later.
        let known = self.pods.contains_key(key);
        if !known && !contains(value, b"\"nodeName\"") {
            return;
        }
        if known && !contains(value, b"\"ephemeralContainers\"") && !contains(value, b"\"resourceClaimStatuses\"") {
            return;
        }
        if let Ok(pod) = serde_json::from_slice::<Value>(value) {
            self.forget(key);
            self.learn(key, &pod);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(key) = key.strip_prefix(PREFIX) {
            self.forget(key);
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What a pod refers to in its namespace, with repetitions.
pub(crate) fn references(pod: &Value) -> Vec<(Referred, String)> {
    let mut found = Vec::new();
    if pod["metadata"]["annotations"][MIRROR].is_string() {
        return found;
    }
    let spec = &pod["spec"];
    let mut note = |kind: Referred, name: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            found.push((kind, name.to_owned()));
        }
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    note(Referred::Account, &spec["serviceAccountName"]);
    for secret in list(&spec["imagePullSecrets"]) {
        note(Referred::Secret, &secret["name"]);
    }
    for volume in list(&spec["volumes"]) {
        note(Referred::Secret, &volume["secret"]["secretName"]);
        note(Referred::ConfigMap, &volume["configMap"]["name"]);
        note(Referred::Claim, &volume["persistentVolumeClaim"]["claimName"]);
        if volume["ephemeral"].is_object() {
            let (pod, volume) = (api::meta::name(pod), volume["name"].as_str().unwrap_or_default());
            note(Referred::Claim, &format!("{pod}-{volume}").into());
        }
        for source in list(&volume["projected"]["sources"]) {
            note(Referred::Secret, &source["secret"]["name"]);
            note(Referred::ConfigMap, &source["configMap"]["name"]);
        }
        // Volumes of other kinds: csi, flexVolume, cephfs, rbd, scaleIO, iscsi, storageos, azureFile.
        for source in volume.as_object().into_iter().flatten().map(|(_, source)| source) {
            note(Referred::Secret, &source["secretRef"]["name"]);
            note(Referred::Secret, &source["nodePublishSecretRef"]["name"]);
        }
        note(Referred::Secret, &volume["azureFile"]["secretName"]);
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list(&spec[field]) {
            for source in list(&container["envFrom"]) {
                note(Referred::Secret, &source["secretRef"]["name"]);
                note(Referred::ConfigMap, &source["configMapRef"]["name"]);
            }
            for variable in list(&container["env"]) {
                note(Referred::Secret, &variable["valueFrom"]["secretKeyRef"]["name"]);
                note(Referred::ConfigMap, &variable["valueFrom"]["configMapKeyRef"]["name"]);
            }
        }
    }
    for claim in list(&spec["resourceClaims"]) {
        note(Referred::ResourceClaim, &claim["resourceClaimName"]);
    }
    for claim in list(&pod["status"]["resourceClaimStatuses"]) {
        note(Referred::ResourceClaim, &claim["resourceClaimName"]);
    }
    note(Referred::ResourceClaim, &pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"]);
    found
}
