//! Working memory of one packet. In BPF it is one CPU's element of a map, because the stack holds 512 bytes.

use abi::{Counter, FlowKey, FlowValue};

use crate::{
    conntrack::Target,
    parse::{Packet, Unparsed},
};

/// Room for a packet and the records that it meets. All zero is valid, and nothing is kept from one packet to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scratch {
    pub packet: Packet,
    /// Why there is no packet.
    pub unparsed: Unparsed,
    /// Where a new flow is to go, and why it could not.
    pub target: Target,
    pub refused: Counter,
    /// The tuple of the other direction.
    pub key: FlowKey,
    /// What the packet is rewritten to: the record of its tuple.
    pub to: FlowValue,
    /// The record of the other direction.
    pub back: FlowValue,
    /// A record in the way, and the tuple of its other direction.
    pub old: FlowValue,
    pub other: FlowKey,
}
