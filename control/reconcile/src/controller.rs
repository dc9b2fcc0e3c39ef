//! What a control loop is.

use api::Key;
use cache::{Change, View};
use jiff::Timestamp;

use crate::Plan;

/// A control loop. It has no state of its own: everything it knows is in the View, so that a restart loses nothing.
pub trait Controller: Send + Sync {
    /// Its name, which is also the `source.component` of its events.
    fn name(&self) -> &'static str;

    /// Which of its keys a change concerns. `view` is the View after the change.
    fn keys(&self, change: &Change, view: &View) -> Vec<Key>;

    /// What to write so that the world moves towards what the object at `key` asks for. Called again after each
    /// relevant change; an empty plan means that there is nothing left to do. Must reach a fixpoint on its own writes.
    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan;
}
