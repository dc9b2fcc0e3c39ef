//! The objects decoded last, so that a change that several control loops look at is decoded once. It says nothing that
//! decoding anew would not say; nobody can tell but by the time it takes.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Object;

/// Bytes, as stored, of the objects whose typed forms are kept; typed they take some ten times as much. At the limit
/// the one kept longest goes that was not asked for since.
pub const MAX_BYTES: usize = 1 << 20;
/// A larger one is not kept.
const MAX_OBJECT_BYTES: usize = MAX_BYTES / 8;

type Typed = Arc<dyn Any + Send + Sync>;

struct Kept {
    typed: Typed,
    used: bool,
}

struct Recent {
    /// By address: the queue holds the objects, so that no other takes the place.
    kept: BTreeMap<usize, Kept>,
    queue: VecDeque<Object>,
    bytes: usize,
}

static RECENT: Mutex<Recent> = Mutex::new(Recent { kept: BTreeMap::new(), queue: VecDeque::new(), bytes: 0 });

fn lock() -> MutexGuard<'static, Recent> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The typed form of an object, if it is kept.
pub(crate) fn get(object: &Object) -> Option<Typed> {
    let mut recent = lock();
    let kept = recent.kept.get_mut(&object.address())?;
    kept.used = true;
    Some(kept.typed.clone())
}

/// Keeps the typed form of an object.
pub(crate) fn keep(object: &Object, typed: Typed) {
    if object.size_bytes() > MAX_OBJECT_BYTES {
        return;
    }
    let mut dropped = Vec::new();
    let mut recent = lock();
    if recent.kept.contains_key(&object.address()) {
        return;
    }
    recent.bytes += object.size_bytes();
    recent.kept.insert(object.address(), Kept { typed, used: false });
    recent.queue.push_back(object.clone());
    while recent.bytes > MAX_BYTES {
        let Some(oldest) = recent.queue.pop_front() else { break };
        let kept = recent.kept.get_mut(&oldest.address()).expect("what is queued is kept");
        if std::mem::take(&mut kept.used) {
            recent.queue.push_back(oldest);
            continue;
        }
        recent.bytes -= oldest.size_bytes();
        dropped.extend(recent.kept.remove(&oldest.address()).map(|kept| (kept, oldest)));
    }
    drop(recent);
    // Freed without the lock.
    drop(dropped);
}
