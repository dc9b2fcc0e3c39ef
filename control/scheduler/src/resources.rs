//! Amounts of resources: what a pod asks for, what a node has.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a container without a request counts as when loads are compared: 100 millicores and 200 MB.
pub const ASSUMED_MILLI_CPU: i64 = 100;
/// See [`ASSUMED_MILLI_CPU`].
pub const ASSUMED_MEMORY: i64 = 200 * 1024 * 1024;

/// A list of resources as Kubernetes objects have it.
pub type Quantities = BTreeMap<String, Quantity>;

/// Amounts by resource name: cpu in millicores, everything else in its unit (bytes, pieces).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resources(BTreeMap<String, i64>);

impl Resources {
    /// From a list of quantities; one that does not parse counts as nothing (the API server refuses it anyway).
    pub fn of(quantities: Option<&Quantities>) -> Resources {
        let amounts = quantities.into_iter().flatten().filter_map(|(name, quantity)| {
            let quantity = api::Quantity::parse(&quantity.0).ok()?;
            Some((name.clone(), if name == "cpu" { quantity.milli_value() } else { quantity.value() }))
        });
        Resources(amounts.collect())
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Every resource with its amount, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    fn max_with(&mut self, other: &Resources) {
        for (name, amount) in other.iter() {
            let mine = self.0.entry(name.to_owned()).or_default();
            *mine = (*mine).max(amount);
        }
    }

    fn assume(&mut self, name: &str, amount: i64) {
        self.0.entry(name.to_owned()).or_insert(amount);
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        // Nothing of a resource is not the same as the resource at nothing: it would stay behind.
        for (name, amount) in other.iter().filter(|(_, amount)| *amount != 0) {
            let mine = self.0.entry(name.to_owned()).or_default();
            *mine = mine.saturating_add(amount);
        }
    }
}

impl SubAssign<&Resources> for Resources {
    fn sub_assign(&mut self, other: &Resources) {
        for (name, amount) in other.iter() {
            let mine = self.0.entry(name.to_owned()).or_default();
            *mine = mine.saturating_sub(amount);
        }
        self.0.retain(|_, amount| *amount != 0);
    }
}

/// What a pod asks for: its containers and sidecars together, or its init containers where one of them needs more
/// (with the sidecars that run by then), plus overhead. Requests of the pod as a whole take the place of the sum.
pub fn requests(pod: &Pod) -> Resources {
    total(pod, |container| {
        Resources::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    })
}

/// The same, with an assumed amount of cpu and memory for containers that ask for none: to compare loads.
pub fn assumed_requests(pod: &Pod) -> Resources {
    total(pod, |container| {
        let mut amounts = Resources::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
        amounts.assume("cpu", ASSUMED_MILLI_CPU);
        amounts.assume("memory", ASSUMED_MEMORY);
        amounts
    })
}

fn total(pod: &Pod, of: impl Fn(&Container) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut running = Resources::default();
    for container in &spec.containers {
        running += &of(container);
    }
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += &needed;
            needed = sidecars.clone();
        } else {
            needed += &sidecars;
        }
        starting.max_with(&needed);
    }
    running += &sidecars;
    running.max_with(&starting);
    let whole = Resources::of(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    running.0.extend(whole.0);
    running += &Resources::of(spec.overhead.as_ref());
    running
}
