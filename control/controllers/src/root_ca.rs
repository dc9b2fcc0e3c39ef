//! The ConfigMap `kube-root-ca.crt` of every namespace, by which pods verify the API server.

use std::collections::BTreeMap;

use api::Key;
use cache::{Change, Kind, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, Plan, Write};

use crate::owner;

const ROOT_CA: &str = "kube-root-ca.crt";
const CA_ENTRY: &str = "ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

/// Publishes the cluster's CA.
#[derive(Debug)]
pub struct RootCaPublisher {
    /// The CA certificate, PEM.
    pub ca_pem: String,
}

impl Controller for RootCaPublisher {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn keys(&self, change: &Change, _view: &View) -> Vec<Key> {
        match change.kind {
            Kind::Namespace => vec![Key::cluster(&change.key.name)],
            Kind::ConfigMap if change.key.name == ROOT_CA => vec![Key::cluster(&change.key.namespace)],
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let Some(namespace) = view.at::<Namespace>(key).filter(|namespace| !owner::is_deleting(&namespace.metadata))
        else {
            return Plan::none();
        };
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let mut plan = Plan::none();
        let published = BTreeMap::from([(CA_ENTRY.to_owned(), self.ca_pem.clone())]);
        match view.get::<ConfigMap>(name, ROOT_CA) {
            None => plan.writes.push(Write::create(&ConfigMap {
                metadata: ObjectMeta {
                    namespace: Some(name.to_owned()),
                    name: Some(ROOT_CA.to_owned()),
                    annotations: Some(BTreeMap::from([(
                        "kubernetes.io/description".to_owned(),
                        DESCRIPTION.to_owned(),
                    )])),
                    ..ObjectMeta::default()
                },
                data: Some(published),
                ..ConfigMap::default()
            })),
            Some(known) if known.data.as_ref() != Some(&published) => {
                let mut updated = known.as_ref().clone();
                updated.data = Some(published);
                plan.writes.push(Write::update(&updated));
            }
            Some(_) => {}
        }
        plan
    }
}

#[cfg(test)]
mod tests;
