//! Custom resources: what a `CustomResourceDefinition` says becomes [`Resource`]s with a strategy of their own.

use std::borrow::Cow;
use std::sync::Arc;

use api::{FieldError, Gvk, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::columns::{self, Column};
use crate::scale::{Paths, Selector};
use crate::strategy::{self, Strategy};
use crate::table::{Resource, StrategyRef, Subresource};
use crate::value::{flag, items, text};

pub mod defaults;
pub mod duration;
pub mod jsonpath;
pub mod prune;
pub mod rules;
pub mod schema;
mod shape;
pub mod validate;

use jsonpath::JsonPath;
use schema::Props;

/// One served version of a definition.
#[derive(Debug)]
pub struct Version {
    pub gvk: Gvk,
    pub schema: Props,
    /// The schema as the definition states it.
    stated: Value,
    pub has_status: bool,
    pub scale: Option<Paths>,
    /// Set on requests for a deprecated version.
    pub deprecation: Option<String>,
    /// The version objects are stored in.
    pub storage_version: String,
    /// How objects of other versions are converted.
    pub webhook: Option<Webhook>,
    cells: Vec<(String, JsonPath)>,
    selectable: Vec<(String, JsonPath)>,
    rules: rules::Compiled,
    has_defaults: bool,
}

/// `spec.conversion` with the strategy Webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// `spec.conversion.webhook.clientConfig`.
    pub client_config: Value,
    pub review_versions: Vec<String>,
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];
const AGE_TEXT: &str = "Time since creation";

/// The resources that an established definition serves, one a version.
#[must_use]
pub fn resources(definition: &Value) -> Vec<Resource> {
    let names = &definition["status"]["acceptedNames"];
    let versions = items(&definition["spec"]["versions"]);
    versions.iter().filter(|v| flag(v, "served")).map(|version| resource(definition, names, version)).collect()
}

fn resource(definition: &Value, names: &Value, version: &Value) -> Resource {
    let spec = &definition["spec"];
    let own = Arc::new(Version::new(definition, version));
    let (group, plural) = (text(spec, "group"), text(names, "plural"));
    let name = text(version, "name");
    let texts =
        |list: &Value| -> Vec<String> { items(list).iter().filter_map(Value::as_str).map(str::to_owned).collect() };
    let subresource = |name: &'static str, group: &str, version: &str, kind: &str| Subresource {
        name,
        group: Cow::Owned(group.to_owned()),
        version: Cow::Owned(version.to_owned()),
        kind: Cow::Owned(kind.to_owned()),
        verbs: READ_WRITE,
    };
    let mut subresources = Vec::new();
    if own.scale.is_some() {
        subresources.push(subresource("scale", "autoscaling", "v1", "Scale"));
    }
    if own.has_status {
        subresources.push(subresource("status", group, name, text(names, "kind")));
    }
    let converts = own.has_defaults || versions_stored(definition) > 1;
    Resource {
        group: group.to_owned(),
        version: name.to_owned(),
        resource: plural.to_owned(),
        kind: text(names, "kind").to_owned(),
        list_kind: text(names, "listKind").to_owned(),
        singular: text(names, "singular").to_owned(),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: text(spec, "scope") == "Namespaced",
        verbs: ALL,
        subresources: Cow::Owned(subresources),
        columns: Cow::Owned(columns_of(version)),
        storage: (group.to_owned(), plural.to_owned()),
        conversion: converts.then(|| crate::table::Converter::Custom(own.clone())),
        strategy: StrategyRef::Custom(own),
        schema: None,
    }
}

/// Versions in which objects may lie in the store.
fn versions_stored(definition: &Value) -> usize {
    items(&definition["spec"]["versions"]).len().max(items(&definition["status"]["storedVersions"]).len())
}

fn columns_of(version: &Value) -> Vec<Column> {
    let mut all = vec![columns::NAME];
    let own = items(&version["additionalPrinterColumns"]);
    if own.is_empty() {
        all.push(columns::column("Age", "date", "", AGE_TEXT, 0));
    }
    for column in own {
        let description = match text(column, "description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text(column, "jsonPath")),
            own => own.to_owned(),
        };
        all.push(Column {
            name: Cow::Owned(text(column, "name").to_owned()),
            kind: Cow::Owned(text(column, "type").to_owned()),
            format: Cow::Owned(text(column, "format").to_owned()),
            description: Cow::Owned(description),
            priority: i32::try_from(column["priority"].as_i64().unwrap_or(0)).unwrap_or(0),
        });
    }
    all
}

impl Version {
    fn new(definition: &Value, version: &Value) -> Self {
        let spec = &definition["spec"];
        let (group, name) = (text(spec, "group"), text(version, "name"));
        let kind = text(&definition["status"]["acceptedNames"], "kind");
        let schema = Props::root(&version["schema"]["openAPIV3Schema"]);
        let scale = &version["subresources"]["scale"];
        let storage = items(&spec["versions"]).iter().find(|v| flag(v, "storage"));
        let deprecated = || match text(version, "deprecationWarning") {
            "" => format!("{group}/{name} {kind} is deprecated"),
            own => own.to_owned(),
        };
        let own = items(&version["additionalPrinterColumns"]);
        let mut cells: Vec<(String, JsonPath)> = Vec::new();
        if own.is_empty() {
            cells.push(("date".to_owned(), JsonPath::parse(".metadata.creationTimestamp").unwrap_or_default()));
        }
        cells.extend(own.iter().map(|column| {
            (text(column, "type").to_owned(), JsonPath::parse(text(column, "jsonPath")).unwrap_or_default())
        }));
        let conversion = &spec["conversion"];
        Self {
            gvk: Gvk::new(group, name, kind),
            stated: version["schema"]["openAPIV3Schema"].clone(),
            has_status: version["subresources"]["status"].is_object(),
            scale: scale.is_object().then(|| Paths {
                wanted: Cow::Owned(text(scale, "specReplicasPath").to_owned()),
                present: Cow::Owned(text(scale, "statusReplicasPath").to_owned()),
                selector: match text(scale, "labelSelectorPath") {
                    "" => Selector::None,
                    path => Selector::Text(Cow::Owned(path.to_owned())),
                },
            }),
            deprecation: flag(version, "deprecated").then(deprecated),
            storage_version: storage.map(|v| text(v, "name")).unwrap_or_default().to_owned(),
            webhook: (text(conversion, "strategy") == "Webhook").then(|| Webhook {
                client_config: conversion["webhook"]["clientConfig"].clone(),
                review_versions: items(&conversion["webhook"]["conversionReviewVersions"])
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            }),
            cells,
            selectable: items(&version["selectableFields"])
                .iter()
                .map(|field| text(field, "jsonPath"))
                .map(|path| (path.trim_start_matches('.').to_owned(), JsonPath::parse(path).unwrap_or_default()))
                .collect(),
            rules: rules::Compiled::new(&schema),
            has_defaults: schema.has_defaults(),
            schema,
        }
    }

    /// The apiVersion of objects in the store.
    #[must_use]
    pub fn storage_api_version(&self) -> String {
        api::names::api_version(&self.gvk.group, &self.storage_version)
    }

    /// Brings a stored object, of whatever version it says, into this version where that takes no webhook.
    pub fn read(&self, object: &mut Value) {
        if self.webhook.is_none() {
            meta::object_mut(object).insert("apiVersion".to_owned(), self.gvk.api_version().into());
        }
        if self.has_defaults {
            defaults::default(&self.schema, object);
        }
    }

    /// Brings an object of this version into the storage version where that takes no webhook.
    pub fn write(&self, object: &mut Value) {
        if self.webhook.is_none() {
            meta::object_mut(object).insert("apiVersion".to_owned(), self.storage_api_version().into());
        }
    }

    /// Whether an object that is stored thus must go through the webhook to be of this version.
    #[must_use]
    pub fn needs_webhook(&self, api_version: &str) -> bool {
        self.webhook.is_some() && api_version != self.gvk.api_version()
    }

    /// Drops what the schema does not have, below everything but `metadata`; returns the paths.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.schema, object)
    }

    /// The paths of selectable fields, without the leading dot.
    pub fn selectable_fields(&self) -> impl Iterator<Item = &str> {
        self.selectable.iter().map(|(label, _)| label.as_str())
    }

    fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::validate(&self.schema, object, old);
        errors.extend(validate::embedded(&self.schema, object));
        if old.is_none_or(|old| validate::list_types(&self.schema, old).is_empty()) {
            errors.extend(validate::list_types(&self.schema, object));
        }
        self.rules.check(&self.schema, object, old, &mut errors);
        errors
    }
}

impl Strategy for Version {
    fn default(&self, object: &mut Value) {
        if self.has_defaults {
            defaults::default(&self.schema, object);
        }
    }

    fn has_status(&self) -> bool {
        self.has_status
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        let counts = |field: &str| {
            !matches!(field, "metadata" | "apiVersion" | "kind") && !(field == "status" && self.has_status)
        };
        let fields =
            |object: &Value| object.as_object().map_or(0, |map| map.keys().filter(|field| counts(field)).count());
        fields(new) != fields(old)
            || new
                .as_object()
                .into_iter()
                .flatten()
                .any(|(field, value)| counts(field) && old.get(field) != Some(value))
    }

    fn scale(&self) -> Paths {
        self.scale.clone().unwrap_or(crate::scale::WORKLOAD)
    }

    fn prepare_create(&self, object: &mut Value) {
        if self.has_status {
            meta::object_mut(object).remove("status");
        }
        meta::set_generation(object, 1);
    }

    fn status_keeps(&self, _metadata_field: &str) -> bool {
        true
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        strategy::keep_all_but_status(self, new, old);
        for field in ["finalizers", "generateName", "selfLink"] {
            strategy::copy_metadata(new, old, field);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        self.check(object, None)
    }

    fn validate_changed(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.check(new, Some(old))
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        self.check(new, Some(old))
    }

    fn has_field_label(&self, label: &str) -> bool {
        self.selectable.iter().any(|(known, _)| known == label)
    }

    fn field(&self, object: &Value, label: &str) -> Option<String> {
        let (_, path) = self.selectable.iter().find(|(known, _)| known == label)?;
        Some(path.find(object).first().map_or_else(String::new, |value| jsonpath::print(value)))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![meta::name(object).into()];
        cells.extend(self.cells.iter().map(|(kind, path)| match path.find(object).first() {
            Some(value) => cell(kind, value, now),
            None => Value::Null,
        }));
        cells
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn openapi_schema(&self) -> Option<&Value> {
        Some(&self.stated)
    }

    fn custom(&self) -> Option<&Version> {
        Some(self)
    }
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("integer", Value::Number(number)) => {
            number.as_i64().map_or_else(|| number.as_f64().map_or(Value::Null, |f| Value::from(f.trunc())), Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", value) => jsonpath::print(value).into(),
        ("date", Value::String(text)) => match api::time::parse(text) {
            Some(_) => api::time::age(Some(text), now).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
