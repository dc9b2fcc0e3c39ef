//! What must never happen. The check reads every write the store ever publishes, in order, and looks at the whole
//! state after each step of the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cache::{Cached, Input, Kind, Object, Reflector, Uid, View};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use store::{Backend, Event, Watch};

use crate::kubelet::is_ready;

/// Writes kept for the report of a failure.
const RECENT: usize = 60;

/// The truth, and what it was.
pub struct Check {
    watch: Watch,
    reflector: Reflector,
    revision: u64,
    /// Every uid that ever was, with the key it belongs to.
    uids: BTreeMap<String, String>,
    /// By uid of a Deployment or ReplicaSet: the most replicas it may have had reason to want since all was quiet last.
    allowed: BTreeMap<String, i64>,
    /// Deployments (by uid) that have once been fully available, when availability is to be checked.
    available: Option<BTreeSet<String>>,
    /// The fabric compiled step by step, with the View it came from, and as a node has it that gets the differences.
    fabric: (Arc<View>, fabric::State),
    node: fabric::State,
    /// Writes by others than heartbeats, so far.
    pub writes: usize,
    /// The last of them.
    pub recent: VecDeque<String>,
}

impl Check {
    /// Starts at an empty store. `availability`: nothing but rolling updates will disturb the pods.
    pub fn new(store: &dyn Backend, availability: Availability) -> Check {
        let revision = store.revision();
        let mut reflector = Reflector::default();
        reflector.apply(Input::Restarted { kinds: Kind::ALL.to_vec(), objects: Vec::new(), revision });
        Check {
            watch: store.watch("/registry/", revision).expect("the present revision"),
            reflector,
            revision: revision.0,
            uids: BTreeMap::new(),
            allowed: BTreeMap::new(),
            available: match availability {
                Availability::Checked => Some(BTreeSet::new()),
                Availability::Disturbed => None,
            },
            fabric: (Arc::default(), fabric::State::default()),
            node: fabric::State::default(),
            writes: 0,
            recent: VecDeque::new(),
        }
    }

    /// The state after everything written.
    pub fn view(&self) -> &Arc<View> {
        self.reflector.view()
    }

    /// Reads what was written and checks it, then the state as a whole.
    pub fn look(&mut self) -> Result<(), String> {
        let mut changed = false;
        while let Some(event) = self.watch.next().now_or_never().flatten() {
            let event = event.map_err(|error| format!("the check lost its watch: {error}"))?;
            self.event(&event).map_err(|what| format!("write {} of {}: {what}", event.revision, event.key))?;
            changed = true;
            self.reflector.apply(plane::views::input(&event));
            self.deployments()?;
            self.replica_sets()?;
        }
        if changed {
            self.nodes()?;
            self.services()?;
            self.fabric()?;
        }
        Ok(())
    }

    /// Compiled from the changes, as a node folds them, and compiled at once: all the same.
    fn fabric(&mut self) -> Result<(), String> {
        let view = self.reflector.view().clone();
        let (old_view, old) = &self.fabric;
        let next = fabric::compile(&view, Some((old_view, old)));
        self.node.apply(next.diff(old));
        let whole = fabric::compile(&view, None);
        if next != whole || self.node != whole {
            return Err("the fabric compiled from the changes differs from the whole".to_owned());
        }
        self.fabric = (view, next);
        Ok(())
    }

    /// All is quiet: what was allowed for older specs is allowed no longer.
    pub fn quiet(&mut self) {
        self.allowed.clear();
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.revision.0 != self.revision + 1 {
            return Err(format!("follows revision {}", self.revision));
        }
        self.revision = event.revision.0;
        if !event.key.starts_with("/registry/coordination.k8s.io/") && !event.key.starts_with("/registry/core/nodes/") {
            self.writes += 1;
            if !event.key.starts_with("/registry/core/events/") {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(describe(event));
            }
        }
        let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|error| error.to_string());
        let old = event.prev.as_ref().map(|prev| parse(&prev.value)).transpose()?;
        let new = event.value.as_ref().map(|value| parse(value)).transpose()?;
        if new.as_ref().is_some_and(|new| new.pointer("/metadata/resourceVersion").is_some()) {
            return Err("resourceVersion is stored".to_owned());
        }
        match (&old, &new) {
            (None, Some(new)) => self.created(event, new),
            (Some(old), Some(new)) => unchanged(old, new),
            (Some(old), None) => deleted(old),
            (None, None) => Err("deletes nothing".to_owned()),
        }
    }

    fn created(&mut self, event: &Event, new: &Value) -> Result<(), String> {
        let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let uid = text("/metadata/uid");
        if uid.is_empty() || text("/metadata/creationTimestamp").is_empty() {
            return Err("has no uid or creationTimestamp".to_owned());
        }
        if !event.key.ends_with(&format!("/{}", text("/metadata/name"))) {
            return Err("has another name".to_owned());
        }
        if let Some(known) = self.uids.insert(uid.clone(), event.key.to_string()) {
            return Err(format!("has the uid of {known}"));
        }
        let owners = new.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        for owner in owners.into_iter().flatten() {
            let field = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
            let known = self.uids.get(field("uid"));
            if !known.is_some_and(|key| key.ends_with(&format!("/{}", field("name")))) {
                return Err(format!("is owned by {owner}, which never was"));
            }
        }
        Ok(())
    }

    /// The replicas of a Deployment's sets, and how many are available.
    fn deployments(&mut self) -> Result<(), String> {
        let view = self.reflector.view().clone();
        for deployment in view.all::<Deployment>() {
            let (Some(spec), Some(uid)) = (&deployment.spec, &deployment.metadata.uid) else { continue };
            let replicas = i64::from(spec.replicas.unwrap_or(1));
            let pods = pods_of(&view, &deployment.metadata);
            let (surge, unavailable) = limits(&deployment, replicas);
            let wanted = sets_of(&view, &deployment.metadata).iter().map(|set| set_replicas(set)).sum();
            self.at_most(&deployment.metadata, wanted, replicas + surge)?;
            if let Some(reached) = &mut self.available {
                let ready =
                    i64::try_from(pods.iter().filter(|pod| is_active(pod) && is_ready(pod)).count()).expect("few");
                if ready >= replicas {
                    reached.insert(uid.clone());
                } else if reached.contains(uid) && ready < replicas - unavailable {
                    let name = cache::key_of(&deployment.metadata);
                    return Err(format!("deployment {name} has {ready} of {replicas} pods, {unavailable} may be away"));
                }
            }
        }
        Ok(())
    }

    /// A ReplicaSet's pods.
    fn replica_sets(&mut self) -> Result<(), String> {
        let view = self.reflector.view().clone();
        for set in view.all::<ReplicaSet>() {
            let pods = owned_pods(&view, &set.metadata);
            let active = i64::try_from(pods.iter().filter(|pod| is_active(pod)).count()).expect("few");
            self.at_most(&set.metadata, active, set_replicas(&set))?;
        }
        Ok(())
    }

    /// There may be `limit`, or as many as older specs allowed: they may still come from a stale View.
    fn at_most(&mut self, owner: &ObjectMeta, count: i64, limit: i64) -> Result<(), String> {
        let allowed = self.allowed.entry(owner.uid.clone().unwrap_or_default()).or_insert(limit);
        *allowed = (*allowed).max(limit);
        if count > *allowed {
            return Err(format!("{} has {count} replicas, {allowed} are allowed", cache::key_of(owner)));
        }
        Ok(())
    }

    /// What is bound to a node fits it.
    fn nodes(&self) -> Result<(), String> {
        let view = self.reflector.view();
        for node in view.all::<Node>() {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let pods: Vec<_> =
                view.pods_on(name).filter_map(Object::typed).filter(|pod: &Arc<Pod>| !is_terminal(pod)).collect();
            let cpu: i64 = pods.iter().map(|pod| milli_cpu(pod)).sum();
            if cpu > 4000 || pods.len() > 20 {
                return Err(format!("{name} has {} pods with {cpu}m cpu", pods.len()));
            }
        }
        Ok(())
    }

    /// No address and no node port is given twice.
    fn services(&self) -> Result<(), String> {
        let mut taken = BTreeMap::new();
        for service in self.reflector.view().all::<Service>() {
            let name = cache::key_of(&service.metadata);
            let Some(spec) = &service.spec else { continue };
            let addresses = spec.cluster_ip.iter().filter(|ip| *ip != "None").cloned();
            let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port).map(|port| port.to_string());
            for thing in addresses.chain(ports) {
                if let Some(other) = taken.insert(thing.clone(), name.clone()) {
                    return Err(format!("{thing} belongs to {other} and {name}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether Deployments must stay available all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// They must: only rolling updates happen.
    Checked,
    /// Pods are deleted and nodes fail, so they cannot.
    Disturbed,
}

/// One write in a line.
fn describe(event: &Event) -> String {
    let verb = match (&event.prev, &event.value) {
        (None, _) => "create",
        (Some(_), Some(_)) => "update",
        (Some(_), None) => "delete",
    };
    let object: Value = event.value.as_ref().and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default();
    let mut line = format!("{} {verb} {}", event.revision, event.key);
    for (word, pointer) in [
        ("deleting", "/metadata/deletionTimestamp"),
        ("replicas", "/spec/replicas"),
        ("node", "/spec/nodeName"),
        ("phase", "/status/phase"),
        ("has", "/status/replicas"),
        ("available", "/status/availableReplicas"),
        ("observed", "/status/observedGeneration"),
    ] {
        if let Some(value) = object.pointer(pointer) {
            line.push_str(&format!(" {word}={value}"));
        }
    }
    line
}

/// What no update may change.
fn unchanged(old: &Value, new: &Value) -> Result<(), String> {
    for pointer in ["/metadata/uid", "/metadata/name", "/metadata/namespace", "/metadata/creationTimestamp"] {
        if old.pointer(pointer) != new.pointer(pointer) {
            return Err(format!("{pointer} changes"));
        }
    }
    for pointer in ["/metadata/deletionTimestamp", "/spec/nodeName", "/spec/clusterIP", "/spec/podCIDR"] {
        let is_service_made_external =
            pointer == "/spec/clusterIP" && new.pointer("/spec/type") == Some(&"ExternalName".into());
        if let Some(before) = old.pointer(pointer)
            && !is_service_made_external
            && pointer != "/metadata/deletionTimestamp"
            && new.pointer(pointer) != Some(before)
        {
            return Err(format!("{pointer} was {before} and becomes {:?}", new.pointer(pointer)));
        }
        if pointer == "/metadata/deletionTimestamp" && old.pointer(pointer).is_some() && new.pointer(pointer).is_none()
        {
            return Err("is no longer being deleted".to_owned());
        }
    }
    let generation = |object: &Value| object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    if generation(new) < generation(old) {
        return Err("generation goes back".to_owned());
    }
    if old == new {
        return Err("writes what is there already".to_owned());
    }
    Ok(())
}

fn deleted(old: &Value) -> Result<(), String> {
    let finalizers = old.pointer("/metadata/finalizers").and_then(Value::as_array);
    match finalizers {
        Some(finalizers) if finalizers.len() > 1 => Err(format!("goes with finalizers {finalizers:?}")),
        Some(_) | None => Ok(()),
    }
}

/// The pods of a Deployment's ReplicaSets.
pub fn pods_of(view: &View, deployment: &ObjectMeta) -> Vec<Arc<Pod>> {
    sets_of(view, deployment).iter().flat_map(|set| owned_pods(view, &set.metadata)).collect()
}

fn sets_of(view: &View, deployment: &ObjectMeta) -> Vec<Arc<ReplicaSet>> {
    owned(view, deployment)
}

fn owned_pods(view: &View, owner: &ObjectMeta) -> Vec<Arc<Pod>> {
    owned(view, owner)
}

fn owned<T: Cached>(view: &View, owner: &ObjectMeta) -> Vec<Arc<T>> {
    view.owned_by(&Uid::of(owner.uid.as_deref().unwrap_or_default())).filter_map(Object::typed).collect()
}

fn set_replicas(set: &ReplicaSet) -> i64 {
    set.spec.as_ref().and_then(|spec| spec.replicas).map_or(1, i64::from)
}

pub fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !is_terminal(pod)
}

pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// maxSurge and maxUnavailable; the simulation writes both as numbers.
fn limits(deployment: &Deployment, replicas: i64) -> (i64, i64) {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return (0, replicas);
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let number = |value: Option<&IntOrString>| match value {
        Some(IntOrString::Int(number)) => i64::from(*number),
        Some(IntOrString::String(_)) | None => replicas,
    };
    (number(rolling.and_then(|r| r.max_surge.as_ref())), number(rolling.and_then(|r| r.max_unavailable.as_ref())))
}

fn milli_cpu(pod: &Pod) -> i64 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let requests = containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref()?.get("cpu"));
    requests.filter_map(|cpu| api::quantity::Quantity::parse(&cpu.0).ok()).map(|cpu| cpu.milli_value()).sum()
}
