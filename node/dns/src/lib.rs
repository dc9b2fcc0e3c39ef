//! The cluster's DNS, answered on each node from the fabric: Services, headless endpoints, ports and reverse names by
//! the Kubernetes DNS specification (version 1.1.0); everything else is forwarded to the node's own servers.
//!
//! Pure: [`Table`] (records from fabric Services), `lookup` (name to records) and `answer` (message to message).
//! Messages are hickory's; the sockets are ours, so that a forwarded message passes byte for byte.
//!
//! Tasks (of [`Server`]):
//! - `dns-udp`, one an address: reads queries, answers cluster names at once, hands the rest to `dns-forward`.
//! - `dns-tcp`, one an address: accepts; `dns-tcp-connection`, one a connection (at most 256).
//! - `dns-forward`, one a forwarded query (at most 512; beyond that SERVFAIL at once).

mod answer;
mod forward;
mod lookup;
mod resolv_conf;
mod server;
mod table;
mod zone;

pub use resolv_conf::upstreams;
pub use server::{Server, StartError};
pub use table::Table;

/// Seconds that clients may keep an answer about cluster names, also a negative one.
pub const TTL_SECONDS: u32 = 5;

#[cfg(test)]
mod tests;
