//! The entries of `metadata.managedFields`.

use serde_json::{Map, Value};
use std::fmt;

use super::set::FieldSet;
use crate::{meta, time};

const FIELD: &str = "managedFields";

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The fields of one manager.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    /// Empty for none.
    pub(super) time: String,
    pub(super) subresource: String,
    pub(super) fields: FieldSet,
}

impl Entry {
    /// Two entries of the same manager are one. An applier stays itself when it changes the version it applies in.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let operation = match value["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if value["fieldsType"] != "FieldsV1" || text("apiVersion").is_empty() {
            return None;
        }
        let fields = match &value["fieldsV1"] {
            Value::Null => FieldSet::default(),
            fields => FieldSet::read(fields)?,
        };
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            time: value["time"].as_str().and_then(time::parse).map(time::format).unwrap_or_default(),
            subresource: text("subresource"),
            fields,
        })
    }

    fn write(self) -> Value {
        let mut out = Map::new();
        out.insert("apiVersion".to_owned(), self.api_version.into());
        out.insert("fieldsType".to_owned(), "FieldsV1".into());
        out.insert("fieldsV1".to_owned(), self.fields.into_value());
        out.insert("manager".to_owned(), self.manager.into());
        out.insert("operation".to_owned(), self.operation.as_str().into());
        if !self.subresource.is_empty() {
            out.insert("subresource".to_owned(), self.subresource.into());
        }
        if !self.time.is_empty() {
            out.insert("time".to_owned(), self.time.into());
        }
        Value::Object(out)
    }
}

/// As conflicts name a manager.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// The object's list, as it stands.
pub(super) fn raw(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get(FIELD)
}

/// Reads a list; `None` if an entry of it is none. Of entries of one manager the last counts.
pub(super) fn read(list: Option<&Value>) -> Option<Vec<Entry>> {
    let given = match list {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::Array(given)) => given,
        Some(_) => return None,
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(given.len());
    for value in given {
        let entry = Entry::read(value)?;
        entries.retain(|other| !other.is(&entry));
        entries.push(entry);
    }
    Some(entries)
}

/// Whether the list asks for all entries to be forgotten: it is empty, or has one entry with nothing in it.
pub(super) fn is_reset(list: Option<&Value>) -> bool {
    let nothing = |value: &Value| value.is_null() || value == "";
    match list.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(only)]) => only.values().all(nothing),
        _ => false,
    }
}

/// Writes the entries, in their order, into the object.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.operation, e.time.clone(), e.manager.clone(), e.api_version.clone());
        (key(a), &a.subresource).cmp(&(key(b), &b.subresource))
    });
    if entries.is_empty() {
        meta::remove(object, FIELD);
    } else {
        let list = entries.into_iter().map(Entry::write).collect();
        meta::metadata_mut(object).insert(FIELD.to_owned(), Value::Array(list));
    }
}

/// Puts a list as it is, or none.
pub(super) fn put_raw(object: &mut Value, list: Option<Value>) {
    match list {
        Some(list) => meta::metadata_mut(object).insert(FIELD.to_owned(), list),
        None => meta::remove(object, FIELD),
    };
}

/// Whether two states differ in the times of their entries at most.
#[must_use]
pub fn same_but_times(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    if a.len() != b.len() || a.iter().any(|(name, value)| name != "metadata" && b.get(name) != Some(value)) {
        return false;
    }
    let (Some(Value::Object(a)), Some(Value::Object(b))) = (a.get("metadata"), b.get("metadata")) else {
        return a.get("metadata") == b.get("metadata");
    };
    if a.len() != b.len() || a.iter().any(|(name, value)| name != FIELD && b.get(name) != Some(value)) {
        return false;
    }
    let (Some(Value::Array(a)), Some(Value::Array(b))) = (a.get(FIELD), b.get(FIELD)) else {
        return a.get(FIELD) == b.get(FIELD);
    };
    // The order of entries depends on their times.
    let without_times = |list: &[Value]| -> Vec<Value> {
        let mut list = list.to_vec();
        list.iter_mut().for_each(|entry| drop(meta::object_mut(entry).remove("time")));
        list.sort_by_cached_key(Value::to_string);
        list
    };
    a == b || (a.len() == b.len() && without_times(a) == without_times(b))
}
