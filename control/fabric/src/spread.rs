//! How a Service's new connections are spread over its endpoints: annotations of the Service, and a label of its pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Key;
use api::spread::WEIGHT;
use cache::{Change, Kind, Object, View};
use imbl::OrdMap;
use wire::fabric::{Algorithm, Service};

/// What a Service's annotations say; what is not understood counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    pub algorithm: Algorithm,
    /// 0: not given.
    pub maglev_size: u32,
    /// What was not understood, and why; empty if all was.
    pub ignored: String,
}

/// Reads a Service's annotations.
pub fn spread(annotations: Option<&BTreeMap<String, String>>) -> Spread {
    let said = api::spread::spread(|name| Some(annotations?.get(name)?.as_str()));
    let algorithm = match said.algorithm {
        api::spread::Algorithm::Even => Algorithm::Even,
        api::spread::Algorithm::Random => Algorithm::Random,
        api::spread::Algorithm::Maglev => Algorithm::Maglev,
    };
    Spread { algorithm, maglev_size: said.maglev_size, ignored: said.ignored.join("; ") }
}

/// The weight of an endpoint's pod (`namespace/name`), if it has one that is understood.
pub fn weight(view: &View, pod: &str) -> Option<u32> {
    let (namespace, name) = pod.split_once('/')?;
    label(view.tables.object(Kind::Pod, &Key::new(namespace, name))?)
}

fn label(pod: &Object) -> Option<u32> {
    api::spread::weight(pod.labels()?.get(WEIGHT)?).ok()
}

/// The Services that a pod's change gives another weight: those that have it as endpoint, and are not compiled again for another reason.
pub fn weighed(change: &Change, services: &OrdMap<String, Arc<Service>>) -> Vec<Key> {
    let weight = |pod: &Option<Object>| pod.as_ref().and_then(label);
    if weight(&change.old) == weight(&change.new) {
        return Vec::new();
    }
    let (pod, namespace) = (change.key.to_string(), &change.key.namespace);
    let has_it = |service: &Service| service.endpoints.iter().any(|endpoint| endpoint.pod == pod);
    // Services are by namespace and name.
    let of_namespace = services.range(format!("{namespace}/")..format!("{namespace}0"));
    let found = of_namespace.filter(|(_, service)| has_it(service));
    found.map(|(_, service)| Key::new(&service.namespace, &service.name)).collect()
}
