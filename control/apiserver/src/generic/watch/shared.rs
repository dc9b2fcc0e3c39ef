//! What recent events became: read and rendered once for each resource and style, whoever asks first, and shared by all
//! watches. Watches read the same events at about the same time, so few are kept; one that is behind renders for itself.

use crate::generic::{
    encode::{self, Style},
    selection::Facts,
    table::Columns,
};
use api::{Revision, Status};
use bytes::Bytes;
use registry::Resource;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use store::Event;

/// Events kept.
const SLOTS: usize = 512;
/// Longer frames are not kept.
const FRAME_LIMIT: usize = 64 << 10;
/// Frames kept of one event: styles times changes.
const STYLES: usize = 12;

/// What an event means to a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
    /// It is there still, but no longer selected.
    Left,
}

impl Change {
    pub(super) fn name(self) -> &'static str {
        match self {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted | Change::Left => "DELETED",
        }
    }
}

/// The recent events of a server.
pub(crate) struct Recent {
    slots: Vec<Mutex<Option<Slot>>>,
}

struct Slot {
    revision: Revision,
    key: Arc<str>,
    /// For each resource that the event is seen through.
    rendered: Vec<Arc<Rendered>>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::new(None)).collect() }
    }

    /// What an event became, seen through a resource.
    pub(super) fn of(&self, event: &Event, resource: &Arc<Resource>) -> Arc<Rendered> {
        let index = usize::try_from(event.revision.0 % SLOTS as u64).unwrap_or_default();
        let mut slot = self.slots[index].lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|slot| slot.revision > event.revision) {
            return Arc::new(Rendered::new(resource));
        }
        let same = |slot: &&mut Slot| slot.revision == event.revision && slot.key == event.key;
        if let Some(slot) = slot.as_mut().filter(same) {
            if let Some(known) = slot.rendered.iter().find(|one| Arc::ptr_eq(&one.resource, resource)) {
                return known.clone();
            }
            let made = Arc::new(Rendered::new(resource));
            slot.rendered.push(made.clone());
            return made;
        }
        let made = Arc::new(Rendered::new(resource));
        *slot = Some(Slot { revision: event.revision, key: event.key.clone(), rendered: vec![made.clone()] });
        made
    }
}

/// An event seen through one resource.
pub(super) struct Rendered {
    /// Held, so that its address stands for it.
    resource: Arc<Resource>,
    before: OnceLock<Option<Facts>>,
    now: OnceLock<Option<Facts>>,
    frames: Mutex<Vec<(Key, Bytes)>>,
}

/// What frames differ by.
type Key = (Style, Columns, Change);

impl Rendered {
    fn new(resource: &Arc<Resource>) -> Self {
        Self {
            resource: resource.clone(),
            before: OnceLock::new(),
            now: OnceLock::new(),
            frames: Mutex::new(Vec::new()),
        }
    }

    /// What selectors ask of the object after the event.
    pub(super) fn now(&self, event: &Event) -> Option<&Facts> {
        self.now.get_or_init(|| self.facts(event.value.as_ref()?, event.revision)).as_ref()
    }

    /// What they ask of it before the event.
    pub(super) fn before(&self, event: &Event) -> Option<&Facts> {
        self.before
            .get_or_init(|| {
                let prev = event.prev.as_ref()?;
                self.facts(&prev.value, prev.modified)
            })
            .as_ref()
    }

    fn facts(&self, bytes: &Bytes, revision: Revision) -> Option<Facts> {
        encode::versioned(&self.resource, bytes, revision).ok().map(Facts::of)
    }

    /// A frame, made if nobody has made it yet.
    pub(super) fn frame(&self, key: Key, make: impl FnOnce() -> Result<Bytes, Status>) -> Result<Bytes, Status> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frame)) = frames.iter().find(|(known, _)| *known == key) {
            return Ok(frame.clone());
        }
        let frame = make()?;
        if frame.len() <= FRAME_LIMIT && frames.len() < STYLES {
            frames.push((key, frame.clone()));
        }
        Ok(frame)
    }
}
