//! Views for everybody in the control plane: one watch of the whole store, folded into one snapshot after the other.
//! All kinds come in one order, so a View is the cluster at exactly one revision. What a View holds are the store's own
//! keys and bytes, not copies of them.
//!
//! Task: `views` reads the store's watch and publishes to one `tokio::sync::watch` channel. A reader that is slow sees
//! fewer Views, never a gap: what changed is the difference between the View it saw last and the one it sees now.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache::{Input, Kind, Object, Reflector, View};
use futures::{FutureExt, StreamExt};
use process::Shutdown;
use store::{Backend, Event, Revision};
use tokio::sync::watch;

/// The most events folded into one View before it is published.
pub const MAX_COALESCED: usize = 1024;

const PREFIX: &str = "/registry/";
const PAGE: usize = 1000;
const RETRY: Duration = Duration::from_millis(200);

/// The latest View, and how to wait for a later one. Cheap to clone; each clone waits on its own.
#[derive(Clone)]
pub struct Views {
    receiver: watch::Receiver<Arc<View>>,
    store: Arc<dyn Backend>,
}

impl Views {
    /// The latest View.
    pub fn latest(&mut self) -> Arc<View> {
        self.receiver.borrow_and_update().clone()
    }

    /// Waits for a View later than the one seen last. Pending for ever once the reader task has ended.
    pub async fn changed(&mut self) -> Arc<View> {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.latest()
    }

    /// The store's present revision: at least that of every write that has been answered.
    pub fn written(&self) -> api::Revision {
        api::Revision(self.store.revision().0)
    }
}

/// Lists the store, however often that takes, and starts to follow it. With what comes back the control loops may
/// begin: there is a full View.
pub async fn start(store: Arc<dyn Backend>, shutdown: Shutdown) -> Views {
    let mut reflector = Reflector::default();
    let revision = relist(store.as_ref(), &mut reflector).await;
    let (sender, receiver) = watch::channel(reflector.view().clone());
    let views = Views { receiver, store: store.clone() };
    process::spawn("views", async move {
        tokio::select! {
            () = follow(store, reflector, revision, sender) => {}
            () = shutdown.cancelled() => {}
        }
    });
    views
}

/// Follows the store for ever; after a lost watch it lists again.
async fn follow(
    store: Arc<dyn Backend>,
    mut reflector: Reflector,
    mut revision: Revision,
    sender: watch::Sender<Arc<View>>,
) {
    loop {
        match store.watch(PREFIX, revision) {
            Ok(mut events) => {
                while let Some(event) = events.next().await {
                    let mut folded = fold(&mut reflector, event);
                    for _ in 1..MAX_COALESCED {
                        match events.next().now_or_never().flatten() {
                            Some(event) if folded => folded = fold(&mut reflector, event),
                            _ => break,
                        }
                    }
                    sender.send_replace(reflector.view().clone());
                    if !folded {
                        break;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot watch the store"),
        }
        revision = relist(store.as_ref(), &mut reflector).await;
        sender.send_replace(reflector.view().clone());
    }
}

async fn relist(store: &dyn Backend, reflector: &mut Reflector) -> Revision {
    loop {
        match restart(store, reflector).await {
            Ok(revision) => return revision,
            Err(error) => tracing::warn!(%error, "cannot list the store"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// False: the watch is lost.
fn fold(reflector: &mut Reflector, event: Result<Arc<Event>, store::Error>) -> bool {
    match event {
        Ok(event) => {
            reflector.apply(input(&event));
            true
        }
        Err(error) => {
            tracing::warn!(%error, "lost the store's watch");
            false
        }
    }
}

/// What one event of the store is to a reflector.
pub fn input(event: &Event) -> Input {
    let revision = api::Revision(event.revision.0);
    let Some((kind, key)) = Kind::from_store_key(&event.key) else { return Input::Bookmark(revision) };
    match event.value.as_ref().and_then(|value| object(kind, &event.key, value, revision)) {
        Some(object) => Input::Applied(object, revision),
        None => Input::Deleted(kind, key, revision),
    }
}

/// Lists the whole store into the reflector; a watch from the revision returned misses nothing.
///
/// # Errors
/// When the store cannot be read.
pub async fn restart(store: &dyn Backend, reflector: &mut Reflector) -> Result<Revision, store::Error> {
    let mut objects = Vec::new();
    let mut at = None;
    let mut after: Option<String> = None;
    let revision = loop {
        let page = store.list(PREFIX, after.as_deref(), Some(PAGE), at).await?;
        objects.extend(page.entries.iter().filter_map(|entry| {
            let kind = Kind::of_store_key(&entry.key)?;
            object(kind, &entry.key, &entry.value, api::Revision(entry.modified.0))
        }));
        at = Some(page.revision);
        match page.entries.last() {
            Some(last) if page.more => after = Some(last.key.to_string()),
            _ => break page.revision,
        }
    };
    let inputs = Input::Restarted { kinds: Kind::ALL.to_vec(), objects, revision: api::Revision(revision.0) };
    reflector.apply(inputs);
    Ok(revision)
}

fn object(kind: Kind, key: &Arc<str>, value: &Bytes, revision: api::Revision) -> Option<Object> {
    let read = Object::stored(kind, key.clone(), value.clone(), revision);
    read.inspect_err(|error| tracing::error!(%key, %error, "an object in the store is left out")).ok()
}

#[cfg(test)]
mod tests;
