//! A folded copy of a part of the store, up to date whenever it is read: a read first takes in every event that is
//! queued, and the store queues an event before its write is answered.

use crate::{Apiserver, storage};
use api::Status;
use bytes::Bytes;
use futures::Stream;
use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use store::{Backend, Watch};

/// What events are folded into.
pub(crate) trait Fold: Default + Send {
    fn clear(&mut self);
    fn put(&mut self, key: &str, value: &Bytes);
    fn remove(&mut self, key: &str);
}

/// The copy of what lies below a prefix.
pub(crate) struct Follower<F> {
    prefix: &'static str,
    state: Mutex<State<F>>,
}

struct State<F> {
    fold: F,
    /// None before the first read and after it was lost.
    watch: Option<Watch>,
    /// Of the task that drains, if there is one.
    waker: Waker,
}

/// Objects in one page of the first list.
const PAGE: usize = 1000;

impl<F: Fold> Follower<F> {
    pub(crate) fn new(prefix: &'static str) -> Self {
        let state = State { fold: F::default(), watch: None, waker: Waker::noop().clone() };
        Self { prefix, state: Mutex::new(state) }
    }

    /// Looks at the copy as it is now.
    pub(crate) async fn read<R>(&self, server: &Apiserver, look: impl Fn(&F) -> R) -> Result<R, Status> {
        loop {
            {
                let mut state = self.lock();
                state.drain();
                if state.watch.is_some() {
                    return Ok(look(&state.fold));
                }
            }
            self.list(server.config.store.as_ref()).await?;
        }
    }

    /// Takes in events as they come once there was a read, so that few wait when the next read comes. Never ends.
    pub(crate) async fn drain(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            state.waker = context.waker().clone();
            state.drain();
            Poll::<()>::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list(&self, store: &dyn Backend) -> Result<(), Status> {
        let mut fold = F::default();
        let (mut at, mut after) = (None, None::<String>);
        let revision = loop {
            let page = store.list(self.prefix, after.as_deref(), Some(PAGE), at).await.map_err(storage::unavailable)?;
            for entry in &page.entries {
                fold.put(&entry.key, &entry.value);
            }
            at = Some(page.revision);
            match page.entries.last() {
                Some(last) if page.more => after = Some(last.key.to_string()),
                _ => break page.revision,
            }
        };
        let watch = store.watch(self.prefix, revision).map_err(storage::unavailable)?;
        let mut state = self.lock();
        if state.watch.is_none() {
            state.fold = fold;
            state.watch = Some(watch);
            state.waker.wake_by_ref();
        }
        Ok(())
    }
}

impl<F: Fold> State<F> {
    fn drain(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let mut context = Context::from_waker(&self.waker);
        loop {
            match Pin::new(&mut *watch).poll_next(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(event))) => match &event.value {
                    Some(value) => self.fold.put(&event.key, value),
                    None => self.fold.remove(&event.key),
                },
                Poll::Ready(Some(Err(_)) | None) => {
                    self.watch = None;
                    self.fold.clear();
                    return;
                }
            }
        }
    }
}
