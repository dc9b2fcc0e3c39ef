//! Measurements: each prints a table or one JSON document; `README.md` has their figures with command, kernel and commit.

pub mod api;
pub mod balance;
pub mod change;
pub mod flows;
mod node;
pub mod packet;
pub mod service;
pub mod uplink;
