//! Events.

use api::{FieldError, meta, time};
use jiff::Timestamp;
use serde_json::Value;

use super::convert;
use crate::Strategy;
use crate::columns::{Column, column as in_full, text as column, wide};
use crate::value::{number, text};

/// Strategy of events as the core group shows them, which is how they are stored.
pub struct CoreEvent;

/// Strategy of events as `events.k8s.io` shows them.
pub struct NewEvent;

pub const COLUMNS: &[Column] = &[
    column("Last Seen", "When it last happened"),
    column("Type", "Whether it is normal"),
    column("Reason", "Why it happened, in one word"),
    column("Object", "What it happened to"),
    wide("Subobject", "Which part of the object"),
    wide("Source", "Who says so"),
    column("Message", "What happened"),
    wide("First Seen", "When it first happened"),
    in_full("Count", "string", "", "How often it happened", 1),
    in_full("Name", "string", "name", "Name of the event", 1),
];

impl Strategy for CoreEvent {
    fn validate(&self, event: &Value) -> Vec<FieldError> {
        let involved = &event["involvedObject"];
        let (about, own) = (text(involved, "namespace"), meta::namespace(event));
        let cluster_scoped = about.is_empty() && matches!(own, "default" | "kube-system");
        let mut errors = Vec::new();
        if about != own && !cluster_scoped {
            let what = "does not match event.namespace";
            errors.push(FieldError::invalid("involvedObject.namespace", about, what));
        }
        errors
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        let involved = &event["involvedObject"];
        let own = |v: &Value, f: &str| text(v, f).to_owned();
        let source = match own(&event["source"], "component") {
            empty if empty.is_empty() => own(event, "reportingComponent"),
            component => component,
        };
        vec![
            ("involvedObject.kind", own(involved, "kind")),
            ("involvedObject.namespace", own(involved, "namespace")),
            ("involvedObject.name", own(involved, "name")),
            ("involvedObject.uid", own(involved, "uid")),
            ("involvedObject.apiVersion", own(involved, "apiVersion")),
            ("involvedObject.resourceVersion", own(involved, "resourceVersion")),
            ("involvedObject.fieldPath", own(involved, "fieldPath")),
            ("reason", own(event, "reason")),
            ("reportingComponent", own(event, "reportingComponent")),
            ("source", source),
            ("type", own(event, "type")),
        ]
    }

    fn row(&self, event: &Value, now: Timestamp) -> Vec<Value> {
        let first = moment(&event["firstTimestamp"]).or_else(|| moment(&event["eventTime"]));
        let series = &event["series"];
        let (last, count) = if series.is_null() {
            (moment(&event["lastTimestamp"]).or(first), number(event, "count").unwrap_or(0).max(1))
        } else {
            (moment(&series["lastObservedTime"]), number(series, "count").unwrap_or(0))
        };
        let ago = |at: Option<&str>| match at {
            Some(_) => time::age(at, now),
            None => "<unknown>".to_owned(),
        };
        let involved = &event["involvedObject"];
        let object = match text(involved, "name") {
            "" => text(involved, "kind").to_lowercase(),
            name => format!("{}/{name}", text(involved, "kind").to_lowercase()),
        };
        vec![
            ago(last).into(),
            text(event, "type").into(),
            text(event, "reason").into(),
            object.into(),
            text(involved, "fieldPath").into(),
            source(event).into(),
            text(event, "message").trim().into(),
            ago(first).into(),
            count.to_string().into(),
            meta::name(event).into(),
        ]
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn moment(value: &Value) -> Option<&str> {
    value.as_str().filter(|t| time::parse(t).is_some())
}

fn source(event: &Value) -> String {
    let (component, host) = match text(&event["source"], "component") {
        "" => (text(event, "reportingComponent"), text(event, "reportingInstance")),
        component => (component, text(&event["source"], "host")),
    };
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

/// The core view of an event shown by `events.k8s.io`.
fn stored(event: &Value) -> Value {
    let mut event = event.clone();
    (convert::CONVERSION.to_storage)(&mut event);
    event
}

impl Strategy for NewEvent {
    fn validate(&self, event: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if event["eventTime"].is_null() {
            errors.push(FieldError::required("eventTime", ""));
        }
        for (field, named) in [
            ("reportingController", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if text(event, field).is_empty() {
                errors.push(FieldError::required(named, ""));
            }
        }
        if !matches!(text(event, "type"), "Normal" | "Warning") {
            errors.push(FieldError::invalid("type", text(event, "type"), "has invalid value"));
        }
        errors.extend(CoreEvent.validate(&stored(event)).into_iter().map(|mut e| {
            e.field = e.field.replace("involvedObject", "regarding");
            e
        }));
        errors
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &[
            "reason",
            "reportingController",
            "type",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
        ]
    }

    fn fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        let regarding = &event["regarding"];
        let own = |v: &Value, f: &str| text(v, f).to_owned();
        vec![
            ("reason", own(event, "reason")),
            ("reportingController", own(event, "reportingController")),
            ("type", own(event, "type")),
            ("regarding.kind", own(regarding, "kind")),
            ("regarding.namespace", own(regarding, "namespace")),
            ("regarding.name", own(regarding, "name")),
            ("regarding.uid", own(regarding, "uid")),
            ("regarding.apiVersion", own(regarding, "apiVersion")),
            ("regarding.resourceVersion", own(regarding, "resourceVersion")),
            ("regarding.fieldPath", own(regarding, "fieldPath")),
        ]
    }

    fn row(&self, event: &Value, now: Timestamp) -> Vec<Value> {
        CoreEvent.row(&stored(event), now)
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
