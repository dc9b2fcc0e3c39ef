//! Kubernetes Events about pods and the node: repeated ones are counted on one object instead of piling up.

use std::collections::{BTreeMap, VecDeque};

use client::{Client, Patch};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use pod::{Note, NoteKind};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events waiting to be written; more are dropped, oldest writers first served.
const QUEUE_LIMIT: usize = 1024;
/// Recent events remembered to recognize a repetition.
const REMEMBERED_LIMIT: usize = 512;

/// A handle to record events.
#[derive(Clone)]
pub(crate) struct Notes {
    sender: mpsc::Sender<Entry>,
}

struct Entry {
    about: ObjectReference,
    note: Note,
    at: jiff::Timestamp,
}

impl Notes {
    /// Starts the task `events`, which writes what the handles record.
    pub(crate) fn start(client: Client, node_name: String, shutdown: CancellationToken) -> Notes {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let writer = Writer { client, node_name, known: BTreeMap::new(), order: VecDeque::new() };
        process::spawn("events", writer.run(receiver, shutdown));
        Notes { sender }
    }

    /// Records an event about a pod.
    pub(crate) fn pod(&self, pod: &Pod, note: Note) {
        let meta = &pod.metadata;
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: note.field_path.clone(),
        };
        self.record(about, note);
    }

    /// Records an event about the node.
    pub(crate) fn node(&self, name: &str, kind: NoteKind, reason: &'static str, message: String) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        self.record(about, Note { kind, reason: reason.into(), message, field_path: None });
    }

    fn record(&self, about: ObjectReference, note: Note) {
        let entry = Entry { about, note, at: process::now() };
        if self.sender.try_send(entry).is_err() {
            tracing::debug!("event dropped: the queue is full");
        }
    }
}

/// What makes two events the same: object, container, reason, message.
type Sameness = (String, String, String, String);

struct Known {
    namespace: String,
    name: String,
    count: i32,
}

struct Writer {
    client: Client,
    node_name: String,
    known: BTreeMap<Sameness, Known>,
    order: VecDeque<Sameness>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Entry>, shutdown: CancellationToken) {
        loop {
            let entry = tokio::select! {
                () = shutdown.cancelled() => return,
                entry = receiver.recv() => match entry {
                    Some(entry) => entry,
                    None => return,
                },
            };
            if let Err(error) = self.write(entry).await {
                tracing::debug!(%error, "event not written");
            }
        }
    }

    async fn write(&mut self, entry: Entry) -> Result<(), client::Error> {
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let about = &entry.about;
        let same = (
            format!("{}/{}", text(&about.kind), text(&about.uid)),
            text(&about.field_path),
            entry.note.reason.to_string(),
            entry.note.message.clone(),
        );
        if let Some(known) = self.known.get_mut(&same) {
            known.count += 1;
            let body = json!({"count": known.count, "lastTimestamp": Time(entry.at)});
            let (namespace, name) = (known.namespace.clone(), known.name.clone());
            match self.client.patch::<Event>(&namespace, &name, None, Patch::Merge(body)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let event = self.event(&entry);
        let known = Known { namespace: text(&event.metadata.namespace), name: text(&event.metadata.name), count: 1 };
        self.client.create(&event).await?;
        if self.known.insert(same.clone(), known).is_none() {
            self.order.push_back(same);
        }
        if self.order.len() > REMEMBERED_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        Ok(())
    }

    fn event(&self, entry: &Entry) -> Event {
        let about = entry.about.clone();
        let name = format!("{}.{:x}", about.name.clone().unwrap_or_default(), entry.at.as_nanosecond());
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let kind = match entry.note.kind {
            NoteKind::Normal => "Normal",
            NoteKind::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: about,
            type_: Some(kind.to_owned()),
            reason: Some(entry.note.reason.to_string()),
            message: Some(entry.note.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(entry.at)),
            last_timestamp: Some(Time(entry.at)),
            event_time: None::<MicroTime>,
            source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(self.node_name.clone()) }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node_name.clone()),
            ..Event::default()
        }
    }
}
