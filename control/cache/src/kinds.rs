//! The table of kinds a [`View`](crate::View) holds: one line a kind. Everything else in the crate is written once
//! for all of them.

use std::sync::Arc;

use api::{Gvk, Gvr, Key, Revision};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{Shared, Table};

/// A Kubernetes type that a View holds in a table of its own.
pub trait Cached:
    k8s_openapi::Metadata<Ty = ObjectMeta> + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The row of the table of kinds.
    const ROW: Kind;

    /// This kind's table in a set of tables.
    fn table(tables: &Tables) -> &Table<Self>;

    /// This kind's table in a set of tables, to change it.
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;

    /// The object with its type erased.
    fn erase(object: Arc<Self>) -> Object;
}

/// Why an object's bytes are not an object of its kind.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?} at revision {revision} does not parse: {source}")]
pub struct DecodeError {
    /// The kind that the bytes should have had.
    pub kind: Kind,
    /// The revision of the bytes.
    pub revision: Revision,
    /// What the parser said.
    pub source: serde_json::Error,
}

macro_rules! kinds {
    ($($field:ident: $kind:ident = $type:ty, $scope:ident;)*) => {
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
        }

        /// An object of any kind of the table. Cheap to clone.
        #[derive(Clone, Debug)]
        pub enum Object { $(#[doc = concat!("A `", stringify!($kind), "`")] $kind(Arc<$type>),)* }

        impl Object {
            /// Which kind it is.
            pub fn kind(&self) -> Kind {
                match self { $(Object::$kind(_) => Kind::$kind,)* }
            }

            /// Its metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self { $(Object::$kind(object) => &object.metadata,)* }
            }

            /// Parses the stored bytes of one object and stamps them with their revision.
            pub fn decode(kind: Kind, bytes: &[u8], revision: Revision) -> Result<Object, DecodeError> {
                match kind {
                    $(Kind::$kind => serde_json::from_slice::<$type>(bytes).map(|mut object| {
                        object.metadata.resource_version = Some(revision.to_string());
                        Object::$kind(Arc::new(object))
                    }),)*
                }
                .map_err(|source| DecodeError { kind, revision, source })
            }

            /// The object as JSON, with apiVersion and kind.
            pub fn to_value(&self) -> serde_json::Value {
                match self { $(Object::$kind(object) => serde_json::to_value(object.as_ref()),)* }
                    .expect("a Kubernetes type is a JSON object")
            }
        }

        /// One table a kind.
        #[derive(Clone, Debug, Default)]
        pub struct Tables { $(#[doc = concat!("Every `", stringify!($kind), "`")] pub $field: Table<$type>,)* }

        impl Tables {
            /// The object of this kind and key.
            pub fn object(&self, kind: Kind, key: &Key) -> Option<Object> {
                match kind {
                    $(Kind::$kind => self.$field.get(key).map(|shared| Object::$kind(shared.0.clone())),)*
                }
            }

            /// The keys of one kind within a namespace, or of all of them.
            pub fn keys(&self, kind: Kind, namespace: Option<&str>) -> Vec<Key> {
                match kind { $(Kind::$kind => crate::table::keys(&self.$field, namespace),)* }
            }

            /// How many objects there are of one kind.
            pub fn count(&self, kind: Kind) -> usize {
                match kind { $(Kind::$kind => self.$field.len(),)* }
            }

            /// Puts an object in its table and gives back what was there.
            pub fn insert(&mut self, key: Key, object: Object) -> Option<Object> {
                match object {
                    $(Object::$kind(object) =>
                        self.$field.insert(key, Shared(object)).map(|old| Object::$kind(old.0)),)*
                }
            }

            /// Takes an object out of its table.
            pub fn remove(&mut self, kind: Kind, key: &Key) -> Option<Object> {
                match kind { $(Kind::$kind => self.$field.remove(key).map(|old| Object::$kind(old.0)),)* }
            }

            /// What differs between two sets of tables, in the order of kinds, then keys.
            pub(crate) fn changes(old: &Tables, new: &Tables) -> Vec<crate::Change> {
                let mut changes = Vec::new();
                $(crate::table::diff(&old.$field, &new.$field, Kind::$kind, Object::$kind, &mut changes);)*
                changes
            }
        }

        $(impl Cached for $type {
            const ROW: Kind = Kind::$kind;
            fn table(tables: &Tables) -> &Table<Self> { &tables.$field }
            fn table_mut(tables: &mut Tables) -> &mut Table<Self> { &mut tables.$field }
            fn erase(object: Arc<Self>) -> Object { Object::$kind(object) }
        })*
    };
}

use k8s_openapi::api::{
    apps::v1 as apps, coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, rbac::v1 as rbac,
};

kinds! {
    namespaces: Namespace = core::Namespace, cluster;
    nodes: Node = core::Node, cluster;
    pods: Pod = core::Pod, namespaced;
    services: Service = core::Service, namespaced;
    endpoints: Endpoints = core::Endpoints, namespaced;
    endpoint_slices: EndpointSlice = discovery::EndpointSlice, namespaced;
    config_maps: ConfigMap = core::ConfigMap, namespaced;
    secrets: Secret = core::Secret, namespaced;
    service_accounts: ServiceAccount = core::ServiceAccount, namespaced;
    leases: Lease = coordination::Lease, namespaced;
    deployments: Deployment = apps::Deployment, namespaced;
    replica_sets: ReplicaSet = apps::ReplicaSet, namespaced;
    cluster_roles: ClusterRole = rbac::ClusterRole, cluster;
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

    /// Splits a store key `/registry/<group or core>/<resource>/[<namespace>/]<name>`; `None` for what the View does
    /// not hold.
    pub fn from_store_key(store_key: &str) -> Option<(Kind, Key)> {
        let mut parts = store_key.strip_prefix("/registry/")?.splitn(3, '/');
        let group = match parts.next()? {
            "core" => "",
            group => group,
        };
        let kind = Kind::from_resource(group, parts.next()?)?;
        let rest = parts.next()?;
        let (namespace, name) = if kind.namespaced() { rest.split_once('/')? } else { ("", rest) };
        Some((kind, Key { namespace: namespace.to_owned(), name: name.to_owned() }))
    }
}

impl Object {
    /// Its namespace and name.
    pub fn key(&self) -> Key {
        key_of(self.meta())
    }

    /// Its uid, empty if the server has not given one.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }
}

/// Namespace and name out of an object's metadata.
pub fn key_of(meta: &ObjectMeta) -> Key {
    Key { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}
