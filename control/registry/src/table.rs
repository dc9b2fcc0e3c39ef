//! THE table: one row for each built-in resource, with all that discovery, storage and printing need to know. Rows are
//! constants, a file a group; a [`Resource`] is made of each at start. Custom resources are made of their definitions.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use api::{Gvk, Gvr, Key, Schema};
use serde_json::Value;

use crate::columns::{AGE, Column, NAME, number, text, wide};
use crate::strategy::Strategy;

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod networking;
mod node;
mod policy;
mod rbac;
mod resource;
mod scheduling;
mod storage;
#[cfg(test)]
mod tests;

/// One built-in resource.
pub struct Row {
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
    /// Sorted.
    pub verbs: &'static [&'static str],
    /// Sorted by name.
    pub subresources: &'static [Subresource],
    pub strategy: &'static dyn Strategy,
    pub columns: &'static [Column],
    /// Where objects are stored: group (`core` for the core group) and resource. Two resources that are views of
    /// the same objects share it.
    pub storage: (&'static str, &'static str),
    /// For a view whose form differs from the stored one.
    pub conversion: Option<&'static Conversion>,
}

/// One resource that is served, built in or custom.
#[derive(Debug)]
pub struct Resource {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    /// Plural.
    pub resource: String,
    pub kind: String,
    /// `PodList`.
    pub list_kind: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Sorted.
    pub verbs: &'static [&'static str],
    /// Sorted by name.
    pub subresources: Cow<'static, [Subresource]>,
    pub strategy: StrategyRef,
    pub columns: Cow<'static, [Column]>,
    /// See [`Row::storage`].
    pub storage: (String, String),
    /// For a view whose form differs from the stored one.
    pub conversion: Option<Converter>,
    /// See [`Resource::schema`]; found once, every write asks for it.
    pub(crate) schema: Option<Schema>,
}

/// How a resource's objects become what is stored, and back.
#[derive(Clone, Debug)]
pub enum Converter {
    BuiltIn(&'static Conversion),
    /// By the definition: its versions differ in name only, or a webhook has done the rest.
    Custom(Arc<crate::custom::Version>),
}

/// The strategy of a resource.
#[derive(Clone)]
pub enum StrategyRef {
    BuiltIn(&'static dyn Strategy),
    Custom(Arc<dyn Strategy>),
}

/// Translation between a view and the stored form.
pub struct Conversion {
    pub to_storage: fn(&mut Value),
    pub from_storage: fn(&mut Value),
}

/// One subresource.
#[derive(Clone, Debug)]
pub struct Subresource {
    pub name: &'static str,
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    /// Sorted.
    pub verbs: &'static [&'static str],
}

impl Converter {
    pub fn to_storage(&self, object: &mut Value) {
        match self {
            Self::BuiltIn(conversion) => (conversion.to_storage)(object),
            Self::Custom(version) => version.write(object),
        }
    }

    pub fn from_storage(&self, object: &mut Value) {
        match self {
            Self::BuiltIn(conversion) => (conversion.from_storage)(object),
            Self::Custom(version) => version.read(object),
        }
    }
}

impl Deref for StrategyRef {
    type Target = dyn Strategy;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::BuiltIn(strategy) => *strategy,
            Self::Custom(strategy) => strategy.as_ref(),
        }
    }
}

impl fmt::Debug for StrategyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BuiltIn(_) => "BuiltIn",
            Self::Custom(_) => "Custom",
        })
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversion")
    }
}

impl From<&Row> for Resource {
    fn from(row: &Row) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self {
            group: row.group.to_owned(),
            version: row.version.to_owned(),
            resource: row.resource.to_owned(),
            kind: row.kind.to_owned(),
            list_kind: format!("{}List", row.kind),
            singular: row.singular.to_owned(),
            short_names: owned(row.short_names),
            categories: owned(row.categories),
            namespaced: row.namespaced,
            verbs: row.verbs,
            subresources: Cow::Borrowed(row.subresources),
            strategy: StrategyRef::BuiltIn(row.strategy),
            columns: Cow::Borrowed(row.columns),
            storage: (row.storage.0.to_owned(), row.storage.1.to_owned()),
            conversion: row.conversion.map(Converter::BuiltIn),
            schema: Schema::for_kind(&Gvk::new(row.group, row.version, row.kind)),
        }
    }
}

impl Resource {
    #[must_use]
    pub fn gvr(&self) -> Gvr {
        Gvr::new(&self.group, &self.version, &self.resource)
    }

    #[must_use]
    pub fn gvk(&self) -> Gvk {
        Gvk::new(&self.group, &self.version, &self.kind)
    }

    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The schema of a built-in kind; none for a custom one, whose strategy knows it.
    #[must_use]
    pub fn schema(&self) -> Option<Schema> {
        self.schema
    }

    /// What merges know of the kind.
    #[must_use]
    pub fn shape(&self) -> &dyn api::shape::Shape {
        match self.strategy.custom() {
            Some(version) => &version.schema,
            None => self.schema().map_or(api::shape::DEDUCED, |schema| schema.definition()),
        }
    }

    #[must_use]
    pub fn is_custom(&self) -> bool {
        matches!(self.strategy, StrategyRef::Custom(_))
    }

    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// The store's prefix of all objects of this resource, or of those in one namespace.
    #[must_use]
    pub fn prefix(&self, namespace: &str) -> String {
        let (group, resource) = &self.storage;
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
            || self.strategy.has_field_label(label)
    }
}

/// All built-in resources, sorted by group (core first), then name, then version.
#[must_use]
pub fn resources() -> &'static [Arc<Resource>] {
    static RESOURCES: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
        let mut all: Vec<Arc<Resource>> =
            ROWS.iter().flat_map(|rows| rows.iter()).map(|row| Arc::new(Resource::from(row))).collect();
        sort(&mut all);
        all
    });
    &RESOURCES
}

/// What resources are sorted by.
fn place(resource: &Resource) -> (&str, &str, &str) {
    (&resource.group, &resource.resource, &resource.version)
}

/// Sorts resources as [`find_in`] needs them.
pub fn sort(resources: &mut [Arc<Resource>]) {
    resources.sort_by(|a, b| place(a).cmp(&place(b)));
}

/// One of sorted resources.
#[must_use]
pub fn find_in<'a>(
    resources: &'a [Arc<Resource>],
    group: &str,
    version: &str,
    resource: &str,
) -> Option<&'a Arc<Resource>> {
    let found = resources.binary_search_by(|one| place(one).cmp(&(group, resource, version)));
    found.ok().map(|at| &resources[at])
}

/// A built-in resource.
#[must_use]
pub fn find(group: &str, version: &str, resource: &str) -> Option<&'static Arc<Resource>> {
    find_in(resources(), group, version, resource)
}

/// The resource of a built-in kind.
#[must_use]
pub fn find_kind(gvk: &Gvk) -> Option<&'static Arc<Resource>> {
    resources().iter().find(|r| r.group == gvk.group && r.version == gvk.version && r.kind == gvk.kind)
}

/// The groups' rows.
static ROWS: &[&[Row]] = &[
    admissionregistration::ROWS,
    apiextensions::ROWS,
    apiregistration::ROWS,
    apps::ROWS,
    autoscaling::ROWS,
    batch::ROWS,
    certificates::ROWS,
    coordination::ROWS,
    core::ROWS,
    discovery::ROWS,
    events::ROWS,
    flowcontrol::ROWS,
    networking::ROWS,
    node::ROWS,
    policy::ROWS,
    rbac::ROWS,
    resource::ROWS,
    scheduling::ROWS,
    storage::ROWS,
];

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const ALL_BUT_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];
/// What a proxy forwards.
const CONNECT: &[&str] = &["create", "delete", "get", "patch", "update"];
const SCALE: Subresource = subresource("scale", "autoscaling", "v1", "Scale", READ_WRITE);

/// A subresource.
#[must_use]
pub const fn subresource(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group: Cow::Borrowed(group), version: Cow::Borrowed(version), kind: Cow::Borrowed(kind), verbs }
}

/// A subresource of a kind of the core group.
const fn own(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    subresource(name, "", "v1", kind, verbs)
}

/// Selector columns of workloads, shown with `-o wide`.
pub(crate) const CONTAINERS: Column = wide("Containers", "Names of the containers");
pub(crate) const IMAGES: Column = wide("Images", "Images of the containers");
pub(crate) const SELECTOR: Column = wide("Selector", "Labels of the pods");

/// Whether a delete of the kind is answered with the object that is gone instead of a Status: an old habit of
/// Kubernetes that its OpenAPI document states kind by kind, and that typed clients rely on.
#[must_use]
pub fn delete_answers_with_object(group: &str, kind: &str) -> bool {
    ANSWERED_WITH_OBJECT.contains(&(group, kind))
}

const ANSWERED_WITH_OBJECT: [(&str, &str); 16] = [
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ResourceQuota"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceClaim"),
    ("resource.k8s.io", "ResourceClaimTemplate"),
    ("resource.k8s.io", "ResourceSlice"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
];
