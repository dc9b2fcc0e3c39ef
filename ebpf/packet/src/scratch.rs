//! Working memory of one packet. In BPF it is one CPU's element of a map, because the stack holds 512 bytes.

use abi::{
    Addr, Backend, Counter, FlowKey, FragmentKey, Hold, RouteValue, ServiceValue, Source, VethValue, flow::FlowRecord,
};

use crate::{
    conntrack::Target,
    flows::Flow,
    parse::{Packet, Unparsed},
    policy::Work,
    route::Place,
    uplink::NextHop,
};

/// Room for a packet and what it meets. All zero is valid. Nothing in it is kept from one packet to the next, but for the padding of
/// keys, which stays zero because nobody writes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scratch {
    pub packet: Packet,
    /// Why there is no packet.
    pub unparsed: Unparsed,
    pub fragment: FragmentKey,
    /// A fragment that waits or is to wait.
    pub hold: Hold,
    /// Bytes of the packet that is put aside.
    pub aside: u32,
    /// The overlay's node and network that a packet came from.
    pub tunnel: (Addr, u32),
    /// What the sender may send.
    pub veth: VethValue,
    /// Where it goes.
    pub place: Place,
    /// Where the overlay's packet came from.
    pub sender: RouteValue,
    /// The Service that it is for, and the chosen backend.
    pub service: ServiceValue,
    pub source: Source,
    pub backend: Backend,
    /// Where a new flow is to go, and why it could not.
    pub target: Target,
    pub refused: Counter,
    /// The tuple of the other direction.
    pub key: FlowKey,
    /// What the packet is rewritten to.
    pub to: Flow,
    /// A new flow's record.
    pub draft: FlowRecord,
    /// A flow in its way.
    pub other: Flow,
    pub policy: Work,
    /// The way out at XDP.
    pub next_hop: NextHop,
    /// Bytes of the headers before the packet, at XDP.
    pub outer: usize,
}
