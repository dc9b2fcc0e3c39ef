//! The table of kinds a [`View`](crate::View) holds: one line a kind. Everything else in the crate is written once
//! for all of them.

use api::{Gvk, Gvr, Key};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A Kubernetes type that a View holds.
pub trait Cached:
    k8s_openapi::Metadata<Ty = ObjectMeta> + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The row of the table of kinds.
    const ROW: Kind;

    /// The object as JSON, with apiVersion and kind. Generated here once, not in each crate that writes objects: code
    /// that serialises a large type is large.
    fn to_value(&self) -> serde_json::Value;
}

macro_rules! kinds {
    ($($kind:ident = $type:ty, $scope:ident, $prefix:literal;)*) => {
        /// A kind that the View holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = concat!("`", stringify!($kind), "`")] $kind,)* }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// API group, empty for core.
            pub fn group(self) -> &'static str {
                match self { $(Kind::$kind => <$type as k8s_openapi::Resource>::GROUP,)* }
            }

            /// API version within the group.
            pub fn version(self) -> &'static str {
                match self { $(Kind::$kind => <$type as k8s_openapi::Resource>::VERSION,)* }
            }

            /// `apps/v1`, or `v1` for core.
            pub fn api_version(self) -> &'static str {
                match self { $(Kind::$kind => <$type as k8s_openapi::Resource>::API_VERSION,)* }
            }

            /// The kind's name, `Pod`.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => <$type as k8s_openapi::Resource>::KIND,)* }
            }

            /// The resource's plural name, `pods`.
            pub fn resource(self) -> &'static str {
                match self { $(Kind::$kind => <$type as k8s_openapi::Resource>::URL_PATH_SEGMENT,)* }
            }

            /// Whether objects live in a namespace.
            pub fn namespaced(self) -> bool {
                match self { $(Kind::$kind => stringify!($scope).as_bytes()[0] == b'n',)* }
            }

            /// Where the store has the kind's objects, with the slash at the end.
            pub fn prefix(self) -> &'static str {
                match self { $(Kind::$kind => $prefix,)* }
            }
        }

        $(impl Cached for $type {
            const ROW: Kind = Kind::$kind;
            fn to_value(&self) -> serde_json::Value {
                serde_json::to_value(self).expect("a Kubernetes type is a JSON object")
            }
        })*
    };
}

use k8s_openapi::api::{
    apps::v1 as apps, coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    networking::v1 as networking, rbac::v1 as rbac,
};

use crate::cluster_policy as cluster;

kinds! {
    Namespace = core::Namespace, cluster, "/registry/core/namespaces/";
    Node = core::Node, cluster, "/registry/core/nodes/";
    Pod = core::Pod, namespaced, "/registry/core/pods/";
    Service = core::Service, namespaced, "/registry/core/services/";
    Endpoints = core::Endpoints, namespaced, "/registry/core/endpoints/";
    EndpointSlice = discovery::EndpointSlice, namespaced, "/registry/discovery.k8s.io/endpointslices/";
    ConfigMap = core::ConfigMap, namespaced, "/registry/core/configmaps/";
    Secret = core::Secret, namespaced, "/registry/core/secrets/";
    ServiceAccount = core::ServiceAccount, namespaced, "/registry/core/serviceaccounts/";
    Lease = coordination::Lease, namespaced, "/registry/coordination.k8s.io/leases/";
    Deployment = apps::Deployment, namespaced, "/registry/apps/deployments/";
    ReplicaSet = apps::ReplicaSet, namespaced, "/registry/apps/replicasets/";
    NetworkPolicy = networking::NetworkPolicy, namespaced, "/registry/networking.k8s.io/networkpolicies/";
    ClusterRole = rbac::ClusterRole, cluster, "/registry/rbac.authorization.k8s.io/clusterroles/";
    AdminNetworkPolicy = cluster::AdminNetworkPolicy, cluster, "/registry/policy.networking.k8s.io/adminnetworkpolicies/";
    BaselineAdminNetworkPolicy = cluster::BaselineAdminNetworkPolicy, cluster,
        "/registry/policy.networking.k8s.io/baselineadminnetworkpolicies/";
    ClusterNetworkPolicy = cluster::ClusterNetworkPolicy, cluster, "/registry/policy.networking.k8s.io/clusternetworkpolicies/";
}

impl Kind {
    /// Group, version and kind.
    pub fn gvk(self) -> Gvk {
        Gvk::new(self.group(), self.version(), self.name())
    }

    /// Group, version and resource.
    pub fn gvr(self) -> Gvr {
        Gvr::new(self.group(), self.version(), self.resource())
    }

    /// The kind with this resource name, if the View holds it.
    pub fn from_resource(group: &str, resource: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.group() == group && kind.resource() == resource)
    }

    /// The kind that an owner reference names by apiVersion and kind; the version within the group does not matter.
    pub fn from_api_version(api_version: &str, name: &str) -> Option<Kind> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Kind::ALL.iter().copied().find(|kind| kind.group() == group && kind.name() == name)
    }

    /// The kind of a store key `/registry/<group or core>/<resource>/[<namespace>/]<name>`; `None` for what the View
    /// does not hold.
    pub fn of_store_key(store_key: &str) -> Option<Kind> {
        let kind = Kind::ALL.iter().copied().find(|kind| store_key.starts_with(kind.prefix()))?;
        let rest = &store_key[kind.prefix().len()..];
        (kind.namespaced() == rest.contains('/')).then_some(kind)
    }

    /// The kind of a store key, with namespace and name.
    pub fn from_store_key(store_key: &str) -> Option<(Kind, Key)> {
        let kind = Kind::of_store_key(store_key)?;
        let (namespace, name) = kind.split(store_key);
        Some((kind, Key::new(namespace, name)))
    }

    /// Where the store has an object of this kind.
    pub fn store_key(self, namespace: &str, name: &str) -> String {
        match self.namespaced() {
            true => format!("{}{namespace}/{name}", self.prefix()),
            false => format!("{}{name}", self.prefix()),
        }
    }

    /// Namespace and name of a store key of this kind.
    pub(crate) fn split(self, store_key: &str) -> (&str, &str) {
        let rest = store_key.get(self.prefix().len()..).unwrap_or_default();
        if self.namespaced() { rest.split_once('/').unwrap_or_default() } else { ("", rest) }
    }
}

/// Namespace and name out of an object's metadata.
pub fn key_of(meta: &ObjectMeta) -> Key {
    Key { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}
