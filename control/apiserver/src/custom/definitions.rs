//! The one who settles definitions: it gives names, sets conditions, and has the resources served.

use super::cleanup;
use crate::{
    Apiserver, Error,
    admission::Origin,
    auth::User,
    generic::{
        owners,
        write::{self, Via, Write},
    },
    storage,
};
use api::{Status, meta, time};
use futures::StreamExt;
use registry::{Resource, apiextensions::conditions};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};
use store::{Event, Revision, Watch};

/// Between attempts to remove the objects of a definition that goes.
const RETRY: Duration = Duration::from_millis(200);
/// Without work, how often to see whether the server is still there.
const IDLE: Duration = Duration::from_secs(30);

/// Every definition, as the store has it.
struct Definitions {
    server: Weak<Apiserver>,
    all: BTreeMap<String, Value>,
    /// Names of those to look at.
    waiting: BTreeSet<String>,
}

fn resource() -> &'static Arc<Resource> {
    registry::find("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("the table has definitions")
}

/// Serves what is established already, then follows changes as the task `api-definitions`.
pub(crate) async fn start(server: &Arc<Apiserver>) -> Result<(), Error> {
    let mut definitions =
        Definitions { server: Arc::downgrade(server), all: BTreeMap::new(), waiting: BTreeSet::new() };
    let revision = definitions.read(server).await?;
    for definition in definitions.all.values().filter(|one| conditions::is_true(one, "Established")) {
        server.kinds.install(definition);
    }
    process::spawn("api-definitions", definitions.run(revision));
    Ok(())
}

impl Definitions {
    async fn read(&mut self, server: &Apiserver) -> Result<Revision, store::Error> {
        let listing = server.config.store.list(&storage::key(resource(), "", ""), None, None, None).await?;
        self.all = listing
            .entries
            .iter()
            .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok())
            .map(|value| (meta::name(&value).to_owned(), value))
            .collect();
        self.waiting = self.all.keys().cloned().collect();
        Ok(listing.revision)
    }

    /// Ends with the server.
    async fn run(mut self, mut revision: Revision) {
        loop {
            let Some(server) = self.server.upgrade() else { return };
            let watch = server.config.store.watch(&storage::key(resource(), "", ""), revision);
            drop(server);
            match watch {
                Ok(watch) => self.follow(watch).await,
                Err(store::Error::Stopped) => return,
                Err(_) => {}
            }
            // The watch was lost: what is there now is the state to go on from.
            let Some(server) = self.server.upgrade() else { return };
            let known: Vec<String> = self.all.keys().cloned().collect();
            match self.read(&server).await {
                Ok(now) => revision = now,
                Err(store::Error::Stopped) => return,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
            for name in known.iter().filter(|name| !self.all.contains_key(*name)) {
                server.kinds.remove(name);
            }
        }
    }

    async fn follow(&mut self, mut watch: Watch) {
        loop {
            let wait = if self.work().await { RETRY } else { IDLE };
            tokio::select! {
                event = watch.next() => match event {
                    Some(Ok(event)) => self.event(&event),
                    Some(Err(_)) | None => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
            if self.server.strong_count() == 0 {
                return;
            }
        }
    }

    fn event(&mut self, event: &Event) {
        let name = event.key.rsplit('/').next().unwrap_or_default().to_owned();
        let value = event.value.as_ref().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let group = |value: &Value| value["spec"]["group"].as_str().unwrap_or_default().to_owned();
        match value {
            Some(value) => {
                self.all.insert(name.clone(), value);
                self.waiting.insert(name);
            }
            None => {
                if let Some(server) = self.server.upgrade() {
                    server.kinds.remove(&name);
                }
                if let Some(gone) = self.all.remove(&name) {
                    // Its names are free for others.
                    let others = self.all.iter().filter(|(_, other)| group(other) == group(&gone));
                    self.waiting.extend(others.map(|(name, _)| name.clone()));
                }
                self.waiting.remove(&name);
            }
        }
    }

    /// Looks at every waiting definition once; whether some must be looked at again.
    async fn work(&mut self) -> bool {
        let Some(server) = self.server.upgrade() else { return false };
        let mut again = BTreeSet::new();
        for name in std::mem::take(&mut self.waiting) {
            let Some(definition) = self.all.get(&name) else { continue };
            let done = if meta::is_deleting(definition) {
                if conditions::is_true(definition, "Established") {
                    server.kinds.install(definition);
                }
                cleanup::step(&server, resource(), definition).await
            } else {
                self.settle(&server, definition).await
            };
            match done {
                Ok(true) => {}
                Ok(false) => {
                    again.insert(name);
                }
                Err(status) if status.is_not_found() => {}
                Err(status) => {
                    tracing::warn!(definition = name, %status, "cannot settle a definition");
                    again.insert(name);
                }
            }
        }
        self.waiting = again;
        !self.waiting.is_empty()
    }

    async fn settle(&self, server: &Arc<Apiserver>, definition: &Value) -> Result<bool, Status> {
        let group = &definition["spec"]["group"];
        let others: Vec<&Value> = self
            .all
            .values()
            .filter(|other| other["spec"]["group"] == *group && meta::uid(other) != meta::uid(definition))
            .collect();
        let now = time::format(process::now());
        let settled = conditions::settle(definition, &others, &now);
        if conditions::is_true(&settled, "Established") {
            // Served first: who sees the condition may use the resource.
            server.kinds.install(&settled);
        }
        if settled == *definition {
            return Ok(true);
        }
        set_status(server, definition, &settled["status"]).await?;
        Ok(true)
    }
}

/// Stores conditions and accepted names, unless the definition is another by now (then its event is on the way).
pub(super) async fn set_status(server: &Arc<Apiserver>, definition: &Value, status: &Value) -> Result<(), Status> {
    let user = User::gannet();
    let write = Write {
        server,
        user: &user,
        resource: resource(),
        namespace: "",
        name: meta::name(definition),
        via: Via::Server,
        dry_run: false,
        origin: &Origin::default(),
        manager: owners::SERVER,
        subresource: "",
        owners: owners::Owners::Tracked,
    };
    write::modify(&write, |old| {
        let mut new = old.value.clone();
        if meta::uid(&new) == meta::uid(definition) {
            let kept = meta::child_mut(&mut new, "status");
            for field in ["conditions", "acceptedNames"] {
                kept.insert(field.to_owned(), status[field].clone());
            }
        }
        Ok(new)
    })
    .await
    .map(drop)
}
