//! What the node knows, as the packet code asks it.
//!
//! The larger values are copied straight to where they are wanted, with a yes or no for an answer: an `Option` of them would be one
//! more copy on a small stack, and its payload is undefined on the path without one, which the verifier sees.

use abi::{
    Addr, AffinityKey, AffinityValue, Backend, Config, Connection, Counter, FlowKey, FragmentKey, FragmentValue, Hold,
    PodValue, Rate, RouteValue, RuleKey, SeatValue, ServiceKey, ServiceValue, Source, VethValue, flow::FlowRecord,
};

use crate::{
    Edges, Scratch,
    conntrack::{self, Attempt},
    flows::{self, Cuts, Flow, Made},
};

/// The maps of [`abi::map`], and the clock. Shared by all CPUs, hence `&self` throughout; values are copies, because a
/// reference into a map may change under the reader.
pub trait Tables: Cuts + Edges {
    /// The node's configuration; `None` until it has been written.
    fn config(&self) -> Option<&Config>;
    /// Coarse monotonic seconds.
    fn now_s(&self) -> u32;
    /// Adds one to a counter.
    fn count(&self, counter: Counter);
    /// A connection to the Service of this number was given a backend.
    #[inline(always)]
    fn connected(&self, _service: u32) {}
    /// A random number; the given one where runs are to be repeated.
    #[inline(always)]
    fn random(&self, number: u32) -> u32 {
        number
    }

    fn service(&self, key: &ServiceKey, value: &mut ServiceValue) -> bool;
    /// Whether one of the Service's source ranges holds the client.
    fn source(&self, source: &Source) -> bool;
    /// The backend id in a slot.
    fn slot(&self, index: u32) -> Option<u32>;
    fn backend(&self, id: u32, value: &mut Backend) -> bool;
    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue>;
    fn set_affinity(&self, key: &AffinityKey, value: &AffinityValue);
    /// Replaces an entry that still stands: one that user space has taken away stays away.
    fn keep_affinity(&self, key: &AffinityKey, value: &AffinityValue);

    /// [`flows::look`].
    #[inline(always)]
    fn flow(&self, key: &FlowKey, found: &mut Flow) -> bool {
        flows::look(self, key, found)
    }
    /// [`flows::make`].
    #[inline(always)]
    fn make_flow(&self, draft: &FlowRecord, now_s: u32) -> Made {
        flows::make(self, draft, now_s)
    }
    /// [`flows::end`].
    #[inline(always)]
    fn end_flow(&self, number: u32, state: u64) -> bool {
        flows::end(self, number, state)
    }

    /// [`conntrack::attempt`].
    #[inline(always)]
    fn attempt(&self, s: &mut Scratch, number: u32, now_s: u32) -> Attempt {
        conntrack::attempt(self, s, number, now_s)
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue>;
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue);
    /// A row's word; see [`abi::fragment::HOLD_ROWS`].
    fn hold_row(&self, row: u32) -> u64;
    /// Replaces it if it is still `old`; `false` if it is not.
    fn swap_hold_row(&self, row: u32, old: u64, new: u64) -> bool;
    /// [`Hold::state`] of a slot.
    fn hold_state(&self, slot: u32) -> u64;
    /// Replaces it if it is still `old`; `false` if it is not.
    fn swap_hold(&self, slot: u32, old: u64, new: u64) -> bool;
    fn hold(&self, slot: u32, value: &mut Hold) -> bool;
    /// Replaces all of a slot that the caller owns but its state.
    fn set_hold(&self, slot: u32, value: &Hold);

    /// The local pod of an address.
    fn pod(&self, addr: &Addr, value: &mut PodValue) -> bool;
    /// What may leave the pod behind a host-side interface.
    fn veth(&self, ifindex: u32, value: &mut VethValue) -> bool;
    /// The longest matching prefix.
    fn route(&self, addr: &Addr, value: &mut RouteValue) -> bool;

    /// Monotonic nanoseconds, fine enough to tell packets apart.
    fn now_ns(&self) -> u64;
    /// A pod's limit, by [`abi::rate_index`].
    fn rate(&self, index: u32, value: &mut Rate) -> bool;
    /// Replaces when a bucket is full again, if that is still `before`.
    fn set_full(&self, index: u32, before: u64, after: u64) -> bool;

    /// The generation of the policy tables; see [`abi::bank`].
    fn generation(&self) -> u32;
    /// The policy of a local pod, by its seat and the bank.
    fn seat(&self, index: u32, value: &mut SeatValue) -> bool;
    /// The class of peers of an address in a bank, `IDENTITY_ANY` for none.
    fn identity(&self, bank: u32, addr: &Addr) -> u32;
    /// The most specific rule for a key: `RULE_*`, 0 for none.
    fn rule(&self, key: &RuleKey) -> u32;
    fn connection(&self, key: &FlowKey, value: &mut Connection) -> bool;
    /// Inserts or replaces. A table that takes it not costs the answers of a new connection.
    fn set_connection(&self, key: &FlowKey, value: &Connection);
}
