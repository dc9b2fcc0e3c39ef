//! Sums and fields of resource requests and limits.

use std::collections::BTreeMap;

use api::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::spec::{self, Role};

/// Name to amount, as in `requests`, `limits`, `allocatable`.
pub type List = BTreeMap<String, Quantity>;

/// Thousandths of the quantity, rounded up; `None` if it does not parse.
pub fn milli(quantity: &Quantity) -> Option<i128> {
    Amount::parse(&quantity.0).ok().map(|amount| i128::from(amount.milli_value()))
}

/// Units of the quantity, rounded up; `None` if it does not parse.
pub fn units(quantity: &Quantity) -> Option<i64> {
    Amount::parse(&quantity.0).ok().map(|amount| amount.value())
}

/// Thousandths that the pod requests of the resource: the larger of what its main containers and sidecars ask for
/// together and what any init container asks for beside the sidecars started before it; plus overhead.
pub fn request_milli(pod: &Pod, resource: &str) -> i128 {
    let mut running = 0;
    let mut peak = 0;
    for (role, container) in spec::containers(pod) {
        let asked = request(container, resource);
        match role {
            Role::Init => peak = peak.max(running + asked),
            Role::Sidecar | Role::Main => running += asked,
        }
    }
    let overhead = spec::spec(pod).overhead.as_ref().and_then(|list| list.get(resource)).and_then(milli);
    peak.max(running) + overhead.unwrap_or(0)
}

fn request(container: &Container, resource: &str) -> i128 {
    let Some(resources) = &container.resources else { return 0 };
    let of = |list: &Option<List>| list.as_ref().and_then(|l| l.get(resource)).and_then(milli);
    of(&resources.requests).or_else(|| of(&resources.limits)).unwrap_or(0)
}

/// Value of a `resourceFieldRef`, in its divisor's units, rounded up. A limit that is not set is what the node can
/// allocate; a request that is not set is 0.
pub fn field(pod: &Pod, container: &str, selector: &ResourceFieldSelector, allocatable: &List) -> Option<String> {
    let name = selector.container_name.as_deref().unwrap_or(container);
    let container = spec::container(pod, name)?;
    let (list, resource) = selector.resource.split_once('.')?;
    let resources = container.resources.clone().unwrap_or_default();
    let value = match list {
        "limits" => resources.limits.as_ref().and_then(|l| l.get(resource)).or_else(|| allocatable.get(resource)),
        "requests" => resources.requests.as_ref().and_then(|l| l.get(resource)),
        _ => return None,
    };
    let value = value.map_or(Some(0), milli)?;
    let divisor = selector.divisor.as_ref().and_then(milli).filter(|d| *d > 0).unwrap_or(1000);
    Some(((value + divisor - 1) / divisor).to_string())
}
