//! Making a decoded body an object of its kind: apiVersion and kind agree, fields have their types, and fields that
//! the kind does not have are dropped, told or refused.

use super::{
    complaints,
    decode::{Decoded, Document},
    write::FieldValidation,
};
use api::{Gvk, Schema, Status, schema};
use registry::Resource;
use serde_json::Value;

/// Objects nested deeper are refused, so that whoever reads them, in a list and in a frame, can.
pub(crate) const MAX_DEPTH: usize = 100;
/// Complaints told; more are of no use to anybody.
const MAX_COMPLAINTS: usize = 100;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Why a value is no object of the kind.
pub(crate) enum Refusal {
    /// Of another kind, or of none.
    Kind(Status),
    /// A value has not the type of its field.
    Type(String),
    /// Fields that the kind does not have, or given twice, where neither may be.
    Strict(Vec<String>),
}

impl Refusal {
    /// The answer about a body.
    fn of_body(self, kind: &Gvk) -> Status {
        let cannot = |what: &str| {
            Status::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: {what}",
                kind.kind, kind.version, kind.kind
            ))
        };
        match self {
            Self::Kind(status) => status,
            Self::Type(what) => cannot(&what),
            Self::Strict(complaints) => cannot(&strict(&complaints)),
        }
    }
}

/// The text of a strict refusal.
pub(crate) fn strict(complaints: &[String]) -> String {
    format!("strict decoding error: {}", complaints.join(", "))
}

/// A body as an object of the resource.
pub(crate) fn conform(
    resource: &Resource,
    decoded: Decoded,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let kind = resource.gvk();
    fit(&kind, Some(resource), decoded, validation, warnings).map_err(|refusal| refusal.of_body(&kind))
}

/// A body as an object of a built-in kind that is no resource.
pub(crate) fn conform_kind(
    kind: &Gvk,
    decoded: Decoded,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    fit(kind, None, decoded, validation, warnings).map_err(|refusal| refusal.of_body(kind))
}

/// [`conform`], with the refusal still to be worded.
pub(crate) fn fit(
    kind: &Gvk,
    resource: Option<&Resource>,
    decoded: Decoded,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Refusal> {
    let Decoded { mut value, duplicates, document } = decoded;
    if !value.is_object() {
        return Err(Refusal::Type("json: cannot unmarshal a value that is no object".to_owned()));
    }
    identify(kind, &mut value).map_err(Refusal::Kind)?;
    if is_deeper(&value, MAX_DEPTH) {
        return Err(Refusal::Type(format!("the object is nested deeper than {MAX_DEPTH} levels")));
    }
    let complaints = if let Some(schema) = resource.map_or_else(|| Schema::for_kind(kind), Resource::schema) {
        schema::type_check(&schema, &value).map_err(|error| Refusal::Type(error.to_string()))?;
        let unknown = schema::prune(&schema, &mut value);
        let unstructured = document.is_none();
        match document.filter(|_| !(unknown.is_empty() && duplicates.is_empty())) {
            Some(document) => complaints::of(&document, &unknown, &duplicates),
            None if unstructured => duplicates_first(&duplicates, &unknown),
            None => Vec::new(),
        }
    } else {
        let version = resource.and_then(|resource| resource.strategy.custom());
        if let Some(metadata) = version.and_then(|_| Schema::named(OBJECT_META)) {
            schema::type_check(&metadata, &value["metadata"]).map_err(|error| Refusal::Type(error.to_string()))?;
        }
        let unknown = version.map(|version| version.prune(&mut value)).unwrap_or_default();
        match document.filter(|document| matches!(document, Document::Yaml(_)) && !duplicates.is_empty()) {
            Some(document) => complaints::of(&document, &unknown, &duplicates),
            None => duplicates_first(&duplicates, &unknown),
        }
    };
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => {
            // Each duplicate line of a YAML document is a warning of its own.
            let lines = complaints.iter().flat_map(|text| text.lines()).map(str::trim);
            warnings.extend(lines.filter(|line| *line != complaints::YAML_ERRORS).map(str::to_owned));
        }
        FieldValidation::Strict if complaints.is_empty() => {}
        FieldValidation::Strict => return Err(Refusal::Strict(complaints)),
    }
    if !value["metadata"].is_object() {
        value["metadata"] = Value::Object(serde_json::Map::new());
    }
    Ok(value)
}

fn duplicates_first(duplicates: &[String], unknown: &[String]) -> Vec<String> {
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    duplicates.chain(unknown.iter().map(|path| format!("unknown field {path:?}"))).take(MAX_COMPLAINTS).collect()
}

/// Checks apiVersion and kind, and puts them in where they are missing.
fn identify(kind: &Gvk, value: &mut Value) -> Result<(), Status> {
    let (version, name) = (kind.api_version(), kind.kind.as_str());
    for (field, expected) in [("apiVersion", version.as_str()), ("kind", name)] {
        if !matches!(&value[field], Value::Null | Value::String(_)) {
            return Err(Status::bad_request(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal the field {field}, which is no text, expected {expected:?}"
            )));
        }
    }
    match (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default()) {
        (other, _) if !other.is_empty() && other != version => {
            return Err(Status::bad_request(format!(
                "the API version in the data ({other}) does not match the expected API version ({version})"
            )));
        }
        (_, other) if !other.is_empty() && other != name => {
            return Err(Status::bad_request(format!(
                "{other} in version {:?} cannot be handled as a {name}: no kind {other:?} is registered for this resource",
                kind.version
            )));
        }
        _ => {}
    }
    value["apiVersion"] = version.into();
    value["kind"] = name.into();
    Ok(())
}

/// Whether a value has more than so many levels.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|item| is_deeper(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
