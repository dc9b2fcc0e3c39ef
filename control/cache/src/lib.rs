//! What control loops read: the [`View`], an immutable snapshot of the cluster at one revision with its indexes, and
//! the [`Reflector`] that folds lists and watch events into Views. Pure: whoever has the I/O feeds it.

pub mod kinds;
pub mod reflector;
pub mod selector;
pub mod table;
pub mod taint;
pub mod view;

pub use kinds::{Cached, DecodeError, Kind, Object, Tables, key_of};
pub use reflector::{Input, Phase, Reflector};
pub use table::{Shared, Table};
pub use view::{Change, View};
