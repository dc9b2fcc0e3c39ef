//! What the hook is to do with the packet, as data.

use abi::{Addr, Counter};

/// The decision about one frame at an XDP hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To the kernel, as it came.
    Pass,
    /// Dropped, for the reason that is counted.
    Drop(Counter),
    /// Out of the interface it came in by; all headers are set.
    Send,
}

/// The decision about one packet, which has been rewritten already where needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the node's own stack (ingress) or to the device (egress).
    Pass,
    /// Dropped, for the reason that is counted.
    Drop(Counter),
    /// Into the network namespace behind this host-side veth; the Ethernet addresses are set.
    Peer { ifindex: u32 },
    /// Out of this host-side veth to the pod behind it; the Ethernet addresses are set.
    Redirect { ifindex: u32 },
    /// Out of this interface by the kernel's route and neighbour.
    Neigh { ifindex: u32 },
    /// Out of the VXLAN device `ifindex` to the node at `node`.
    Tunnel { ifindex: u32, node: Addr, vni: u32 },
    /// On to the VXLAN device, which it is leaving by already, with this tunnel key.
    Key { node: Addr, vni: u32 },
    /// Given up here: a copy of it waits for the first fragment of its datagram.
    Hold,
    /// Back out of the interface it came in by; the Ethernet addresses are set.
    Answer { ifindex: u32 },
}

impl Verdict {
    /// What counts the packet. Every packet that reaches a hook is counted by exactly one of these, so they add up to the packets.
    #[inline(always)]
    pub fn counter(self) -> Counter {
        match self {
            Verdict::Pass => Counter::Passed,
            Verdict::Drop(reason) => reason,
            Verdict::Peer { .. } | Verdict::Redirect { .. } => Counter::Delivered,
            Verdict::Neigh { .. } | Verdict::Tunnel { .. } | Verdict::Key { .. } => Counter::Forwarded,
            Verdict::Hold => Counter::FragmentHeld,
            Verdict::Answer { .. } => Counter::Answered,
        }
    }
}
