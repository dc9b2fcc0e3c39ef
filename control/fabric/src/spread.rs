//! How a Service's new connections are spread over its endpoints: annotations of the Service, and a label of its pods.

use std::collections::BTreeMap;

use api::Key;
use cache::{Change, Kind, Object, View};
use imbl::OrdMap;
use std::sync::Arc;
use wire::fabric::{Algorithm, Service};

/// Annotation of a Service: `even` (what it is without), `random` or `maglev`.
pub const ALGORITHM: &str = "gannet.io/lb-algorithm";
/// Annotation of a Service: slots of its Maglev rings, a prime from [`SIZES`].
pub const MAGLEV_SIZE: &str = "gannet.io/maglev-size";
/// Label of a pod: its share of new connections beside the Service's other pods, up to [`MAX_WEIGHT`]; 1 without, 0 for none. A label and
/// not an annotation, because labels are at hand without decoding the pod.
pub const WEIGHT: &str = "gannet.io/lb-weight";

/// Sizes that a ring may have, if they are prime.
pub const SIZES: std::ops::RangeInclusive<u32> = 251..=65_521;
/// Largest weight.
pub const MAX_WEIGHT: u32 = 1_000;

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
    let mut spread = Spread::default();
    let mut ignored = Vec::new();
    let value = |name| annotations.and_then(|annotations| annotations.get(name)).map(|value| value.trim());
    match value(ALGORITHM) {
        None | Some("even") => {}
        Some("random") => spread.algorithm = Algorithm::Random,
        Some("maglev") => spread.algorithm = Algorithm::Maglev,
        Some(other) => ignored.push(format!("annotation {ALGORITHM} {other:?} is none of even, random, maglev")),
    }
    if let Some(text) = value(MAGLEV_SIZE) {
        match text.parse() {
            Ok(size) if SIZES.contains(&size) && is_prime(size) => spread.maglev_size = size,
            Ok(_) | Err(_) => ignored.push(format!(
                "annotation {MAGLEV_SIZE} {text:?} is no prime from {} to {}",
                SIZES.start(),
                SIZES.end()
            )),
        }
    }
    spread.ignored = ignored.join("; ");
    spread
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|n| n * n <= number).all(|n| !number.is_multiple_of(n))
}

/// The weight of an endpoint's pod (`namespace/name`), if it has one that is understood.
pub fn weight(view: &View, pod: &str) -> Option<u32> {
    let (namespace, name) = pod.split_once('/')?;
    label(view.tables.object(Kind::Pod, &Key::new(namespace, name))?)
}

fn label(pod: &Object) -> Option<u32> {
    pod.labels()?.get(WEIGHT)?.parse().ok().filter(|weight| *weight <= MAX_WEIGHT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_told_and_counts_as_absent() {
        let read = |pairs: &[(&str, &str)]| {
            spread(Some(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()))
        };
        let good = read(&[(ALGORITHM, " maglev"), (MAGLEV_SIZE, "16381")]);
        assert_eq!(good, Spread { algorithm: Algorithm::Maglev, maglev_size: 16_381, ignored: String::new() });
        assert_eq!(spread(None), Spread::default());
        for size in ["16384", "0", "7", "65537", "-3", "many", "4294967311"] {
            let bad = read(&[(ALGORITHM, "maglev"), (MAGLEV_SIZE, size)]);
            assert_eq!((bad.algorithm, bad.maglev_size), (Algorithm::Maglev, 0), "{size}");
            assert!(bad.ignored.contains(MAGLEV_SIZE) && bad.ignored.contains(size), "{}", bad.ignored);
        }
        let both = read(&[(ALGORITHM, "fastest"), (MAGLEV_SIZE, "250")]);
        assert_eq!((both.algorithm, both.maglev_size), (Algorithm::Even, 0));
        assert!(both.ignored.contains("fastest") && both.ignored.contains("250"), "{}", both.ignored);
    }
}
