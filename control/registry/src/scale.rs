//! The `scale` subresource of kinds that have replicas.

use std::borrow::Cow;

use api::{LabelSelector, Status, meta};
use serde_json::{Map, Value, json};

/// Where a kind keeps what a `Scale` shows. Paths are fields with a dot before each: `.spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// How many are wanted.
    pub wanted: Cow<'static, str>,
    /// How many there are.
    pub present: Cow<'static, str>,
    /// What selects them.
    pub selector: Selector,
}

/// How a kind selects its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A label selector (`matchLabels`, `matchExpressions`).
    Labels(Cow<'static, str>),
    /// A map of labels.
    Map(Cow<'static, str>),
    /// A selector as text: custom kinds.
    Text(Cow<'static, str>),
    /// Not at all.
    None,
}

/// The paths of the built-in workloads.
pub const WORKLOAD: Paths = Paths {
    wanted: Cow::Borrowed(".spec.replicas"),
    present: Cow::Borrowed(".status.replicas"),
    selector: Selector::Labels(Cow::Borrowed(".spec.selector")),
};

/// The paths of ReplicationControllers.
pub const REPLICATION_CONTROLLER: Paths =
    Paths { selector: Selector::Map(Cow::Borrowed(".spec.selector")), ..WORKLOAD };

/// What is at a path.
fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').filter(|field| !field.is_empty()).fold(object, |value, field| &value[field])
}

/// Sets what is at a path, making the objects on the way.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for field in path.split('.').filter(|field| !field.is_empty()) {
        place = meta::object_mut(place).entry(field).or_insert(Value::Null);
    }
    *place = value;
}

/// The `autoscaling/v1 Scale` view of an object; 500 if a custom object does not say how many are wanted.
pub fn read(object: &Value, paths: &Paths) -> Result<Value, Status> {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let wanted = match at(object, &paths.wanted).as_i64() {
        Some(wanted) => wanted,
        None if matches!(paths.selector, Selector::Labels(_) | Selector::Map(_)) => 0,
        None => {
            return Err(Status::internal(format_args!("the spec replicas field {:?} does not exist", paths.wanted)));
        }
    };
    let selector = match &paths.selector {
        Selector::Labels(path) => LabelSelector::from_json(at(object, path)).map(|s| s.to_string()).unwrap_or_default(),
        Selector::Map(path) => LabelSelector::from_map(&meta::string_map(at(object, path))).to_string(),
        Selector::Text(path) => at(object, path).as_str().unwrap_or_default().to_owned(),
        Selector::None => String::new(),
    };
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": {"replicas": at(object, &paths.present).as_i64().unwrap_or(0)},
    });
    if wanted != 0 {
        scale["spec"]["replicas"] = wanted.into();
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    Ok(scale)
}

/// The object with the replicas a `Scale` asks for, and its resourceVersion and uid as preconditions.
pub fn write(object: &Value, scale: &Value, paths: &Paths) -> Result<Value, Status> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let error = api::FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        let gvk = api::Gvk::new("autoscaling", "v1", "Scale");
        return Err(Status::invalid(&gvk, meta::name(object), vec![error]));
    }
    let mut object = object.clone();
    put(&mut object, &paths.wanted, replicas.into());
    for field in ["resourceVersion", "uid"] {
        if let Some(pinned) = scale["metadata"].get(field).filter(|v| v.as_str().is_some_and(|v| !v.is_empty())) {
            meta::metadata_mut(&mut object).insert(field.to_owned(), pinned.clone());
        }
    }
    Ok(object)
}
