//! Schemas of the kinds: built-in ones from the table, custom ones from their definitions.

use super::custom;
use ::describe::Descriptions;
use api::{
    Gvk, Schema,
    schema::{Body, Definition, Field, Scalar, Type, definitions},
};
use registry::Resource;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which form of schemas is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

/// Kinds that every document has.
const SHARED: [&str; 4] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
];
pub(super) const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const ANY_VALUE: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.";

/// What a document defines.
pub(super) struct Defined<'a> {
    built_in: BTreeSet<&'static str>,
    custom: BTreeMap<String, &'a Arc<Resource>>,
}

impl<'a> Defined<'a> {
    /// The schemas of the resources' kinds, of the other kinds named, and of all they refer to.
    pub(super) fn of(resources: &[&'a Arc<Resource>], others: &[Gvk]) -> Self {
        let mut defined = Self { built_in: BTreeSet::new(), custom: BTreeMap::new() };
        for name in SHARED.into_iter().chain([WATCH_EVENT]) {
            defined.reach(Schema::named(name));
        }
        for gvk in others {
            defined.reach(Schema::for_kind(gvk));
        }
        for resource in resources {
            if resource.is_custom() {
                defined.custom.insert(custom::name(resource), resource);
                for name in [custom::OBJECT_META, custom::LIST_META] {
                    defined.reach(Schema::named(name));
                }
            } else {
                defined.reach(Schema::for_kind(&resource.gvk()));
                if resource.has_verb("list") {
                    defined.reach(Schema::for_kind(&Gvk::new(&resource.group, &resource.version, &resource.list_kind)));
                }
            }
            for sub in resource.subresources.iter() {
                defined.reach(Schema::for_kind(&Gvk::new(&sub.group, &sub.version, &sub.kind)));
            }
        }
        defined
    }

    /// The definitions that these need.
    pub(super) fn named(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self { built_in: BTreeSet::new(), custom: BTreeMap::new() }.and(names)
    }

    /// With the definitions that these need.
    pub(super) fn and(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        names.into_iter().for_each(|name| self.reach(Schema::named(name)));
        self
    }

    /// Tells each definition, sorted by name.
    pub(super) fn each(&self, dialect: Dialect, mut tell: impl FnMut(&str, Value)) {
        let mut custom: Vec<(String, Value)> =
            self.custom.values().flat_map(|resource| custom::schemas(resource, dialect)).collect();
        custom.sort_by(|a, b| a.0.cmp(&b.0));
        let mut custom = custom.into_iter().peekable();
        let texts = Descriptions::unpack();
        for definition in definitions().iter().filter(|definition| self.built_in.contains(definition.name)) {
            while let Some((name, schema)) = custom.next_if(|(name, _)| name.as_str() < definition.name) {
                tell(&name, schema);
            }
            tell(definition.name, write(definition, &texts, dialect));
        }
        custom.for_each(|(name, schema)| tell(&name, schema));
    }

    fn reach(&mut self, schema: Option<Schema>) {
        if let Some(schema) = schema {
            reach(schema.definition(), &mut self.built_in);
        }
    }
}

/// The OpenAPI name of a kind's schema.
pub(super) fn name_of(gvk: &Gvk) -> Option<&'static str> {
    Schema::for_kind(gvk).map(|schema| schema.definition().name)
}

/// A reference to a definition.
pub(super) fn reference(name: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn reach(definition: &'static Definition, found: &mut BTreeSet<&'static str>) {
    if !found.insert(definition.name) {
        return;
    }
    if let Body::Object(fields) = &definition.body {
        fields.iter().for_each(|field| reach_type(&field.kind, found));
    }
}

fn reach_type(kind: &'static Type, found: &mut BTreeSet<&'static str>) {
    match kind {
        Type::Scalar(_) => {}
        Type::List(inner) | Type::Map(inner) => reach_type(inner, found),
        Type::Named(_) => {
            if let Some(schema) = kind.schema() {
                reach(schema.definition(), found);
            }
        }
    }
}

fn write(definition: &'static Definition, texts: &Descriptions, dialect: Dialect) -> Value {
    let mut out = match &definition.body {
        // Values of any type, not objects of any fields.
        Body::Scalar(Scalar::Any) if definition.name.starts_with(ANY_VALUE) => json!({}),
        Body::Scalar(scalar) => write_scalar(*scalar, dialect),
        Body::Object(fields) => {
            let mut out = json!({"type": "object"});
            if !fields.is_empty() {
                let is_kind = !definition.kinds.is_empty();
                let property = |field: &'static Field| {
                    let text = texts.of_field(definition.name, field.name);
                    let text = text.or_else(|| describe(field.name).filter(|_| is_kind));
                    (field.name.to_owned(), write_field(field, is_kind, text, dialect))
                };
                out["properties"] = Value::Object(fields.iter().map(property).collect());
            }
            let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
            if !required.is_empty() {
                out["required"] = json!(required);
            }
            out
        }
    };
    if let Some(kind) = definition.kinds.first() {
        out["x-kubernetes-group-version-kind"] = definition
            .kinds
            .iter()
            .map(|kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind}))
            .collect();
        // Lists have no text of their own.
        out["description"] = match kind.kind.strip_suffix("List") {
            Some(item) if !item.is_empty() => json!(format!("{} is a list of {item} objects.", kind.kind)),
            Some(_) | None => json!(format!("{} is a kind of {}.", kind.kind, kind.api_version())),
        };
    }
    if let Some(text) = texts.of(definition.name) {
        out["description"] = json!(text);
    }
    if let Some(map_type) = definition.map_type {
        out["x-kubernetes-map-type"] = json!(map_type);
    }
    out
}

/// What the fields that all kinds have are for.
pub(super) fn describe(field: &str) -> Option<&'static str> {
    Some(match field {
        "apiVersion" => "The group and version of the object's form, as in apps/v1.",
        "kind" => "What the object is, in CamelCase.",
        "metadata" => "Name, namespace, labels and what else all objects have.",
        "spec" => "What is wanted.",
        "status" => "What was observed; written by the system.",
        "items" => "The objects of the list.",
        _ => return None,
    })
}

fn write_field(field: &'static Field, of_kind: bool, text: Option<&str>, dialect: Dialect) -> Value {
    let mut out = write_type(&field.kind, dialect);
    let mut beside = Map::new();
    let mut extend = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            beside.insert(name.to_owned(), value);
        }
    };
    extend("x-kubernetes-patch-merge-key", field.merge_key.map(Value::from));
    extend("x-kubernetes-patch-strategy", field.patch_strategy.map(Value::from));
    extend("x-kubernetes-list-type", field.list_type.map(Value::from));
    extend("x-kubernetes-list-map-keys", (!field.map_keys.is_empty()).then(|| json!(field.map_keys)));
    extend("x-kubernetes-map-type", field.map_type.map(Value::from));
    extend("description", text.map(Value::from));
    if dialect == Dialect::V3 {
        let zero = match &field.kind {
            Type::Named(_) if of_kind && matches!(field.name, "metadata" | "spec" | "status") => Some(json!({})),
            Type::Scalar(scalar) if field.required => zero(*scalar),
            Type::Scalar(_) | Type::Named(_) | Type::List(_) | Type::Map(_) => None,
        };
        extend("default", zero);
    }
    if !beside.is_empty() {
        // In v3 nothing may stand beside a $ref.
        if dialect == Dialect::V3 && out.get("$ref").is_some() {
            out = json!({"allOf": [out]});
        }
        out.as_object_mut().expect("a schema is an object").extend(beside);
    }
    out
}

fn zero(scalar: Scalar) -> Option<Value> {
    match scalar {
        Scalar::String => Some(json!("")),
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => Some(json!(0)),
        Scalar::Boolean => Some(json!(false)),
        Scalar::Bytes | Scalar::Any | Scalar::Quantity | Scalar::IntOrString | Scalar::Time | Scalar::MicroTime => None,
    }
}

fn write_type(kind: &'static Type, dialect: Dialect) -> Value {
    match kind {
        Type::Scalar(scalar) => write_scalar(*scalar, dialect),
        Type::List(inner) => json!({"type": "array", "items": write_element(inner, dialect)}),
        Type::Map(inner) => json!({"type": "object", "additionalProperties": write_element(inner, dialect)}),
        Type::Named(_) => reference(kind.schema().map_or("", |schema| schema.definition().name), dialect),
    }
}

fn write_element(kind: &'static Type, dialect: Dialect) -> Value {
    let mut out = write_type(kind, dialect);
    match (dialect, kind) {
        (Dialect::V2, _) | (Dialect::V3, Type::List(_) | Type::Map(_)) => out,
        (Dialect::V3, Type::Scalar(scalar)) => {
            if let Some(zero) = zero(*scalar) {
                out["default"] = zero;
            }
            out
        }
        (Dialect::V3, Type::Named(_)) if kind.scalar().is_none() => json!({"allOf": [out], "default": {}}),
        (Dialect::V3, Type::Named(_)) => out,
    }
}

fn write_scalar(scalar: Scalar, dialect: Dialect) -> Value {
    match (scalar, dialect) {
        (Scalar::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (Scalar::IntOrString, Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        _ => {
            let (kind, format) = scalar.openapi();
            let mut out = json!({"type": kind});
            if let Some(format) = format {
                out["format"] = json!(format);
            }
            out
        }
    }
}
