//! The layer-4 balancer on a machine of its own, without a cluster: a file says which virtual addresses have which backends.
//!
//! [`config`] is the file, [`daemon`] brings the tables to what it says and keeps them there, [`check`] asks backends whether
//! they are well, [`report`] is what there is to see, as text or as metrics. `datapath::balancer` decides what is
//! written, `kernel::bpf::Balancer` writes it.
//!
//! Tasks and channels: the daemon's loop is the caller's task. `lb-check`, one a target, sends verdicts over one bounded
//! channel to it; `lb-metrics` serves one connection after another and reads the pinned tables and the report that the loop
//! has left. All end with the daemon.

pub mod check;
pub mod config;
pub mod daemon;
pub mod metrics;
pub mod next_hop;
pub mod report;

pub use config::Config;
pub use daemon::{Error, Options, run};
