//! A watch and its bounded queue. The writer pushes, one reader takes; a reader that is too slow loses its queue and
//! is told so, and nobody else notices.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;

use crate::state::State;
use crate::{Config, Error, Event, Revision};

/// A stream of events. After an error it ends. Dropping it ends the watch.
pub struct Watch {
    state: Arc<State>,
    queue: Arc<Queue>,
}

impl Watch {
    /// A revision up to which the reader has seen every event of this watch; `None` while events wait to be read.
    /// This is what a bookmark may carry.
    pub fn progress(&self) -> Option<Revision> {
        // First the revision, then the queue: events are queued before their revision shows.
        let revision = self.state.revision();
        let queue = self.queue.lock();
        (queue.events.is_empty() && queue.end == End::Open).then_some(revision)
    }

    pub(crate) fn new(state: Arc<State>, queue: Arc<Queue>) -> Watch {
        Watch { state, queue }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("waiting", &self.queue.lock().events.len()).finish_non_exhaustive()
    }
}

impl Stream for Watch {
    type Item = Result<Arc<Event>, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            queue.bytes -= event.size_bytes();
            return Poll::Ready(Some(Ok(event)));
        }
        let error = match queue.end {
            End::Open => {
                queue.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            End::Lagged => Some(Err(Error::Lagged)),
            End::Compacted(compacted) => Some(Err(Error::Compacted { compacted })),
            End::Stopped => Some(Err(Error::Stopped)),
            End::Told => None,
        };
        queue.end = End::Told;
        Poll::Ready(error)
    }
}

/// What waits for one reader.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    end: End,
    waker: Option<Waker>,
}

/// Whether more events may come: Open -> Lagged | Compacted | Stopped -> Told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Lagged,
    Compacted(Revision),
    Stopped,
    Told,
}

impl Queue {
    /// A queue that starts with `backlog`, which may exceed the limits: it is part of the window already.
    pub(crate) fn new(backlog: VecDeque<Arc<Event>>) -> Queue {
        let bytes = backlog.iter().map(|event| event.size_bytes()).sum();
        Queue { inner: Mutex::new(Inner { events: backlog, bytes, end: End::Open, waker: None }) }
    }

    /// Adds an event; over the limits the queue is dropped and the reader is told. False: nothing more is wanted.
    pub(crate) fn push(&self, event: &Arc<Event>, config: &Config) -> bool {
        let mut inner = self.lock();
        if inner.end != End::Open {
            return false;
        }
        let bytes = inner.bytes + event.size_bytes();
        let over = inner.events.len() >= config.queue_events || bytes > config.queue_bytes;
        if over && !inner.events.is_empty() {
            inner.finish(End::Lagged);
            return false;
        }
        inner.bytes = bytes;
        inner.events.push_back(Arc::clone(event));
        inner.wake();
        true
    }

    pub(crate) fn stop(&self) {
        self.finish(End::Stopped);
    }

    /// Ends the watch: events up to `compacted` cannot be had any more.
    pub(crate) fn compact(&self, compacted: Revision) {
        self.finish(End::Compacted(compacted));
    }

    fn finish(&self, end: End) {
        let mut inner = self.lock();
        if inner.end == End::Open {
            inner.finish(end);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn finish(&mut self, end: End) {
        self.events = VecDeque::new();
        self.bytes = 0;
        self.end = end;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
