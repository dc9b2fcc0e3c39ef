//! Carries plans out: the only way from a decision to the API.

use api::{Gvr, Revision};
use client::{Client, DeleteParams, Error, ListParams, Patch};
use futures::future::join_all;
use reconcile::{Action, EventRecord, EventWrite, Outcome, Plan, Preconditions, Propagation, Recorder, Write, batches};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// Writes events for one component. Failures to do so are logged and forgotten: an event is no promise.
#[derive(Clone)]
pub struct Events {
    client: Client,
    component: &'static str,
    recorder: Arc<Mutex<Recorder>>,
}

impl Events {
    /// A recorder for this component.
    pub fn new(client: Client, component: &'static str) -> Events {
        Events { client, component, recorder: Arc::default() }
    }

    /// Writes one event.
    pub async fn record(&self, record: &EventRecord) {
        for _ in 0..2 {
            let write = self.lock().record(record, self.component, process::now());
            match self.write(write).await {
                // The Event it repeats has expired: make a new one.
                Err(error) if error.is_not_found() => self.lock().forget(record, self.component),
                Err(error) => {
                    tracing::debug!(reason = record.reason, %error, "event not recorded");
                    return self.lock().forget(record, self.component);
                }
                Ok(()) => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, write: EventWrite) -> Result<(), Error> {
        let gvr = Gvr::new("", "v1", "events");
        match write {
            EventWrite::Create(event) => {
                let namespace = event.metadata.namespace.clone().unwrap_or_default();
                let body = serde_json::to_value(event).map_err(Error::Encode)?;
                self.client.create_value(&gvr, &namespace, &body).await.map(drop)
            }
            EventWrite::Repeat { namespace, name, count, last } => {
                let body = json!({"count": count, "lastTimestamp": api::time::format(last)});
                self.client.patch_value(&gvr, &namespace, &name, None, Patch::Merge(body)).await.map(drop)
            }
        }
    }
}

/// What became of a plan.
enum Fate {
    Done,
    Conflicted,
    Failed,
}

/// Executes a plan and says how it ended, with the revision that the View must reach before the next look: `written`
/// gives the store's present one.
pub async fn execute(client: &Client, written: impl Fn() -> Revision, events: &Events, plan: &Plan) -> Outcome {
    let mut fate = Fate::Done;
    for batch in batches(&plan.writes) {
        let writes = plan.writes[batch].iter().filter(|write| match fate {
            Fate::Done => true,
            // A status says what was observed, whether or not the writes before it succeeded.
            Fate::Failed => matches!(write.action, Action::UpdateStatus(_)),
            Fate::Conflicted => false,
        });
        for outcome in join_all(writes.map(|write| perform(client, events, write))).await {
            fate = worse(fate, outcome);
        }
    }
    let written = (!plan.writes.is_empty()).then(written);
    if matches!(fate, Fate::Done) {
        for event in &plan.events {
            events.record(event).await;
        }
    }
    match fate {
        Fate::Done => Outcome::Done { written, requeue_at: plan.requeue_at },
        Fate::Conflicted => Outcome::Conflicted { written },
        Fate::Failed => Outcome::Failed { written },
    }
}

fn worse(a: Fate, b: Fate) -> Fate {
    match (a, b) {
        (Fate::Failed, _) | (_, Fate::Failed) => Fate::Failed,
        (Fate::Conflicted, _) | (_, Fate::Conflicted) => Fate::Conflicted,
        (Fate::Done, Fate::Done) => Fate::Done,
    }
}

async fn perform(client: &Client, events: &Events, write: &Write) -> Fate {
    match send(client, write).await {
        Ok(name) => {
            if let Some(event) = &write.on_success {
                events.record(&event.filled(&name)).await;
            }
            Fate::Done
        }
        // It is gone, or another incarnation of it is there: what was to be deleted is no more.
        Err(error) if matches!(write.action, Action::Delete(_)) && (error.is_not_found() || error.is_conflict()) => {
            Fate::Done
        }
        Err(error) if error.is_conflict() || error.is_not_found() || error.is_already_exists() => {
            tracing::debug!(%write, %error, "the view is behind");
            Fate::Conflicted
        }
        // A namespace that is being deleted takes nothing new; its controller will remove the owner too.
        Err(error) if matches!(write.action, Action::Create(_)) && is_terminating(&error) => Fate::Done,
        Err(error) => {
            tracing::warn!(%write, %error, "write failed");
            if let Some(event) = &write.on_failure {
                events.record(&event.filled(&error.to_string())).await;
            }
            Fate::Failed
        }
    }
}

fn is_terminating(error: &Error) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref()).map(|details| details.causes.as_slice());
    causes.unwrap_or_default().iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Sends one write and gives the name of the object written.
async fn send(client: &Client, write: &Write) -> Result<String, Error> {
    let gvr = &write.target.gvr;
    let (namespace, name) = (&write.target.key.namespace, &write.target.key.name);
    let merge = |body: &Value| Patch::Merge(body.clone());
    match &write.action {
        Action::Create(body) => client.create_value(gvr, namespace, body).await.map(|object| name_of(&object)),
        Action::Update(body) => {
            client.update_value(gvr, namespace, name, None, body).await.map(|object| name_of(&object))
        }
        Action::UpdateStatus(body) => {
            client.update_value(gvr, namespace, name, Some("status"), body).await.map(|object| name_of(&object))
        }
        Action::Patch(body) => {
            client.patch_value(gvr, namespace, name, None, merge(body)).await.map(|object| name_of(&object))
        }
        Action::PatchStatus(body) => {
            client.patch_value(gvr, namespace, name, Some("status"), merge(body)).await.map(|object| name_of(&object))
        }
        Action::Delete(preconditions) => {
            client.delete_value(gvr, namespace, name, &delete_params(preconditions)).await.map(|()| name.clone())
        }
        Action::DeleteCollection => client
            .delete_collection_value(gvr, namespace, &ListParams::all(), &DeleteParams::default())
            .await
            .map(|()| String::new()),
        Action::Finalize { namespace, gone } => finalize(client, name, namespace, gone).await,
    }
}

/// Looks once more, live, that nothing is left, so that no object can outlive its namespace.
async fn finalize(client: &Client, name: &str, namespace: &Value, gone: &[Gvr]) -> Result<String, Error> {
    for gvr in gone {
        if !client.list_value(gvr, name, &ListParams::all()).await?.items.is_empty() {
            return Err(
                api::Status::conflict(&Gvr::new("", "v1", "namespaces"), name, "the namespace is not empty").into()
            );
        }
    }
    let gvr = Gvr::new("", "v1", "namespaces");
    client.update_value(&gvr, "", name, Some("finalize"), namespace).await.map(|object| name_of(&object))
}

fn delete_params(preconditions: &Preconditions) -> DeleteParams {
    DeleteParams {
        grace: preconditions.grace_seconds,
        uid: preconditions.uid.clone(),
        resource_version: preconditions.resource_version.clone(),
        propagation: preconditions.propagation.map(|propagation| match propagation {
            Propagation::Background => client::Propagation::Background,
            Propagation::Foreground => client::Propagation::Foreground,
            Propagation::Orphan => client::Propagation::Orphan,
        }),
    }
}

fn name_of(object: &Value) -> String {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}
