//! The packet code on the host: buffers and tables in memory, frames to feed it, and a small cluster to feed them to.
//! Tests, the differential test and tools use it; the BPF build does not have it.

mod balancer;
mod carry;
mod edges;
mod frame;
mod guard;
mod memory;
mod pen;
mod table;
mod traffic;
mod wire;
mod world;

pub use balancer::{BalancerMemory, balancer_frame, balancer_world, run as balance, vip_address};
pub use carry::{Carried, carry};
pub use edges::EdgeMemory;
pub use frame::{Fragment, Spec, check, icmp_error};
pub use guard::{Rule, guard, guard_at_random, limit};
pub use memory::{Frame, Memory};
pub use pen::{Pen, is_local};
pub use table::{FlowMemory, FlowWords, Line};
pub use traffic::{Dice, Hook, Step, again, apply, step};
pub use wire::{Cable, at_uplink, cable, tunnel};
pub use world::{FLOW_BITS, SEATS, UPLINK, VNI, over_ipv6, pod_mac, v4, v6, world};
