//! Cluster-wide network policies (policy.networking.k8s.io). They are custom resources: the store has some only if somebody has
//! installed their definition, and without any they cost a View three empty tables.
//!
//! The spec is kept as JSON: whoever compiles it has to notice what this version of the program does not know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! custom {
    ($(#[$doc:meta])* $name:ident, $version:literal, $plural:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            pub api_version: String,
            pub kind: String,
            pub metadata: ObjectMeta,
            /// As the store has it.
            pub spec: Value,
        }

        impl k8s_openapi::Resource for $name {
            const API_VERSION: &'static str = concat!("policy.networking.k8s.io/", $version);
            const GROUP: &'static str = "policy.networking.k8s.io";
            const KIND: &'static str = stringify!($name);
            const VERSION: &'static str = $version;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = k8s_openapi::ClusterResourceScope;
        }

        impl k8s_openapi::Metadata for $name {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

custom!(
    /// Judged before the namespaces' own policies, in the order of their priorities.
    AdminNetworkPolicy,
    "v1alpha1",
    "adminnetworkpolicies"
);
custom!(
    /// Judged where no policy of a namespace selects the pod.
    BaselineAdminNetworkPolicy,
    "v1alpha1",
    "baselineadminnetworkpolicies"
);
custom!(
    /// Either of the two, as its tier says; the successor of both.
    ClusterNetworkPolicy,
    "v1alpha2",
    "clusternetworkpolicies"
);
