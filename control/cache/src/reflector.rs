//! The reflector: folds a list and its watch events into Views. It does no I/O; whoever reads the store or the API
//! feeds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Key, Revision};

use crate::{Kind, Object, View};

/// What a list or a watch says.
#[derive(Clone, Debug)]
pub enum Input {
    /// A fresh list: what is not in it is gone.
    Restarted {
        /// The kinds that the list covers.
        kinds: Vec<Kind>,
        /// Every object of these kinds.
        objects: Vec<Object>,
        /// The list's revision.
        revision: Revision,
    },
    /// An object was created or changed.
    Applied(Object, Revision),
    /// An object is gone.
    Deleted(Kind, Key, Revision),
    /// Nothing changed up to this revision.
    Bookmark(Revision),
}

/// Where the fold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No list has come: the View is empty and must not be acted on.
    Empty,
    /// The View is a snapshot at its revision.
    Synced,
}

/// Folds inputs into a View. One reflector follows one ordered stream, over one kind or many.
#[derive(Debug)]
pub struct Reflector {
    phase: Phase,
    view: Arc<View>,
}

impl Default for Reflector {
    fn default() -> Self {
        Reflector { phase: Phase::Empty, view: Arc::new(View::default()) }
    }
}

impl Reflector {
    /// The View after the last input.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Where the fold stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Folds one input in. An input at or below the View's revision changes nothing, so that events repeated by a
    /// reconnect are harmless; a restart is always taken.
    pub fn apply(&mut self, input: Input) {
        let current = self.view.revision;
        match input {
            Input::Restarted { kinds, objects, revision } => self.restart(&kinds, objects, revision),
            Input::Applied(object, revision) if revision > current => {
                let view = Arc::make_mut(&mut self.view);
                view.insert(object);
                view.revision = revision;
            }
            Input::Deleted(kind, key, revision) if revision > current => {
                let view = Arc::make_mut(&mut self.view);
                view.remove(kind, &key);
                view.revision = revision;
            }
            Input::Bookmark(revision) if revision > current => Arc::make_mut(&mut self.view).revision = revision,
            Input::Applied(..) | Input::Deleted(..) | Input::Bookmark(..) => {}
        }
    }

    fn restart(&mut self, kinds: &[Kind], objects: Vec<Object>, revision: Revision) {
        let view = Arc::make_mut(&mut self.view);
        let listed: BTreeSet<&str> = objects.iter().map(|object| object.store_key().as_ref()).collect();
        for &kind in kinds {
            let gone = view.tables.all(kind).filter(|known| !listed.contains(known.store_key().as_ref()));
            for key in gone.map(Object::key).collect::<Vec<_>>() {
                view.remove(kind, &key);
            }
        }
        for object in objects {
            let known = view.tables.at(object.kind(), object.store_key());
            // An unchanged object stays what it is, so that a relist is no change to those who compare Views.
            if known.is_none_or(|known| known.revision() != object.revision()) {
                view.insert(object);
            }
        }
        view.revision = revision;
        self.phase = Phase::Synced;
    }
}

#[cfg(test)]
mod tests;
