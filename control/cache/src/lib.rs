//! What control loops read: the [`View`], an immutable snapshot of the cluster at one revision with its indexes, and
//! the [`Reflector`] that folds lists and watch events into Views. An [`Object`] is the store's bytes with a few facts; it is
//! decoded when somebody asks for it. Pure: whoever has the I/O feeds it.

mod cluster_policy;
mod facts;
mod index;
pub mod kinds;
mod object;
mod recent;
pub mod reflector;
pub mod selector;
mod table;
pub mod taint;
mod uid;
pub mod view;

pub use cluster_policy::{AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy};
pub use facts::Ready;
pub use kinds::{Cached, Kind, key_of};
pub use object::{DecodeError, Object};
pub use recent::MAX_BYTES as MAX_RECENT_BYTES;
pub use reflector::{Input, Phase, Reflector};
pub use table::Tables;
pub use uid::Uid;
pub use view::{Change, View};
