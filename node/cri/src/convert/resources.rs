//! cgroup limits from requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pod::spec::spec;

use crate::v1;

/// Length of a CFS period.
const PERIOD_MICROSECONDS: i64 = 100_000;
/// Smallest quota the kernel takes.
const MIN_QUOTA_MICROSECONDS: i64 = 1_000;
/// Smallest cgroup v1 share.
const MIN_SHARES: i64 = 2;
/// Largest cgroup v1 share.
const MAX_SHARES: i64 = 262_144;
/// Guaranteed and node-critical pods. Source: kubelet's qos policy.
const OOM_GUARANTEED: i64 = -997;
/// Best-effort pods die first.
const OOM_BEST_EFFORT: i64 = 1000;
/// Pods of this priority keep the node alive: `system-node-critical`.
const NODE_CRITICAL_PRIORITY: i32 = 2_000_001_000;

/// cgroup limits of `container`. `memory_capacity_bytes` is the node's; `oom_floor` is the lowest oom_score_adj the
/// daemon may give away, when it lacks the capability to go below its own.
pub fn resources(
    pod: &Pod,
    container: &Container,
    memory_capacity_bytes: i64,
    oom_floor: Option<i64>,
) -> v1::LinuxContainerResources {
    let wanted = container.resources.as_ref();
    let limits = wanted.and_then(|resources| resources.limits.as_ref());
    let requests = wanted.and_then(|resources| resources.requests.as_ref());
    let cpu_limit = amount(limits, "cpu", milli);
    // A limit without a request is a request too.
    let cpu_request = amount(requests, "cpu", milli).or(cpu_limit).unwrap_or(0);
    v1::LinuxContainerResources {
        cpu_period: cpu_limit.map_or(0, |_| PERIOD_MICROSECONDS),
        cpu_quota: cpu_limit.map_or(0, quota),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: amount(limits, "memory", whole).unwrap_or(0),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity_bytes, oom_floor),
        ..Default::default()
    }
}

/// How willingly the kernel kills `container` when memory runs out: by QoS class, within burstable by how little
/// memory it asked for.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity_bytes: i64, oom_floor: Option<i64>) -> i64 {
    let critical = spec(pod).priority.is_some_and(|priority| priority >= NODE_CRITICAL_PRIORITY);
    let adjust = if critical || is_guaranteed(pod) {
        OOM_GUARANTEED
    } else if is_best_effort(pod) {
        OOM_BEST_EFFORT
    } else {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let request = amount(requests, "memory", whole).unwrap_or(0);
        let share = i128::from(request) * 1000 / i128::from(memory_capacity_bytes.max(1));
        // Between the guaranteed (exclusive) and the best-effort ones (exclusive).
        1000 - i64::try_from(share).unwrap_or(1000).clamp(1, -OOM_GUARANTEED)
    };
    oom_floor.map_or(adjust, |floor| adjust.max(floor))
}

/// Every container limits cpu and memory and requests just that.
fn is_guaranteed(pod: &Pod) -> bool {
    all_containers(pod).all(|container| {
        ["cpu", "memory"].into_iter().all(|resource| {
            let wanted = container.resources.as_ref();
            let limit = amount(wanted.and_then(|resources| resources.limits.as_ref()), resource, milli);
            let request = amount(wanted.and_then(|resources| resources.requests.as_ref()), resource, milli);
            limit.is_some_and(|limit| limit > 0) && request.is_none_or(|request| Some(request) == limit)
        })
    })
}

/// No container asks for cpu or memory.
fn is_best_effort(pod: &Pod) -> bool {
    all_containers(pod).all(|container| {
        let wanted = container.resources.as_ref();
        let lists = [wanted.and_then(|r| r.limits.as_ref()), wanted.and_then(|r| r.requests.as_ref())];
        lists
            .into_iter()
            .all(|list| ["cpu", "memory"].into_iter().all(|resource| amount(list, resource, milli).unwrap_or(0) == 0))
    })
}

fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = spec(pod);
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn quota(milli: i64) -> i64 {
    (milli.saturating_mul(PERIOD_MICROSECONDS) / 1000).max(MIN_QUOTA_MICROSECONDS)
}

fn shares(milli: i64) -> i64 {
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// The quantity of `resource`, by `unit`; absent when not given or (which the API refuses) not a quantity.
fn amount(
    list: Option<&BTreeMap<String, Quantity>>,
    resource: &str,
    unit: fn(&api::quantity::Quantity) -> i64,
) -> Option<i64> {
    let text = &list?.get(resource)?.0;
    api::quantity::Quantity::parse(text).ok().as_ref().map(unit)
}

fn milli(quantity: &api::quantity::Quantity) -> i64 {
    quantity.milli_value()
}

fn whole(quantity: &api::quantity::Quantity) -> i64 {
    quantity.value()
}
