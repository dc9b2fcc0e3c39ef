//! Everything of the Linux kernel that a node touches: network namespaces, interfaces, control groups, mounts, BPF.
//!
//! The sole user-space importer of aya, libbpf and netlink. It decides nothing: `datapath` says what the tables should
//! hold, this crate reads what they hold ([`bpf::Datapath::observe`]) and executes a plan ([`bpf::Datapath::apply`]).
//!
//! Tasks and channels: none. Every call is synchronous; scratch threads end before the call returns.
pub mod bpf;
pub mod cgroup;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod probe;
pub mod sockets;
pub mod sysctl;
pub use bpf::{Attached, Bandwidth, Datapath, LbMode, LoadBalancing, Options, PodLink, UplinkPath, UplinkXdp};
pub use probe::{Missing, probe};
