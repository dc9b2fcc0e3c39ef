//! The data plane on real packets: nodes, pods and an outside host as network namespaces on one machine.
//!
//! Needs root and a binary with the BPF programs (`cargo xtask test` sees to both). Everything a test makes carries the
//! process id in its name and goes away with the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod net;
mod world;

mod edges;
mod fragments;
mod lifecycle;
mod matrix;
mod node_port;
mod pods;
mod policy;
mod raw;
mod services;
mod spoof;
mod underlay;
mod uplink;
