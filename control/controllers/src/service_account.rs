//! What every namespace has from the start: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`, by which
//! pods verify the API server.

use std::collections::BTreeMap;

use api::Key;
use cache::{Change, Kind, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, Plan, Write};

use crate::owner;

const DEFAULT_ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const CA_ENTRY: &str = "ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

/// Furnishes namespaces.
#[derive(Debug)]
pub struct ServiceAccountController {
    /// The CA certificate, PEM.
    pub ca_pem: String,
}

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn keys(&self, change: &Change, _view: &View) -> Vec<Key> {
        let namespace = match change.kind {
            Kind::Namespace => &change.key.name,
            Kind::ServiceAccount if change.key.name == DEFAULT_ACCOUNT => &change.key.namespace,
            Kind::ConfigMap if change.key.name == ROOT_CA => &change.key.namespace,
            _ => return Vec::new(),
        };
        vec![Key::cluster(namespace)]
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let Some(namespace) = view.at::<Namespace>(key).filter(|namespace| !owner::is_deleting(&namespace.metadata))
        else {
            return Plan::none();
        };
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let mut plan = Plan::none();
        if view.get::<ServiceAccount>(name, DEFAULT_ACCOUNT).is_none() {
            plan.writes.push(Write::create(&ServiceAccount {
                metadata: meta(name, DEFAULT_ACCOUNT),
                ..ServiceAccount::default()
            }));
        }
        let published = BTreeMap::from([(CA_ENTRY.to_owned(), self.ca_pem.clone())]);
        match view.get::<ConfigMap>(name, ROOT_CA) {
            None => plan.writes.push(Write::create(&ConfigMap {
                metadata: ObjectMeta {
                    annotations: Some(BTreeMap::from([(
                        "kubernetes.io/description".to_owned(),
                        DESCRIPTION.to_owned(),
                    )])),
                    ..meta(name, ROOT_CA)
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

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..ObjectMeta::default() }
}

#[cfg(test)]
mod tests;
