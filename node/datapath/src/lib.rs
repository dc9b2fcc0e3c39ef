//! The node's data plane as data: fabric state in, table contents and an ordered plan out. Pure.
//!
//! [`State`] folds the fabric's deltas (bad records are refused one by one). [`compile`] turns it, with what the node
//! knows of itself ([`Local`]), into the tables that should stand ([`Desired`]). [`diff`] compares them with the tables
//! that do stand ([`Observed`], read back from the kernel) and returns a [`Plan`]: writes in an order in which nothing
//! ever points at something absent. After every prefix of a plan each lookup answers as before or as after, never
//! otherwise. Numbers of services and backends are local to the node and recovered from [`Observed`], so a restarted
//! daemon that finds its tables in order plans nothing. [`Planner`] does all of this with a memory: a delta costs what it
//! changes, and gives the same tables.
mod address;
pub mod balancer;
mod compiler;
mod desired;
mod differences;
mod dump;
mod edges;
mod health;
mod host_port;
pub mod maglev;
mod observed;
mod plan;
mod planner;
pub mod policy;
mod rings;
pub mod service_rows;
mod slots;
mod state;
mod tables;
mod topology;

pub use address::{addr, ip, prefix, route_key};
pub use desired::{BackendKey, Conflict, Desired, DesiredPort, Dns, Frontend, Local, PortName, Spread, compile};
pub use differences::{Difference, differences};
pub use dump::dump;
pub use edges::{EDGE_IDLE_S, EDGE_REST_S, EDGES_FULL, EdgeKeeper, EdgeUpkeep};
pub use health::HealthCheck;
pub use host_port::HostPort;
pub use observed::{Cursors, Observed};
pub use plan::{Forget, Plan, Step};
pub use planner::Planner;
pub use state::{
    Algorithm, Endpoint, EndpointState, Epoch, Fault, Node, Port, Protocol, Reach, Record, Rejected, Service,
    ServiceName, Stale, State,
};
pub use tables::diff;

#[cfg(test)]
mod tests;
