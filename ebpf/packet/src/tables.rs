//! What the node knows, as the packet code asks it.

use abi::{
    Addr, AffinityKey, AffinityValue, Backend, Config, Counter, FlowKey, FlowValue, FragmentKey, FragmentValue,
    PodValue, RouteValue, ServiceKey, ServiceValue, VethValue,
};

/// The maps of [`abi::map`], and the clock. Shared by all CPUs, hence `&self` throughout; values are copies, because a
/// reference into a map may change under the reader.
pub trait Tables {
    /// The node's configuration; `None` until it has been written.
    fn config(&self) -> Option<&Config>;
    /// Coarse monotonic seconds.
    fn now_s(&self) -> u32;
    /// Adds one to a counter.
    fn count(&self, counter: Counter);

    fn service(&self, key: &ServiceKey) -> Option<ServiceValue>;
    /// The backend id in a slot.
    fn slot(&self, index: u32) -> Option<u32>;
    fn backend(&self, id: u32) -> Option<Backend>;
    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue>;
    fn set_affinity(&self, key: &AffinityKey, value: &AffinityValue);

    /// Copies the record to `value`, straight to where it is wanted; `false` if there is none.
    fn flow(&self, key: &FlowKey, value: &mut FlowValue) -> bool;
    /// Inserts or replaces; `false` if the table took it not.
    fn set_flow(&self, key: &FlowKey, value: &FlowValue) -> bool;
    /// Inserts if there is none; `false` if there is one or the table took it not.
    fn add_flow(&self, key: &FlowKey, value: &FlowValue) -> bool;
    fn remove_flow(&self, key: &FlowKey);

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue>;
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue);

    /// The local pod of an address.
    fn pod(&self, addr: &Addr) -> Option<PodValue>;
    /// What may leave the pod behind a host-side interface.
    fn veth(&self, ifindex: u32) -> Option<VethValue>;
    /// The longest matching prefix.
    fn route(&self, addr: &Addr) -> Option<RouteValue>;
}
