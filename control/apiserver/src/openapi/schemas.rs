//! Schemas from the table: the types a group version's kinds are made of.

use api::{
    Gvk, Schema,
    schema::{Body, Definition, Field, Scalar, Type, definitions},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Where `$ref` points.
#[derive(Clone, Copy)]
enum Dialect {
    V2,
    V3,
}

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The schemas of the kinds of a group version and of all they refer to.
pub(super) fn of_group(group: &str, version: &str) -> Value {
    let mut found = BTreeSet::new();
    let own = definitions().iter().filter(|definition| {
        definition.name == STATUS
            || definition.name == DELETE_OPTIONS
            || definition.kinds.iter().any(|kind| kind.group == group && kind.version == version)
    });
    own.for_each(|definition| reach(definition, &mut found));
    // Subresources may be kinds of other groups.
    let resources =
        registry::resources().iter().filter(|resource| resource.group == group && resource.version == version);
    for sub in resources.flat_map(|resource| resource.subresources.iter()) {
        if let Some(schema) = Schema::for_kind(&Gvk::new(&sub.group, &sub.version, &sub.kind)) {
            reach(schema.definition(), &mut found);
        }
    }
    let schemas: Map<String, Value> = definitions()
        .iter()
        .filter(|definition| found.contains(definition.name))
        .map(|definition| (definition.name.to_owned(), write(definition, Dialect::V3)))
        .collect();
    Value::Object(schemas)
}

/// Every type of the table, for the v2 document.
pub(super) fn all() -> Value {
    Value::Object(
        definitions().iter().map(|definition| (definition.name.to_owned(), write(definition, Dialect::V2))).collect(),
    )
}

/// The OpenAPI name of a kind's schema.
pub(super) fn name_of(gvk: &Gvk) -> Option<&'static str> {
    Schema::for_kind(gvk).map(|schema| schema.definition().name)
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

fn write(definition: &'static Definition, dialect: Dialect) -> Value {
    let mut out = match &definition.body {
        Body::Scalar(scalar) => write_scalar(*scalar, dialect),
        Body::Object(fields) => {
            let mut out = json!({"type": "object"});
            if !fields.is_empty() {
                let properties: Map<String, Value> =
                    fields.iter().map(|field| (field.name.to_owned(), write_field(field, dialect))).collect();
                out["properties"] = Value::Object(properties);
            }
            let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
            if !required.is_empty() {
                out["required"] = json!(required);
            }
            out
        }
    };
    if !definition.kinds.is_empty() {
        out["x-kubernetes-group-version-kind"] = definition
            .kinds
            .iter()
            .map(|kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind}))
            .collect();
    }
    if let Some(map_type) = definition.map_type {
        out["x-kubernetes-map-type"] = json!(map_type);
    }
    out
}

fn write_field(field: &'static Field, dialect: Dialect) -> Value {
    let mut out = write_type(&field.kind, dialect);
    let mut extensions = Map::new();
    let mut extend = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            extensions.insert(format!("x-kubernetes-{name}"), value);
        }
    };
    extend("patch-merge-key", field.merge_key.map(Value::from));
    extend("patch-strategy", field.patch_strategy.map(Value::from));
    extend("list-type", field.list_type.map(Value::from));
    extend("list-map-keys", (!field.map_keys.is_empty()).then(|| json!(field.map_keys)));
    extend("map-type", field.map_type.map(Value::from));
    if !extensions.is_empty() {
        // In v3 nothing may stand beside a $ref.
        if matches!(dialect, Dialect::V3) && out.get("$ref").is_some() {
            out = json!({"allOf": [out]});
        }
        out.as_object_mut().expect("a schema is an object").extend(extensions);
    }
    out
}

fn write_type(kind: &'static Type, dialect: Dialect) -> Value {
    match kind {
        Type::Scalar(scalar) => write_scalar(*scalar, dialect),
        Type::List(inner) => json!({"type": "array", "items": write_type(inner, dialect)}),
        Type::Map(inner) => json!({"type": "object", "additionalProperties": write_type(inner, dialect)}),
        Type::Named(_) => {
            let name = kind.schema().map_or("", |schema| schema.definition().name);
            match dialect {
                Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
                Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
            }
        }
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
