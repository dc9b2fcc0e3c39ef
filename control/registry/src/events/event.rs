//! Events.

use api::{FieldError, meta, time};
use jiff::Timestamp;
use serde_json::Value;

use super::convert;
use crate::Strategy;
use crate::columns::{Column, column as in_full, text as column, wide};
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::{has, number, text};

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

/// Bytes of a reason, an action or an instance; of a message.
const MAX_WORD: usize = 128;
const MAX_NOTE: usize = 1024;

impl Strategy for CoreEvent {
    fn validate(&self, event: &Value) -> Vec<FieldError> {
        legacy(event, "reportingComponent")
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

/// Rules of every event, in the form of the core group. Only those that state their time are checked whole.
fn legacy(event: &Value, controller_field: &str) -> Vec<FieldError> {
    let (about, own) = (text(&event["involvedObject"], "namespace"), meta::namespace(event));
    let timed = has(event, "eventTime");
    let fits = match about {
        "" => own == "default" || (timed && own == "kube-system"),
        about => about == own,
    };
    let mut errors = Vec::new();
    if !fits {
        errors.push(FieldError::invalid("involvedObject.namespace", about, "does not match event.namespace"));
    }
    if !timed {
        return errors;
    }
    let controller = text(event, "reportingComponent");
    if controller.is_empty() {
        errors.push(FieldError::required(controller_field, ""));
    }
    errors
        .extend(names::qualified(controller).into_iter().map(|w| FieldError::invalid(controller_field, controller, w)));
    for (field, limit) in
        [("reportingInstance", MAX_WORD), ("action", MAX_WORD), ("reason", MAX_WORD), ("message", MAX_NOTE)]
    {
        let value = text(event, field);
        if value.is_empty() && field != "message" {
            errors.push(FieldError::required(field, ""));
        }
        if value.len() > limit {
            errors.push(FieldError::invalid(field, "", format!("can have at most {limit} characters")));
        }
    }
    errors
}

/// A series has happened at least twice.
fn series(event: &Value) -> Vec<FieldError> {
    let series = &event["series"];
    if series.is_null() {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if number(series, "count").unwrap_or(0) < 2 {
        errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
    }
    if series["lastObservedTime"].is_null() {
        errors.push(FieldError::required("series.lastObservedTime", ""));
    }
    errors
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
        let core = stored(event);
        let mut errors = legacy(&core, "reportingController");
        errors.extend(series(event));
        if event["eventTime"].is_null() {
            errors.push(FieldError::required("eventTime", ""));
        }
        let kind = text(event, "type");
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(FieldError::invalid("type", "", format!("has invalid value: {kind}")));
        }
        errors
    }

    /// Fields of the older view belong to it.
    fn validate_create(&self, event: &Value) -> Vec<FieldError> {
        let core = stored(event);
        let mut errors = Vec::new();
        for field in ["firstTimestamp", "lastTimestamp"].into_iter().filter(|f| has(&core, f)) {
            errors.push(FieldError::invalid(field, "", "needs to be unset"));
        }
        if number(&core, "count").unwrap_or(0) != 0 {
            errors.push(FieldError::invalid("count", "", "needs to be unset"));
        }
        if !text(&core["source"], "component").is_empty() || !text(&core["source"], "host").is_empty() {
            errors.push(FieldError::invalid("source", "", "needs to be unset"));
        }
        errors
    }

    /// Only the series goes on.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        const FIXED: [(&str, &str); 13] = [
            ("regarding", "involvedObject"),
            ("reason", "reason"),
            ("note", "message"),
            ("deprecatedSource", "source"),
            ("deprecatedFirstTimestamp", "firstTimestamp"),
            ("deprecatedLastTimestamp", "lastTimestamp"),
            ("deprecatedCount", "count"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("action", "action"),
            ("related", "related"),
            ("reportingController", "reportingController"),
            ("reportingInstance", "reportingInstance"),
        ];
        let mut errors: Vec<FieldError> =
            FIXED.iter().flat_map(|(field, shown)| immutable(&new[*field], &old[*field], shown)).collect();
        if new["series"] != old["series"] {
            errors.extend(series(new));
        }
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
