//! The ServiceAccount `default` of every namespace.

use api::Key;
use cache::{Change, Kind, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, Plan, Write};

use crate::owner;

const DEFAULT_ACCOUNT: &str = "default";

/// Furnishes namespaces with their account.
#[derive(Debug)]
pub struct ServiceAccountController;

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn keys(&self, change: &Change, _view: &View) -> Vec<Key> {
        let namespace = match change.kind {
            Kind::Namespace => &change.key.name,
            Kind::ServiceAccount if change.key.name == DEFAULT_ACCOUNT => &change.key.namespace,
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
                metadata: ObjectMeta {
                    namespace: Some(name.to_owned()),
                    name: Some(DEFAULT_ACCOUNT.to_owned()),
                    ..ObjectMeta::default()
                },
                ..ServiceAccount::default()
            }));
        }
        plan
    }
}

#[cfg(test)]
mod tests;
