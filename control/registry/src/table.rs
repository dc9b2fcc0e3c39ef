//! THE table: one row for each resource served, with all that discovery, storage and printing need to know.

use api::{Gvk, Gvr, Key, Schema};
use serde_json::Value;

use crate::columns::{AGE, Column, NAME, number, text, wide};
use crate::strategy::Strategy;
use crate::{apps, coordination, core, discovery, events};

#[cfg(test)]
mod tests;

/// One resource.
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// Plural.
    pub resource: &'static str,
    pub kind: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    pub strategy: &'static dyn Strategy,
    pub columns: &'static [Column],
    /// Where objects are stored: group (`core` for the core group) and resource. Two resources that are views of
    /// the same objects share it.
    pub storage: (&'static str, &'static str),
    /// For a view whose form differs from the stored one.
    pub conversion: Option<&'static Conversion>,
}

/// Translation between a view and the stored form.
pub struct Conversion {
    pub to_storage: fn(&mut Value),
    pub from_storage: fn(&mut Value),
}

/// One subresource.
pub struct Subresource {
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

impl Resource {
    #[must_use]
    pub fn gvr(&self) -> Gvr {
        Gvr::new(self.group, self.version, self.resource)
    }

    #[must_use]
    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.group, self.version, self.kind)
    }

    /// `PodList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema::for_kind(&self.gvk()).expect("every row's kind is in the schema table")
    }

    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// The store's prefix of all objects of this resource, or of those in one namespace.
    #[must_use]
    pub fn prefix(&self, namespace: &str) -> String {
        let (group, resource) = self.storage;
        if namespace.is_empty() {
            format!("/registry/{group}/{resource}/")
        } else {
            format!("/registry/{group}/{resource}/{namespace}/")
        }
    }

    /// The store's key of one object.
    #[must_use]
    pub fn storage_key(&self, key: &Key) -> String {
        format!("{}{}", self.prefix(if self.namespaced { &key.namespace } else { "" }), key.name)
    }

    /// Whether a field selector may name this label.
    #[must_use]
    pub fn selects_by(&self, label: &str) -> bool {
        label == "metadata.name"
            || (label == "metadata.namespace" && self.namespaced)
            || self.strategy.field_labels().contains(&label)
    }
}

/// All resources, sorted by group (core first), then name.
#[must_use]
pub fn resources() -> &'static [Resource] {
    RESOURCES
}

#[must_use]
pub fn find(group: &str, version: &str, resource: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.group == group && r.version == version && r.resource == resource)
}

#[must_use]
pub fn find_kind(gvk: &Gvk) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.group == gvk.group && r.version == gvk.version && r.kind == gvk.kind)
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const ALL_BUT_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];

const fn own(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group: "", version: "v1", kind, verbs }
}

const fn apps(name: &'static str, kind: &'static str) -> Subresource {
    Subresource { name, group: "apps", version: "v1", kind, verbs: READ_WRITE }
}

const SCALE: Subresource =
    Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: READ_WRITE };

static RESOURCES: &[Resource] = &[
    Resource {
        group: "",
        version: "v1",
        resource: "configmaps",
        kind: "ConfigMap",
        singular: "configmap",
        short_names: &["cm"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &core::configmap::ConfigMap,
        columns: &[NAME, number("Data", "Number of entries"), AGE],
        storage: ("core", "configmaps"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "endpoints",
        kind: "Endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &core::endpoints::Endpoints,
        columns: &[NAME, text("Endpoints", "Addresses and ports"), AGE],
        storage: ("core", "endpoints"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "events",
        kind: "Event",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &events::event::CoreEvent,
        columns: events::event::COLUMNS,
        storage: ("core", "events"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "namespaces",
        kind: "Namespace",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        verbs: ALL_BUT_COLLECTION,
        subresources: &[own("finalize", "Namespace", &["update"]), own("status", "Namespace", READ_WRITE)],
        strategy: &core::namespace::Namespace,
        columns: &[NAME, text("Status", "Phase of the namespace"), AGE],
        storage: ("core", "namespaces"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "nodes",
        kind: "Node",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[own("status", "Node", READ_WRITE)],
        strategy: &core::node::Node,
        columns: core::node::COLUMNS,
        storage: ("core", "nodes"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "pods",
        kind: "Pod",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[
            own("attach", "PodAttachOptions", &["create", "get"]),
            own("binding", "Binding", &["create"]),
            Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] },
            own("exec", "PodExecOptions", &["create", "get"]),
            own("log", "Pod", &["get"]),
            own("portforward", "PodPortForwardOptions", &["create", "get"]),
            own("status", "Pod", READ_WRITE),
        ],
        strategy: &core::pod::Pod,
        columns: core::pod::COLUMNS,
        storage: ("core", "pods"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "secrets",
        kind: "Secret",
        singular: "secret",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &core::secret::Secret,
        columns: &[NAME, text("Type", "What the entries are for"), number("Data", "Number of entries"), AGE],
        storage: ("core", "secrets"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "serviceaccounts",
        kind: "ServiceAccount",
        singular: "serviceaccount",
        short_names: &["sa"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[Subresource {
            name: "token",
            group: "authentication.k8s.io",
            version: "v1",
            kind: "TokenRequest",
            verbs: &["create"],
        }],
        strategy: &core::serviceaccount::ServiceAccount,
        columns: &[NAME, number("Secrets", "Number of secrets listed"), AGE],
        storage: ("core", "serviceaccounts"),
        conversion: None,
    },
    Resource {
        group: "",
        version: "v1",
        resource: "services",
        kind: "Service",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[own("status", "Service", READ_WRITE)],
        strategy: &core::service::Service,
        columns: core::service::COLUMNS,
        storage: ("core", "services"),
        conversion: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        resource: "deployments",
        kind: "Deployment",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, apps("status", "Deployment")],
        strategy: &apps::deployment::Deployment,
        columns: apps::deployment::COLUMNS,
        storage: ("apps", "deployments"),
        conversion: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        resource: "replicasets",
        kind: "ReplicaSet",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, apps("status", "ReplicaSet")],
        strategy: &apps::replicaset::ReplicaSet,
        columns: apps::replicaset::COLUMNS,
        storage: ("apps", "replicasets"),
        conversion: None,
    },
    Resource {
        group: "coordination.k8s.io",
        version: "v1",
        resource: "leases",
        kind: "Lease",
        singular: "lease",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &coordination::lease::Lease,
        columns: &[NAME, text("Holder", "Who holds the lease"), AGE],
        storage: ("coordination.k8s.io", "leases"),
        conversion: None,
    },
    Resource {
        group: "discovery.k8s.io",
        version: "v1",
        resource: "endpointslices",
        kind: "EndpointSlice",
        singular: "endpointslice",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &discovery::endpointslice::EndpointSlice,
        columns: &[
            NAME,
            text("AddressType", "Kind of addresses"),
            text("Ports", "Ports of the endpoints"),
            text("Endpoints", "Addresses"),
            AGE,
        ],
        storage: ("discovery.k8s.io", "endpointslices"),
        conversion: None,
    },
    Resource {
        group: "events.k8s.io",
        version: "v1",
        resource: "events",
        kind: "Event",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &events::event::NewEvent,
        columns: events::event::COLUMNS,
        storage: ("core", "events"),
        conversion: Some(&events::convert::CONVERSION),
    },
];

/// Selector columns of workloads, shown with `-o wide`.
pub(crate) const CONTAINERS: Column = wide("Containers", "Names of the containers");
pub(crate) const IMAGES: Column = wide("Images", "Images of the containers");
pub(crate) const SELECTOR: Column = wide("Selector", "Labels of the pods");
