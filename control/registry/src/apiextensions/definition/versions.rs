//! The versions of a definition: names, schemas, columns, subresources.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use crate::custom::jsonpath::JsonPath;
use crate::custom::rules::{self, field_steps};
use crate::custom::schema::{self, Props};
use crate::custom::{prune, validate as values};
use crate::validate::names;
use crate::value::{flag, items, text};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const MAX_SELECTABLE: usize = 8;

pub(super) fn validate(spec: &Value, old: Option<&Value>) -> Vec<FieldError> {
    const FIELD: &str = "spec.versions";
    let versions = items(&spec["versions"]);
    let mut errors = Vec::new();
    if versions.iter().filter(|v| flag(v, "storage")).count() != 1 {
        errors.push(FieldError::invalid(
            FIELD,
            spec["versions"].clone(),
            "must have exactly one version marked as storage version",
        ));
    }
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in versions.iter().enumerate() {
        let name = text(version, "name");
        unique &= seen.insert(name);
        let wrong = names::dns_1035_label(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(format!("{FIELD}[{i}].name"), name, wrong.join(",")));
        }
        let warning = text(version, "deprecationWarning");
        let field = format!("{FIELD}[{i}].deprecationWarning");
        if !warning.is_empty() && !flag(version, "deprecated") {
            errors.push(FieldError::invalid(field, warning, "can only be set for deprecated versions"));
        } else if warning.len() > 256 {
            errors.push(FieldError::invalid(field, warning, "must be <= 256 characters long"));
        } else if warning.chars().any(char::is_control) {
            errors.push(FieldError::invalid(
                field,
                warning,
                "must only contain printable UTF-8 characters; non-printable character found",
            ));
        }
    }
    if !unique {
        errors.push(FieldError::invalid(FIELD, spec["versions"].clone(), "must contain unique version names"));
    }
    // Kubernetes tells what all versions share at the top.
    let shared = |field: &str| versions.windows(2).all(|pair| pair[0][field] == pair[1][field]);
    let (schemas, columns, subs) = (shared("schema"), shared("additionalPrinterColumns"), shared("subresources"));
    let selectable = shared("selectableFields");
    for (i, version) in versions.iter().enumerate() {
        let own = format!("{FIELD}[{i}]");
        if i == 0 || !schemas {
            let path =
                if schemas { "spec.validation".to_owned() } else { format!("{own}.schema") } + ".openAPIV3Schema";
            let before = old.map(|old| &old["spec"]["versions"]);
            errors.extend(schema_rules(version, &path, &own, before));
        }
        if i == 0 || !columns {
            let base = if columns { "spec" } else { own.as_str() };
            for (n, column) in items(&version["additionalPrinterColumns"]).iter().enumerate() {
                errors.extend(column_rules(column, &format!("{base}.additionalPrinterColumns[{n}]")));
            }
        }
        if i == 0 || !subs {
            let base = if subs { "spec" } else { own.as_str() };
            errors.extend(subresource_rules(&version["subresources"], &format!("{base}.subresources")));
        }
        if i == 0 || !selectable {
            let base = if selectable { "spec" } else { own.as_str() };
            errors.extend(selectable_rules(version, &format!("{base}.selectableFields")));
        }
    }
    errors
}

fn schema_rules(version: &Value, path: &str, own: &str, before: Option<&Value>) -> Vec<FieldError> {
    let schema = &version["schema"]["openAPIV3Schema"];
    if !schema.is_object() {
        return vec![FieldError::required(format!("{own}.schema.openAPIV3Schema"), "schemas are required")];
    }
    let unchanged =
        before.is_some_and(|before| items(before).iter().any(|v| v["schema"]["openAPIV3Schema"] == *schema));
    if unchanged {
        return Vec::new();
    }
    if version["subresources"]["status"].is_object()
        && schema.as_object().is_some_and(|map| {
            map.keys().any(|key| {
                !matches!(key.as_str(), "properties" | "required" | "type" | "description" | "title")
                    && !key.starts_with("x-kubernetes-")
            })
        })
    {
        return vec![FieldError::invalid(
            path,
            schema.clone(),
            "only [\"description\" \"example\" \"exclusiveMaximum\" \"exclusiveMinimum\" \"externalDocs\" \"format\" \"items\" \"maxItems\" \"maxLength\" \"maxProperties\" \"maximum\" \"minItems\" \"minLength\" \"minProperties\" \"minimum\" \"multipleOf\" \"nullable\" \"pattern\" \"properties\" \"required\" \"title\" \"type\" \"uniqueItems\" \"x-kubernetes-embedded-resource\" \"x-kubernetes-int-or-string\" \"x-kubernetes-preserve-unknown-fields\"] fields are allowed at the root of the schema if the status subresource is enabled",
        )]
        .into_iter()
        .filter(|_| has_refused_root_field(schema))
        .collect();
    }
    let mut errors = schema::check(schema, path);
    if errors.is_empty() {
        let props = Props::root(schema);
        default_rules(&props, path, &mut errors);
        errors.extend(rules::check_definition(&props, path));
    }
    errors
}

/// Junctors, defaults and enums may not stand at the root beside a status subresource.
fn has_refused_root_field(schema: &Value) -> bool {
    ["allOf", "anyOf", "oneOf", "not", "enum", "default", "additionalProperties"]
        .iter()
        .any(|field| !schema[*field].is_null())
}

/// Defaults must be what they are defaults of.
fn default_rules(schema: &Props, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(default) = &schema.default {
        let path = format!("{path}.default");
        let mut pruned = default.clone();
        prune::prune(&Props { is_root: false, ..schema.clone() }, &mut pruned);
        if pruned != *default {
            errors.push(FieldError::invalid(path.clone(), default.clone(), "must not have unknown fields"));
        }
        let found = values::validate_at(schema, default, "");
        errors.extend(found.into_iter().map(|mut error| {
            error.field = if error.field == "<nil>" { path.clone() } else { format!("{path}.{}", error.field) };
            error
        }));
    }
    for (name, property) in &schema.properties {
        default_rules(property, &format!("{path}.properties[{name}]"), errors);
    }
    if let Some(items) = &schema.items {
        default_rules(items, &format!("{path}.items"), errors);
    }
    if let schema::Additional::Schema(additional) = &schema.additional {
        default_rules(additional, &format!("{path}.additionalProperties"), errors);
    }
}

fn column_rules(column: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let (kind, format) = (text(column, "type"), text(column, "format"));
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{path}.type"), format!("must be one of {}", COLUMN_TYPES.join(","))));
    } else if !COLUMN_TYPES.contains(&kind) {
        errors.push(FieldError::invalid(
            format!("{path}.type"),
            kind,
            format!("must be one of {}", COLUMN_TYPES.join(",")),
        ));
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        errors.push(FieldError::invalid(
            format!("{path}.format"),
            format,
            format!("must be one of {}", COLUMN_FORMATS.join(",")),
        ));
    }
    let json_path = text(column, "jsonPath");
    if json_path.is_empty() {
        errors.push(FieldError::required(format!("{path}.JSONPath"), ""));
    } else if JsonPath::parse(json_path).is_none() {
        errors.push(FieldError::invalid(format!("{path}.JSONPath"), json_path, "is an invalid path: not a JSONPath"));
    }
    errors
}

fn subresource_rules(subresources: &Value, path: &str) -> Vec<FieldError> {
    let scale = &subresources["scale"];
    if !scale.is_object() {
        return Vec::new();
    }
    let mut errors = Vec::new();
    for (field, parents) in [
        ("specReplicasPath", &["spec"][..]),
        ("statusReplicasPath", &["status"]),
        ("labelSelectorPath", &["status", "spec"]),
    ] {
        let value = text(scale, field);
        let at = format!("{path}.scale.{field}");
        if value.is_empty() {
            if field != "labelSelectorPath" {
                errors.push(FieldError::required(at, ""));
            }
            continue;
        }
        let below = if parents.len() == 1 { format!(".{}", parents[0]) } else { "either .spec or .status".to_owned() };
        match field_steps(value) {
            Some(steps) if steps.len() > 1 && parents.contains(&steps[0].as_str()) => {}
            _ => errors.push(FieldError::invalid(at, value, format!("should be a json path under {below}"))),
        }
    }
    errors
}

fn selectable_rules(version: &Value, path: &str) -> Vec<FieldError> {
    let fields = items(&version["selectableFields"]);
    let mut errors = Vec::new();
    if fields.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(path, fields.len(), MAX_SELECTABLE));
    }
    let schema = Props::root(&version["schema"]["openAPIV3Schema"]);
    let mut seen = BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        let json_path = text(field, "jsonPath");
        let at = format!("{path}[{i}].jsonPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let Some(steps) = field_steps(json_path) else {
            errors.push(FieldError::invalid(at, json_path, "is an invalid path: must be a simple path of fields"));
            continue;
        };
        if steps.first().is_some_and(|step| step == "metadata") {
            errors.push(FieldError::invalid(at, json_path, "must not point to fields in metadata"));
            continue;
        }
        let found = steps.iter().try_fold(&schema, |schema, step| schema.properties.get(step));
        match found {
            None => errors.push(FieldError::invalid(
                at.clone(),
                json_path,
                "is an invalid path: does not refer to a valid field",
            )),
            Some(found) if !matches!(found.kind.as_str(), "string" | "integer" | "boolean") => {
                errors.push(FieldError::invalid(
                    at.clone(),
                    json_path,
                    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
                ));
            }
            Some(_) => {}
        }
        if !seen.insert(json_path) {
            errors.push(FieldError::duplicate(at, json_path));
        }
    }
    errors
}
