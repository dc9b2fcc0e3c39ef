//! Events: what happened, as records; and the recorder that writes them as Event objects, repeated ones as a count.

use std::collections::BTreeMap;

use cache::{Cached, Kind, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// How many different events the recorder remembers, to count repetitions. At the limit the one repeated longest ago
/// is forgotten, and its next repetition is a new Event.
pub const MAX_REMEMBERED: usize = 4096;

/// The longest message the API takes.
pub const MAX_MESSAGE: usize = 1024;

/// Whether an event is a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// The object it happened to.
    pub regarding: ObjectReference,
    /// Whether it is a warning.
    pub type_: EventType,
    /// The reason, one CamelCase word.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

/// How to write an event.
#[derive(Clone, Debug, PartialEq)]
pub enum EventWrite {
    /// Create it.
    Create(Box<Event>),
    /// It repeats the Event of this namespace and name: patch its count and lastTimestamp.
    Repeat {
        /// Namespace of the Event.
        namespace: String,
        /// Name of the Event.
        name: String,
        /// How often it happened by now.
        count: i32,
        /// When it happened last.
        last: Timestamp,
    },
}

#[derive(Clone, Debug)]
struct Remembered {
    namespace: String,
    name: String,
    count: i32,
    used: u64,
}

type Identity = (String, String, EventType, &'static str, String, String);

/// Turns records into writes and remembers what it wrote.
#[derive(Debug, Default)]
pub struct Recorder {
    remembered: BTreeMap<Identity, Remembered>,
    uses: u64,
}

impl EventRecord {
    /// All is well.
    pub fn normal<T: Cached>(object: &T, reason: &'static str, message: impl Into<String>) -> EventRecord {
        EventRecord { regarding: reference(object), type_: EventType::Normal, reason, message: message.into() }
    }

    /// Somebody should look.
    pub fn warning<T: Cached>(object: &T, reason: &'static str, message: impl Into<String>) -> EventRecord {
        EventRecord { regarding: reference(object), type_: EventType::Warning, reason, message: message.into() }
    }

    /// All is well with an object whose type is erased.
    pub fn normal_for(object: &Object, reason: &'static str, message: impl Into<String>) -> EventRecord {
        let regarding = reference_to(object.kind(), &object.meta());
        EventRecord { regarding, type_: EventType::Normal, reason, message: message.into() }
    }

    /// Somebody should look at an object whose type is erased.
    pub fn warning_for(object: &Object, reason: &'static str, message: impl Into<String>) -> EventRecord {
        EventRecord { type_: EventType::Warning, ..EventRecord::normal_for(object, reason, message) }
    }

    /// The same record with `{}` in its message replaced.
    pub fn filled(&self, with: &str) -> EventRecord {
        EventRecord { message: self.message.replacen("{}", with, 1), ..self.clone() }
    }
}

impl Recorder {
    /// What to write for a record that `component` makes at `now`.
    pub fn record(&mut self, record: &EventRecord, component: &str, now: Timestamp) -> EventWrite {
        self.uses += 1;
        let identity = identity(record, component);
        if let Some(known) = self.remembered.get_mut(&identity) {
            known.count += 1;
            known.used = self.uses;
            let Remembered { namespace, name, count, .. } = known.clone();
            return EventWrite::Repeat { namespace, name, count, last: now };
        }
        if self.remembered.len() >= MAX_REMEMBERED {
            self.forget_oldest();
        }
        let event = new_event(record, component, now, self.uses);
        let (namespace, name) =
            (event.metadata.namespace.clone().unwrap_or_default(), event.metadata.name.clone().unwrap_or_default());
        self.remembered.insert(identity, Remembered { namespace, name, count: 1, used: self.uses });
        EventWrite::Create(Box::new(event))
    }

    /// Forgets an event whose Event object is gone, so that its next repetition is created.
    pub fn forget(&mut self, record: &EventRecord, component: &str) {
        self.remembered.remove(&identity(record, component));
    }

    fn forget_oldest(&mut self) {
        let oldest = self.remembered.iter().min_by_key(|(_, known)| known.used).map(|(identity, _)| identity.clone());
        if let Some(oldest) = oldest {
            self.remembered.remove(&oldest);
        }
    }
}

/// A reference to an object, as events and endpoints carry it.
pub fn reference<T: Cached>(object: &T) -> ObjectReference {
    reference_to(T::ROW, object.metadata())
}

fn reference_to(kind: Kind, meta: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(kind.api_version().to_owned()),
        kind: Some(kind.name().to_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

fn identity(record: &EventRecord, component: &str) -> Identity {
    let regarding = &record.regarding;
    (
        regarding.uid.clone().unwrap_or_default(),
        format!("{}/{}", regarding.namespace.as_deref().unwrap_or_default(), regarding.name.as_deref().unwrap_or("")),
        record.type_,
        record.reason,
        record.message.clone(),
        component.to_owned(),
    )
}

fn new_event(record: &EventRecord, component: &str, now: Timestamp, sequence: u64) -> Event {
    let regarding = &record.regarding;
    let name = regarding.name.as_deref().unwrap_or("unknown");
    // The name is unique for as long as Events live: the time it was made, and the recorder's own count.
    let unique = (now.as_nanosecond() as u64).wrapping_add(sequence);
    let mut message = record.message.clone();
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|&end| message.is_char_boundary(end)).unwrap_or(0);
        message.truncate(end);
    }
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{unique:016x}")),
            namespace: Some(regarding.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: regarding.clone(),
        type_: Some(match record.type_ {
            EventType::Normal => "Normal".to_owned(),
            EventType::Warning => "Warning".to_owned(),
        }),
        reason: Some(record.reason.to_owned()),
        message: Some(message),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests;
