//! The end: faults stop, everybody works until nothing is left to do, and then all that was asked for must be there.

use std::collections::BTreeSet;
use std::time::Duration;

use cache::{Kind, Uid, View};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::check::{is_active, pods_of};
use crate::kubelet::is_ready;
use crate::world::World;

/// Rounds of everybody's work before it counts as never ending.
const MAX_ROUNDS: usize = 3000;
/// Nothing may have to happen for so long before it counts as quiet: longer than any delay in the control plane, such
/// as a taint's 300 s.
const QUIET_SECONDS: u64 = 400;
/// Time that passes at once: less than half of what makes a node silent.
const ADVANCE_SECONDS: u64 = 18;

/// Works until nothing happens any more.
pub fn until_quiet(world: &mut World) -> Result<(), String> {
    let mut quiet_seconds = 0;
    for _ in 0..MAX_ROUNDS {
        let before = world.check.writes;
        world.everybody_works()?;
        if world.check.writes > before {
            quiet_seconds = 0;
            continue;
        }
        if quiet_seconds >= QUIET_SECONDS {
            world.check.quiet();
            return Ok(());
        }
        world.advance(Duration::from_secs(ADVANCE_SECONDS))?;
        quiet_seconds += ADVANCE_SECONDS;
    }
    Err(format!("still busy after {MAX_ROUNDS} rounds"))
}

/// What must have come true.
pub fn accomplished(view: &View) -> Result<(), String> {
    for deployment in view.all::<Deployment>() {
        let name = cache::key_of(&deployment.metadata);
        if deployment.metadata.deletion_timestamp.is_some() {
            return Err(format!("deployment {name} is still being deleted"));
        }
        let (Some(spec), Some(status)) = (&deployment.spec, &deployment.status) else {
            return Err(format!("deployment {name} has no status"));
        };
        let wanted = spec.replicas.unwrap_or(1);
        let found = [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas];
        if found.iter().any(|found| found.unwrap_or(0) != wanted) {
            return Err(format!("deployment {name} wants {wanted} replicas, its status says {found:?}"));
        }
        if status.observed_generation != deployment.metadata.generation {
            return Err(format!("deployment {name}: the last change was not observed"));
        }
        let images: BTreeSet<_> = pods_of(view, &deployment.metadata).iter().filter_map(|pod| image(pod)).collect();
        let template = spec.template.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone());
        if wanted > 0 && images != template.iter().cloned().collect() {
            return Err(format!("deployment {name} runs {images:?}, not {template:?}"));
        }
        if pods_of(view, &deployment.metadata).len() != usize::try_from(wanted).expect("not negative") {
            return Err(format!("deployment {name} has superfluous pods"));
        }
    }
    for set in view.all::<ReplicaSet>() {
        owner_exists(view, "replicaset", &set.metadata)?;
    }
    for pod in view.all::<Pod>() {
        owner_exists(view, "pod", &pod.metadata)?;
        let name = cache::key_of(&pod.metadata);
        if pod.metadata.deletion_timestamp.is_some() {
            return Err(format!("pod {name} is still being deleted"));
        }
        if is_active(&pod) && !is_ready(&pod) {
            return Err(format!("pod {name} is not ready"));
        }
    }
    for namespace in view.all::<Namespace>() {
        if namespace.metadata.deletion_timestamp.is_some() {
            return Err(format!("namespace {:?} is still being deleted", namespace.metadata.name));
        }
    }
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.namespaced()) {
        for key in view.tables.keys(kind, None) {
            if view.get::<Namespace>("", &key.namespace).is_none() {
                return Err(format!("{} {key} outlived its namespace", kind.name()));
            }
        }
    }
    for service in view.all::<Service>() {
        endpoints(view, &service)?;
    }
    let ranges: BTreeSet<_> = view.all::<Node>().filter_map(|node| node.spec.as_ref()?.pod_cidr.clone()).collect();
    if ranges.len() != view.all::<Node>().count() {
        return Err("nodes share a pod range or lack one".to_owned());
    }
    Ok(())
}

/// A Service's slices name its pods, which are all ready by now, each once, and no other.
fn endpoints(view: &View, service: &Service) -> Result<(), String> {
    let key = cache::key_of(&service.metadata);
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return Ok(()) };
    let labelled = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        selector.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    };
    let mut wanted: Vec<String> = view
        .list::<Pod>(&key.namespace)
        .filter(|pod| is_active(pod) && is_ready(pod) && labelled(pod))
        .filter_map(|pod| pod.metadata.name.clone())
        .collect();
    let slices = view.list::<EndpointSlice>(&key.namespace).filter(|slice| {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get("kubernetes.io/service-name")) == Some(&key.name)
    });
    let mut found: Vec<String> = slices
        .flat_map(|slice| slice.endpoints.clone().unwrap_or_default())
        .filter_map(|endpoint| endpoint.target_ref?.name)
        .collect();
    wanted.sort();
    found.sort();
    if wanted == found { Ok(()) } else { Err(format!("service {key} has endpoints {found:?}, ready are {wanted:?}")) }
}

fn owner_exists(
    view: &View,
    kind: &str,
    meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> Result<(), String> {
    for owner in meta.owner_references.iter().flatten() {
        if view.by_uid(&Uid::of(&owner.uid)).is_none() {
            return Err(format!("{kind} {} outlived its owner {}", cache::key_of(meta), owner.name));
        }
    }
    Ok(())
}

fn image(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.containers.first()?.image.clone()
}
