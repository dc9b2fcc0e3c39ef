//! The object model: names of kinds and objects, `Status`, metadata access on JSON values, selectors,
//! quantities, patches and the schema tables. Pure: no clock, no randomness, no I/O.

pub mod base64;
pub mod field;
pub mod intstr;
pub mod managed;
pub mod meta;
pub mod names;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod shape;
pub mod spread;
pub mod status;
pub mod time;

pub use field::{FieldError, FieldErrorKind};
pub use intstr::IntOrString;
pub use names::{Gvk, Gvr, Key, Revision};
pub use quantity::Quantity;
pub use schema::Schema;
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Cause, Details, Outcome, Reason, Status};
