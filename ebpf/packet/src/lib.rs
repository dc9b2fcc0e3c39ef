//! Every packet decision of the data plane, compiled for BPF and for the host.
//!
//! [`pipeline`] has one function a hook. It reads and writes a packet through [`Buffer`], asks [`Tables`] what the node
//! knows, and answers with a [`Verdict`]; it performs nothing itself. Time, seeds and interface numbers come in as
//! arguments or from the tables, so the same packet on the same tables gives the same bytes on both sides.
//!
//! Everything is `inline(always)`: the verifier follows one flat program, and the 512-byte stack holds what is live at
//! once. Offsets stay `usize`, loops have constant bounds, addresses are four words.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![forbid(unsafe_code)]

pub mod balance;
pub mod bandwidth;
pub mod buffer;
pub mod checksum;
pub mod conntrack;
pub mod direct;
pub mod edges;
pub mod flows;
pub mod fragment;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod icmp;
pub mod nat;
pub mod parse;
pub mod pipeline;
pub mod policy;
pub mod route;
pub mod scratch;
pub mod sctp;
pub mod service;
pub mod socket;
pub mod steps;
pub mod tables;
pub mod uplink;
pub mod verdict;
pub mod vxlan;

pub use buffer::Buffer;
pub use edges::Edges;
pub use flows::{Cells, Flow};
pub use scratch::Scratch;
pub use steps::Steps;
pub use tables::Tables;
pub use verdict::Verdict;
