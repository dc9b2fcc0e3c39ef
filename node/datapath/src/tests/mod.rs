//! Scenarios as text, in every order of arrival; and that no prefix of a plan shows anything but old or new.
mod affinity;
mod edges;
mod incremental;
mod order;
mod scenario;
mod scenarios;
mod service_rows;
mod spread;
mod state;

pub use scenario::{check, local, parse};
