//! Quality-of-service class of a pod, from its requests and limits of cpu and memory.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::resources;
use crate::spec;

/// The class; it decides the parent cgroup and the kernel's out-of-memory order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    /// As in `status.qosClass`.
    pub fn word(self) -> &'static str {
        match self {
            Class::Guaranteed => "Guaranteed",
            Class::Burstable => "Burstable",
            Class::BestEffort => "BestEffort",
        }
    }
}

/// The class of the pod: Guaranteed when every container limits cpu and memory and requests the same, BestEffort when
/// none asks for anything.
pub fn class(pod: &Pod) -> Class {
    let mut any = false;
    let mut guaranteed = true;
    for (_, container) in spec::containers(pod) {
        let resources = container.resources.clone().unwrap_or_default();
        let (requests, limits) = (resources.requests.unwrap_or_default(), resources.limits.unwrap_or_default());
        for name in ["cpu", "memory"] {
            let (request, limit) = (milli(&requests, name), milli(&limits, name));
            any |= request.is_some_and(|q| q > 0) || limit.is_some_and(|q| q > 0);
            guaranteed &= limit.is_some_and(|l| l > 0 && request.is_none_or(|r| r == l));
        }
    }
    match (any, guaranteed) {
        (false, _) => Class::BestEffort,
        (true, true) => Class::Guaranteed,
        (true, false) => Class::Burstable,
    }
}

fn milli(list: &BTreeMap<String, Quantity>, name: &str) -> Option<i128> {
    list.get(name).and_then(resources::milli)
}
